"""The log of a training run: metrics.csv, a row for every tenth training step, and the last.

A row has the step, its loss and what this kind of training measures; NaN is left empty. It holds nothing that
differs between two equal runs (no times), so a resumed run's file equals, byte for byte, that of a run that
was never stopped.
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

    Rows of training steps after `done` are dropped: they will be made again. Raises InvalidInput for a file with
    other columns.
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
        """Make sure that the rows are on the disk: a checkpoint must not know more than the log."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def written(row: Mapping[str, float]) -> dict[str, Any]:
    """A row as it is in the file."""
    return {name: "" if value != value else value for name, value in row.items()}


def read_metrics(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, float]]:
    """The whole rows of a metrics.csv, NaN where there is no number; a last row cut short is left out.

    Raises InvalidInput for a row that is not of such a file, or of one with these columns.
    """
    rows: list[dict[str, float]] = []
    text = path.read_text()
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            rows.append({name: number(name, row[name]) for name in columns or row})
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"{path} holds a row that is not of a metrics file: {row}") from error
    return rows


def number(name: str, text: str) -> float:
    return int(text) if name == "step" else float(text or "nan")
