"""The log of a training run, metrics.csv: one row for every tenth training step and for the last.

A row has the step, its loss and the task's metrics; NaN is written as an empty field. The file holds no times:
a resumed run writes the same bytes as an uninterrupted run.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refca.atomic import atomic_write
from refca.errors import InvalidInput

EVERY = 10


class MetricsFile:
    """An open metrics.csv with a column for the step, the loss and each of `measured`.

    Rows after training step `done` are dropped, because training writes them again. Raises InvalidInput for a
    file with other columns.
    """

    def __init__(self, path: Path, done: int, measured: Sequence[str]) -> None:
        columns = ("step", "loss", *measured)
        kept = [row for row in read_metrics(path, columns) if row["step"] <= done] if path.exists() else []
        with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
            self.writer = csv.DictWriter(file, columns, lineterminator="\n")
            self.writer.writeheader()
            self.writer.writerows(map(written, kept))
        self.file = path.open("a", newline="")
        self.writer = csv.DictWriter(self.file, columns, lineterminator="\n")

    def add(self, **row: float) -> None:
        self.writer.writerow(written(row))
        self.file.flush()

    def sync(self) -> None:
        """Sync the rows to the disk, before a checkpoint that includes them is written."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def written(row: Mapping[str, float]) -> dict[str, Any]:
    """Return a row as it is written: NaN becomes empty."""
    return {name: "" if value != value else value for name, value in row.items()}


def read_metrics(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Return the complete rows of a metrics.csv, NaN for empty fields; an incomplete last row is dropped.

    Raises InvalidInput for a row with missing columns or with text that is no number.
    """
    rows: list[dict[str, float]] = []
    text = path.read_text()
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            rows.append({name: number(name, row[name]) for name in columns or row})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(
                f"{path} is not a metrics file of this run: its row {row} has missing columns or text that is no number"
            ) from error
    return rows


def number(name: str, text: str) -> float:
    return int(text) if name == "step" else float(text or "nan")
