"""The curves of digits, evaluation.csv: one row for each step before and after the mutation.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import write_csv
from refca.digits.evaluation import CURVES, Curves
from refca.errors import InvalidInput
from refca.reading import reading

KIND = "an evaluation of digits"
REMEDY = "measure the run again"


def write_curves(path: Path, curves: dict[str, Curves]) -> None:
    """Write one row for each step before and after the mutation, with restart_ columns if both were measured."""
    after = [part for part in curves if part != "before"]
    columns = {key: np.concatenate([curves[p][key] for p in ("before", *after[:1])]) for key in CURVES}
    if len(after) > 1:
        skipped = np.full(len(curves["before"]["accuracy"]), np.nan)
        columns |= {f"restart_{key}": np.concatenate([skipped, curves["restart"][key]]) for key in CURVES}
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    write_csv(path, ["step", *columns], ((t, *row) for t, row in enumerate(rows, 1)))


def read_line(folder: Path, model: Path) -> dict[str, Any]:
    """Return the curves of an evaluation for `figures.curves`: with "step" and "mutation".

    Raises InvalidInput if the files are missing or hold something else.
    """
    table, values = folder / "evaluation.csv", folder / "evaluation.json"
    for path in (table, values):
        if not path.is_file():
            raise InvalidInput(f"{path} does not exist; measure that run first: python -m refca.evaluate {model}")
    with reading(values, KIND, REMEDY):
        setting = json.loads(values.read_text("utf-8"))
        mutation = None if setting["mutation"] == "none" else int(setting["steps"])
    with reading(table, KIND, REMEDY), table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
        found: dict[str, Any] = {key: np.array([float(row[key] or "nan") for row in rows]) for key in ("step", *CURVES)}
    if len(rows) != setting["steps"] * (1 if mutation is None else 2):
        raise InvalidInput(f"{table} does not fit {values}; {REMEDY}")
    return found | {"mutation": mutation}
