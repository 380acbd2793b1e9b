"""What a run leaves on the disk to go on from: one safetensors file, written whole or not at all.

It holds the parameters, Adam's moments, and the pool or the colony, and in its metadata the settings and the
numbers of training steps and of updates done. A weights file is the same with the parameters alone.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.adam import Adam
from refca.cell import Cell, Params
from refca.check import check_params
from refca.experiment import DigitsExperiment, Experiment, PetsExperiment, make_experiment
from refca.files import replacing
from refca.persistence import Colony
from refca.pool import Pool
from refca.published import read_published
from refca.refused import Refused

CHECKPOINT_FILE, WEIGHTS_FILE = "checkpoint.safetensors", "weights.safetensors"  # in a run directory


@dataclass
class Progress:
    """Everything that training changes, and what it learns from. Parameters, moments and states are arrays
    of the backend, as are the images of a pool; numbers and labels are NumPy's."""

    done: int  # training steps
    updates: int  # of the parameters: at most one in a training step
    params: Params
    adam: Adam
    kept: Pool | Colony  # what goes on from one training step to the next
    data: str  # the fingerprint of the training samples

    def update(self, grads: Params, rate: float, *, normalise: bool, backend: Any) -> None:
        """Move the parameters once."""
        self.params = self.adam.step(
            self.params, grads, self.updates, rate, normalise=normalise, backend=backend
        )
        self.updates += 1


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
    tensors |= {f"{kept_name(experiment)}/{name}": x for name, x in vars(progress.kept).items()}
    arrays = {name: asnumpy(x) for name, x in tensors.items()}
    check_finite(path, arrays)
    write(path, arrays, experiment, done=progress.done, updates=progress.updates, data=progress.data)


