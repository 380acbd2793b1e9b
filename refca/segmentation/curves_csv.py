"""The curves of photographs, evaluation.csv: one row for each condition and step.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from refca.atomic import write_csv
from refca.errors import InvalidInput
from refca.reading import reading
from refca.segmentation.evaluation import CONDITIONS, MAGNITUDES, Curves


def write_curves(path: Path, measured: dict[str, Curves]) -> None:
    """Write the curves of each condition; NaN becomes empty."""
    columns = list(next(iter(measured.values())))
    rows = (
        (condition, *row)
        for condition, found in measured.items()
        for row in zip(*(found[column].tolist() for column in columns), strict=True)
    )
    write_csv(path, ["photographs", *columns], rows)


def read_curves(path: Path, model: Path) -> dict[str, Curves]:
    """Return the curves of each of CONDITIONS. Raises InvalidInput if the file is missing or holds something else."""
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; measure that run first: python -m refca.evaluate {model}")
    with reading(path, "an evaluation.csv of photographs", "measure that run again"):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise ValueError("it has no rows")
        columns = [c for c in rows[0] if c and (c in ("step", "changes", *MAGNITUDES) or c.startswith("iou_"))]
        found = {}
        for condition in CONDITIONS:
            values = [[float(row[c] or "nan") for c in columns] for row in rows if row["photographs"] == condition]
            found[condition] = dict(zip(columns, np.array(values).T, strict=True))
    return found
