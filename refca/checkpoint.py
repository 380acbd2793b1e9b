"""What a run leaves on the disk to go on from: one safetensors file, written whole or not at all.

It holds the parameters, Adam's moments and the pool, and in its metadata the number of training steps done
and the settings. A weights file is the same with the parameters alone.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.adam import Adam
from refca.cell import Cell, Params
from refca.check import check_params
from refca.experiment import Experiment
from refca.files import replacing
from refca.pool import Pool
from refca.refused import Refused


@dataclass
class Progress:
    """Everything that training changes, in arrays of the backend, and what it learns from."""

    done: int  # training steps
    params: Params
    adam: Adam
    pool: Pool
    data: str  # the fingerprint of the digits


class Weights(NamedTuple):
    """Parameters, the settings that they were trained with, and for how many steps; None: not known."""

    params: Params
    experiment: Experiment | None = None
    done: int | None = None


def save_checkpoint(
    path: Path, experiment: Experiment, progress: Progress, asnumpy: Any = np.asarray
) -> None:
    """Write a checkpoint. Raises Refused, and leaves the file of before as it was, for a number that is not
    finite; OSError if the disk refuses."""
    tensors = {f"params/{name}": x for name, x in progress.params.items()}
    tensors |= {f"adam.first/{name}": x for name, x in progress.adam.first.items()}
    tensors |= {f"adam.second/{name}": x for name, x in progress.adam.second.items()}
    tensors |= {f"pool/{name}": x for name, x in vars(progress.pool).items()}
    arrays = {name: asnumpy(x) for name, x in tensors.items()}
    check_finite(path, arrays)
    write(path, arrays, experiment, done=progress.done, data=progress.data)


def load_checkpoint(path: Path, asarray: Any = np.asarray) -> tuple[Experiment, Progress]:
    """The settings and the progress of a run. Raises Refused for a file that is not a whole checkpoint."""
    tensors, metadata = read(path)
    groups: dict[str, dict[str, Any]] = {"params": {}, "adam.first": {}, "adam.second": {}, "pool": {}}
    try:
        for name, x in tensors.items():
            group, name = name.split("/")
            groups[group][name] = asarray(x)
        said = json.loads(metadata["refca"])
        experiment = Experiment(**said["experiment"])
        adam, pool = Adam(groups["adam.first"], groups["adam.second"]), Pool(**groups["pool"])
        progress = Progress(int(said["done"]), groups["params"], adam, pool, said["data"])
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{path} is not a checkpoint of a training run ({error!r})") from error
    check_weights(path, experiment.cell, progress.params)
    check_finite(path, tensors)
    check_progress(path, experiment, progress)
    return experiment, progress


def check_progress(path: Path, experiment: Experiment, progress: Progress) -> None:
    """Raises Refused, naming the file, unless moments and pool belong to these settings."""
    shapes = {name: x.shape for name, x in progress.params.items()} if progress.done else {}
    for moments in (progress.adam.first, progress.adam.second):
        if {name: x.shape for name, x in moments.items()} != shapes:
            raise Refused(f"{path}: Adam's moments are not those of the parameters")
    N, pool = experiment.pool, progress.pool
    state = (*pool.image.shape[:3], experiment.cell.state_channels)
    if pool.image.ndim != 4 or pool.label.shape != (N,) or len(pool.image) != N or pool.state.shape != state:
        raise Refused(f"{path}: its pool is not one of {N} digits and their states")
    if not 0 <= progress.done <= experiment.steps:
        raise Refused(f"{path} says that {progress.done} of {experiment.steps} steps are done")


def save_weights(path: Path, experiment: Experiment, params: Params, done: int) -> None:
    """Write parameters alone (NumPy arrays), under their own names."""
    write(path, params, experiment, done=done)


def load_weights(path: Path) -> Weights:
    """Float32 parameters of a run directory, a checkpoint, or a weights file (.safetensors or .npz).

    Raises Refused for a file that cannot be read, is damaged, holds another cell's weights or a NaN.
    """
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    if not path.is_file():
        raise Refused(f"{path} does not exist; name a run directory, or weights as .safetensors or .npz")
    experiment: Experiment | None = None
    done: int | None = None
    if path.suffix == ".npz":
        params = read_npz(path)
    else:
        params, metadata = read(path)
        if any(name.startswith("params/") for name in params):
            experiment, progress = load_checkpoint(path)
            return Weights(progress.params, experiment, progress.done)
        try:
            if "refca" in metadata:
                said = json.loads(metadata["refca"])
                experiment, done = Experiment(**said["experiment"]), int(said["done"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"{path}: its settings cannot be used ({error!r})") from error
    check_weights(path, (experiment or Experiment()).cell, params)
    return Weights({name: np.asarray(x, np.float32) for name, x in params.items()}, experiment, done)


def check_weights(path: Path, cell: Cell, params: Params) -> None:
    """Raises Refused, naming the file, unless these are finite parameters of this cell."""
    try:
        check_params(cell, params)
    except Refused as error:
        raise Refused(f"{path}: {error}") from error
    check_finite(path, params)


def check_finite(path: Path, arrays: Params) -> None:
    """Raises Refused, naming file and array, if a number is NaN or infinite."""
    for name, x in arrays.items():
        if not np.isfinite(np.asarray(x)).all():
            raise Refused(f"{path}: {name} holds a number that is not finite")


def write(path: Path, tensors: Params, experiment: Experiment, **said: Any) -> None:
    from safetensors.numpy import save

    metadata = {"refca": json.dumps({"experiment": asdict(experiment), **said})}
    with replacing(path) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(x) for name, x in tensors.items()}, metadata))


def read(path: Path) -> tuple[Params, dict[str, str]]:
    """The arrays and the metadata of a safetensors file. Raises Refused if it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a dtype that NumPy lacks
        raise Refused(f"{path} is not a whole safetensors file of NumPy's dtypes ({error})") from error


def read_npz(path: Path) -> Params:
    """The arrays of an .npz file. Raises Refused if it is not whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        raise Refused(f"{path} is not a whole .npz file ({error})") from error
