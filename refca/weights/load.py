"""Loading weights by name or path: from a run, a file, the article's model.json, or the package.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from refca.contract.checks import check_cell, check_params
from refca.definition.cell import Cell, Params
from refca.definition.params import init_params
from refca.errors import InvalidInput
from refca.npz import open_npz
from refca.reading import brief, reading
from refca.tasks import get_task, make_experiment, task_of
from refca.tensor_file import ArrayFile, check_finite, check_shapes, check_weights, open_tensors
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from refca.training.checkpoint import save_weights as save_params
from refca.training.experiment import Experiment, cell_settings
from refca.training.train_state import Weights
from refca.weights.layouts import layouts_of
from refca.weights.tfjs_weights import read_published

BEST = {"digits": "digits-muon-continued", "pets": "pets-18k-root-final"}  # the best shipped weights of each task
ANY_SIZE = "digits-drawn"  # shipped weights for digits of other sizes and strokes than MNIST's
PICKLES = (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".bin")
PARAMS = "ema/", "params/"  # in a checkpoint: the group of the parameters, or of their average if it has one
UNNAMED = "; weights without settings must fit the article's cell"
SUMS = "SHA256SUMS"  # the hashes of the shipped files, in their folder


def load_weights(name: Path | str) -> Weights:
    """Return the float32 parameters at a path, or shipped with the package under a name.

    A path is a run directory (its checkpoint, or else its weights), a checkpoint, a weights file (.safetensors,
    .npz) or the article's model.json. An existing path takes precedence over a name, unless it is a folder without
    weights. PyTorch's order of dimensions and its prefixes are understood where their meaning is certain.

    Raises InvalidInput for a file that cannot be read, is damaged, or holds NaN or another cell's weights.
    """
    if not isinstance(name, str | PathLike):
        raise InvalidInput(f"weights must be named by text or a path, got {type(name).__name__}")
    return read_weights(file_of(Path(name)))


def load_shipped(name: str) -> Weights:
    """Return the weights that come with the package under a name, whatever lies in the current folder."""
    return read_weights(shipped_file(BEST.get(name, name)))


def read_weights(path: Path) -> Weights:
    """Return the float32 parameters in a file. Raises InvalidInput as `load_weights` does."""
    if path.suffix == ".json":
        params, experiment, done = read_published(path), None, None
        check_weights(path, task_of(None).experiment().cell, params, UNNAMED)
    elif path.suffix == ".npz":
        experiment, done = None, None
        with open_npz(path) as npz:
            params = read_params(path, npz, task_of(None).experiment().cell, UNNAMED)
    elif path.suffix.lower() in PICKLES:
        raise InvalidInput(
            f"{path} is a pickle, and loading a pickle runs the code in it; write the weights from PyTorch with "
            "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors'): see docs/weights.md"
        )
    else:
        with open_tensors(path) as file:
            experiment, done = saved_experiment(path, file.settings)
            cell = (experiment or task_of(None).experiment()).cell
            params = read_params(path, file, cell, "" if experiment else UNNAMED)
    return Weights(params, experiment, done)


def saved_experiment(path: Path, saved: Any) -> tuple[Experiment | None, int | None]:
    """The experiment and the training steps done, as a file names them. Raises InvalidInput, naming the file."""
    if saved is None:
        return None, None
    try:
        done = saved.get("done")
        return make_experiment(settings_of(saved)), None if done is None else int(done)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    except Exception as error:  # what another program wrote under this key can be any JSON
        raise InvalidInput(f"{path}: invalid settings in its metadata ({brief(error)})") from error


def read_params(path: Path, file: ArrayFile, cell: Cell, remedy: str) -> Params:
    """The parameters of a cell in a file, float32, without reading anything else in it.

    Raises InvalidInput, naming the file, if they are not all there, of another shape, or not finite.
    """
    group = next((group for group in PARAMS if any(name.startswith(group) for name in file.declared)), "")
    names = {name.removeprefix(group): name for name in file.declared if name.startswith(group)}
    try:
        layouts = layouts_of(cell, {name: file.declared[stored] for name, stored in names.items()})
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from error
    declared = {layout.name: layout.convert(file.declared[names[name]]) for name, layout in layouts.items()}
    check_shapes(path, cell, declared, remedy)
    params: Params = {}
    for name, layout in layouts.items():
        with np.errstate(over="ignore"):  # refused below
            params[layout.name] = np.ascontiguousarray(layout.convert(file.read(names[name])), np.float32)
    check_finite(path, params)
    return params


def settings_of(saved: dict[str, Any]) -> dict[str, Any]:
    """Return the settings that a file's metadata holds: an experiment's, or those that are known of its cell alone."""
    if "experiment" in saved:
        return dict(saved["experiment"])
    cell = Cell(**saved["cell"])
    return {"task": task_of_cell(cell), "dataset": "", **cell_settings(cell)}


def task_of_cell(cell: Cell) -> str:
    """Return the task of a cell where nothing says it: a cell that starts from noise is the paper's."""
    return "segmentation" if cell.normal_start else "digits"


