"""Checkpoints: everything that a run needs to continue, in one safetensors file.

A checkpoint holds the parameters, the optimiser's moments and the task's buffer, of runs with `ema_decay` the average
of the parameters, and of runs with validation the best so far; its metadata holds the settings and the numbers of
training steps and updates done. A weights file holds the parameters, or their average, alone. Both are written
atomically.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from refca.definition.cell import Array, Params
from refca.errors import InvalidInput
from refca.reading import reading
from refca.tensor_file import check_finite, check_shapes, open_tensors, write_tensors
from refca.training.adam import Adam
from refca.training.experiment import Experiment
from refca.training.muon import is_matrix
from refca.training.task import Task
from refca.training.train_state import Best, TrainState

CHECKPOINT_FILE, WEIGHTS_FILE = "checkpoint.safetensors", "weights.safetensors"  # in a run directory
BEST_FILE = "best.safetensors"  # there too, of runs with validation

KIND = "a checkpoint of a training run"

Lookup: TypeAlias = Callable[[Mapping[str, Any]], tuple[Experiment, Task]]


def save_checkpoint(
    path: Path, experiment: Experiment, train_state: TrainState, asnumpy: Callable[[Array], Any] = np.asarray
) -> None:
    """Write a checkpoint.

    Raises NotFinite for NaN or infinity and OSError from the file system; the file is then unchanged.
    """
    groups = {
        "params": train_state.params,
        "adam.m": train_state.adam.m,
        "adam.v": train_state.adam.v,
        "buffer": vars(train_state.buffer),
        "ema": train_state.ema,
    }
    others: dict[str, Any] = {"data": train_state.data, "log": train_state.log}
    if train_state.validation_log:
        others["validation_log"] = train_state.validation_log
    if train_state.best:
        groups["best"] = train_state.best.params
        others["best"] = {"step": train_state.best.step, "score": train_state.best.score}
    arrays = {f"{group}/{name}": asnumpy(x) for group, tensors in groups.items() for name, x in tensors.items()}
    check_finite(path, arrays)
    counts = {"done": train_state.done, "updates": train_state.updates}
    write_tensors(path, arrays, metadata_of(experiment) | counts | others)


def load_checkpoint(
    path: Path, lookup: Lookup, asarray: Callable[[Any], Array] = np.asarray
) -> tuple[Experiment, TrainState]:
    """Return the experiment and the train state of a run, on the backend that `asarray` belongs to.

    `lookup` returns the experiment and the task for saved settings. Raises InvalidInput for a file that is not a
    complete checkpoint.
    """
    with open_tensors(path) as file:
        with reading(path, KIND):
            experiment, task = experiment_in(path, file.settings, lookup)
            declared = assemble(file.declared, file.settings, task)
        check_shapes(path, experiment.cell, declared.params)
        if declared.best:
            check_shapes(path, experiment.cell, declared.best.params)
        check_counts(path, experiment, declared)
        task.training.check_buffer(path, experiment, declared.buffer)
        tensors = {name: file.read(name) for name in file.declared}
    check_finite(path, tensors)
    train_state = assemble(tensors, file.settings, task)
    task.training.check_buffer(path, experiment, train_state.buffer)
    return experiment, train_state.on(asarray)


def experiment_in(path: Path, saved: Any, lookup: Lookup) -> tuple[Experiment, Task]:
    """The experiment and the task in the settings of a checkpoint. Raises InvalidInput, naming the file."""
    if not isinstance(saved, dict) or not isinstance(saved.get("experiment"), dict):
        raise InvalidInput(f"{path} is not {KIND}: it has no settings of one")
    try:
        return lookup(saved["experiment"])
    except InvalidInput as error:
        raise InvalidInput(f"{path}: its settings cannot be used ({error})") from error


def assemble(tensors: Mapping[str, np.ndarray], saved: Any, task: Task) -> TrainState:
    """The train state of these arrays, which may be declarations. Raises whatever unfit settings raise."""
    groups: dict[str, Params] = {name: {} for name in ("params", "adam.m", "adam.v", "buffer", "best", "ema")}
    for name, x in tensors.items():
        group, name = name.split("/")
        groups[group][name] = x
    return TrainState(
        int(saved["done"]),
        int(saved["updates"]),
        groups["params"],
        Adam(groups["adam.m"], groups["adam.v"]),
        task.training.BUFFER(**groups["buffer"]),
        str(saved["data"]),
        str(saved.get("log", "")),
        str(saved.get("validation_log", "")),
        Best(int(best["step"]), float(best["score"]), groups["best"]) if (best := saved.get("best")) else None,
        groups["ema"],
    )


def check_counts(path: Path, experiment: Experiment, train_state: TrainState) -> None:
    """Raise InvalidInput, naming the file, unless counts and moments fit the experiment and the parameters."""
    done, updates = train_state.done, train_state.updates
    if not 0 <= updates <= done <= experiment.steps:
        raise InvalidInput(
            f"{path}: updates <= done <= steps must hold, got {updates} updates, {done} of {experiment.steps} steps"
        )
    if train_state.best and not 0 < train_state.best.step <= done:
        raise InvalidInput(f"{path}: its best weights must be of a step from 1 to {done}, got {train_state.best.step}")
    shapes = {name: x.shape for name, x in train_state.params.items()} if updates else {}
    muon = experiment.optimiser == "muon"
    by_adam = {name: shape for name, shape in shapes.items() if not (muon and is_matrix(shape))}
    for moments, expected in ((train_state.adam.m, shapes), (train_state.adam.v, by_adam)):
        if {name: x.shape for name, x in moments.items()} != expected:
            raise InvalidInput(f"{path}: the optimiser's moments do not have the shapes of the parameters")
    if {name: x.shape for name, x in train_state.ema.items()} != (shapes if experiment.ema_decay else {}):
        raise InvalidInput(f"{path}: the averages of the parameters do not have their shapes")


def save_weights(path: Path, experiment: Experiment, params: Params, done: int | None) -> None:
    """Write parameters (NumPy arrays) and the settings that they were trained with, in `done` training steps.

    None says that the number of training steps is unknown.
    """
    write_tensors(path, params, metadata_of(experiment) | ({} if done is None else {"done": done}))


def metadata_of(experiment: Experiment) -> dict[str, Any]:
    """The settings that a file keeps, and the fields of the cell for readers that know no settings."""
    return {"experiment": {"task": experiment.task, **asdict(experiment)}, "cell": asdict(experiment.cell)}
