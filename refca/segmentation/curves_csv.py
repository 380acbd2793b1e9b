"""The curves of photographs, evaluation.csv: a row for each way of showing them and each step.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from refca.atomic import atomic_write
from refca.errors import InvalidInput
from refca.segmentation.evaluation import COLUMNS, WAYS, Curves


def write_curves(path: Path, measured: dict[str, Curves]) -> None:
    """Write the curves of each way; NaN is left empty."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["photographs", *COLUMNS])
        for way, found in measured.items():
            for row in zip(*(found[column].tolist() for column in COLUMNS), strict=True):
                writer.writerow([way, *("" if value != value else value for value in row)])


def read_curves(path: Path, model: Path) -> dict[str, Curves]:
    """The curves of each of WAYS, of this model. Raises InvalidInput for a file that is missing or holds something
    else."""
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; measure that run first: python -m refca.evaluate {model}")
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = {}
        for way in WAYS:
            mine = [[float(row[c] or "nan") for c in COLUMNS] for row in rows if row["photographs"] == way]
            found[way] = dict(zip(COLUMNS, np.array(mine).T, strict=True))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{path} does not hold curves of photographs") from error
    return found