def save_weights(path: Path | str, cell: Cell, params: Params, *, task: str | None = None, **settings: Any) -> None:
    """Write parameters and all that is needed to use them: `load_weights` and `refca.load` read the file anywhere.

    `task` is "digits" or "segmentation" (None: by the cell), and `settings` are any of its settings, for
    example classes=("cat", "dog") or size=64.
    Raises InvalidInput for parameters of another cell and for unknown settings; OSError as the file system does.
    """
    if not isinstance(path, str | PathLike):
        raise InvalidInput(f"path must be text or a path, got {type(path).__name__}")
    check_cell(cell)
    if not isinstance(params, Mapping):
        raise InvalidInput(f"params must be a dict of arrays by name, got {type(params).__name__}")
    path = Path(path)
    if path.suffix != ".safetensors":
        raise InvalidInput(f"weights are written to a name that ends in .safetensors, got {path}")
    check_params(cell, params)
    params = {name: np.asarray(x, np.float32) for name, x in params.items()}
    check_weights(path, cell, params)
    known: dict[str, Any] = {"dataset": "", **cell_settings(cell), **settings}
    experiment = get_task(task or task_of_cell(cell)).experiment(**known)
    if experiment.cell != cell:
        raise InvalidInput(f"settings must not change the cell, got {experiment.cell} for {cell}")
    save_params(path, experiment, params, None)


def file_of(path: Path) -> Path:
    """Return the weights file at a path, in a folder, or in the package. Raises InvalidInput if there is none."""
    if path.is_dir():
        for file in filter(Path.is_file, (path / CHECKPOINT_FILE, path / WEIGHTS_FILE)):
            return file
    name = BEST.get(str(path), str(path))
    if name in shipped_names() and not path.is_file():
        return shipped_file(name)
    if path.is_dir():
        raise InvalidInput(f"{path} is not a run directory: it has neither {CHECKPOINT_FILE} nor {WEIGHTS_FILE}")
    if not path.is_file():
        known = f"; or one of {', '.join((*BEST, *shipped_names()))}"
        raise InvalidInput(
            f"{path} does not exist; name a run directory, or weights as .safetensors, .npz or .json{known}"
        )
    return path


def shipped_file(name: str) -> Path:
    """Return the file of shipped weights. Raises InvalidInput if its hash differs from the published one."""
    path = Path(str(shipped() / f"{name}.safetensors"))
    check_shipped(path)
    return path


def check_shipped(path: Path) -> None:
    """Raise InvalidInput unless a file of the package has the hash that the package lists for it."""
    listed = shipped_sums().get(path.name)
    with reading(path, "a file of refca"):
        if listed and hashlib.sha256(path.read_bytes()).hexdigest() != listed:
            raise InvalidInput(f"{path} is not as it was published; install refca again")


def shipped_sums() -> dict[str, str]:
    """The SHA-256 hash of each file of shipped weights, by its name."""
    sums = shipped() / SUMS
    lines = sums.read_text("utf-8").splitlines() if sums.is_file() else []
    return {name: hash for hash, name in (line.split() for line in lines)}


def shipped_names() -> list[str]:
    """Return the names of the weights that come with the package."""
    folder = shipped()
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".safetensors"))


def shipped() -> Any:
    """Return the folder of the weights that come with the package."""
    return files("refca") / "weights"


def initial_params(experiment: Experiment, backend: Any) -> Params:
    """Return the parameters before training, as arrays of the backend: random, or loaded from `init_from`.

    Raises InvalidInput for weights that cannot be read or belong to another cell.
    """
    if experiment.init_from:
        params = load_weights(experiment.init_from).params
        remedy = "; init_from must name weights of this experiment's cell, or be empty for random weights"
        check_weights(Path(experiment.init_from), experiment.cell, params, remedy)
    else:
        params = init_params(experiment.cell, experiment.seed)
    return {name: backend.asarray(x) for name, x in params.items()}
