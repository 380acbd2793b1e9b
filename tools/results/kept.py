"""Reading a folder of `results/`, which holds the files that are kept of one run.

    run.json           how it was trained: command, steps, seconds (null: not measured), machine, parameters
    settings.toml      every setting; absent for weights that were trained elsewhere
    metrics.csv        the training log, each row a mean of rows of the run's own log
    evaluation.json, evaluation.csv    the files of refca.evaluate
    long/              optional: the same two files of more steps
    weights.safetensors, digits.png, robustness/       optional
    init.safetensors   optional: weights that the run began with, if they do not come with refca
    drawn.json         optional: the file of drawn.py
    worst/             optional: the files of worst.py

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refca.digits.evaluation import CURVES, Curves, prefixes
from refca.digits.report import AFTER
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.tasks import load_experiment
from refca.training.checkpoint import WEIGHTS_FILE
from refca.training.experiment import Experiment
from refca.weights.load import shipped, shipped_names

FOLDER = Path(__file__).resolve().parents[2] / "results"
MEASURING = {"mutation": "carry", "samples": 10_000, "steps": 200, "seed": 0}  # refca.evaluate, on MNIST
ROBUSTNESS = {"samples": 1000, "steps": 200, "seed": 0, "chimeras": 100}  # refca.robustness

Columns = dict[str, np.ndarray]  # columns of an evaluation.csv, (T,); NaN for empty fields


@dataclass(frozen=True)
class Evaluation:
    """An evaluation.json and its evaluation.csv."""

    values: dict[str, Any]
    columns: Columns

    @property
    def steps(self) -> int:
        """The number of steps before the mutation, and again after it."""
        return int(self.values["steps"])

    @property
    def samples(self) -> int:
        return int(self.values["samples"])

    def curves(self) -> dict[str, Curves]:
        """Return all curves of each measured part."""
        found = {part: {key: self.curve(part, key) for key in CURVES} for part in ("before", *AFTER)}
        return {
            part: {key: curve for key, curve in curves.items() if curve is not None}
            for part, curves in found.items()
            if curves["accuracy"] is not None
        }

    def curve(self, part: str, key: str) -> np.ndarray | None:
        """Return one of CURVES over the steps of "before", "carry" or "restart", or None if not measured."""
        column = self.columns.get(f"restart_{key}" if self.both and part == "restart" else key)
        here = slice(self.steps) if part == "before" else slice(self.steps, None)
        measured = part == "before" or self.values["mutation"] in (part, "both")
        return column[here] if measured and column is not None else None

    def at(self, part: str, key: str, step: int) -> float | None:
        """Return a curve's value after a number of steps of its part, or None if not measured."""
        curve = self.curve(part, key)
        return None if curve is None or step > len(curve) or step < 1 else float(curve[step - 1])

    def best(self, part: str, key: str) -> tuple[float, int] | None:
        """Return a curve's highest value and its first step, or None if not measured."""
        prefix = prefixes(self.curves()).get(part)
        top = None if prefix is None else self.values[f"{prefix}top_{key}"]
        return None if top is None else (top, self.values[f"{prefix}top_{key}_step"])

    @property
    def both(self) -> bool:
        return bool(self.values["mutation"] == "both")


@dataclass(frozen=True)
class Kept:
    """One folder of `results/`."""

    folder: Path
    about: dict[str, Any]
    evaluation: Evaluation
    experiment: Experiment | None
    long: Evaluation | None

    @property
    def name(self) -> str:
        return self.folder.name


def read_all(folder: Path = FOLDER) -> list[Kept]:
    """Return every run in a folder, sorted by name. Raises InvalidInput for one that cannot be read."""
    return [read(path.parent) for path in sorted(folder.glob("*/run.json"))]


def read(folder: Path) -> Kept:
    """Return one run. Raises InvalidInput if a file is missing or holds something else."""
    settings, long = folder / "settings.toml", folder / "long"
    experiment = load_experiment(settings) if settings.exists() else None
    if experiment is not None and not isinstance(experiment, DigitsExperiment):
        raise InvalidInput(f"{folder} holds a run on {experiment.samples}; results are of digits so far")
    return Kept(
        folder,
        read_json(folder / "run.json"),
        read_evaluation(folder),
        experiment,
        read_evaluation(long) if (long / "evaluation.json").exists() else None,
    )


def read_evaluation(folder: Path) -> Evaluation:
    """Return the evaluation in a folder. Raises InvalidInput if there is none, or not of digits."""
    values = read_json(folder / "evaluation.json")
    columns = read_columns(folder / "evaluation.csv")
    try:
        steps, mutation = int(values["steps"]), values["mutation"]
        rows = steps if mutation == "none" else 2 * steps
        whole = "top_accuracy" in values and all(len(columns[key]) == rows for key in ("step", *CURVES))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput(f"{folder} does not hold an evaluation of digits ({error!r})") from error
    if not whole:
        raise InvalidInput(
            f"{folder / 'evaluation.csv'} does not fit {folder / 'evaluation.json'}; measure the run again"
        )
    return Evaluation(values, columns)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file. Raises InvalidInput if there is none."""
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; python tools/results/keep.py fills such a folder from a run")
    try:
        found = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise InvalidInput(f"{path} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise InvalidInput(f"{path} does not hold a JSON object")
    return found


def read_columns(path: Path) -> Columns:
    """Return the columns of a CSV file of numbers, NaN for empty fields. Raises InvalidInput for other files."""
    if not path.is_file():
        raise InvalidInput(f"{path} does not exist; python tools/results/keep.py fills such a folder from a run")
    try:
        with path.open(newline="") as file:
            return dict(columns_of(list(csv.reader(file))))
    except ValueError as error:
        raise InvalidInput(f"{path} is not a table of numbers ({error})") from error


def columns_of(rows: list[list[str]]) -> Iterator[tuple[str, np.ndarray]]:
    head, *body = rows
    for name, *values in zip(head, *body, strict=True):
        yield name, np.array([float(value or "nan") for value in values])


def flags_of(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> str:
    """Return the flags of a measurement whose settings in a JSON file differ from the defaults."""
    return "".join(f" --{name} {values[name]}" for name, default in defaults.items() if values[name] != default)


def shipped_as(folder: Path) -> list[str]:
    """Return the names under which the weights in a folder come with the package."""
    weights = folder / WEIGHTS_FILE
    mine = weights.read_bytes() if weights.exists() else None
    return [name for name in shipped_names() if (shipped() / f"{name}.safetensors").read_bytes() == mine]
