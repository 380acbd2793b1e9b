"""What a run leaves on the disk to go on from: one safetensors file, written whole or not at all.

It holds the parameters, Adam's moments and the pool, and in its metadata the number of training steps done
and the settings. A weights file is the same with the parameters alone.

Source: section names of `spec/programs.md`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refca.adam import Adam
from refca.cell import Cell, Params
from refca.check import Refused, check_params
from refca.experiment import Experiment
from refca.files import replacing
from refca.pool import Pool


@dataclass
class Progress:
    """Everything that training changes, in arrays of the backend."""

    done: int  # training steps
    params: Params
    adam: Adam
    pool: Pool


def save_checkpoint(
    path: Path, experiment: Experiment, progress: Progress, asnumpy: Any = np.asarray
) -> None:
    """Write a checkpoint. Raises OSError, and leaves the file of before as it was, if the disk refuses."""
    tensors = {f"params/{name}": x for name, x in progress.params.items()}
    tensors |= {f"adam.first/{name}": x for name, x in progress.adam.first.items()}
    tensors |= {f"adam.second/{name}": x for name, x in progress.adam.second.items()}
    tensors |= {f"pool/{name}": x for name, x in vars(progress.pool).items()}
    write(path, {name: asnumpy(x) for name, x in tensors.items()}, experiment, progress.done)


def load_checkpoint(path: Path, asarray: Any = np.asarray) -> tuple[Experiment, Progress]:
    """The settings and the progress of a run. Raises Refused for a file that is not a whole checkpoint."""
    tensors, metadata = read(path)
    groups: dict[str, dict[str, Any]] = {"params": {}, "adam.first": {}, "adam.second": {}, "pool": {}}
    try:
        for name, x in tensors.items():
            group, name = name.split("/")
            groups[group][name] = asarray(x)
        experiment, done = settings(metadata)
        adam, pool = Adam(groups["adam.first"], groups["adam.second"]), Pool(**groups["pool"])
        progress = Progress(done, groups["params"], adam, pool)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{path} is not a checkpoint of refca ({error})") from error
    check_weights(path, experiment.cell, progress.params)
    return experiment, progress


def save_weights(path: Path, experiment: Experiment, params: Params, done: int) -> None:
    """Write parameters alone, (NumPy arrays) under their own names."""
    write(path, params, experiment, done)


def load_weights(path: Path) -> tuple[Experiment | None, Params]:
    """Parameters of a run directory, a checkpoint, or a weights file (.safetensors or .npz).

    With them the settings that they were trained with, None where the file does not say.
    Raises Refused for a file that cannot be read, is damaged, holds another cell's weights or a NaN.
    """
    if path.is_dir():
        path = path / "checkpoint.safetensors"
    if not path.is_file():
        raise Refused(f"{path} does not exist; name a run directory, or weights as .safetensors or .npz")
    experiment: Experiment | None = None
    if path.suffix == ".npz":
        params = read_npz(path)
    else:
        params, metadata = read(path)
        if any(name.startswith("params/") for name in params):
            experiment, progress = load_checkpoint(path)
            return experiment, progress.params
        try:
            experiment = settings(metadata)[0] if "refca" in metadata else None
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"{path}: its settings cannot be used ({error})") from error
    check_weights(path, (experiment or Experiment()).cell, params)
    return experiment, params


def check_weights(path: Path, cell: Cell, params: Params) -> None:
    """Raises Refused, naming the file, unless these are finite parameters of this cell."""
    try:
        check_params(cell, params)
    except Refused as error:
        raise Refused(f"{path}: {error}") from error
    for name, x in params.items():
        if not np.isfinite(np.asarray(x)).all():
            raise Refused(f"{path}: {name} holds a number that is not finite")


def settings(metadata: dict[str, str]) -> tuple[Experiment, int]:
    """What the metadata of our files says: the experiment, and how many of its steps are done."""
    said = json.loads(metadata["refca"])
    return Experiment(**said["experiment"]), int(said["done"])


def write(path: Path, tensors: Params, experiment: Experiment, done: int) -> None:
    from safetensors.numpy import save

    metadata = {"refca": json.dumps({"experiment": asdict(experiment), "done": done})}
    with replacing(path) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(x) for name, x in tensors.items()}, metadata))


def read(path: Path) -> tuple[Params, dict[str, str]]:
    """The arrays and the metadata of a safetensors file. Raises Refused if it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise Refused(f"{path} is not a whole safetensors file ({error})") from error


def read_npz(path: Path) -> Params:
    """The arrays of an .npz file. Raises Refused if it is not whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        raise Refused(f"{path} is not a whole .npz file ({error})") from error