def load_checkpoint(path: Path, asarray: Any = np.asarray) -> tuple[Experiment, Progress]:
    """The settings and the progress of a run. Raises Refused for a file that is not a whole checkpoint."""
    tensors, metadata = read(path)
    groups: dict[str, Params] = {"params": {}, "adam.first": {}, "adam.second": {}}
    try:
        said = json.loads(metadata["refca"])
        experiment = make_experiment(said["experiment"])
        kept = groups[kept_name(experiment)] = {}
        for name, x in tensors.items():
            group, name = name.split("/")
            groups[group][name] = x
        progress = Progress(
            int(said["done"]),
            int(said["updates"]),
            groups["params"],
            Adam(groups["adam.first"], groups["adam.second"]),
            Pool(**kept) if isinstance(experiment, DigitsExperiment) else Colony(**kept),
            said["data"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise Refused(f"{path} is not a checkpoint of a training run ({error!r})") from error
    check_weights(path, experiment.cell, progress.params)
    check_finite(path, tensors)
    check_progress(path, experiment, progress)
    return experiment, on_backend(progress, asarray)


def on_backend(progress: Progress, asarray: Any) -> Progress:
    """The same progress, its large arrays on a backend."""

    def moved(arrays: Params) -> Params:
        return {name: asarray(x) for name, x in arrays.items()}

    kept, adam = progress.kept, progress.adam
    return replace(
        progress,
        params=moved(progress.params),
        adam=Adam(moved(adam.first), moved(adam.second)),
        kept=replace(kept, image=asarray(kept.image), state=asarray(kept.state))
        if isinstance(kept, Pool)
        else replace(kept, state=asarray(kept.state)),
    )


def kept_name(experiment: Experiment) -> str:
    """What a run of this kind keeps between training steps."""
    return "pool" if isinstance(experiment, DigitsExperiment) else "colony"


def check_progress(path: Path, experiment: Experiment, progress: Progress) -> None:
    """Raises Refused, naming the file, unless counts, moments and pool or colony belong to these settings."""
    if not 0 <= progress.updates <= progress.done <= experiment.steps:
        raise Refused(
            f"{path} says that {progress.done} of {experiment.steps} steps are done, with {progress.updates} "
            "updates"
        )
    shapes = {name: x.shape for name, x in progress.params.items()} if progress.updates else {}
    for moments in (progress.adam.first, progress.adam.second):
        if {name: x.shape for name, x in moments.items()} != shapes:
            raise Refused(f"{path}: Adam's moments are not those of the parameters")
    if isinstance(progress.kept, Pool):
        check_pool(path, experiment, progress.kept)
    else:
        check_colony(path, experiment, progress.kept)


def check_pool(path: Path, experiment: Experiment, pool: Pool) -> None:
    assert isinstance(experiment, DigitsExperiment)
    N = experiment.pool
    state = (*pool.image.shape[:3], experiment.cell.state_channels)
    if pool.image.ndim != 4 or pool.label.shape != (N,) or len(pool.image) != N or pool.state.shape != state:
        raise Refused(f"{path}: its pool is not one of {N} digits and their states")


def check_colony(path: Path, experiment: Experiment, colony: Colony) -> None:
    assert isinstance(experiment, PetsExperiment)
    B, side = experiment.batch, experiment.size // experiment.stride
    photo, age = colony.photo, colony.age
    numbers = all(x.shape == (B,) and x.dtype == np.int64 and x.min() >= 0 for x in (photo, age))
    states = colony.state.shape == (B, side, side, experiment.state) and colony.state.dtype == np.float32
    if not numbers or not states:
        raise Refused(f"{path}: its colony is not one of {B} photographs, float32 states and ages")


def save_weights(path: Path, experiment: Experiment, params: Params, done: int) -> None:
    """Write parameters alone (NumPy arrays), under their own names."""
    write(path, params, experiment, done=done)


def load_weights(name: Path | str) -> Weights:
    """Float32 parameters of a run directory (its checkpoint, or the weights if that is all there is), a
    checkpoint, a weights file (.safetensors, .npz, the article's model.json), or of the weights of this name
    that come with the package (`shipped_names`); a path that exists goes first.

    Raises Refused for a file that cannot be read, is damaged, holds another cell's weights or a NaN.
    """
    path = file_of(Path(name))
    experiment: Experiment | None = None
    done: int | None = None
    if path.suffix == ".npz":
        params = read_npz(path)
    elif path.suffix == ".json":
        params = read_published(path)
    else:
        params, metadata = read(path)
        if any(name.startswith("params/") for name in params):
            experiment, progress = load_checkpoint(path)
            return Weights(progress.params, experiment, progress.done)
        try:
            if "refca" in metadata:
                said = json.loads(metadata["refca"])
                experiment, done = make_experiment(said["experiment"]), int(said["done"])
        except (KeyError, TypeError, ValueError) as error:
            raise Refused(f"{path}: its settings cannot be used ({error!r})") from error
    remedy = "" if experiment else "; a file that does not say its settings is taken for the article's"
    check_weights(path, (experiment or DigitsExperiment()).cell, params, remedy)
    return Weights({name: np.asarray(x, np.float32) for name, x in params.items()}, experiment, done)


def file_of(path: Path) -> Path:
    """The file of weights at a path, in a folder, or of this name in the package. Raises Refused for none."""
    if path.is_dir():
        for file in filter(Path.is_file, (path / CHECKPOINT_FILE, path / WEIGHTS_FILE)):
            return file
        raise Refused(f"{path} is no run directory: neither {CHECKPOINT_FILE} nor {WEIGHTS_FILE} is in it")
    if str(path) in shipped_names() and not path.exists():
        return Path(str(shipped() / f"{path}.safetensors"))
    if not path.is_file():
        known = f"; or one of {', '.join(shipped_names())}" if shipped_names() else ""
        raise Refused(
            f"{path} does not exist; name a run directory, or weights as .safetensors, .npz or .json{known}"
        )
    return path


def shipped_names() -> list[str]:
    """The names of the weights that come with the package."""
    folder = shipped()
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".safetensors"))


def shipped() -> Any:
    """The folder of the weights that come with the package."""
    return files("refca") / "weights"


def check_weights(path: Path, cell: Cell, params: Params, remedy: str = "") -> None:
    """Raises Refused, naming the file, unless these are finite parameters of this cell; of another cell's
    with a remedy."""
    try:
        check_params(cell, params)
    except Refused as error:
        raise Refused(f"{path}: {error}{remedy}") from error
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
