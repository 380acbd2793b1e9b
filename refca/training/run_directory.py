"""Where a model's results go: its run directory, or a folder named after it.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from pathlib import Path

from refca.errors import InvalidInput
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE


def evaluation_folder(model: Path, out: str | None) -> Path:
    """The folder to write an evaluation into. Raises InvalidInput if it holds another run."""
    folder = Path(out or default_out(model))
    taken = any((folder / file).exists() for file in (CHECKPOINT_FILE, WEIGHTS_FILE))
    if taken and folder.resolve() != folder_of(model).resolve():
        raise InvalidInput(f"{folder} holds another run, whose evaluation would be lost; give another --out")
    return folder


def default_out(model: Path) -> Path:
    """The run that a model belongs to, known by its checkpoint, or a directory named after the model.

    A file that is called weights.safetensors goes by the name of its folder.
    """
    folder = folder_of(model)
    if model.exists() and (folder / CHECKPOINT_FILE).exists():
        return folder
    by_folder = model.is_dir() or model.name == WEIGHTS_FILE
    return Path("runs") / f"{folder.resolve().name if by_folder else model.stem}-evaluation"


def measured_in(model: Path) -> Path:
    """Where a model's evaluation is: in its own folder, or where it is written by default."""
    return model if (model / "evaluation.csv").exists() else default_out(model)


def folder_of(model: Path) -> Path:
    return model if model.is_dir() else model.parent
