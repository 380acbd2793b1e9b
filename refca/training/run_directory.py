"""The folder for a model's results: its run directory, or a folder named after the model.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from pathlib import Path

from refca.errors import InvalidInput
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE


def evaluation_folder(model: Path, out: str | None) -> Path:
    """Return the folder for an evaluation. Raises InvalidInput if it holds another run."""
    folder = Path(out or default_out(model))
    taken = any((folder / file).exists() for file in (CHECKPOINT_FILE, WEIGHTS_FILE))
    if taken and folder.resolve() != folder_of(model).resolve():
        raise InvalidInput(
            f"--out {folder} holds another run, whose evaluation would be overwritten; choose another --out"
        )
    return folder


def default_out(model: Path) -> Path:
    """Return the run directory of a model, recognised by its checkpoint, or else runs/NAME-evaluation.

    NAME is the name of the weights file, or of its folder for weights.safetensors.
    """
    folder = folder_of(model)
    if model.exists() and (folder / CHECKPOINT_FILE).exists():
        return folder
    by_folder = model.is_dir() or model.name == WEIGHTS_FILE
    return Path("runs") / f"{folder.resolve().name if by_folder else model.stem}-evaluation"


def measured_in(model: Path) -> Path:
    """Return the folder of a model's evaluation: its own folder, or the default one."""
    return model if (model / "evaluation.csv").exists() else default_out(model)


def folder_of(model: Path) -> Path:
    return model if model.is_dir() else model.parent
