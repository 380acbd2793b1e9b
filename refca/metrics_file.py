"""The log of a training run: metrics.csv, a row for every tenth training step.

It holds nothing that differs between two equal runs (no times), so a resumed run's file equals, byte for
byte, that of a run that was never stopped.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

from refca.files import replacing
from refca.refused import Refused

COLUMNS = ("step", "loss", "accuracy", "agreement")
EVERY = 10


class MetricsFile:
    """An open metrics.csv. Rows of training steps after `done` are dropped: they will be made again."""

    def __init__(self, path: Path, done: int) -> None:
        kept = [row for row in read_metrics(path) if row["step"] <= done] if path.exists() else []
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(kept)
        self.file = path.open("a", newline="")
        self.writer = csv.DictWriter(self.file, COLUMNS, lineterminator="\n")

    def add(self, **row: Any) -> None:
        self.writer.writerow(row)
        self.file.flush()

    def sync(self) -> None:
        """Make sure that the rows are on the disk: a checkpoint must not know more than the log."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The whole rows of a metrics.csv; a last row that was cut short is left out."""
    rows: list[dict[str, float]] = []
    text = path.read_text()
    for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
        try:
            rows.append({name: (int if name == "step" else float)(row[name]) for name in COLUMNS})
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"{path} holds a row that is not of a metrics file: {row}") from error
    return rows
