"""The folder for a model's results: its run directory, or a folder named after the model.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from refca.atomic import make_folder, permission, sync_folder
from refca.errors import InvalidInput
from refca.locks import AVAILABLE, close_locked, lock_file, try_lock
from refca.training.checkpoint import BEST_FILE, CHECKPOINT_FILE, WEIGHTS_FILE


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

    NAME is what `model_name` returns. The best weights of a run have the folder `best` in its directory, beside the
    results for its last weights.
    """
    folder = folder_of(model)
    if model.name == BEST_FILE and model.exists():
        return folder / "best"
    if model.exists() and (folder / CHECKPOINT_FILE).exists():
        return folder
    return Path("runs") / f"{model_name(model)}-evaluation"


def measured_in(model: Path) -> Path:
    """Return the folder of a model's evaluation: its own folder, or the default one."""
    return model if (model / "evaluation.csv").exists() else default_out(model)


def folder_of(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def model_name(model: Path) -> str:
    """Return a name for a model: of its run directory, or else of its weights file."""
    folder = folder_of(model).resolve().name
    names = {"weights": folder, "checkpoint": folder, "best": f"{folder}-best"}  # of files in a run directory
    return folder if model.is_dir() else names.get(model.stem, model.stem)


@contextmanager
def locked(folder: Path, wait: float = 0) -> Iterator[Callable[[], None]]:
    """Keep a folder, which is created if missing, for this process within this block.

    Yields a function that raises InvalidInput if the folder no longer has its name: another one has, or none.
    Raises InvalidInput if another process has it after `wait` seconds. The lock ends with the process. On
    Windows a file in the folder is locked; on a file system without locks nothing is kept.
    """
    make_folder(folder)
    if not AVAILABLE:
        with lock_file(folder / LOCK_FILE, wait) as mine:
            if not mine:
                raise in_use(folder)
            yield lambda: None
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + wait
        while try_lock(descriptor) is False:
            if time.monotonic() >= deadline:
                raise in_use(folder)
            time.sleep(0.05)
        yield lambda: check_in_place(folder, descriptor)
    finally:
        close_locked(descriptor)


def in_use(folder: Path) -> InvalidInput:
    return InvalidInput(f"{folder} is in use by another run; wait until that has ended, or choose another --out")


def check_in_place(folder: Path, descriptor: int) -> None:
    """Raise InvalidInput if a folder is not the one that was opened."""
    with suppress(FileNotFoundError):
        if os.path.samestat(os.stat(folder), os.fstat(descriptor)):
            return
    raise InvalidInput(
        f"{folder} was moved, deleted or replaced while the run went on, and its files are not in one place; "
        "resume the run where its checkpoint is, or start it again"
    )


LOCK_FILE = ".lock"  # where folders cannot be locked
STAGED = ".evaluation-"  # how the folders begin in which results wait


@contextmanager
def publishing(out: Path, owned: Iterable[str]) -> Iterator[Path]:
    """Yield a folder for the files of an evaluation, which replace those in `out` together if the block succeeds.

    `owned` names all files that such an evaluation can have: files of an older evaluation that are not written
    again are removed. Its JSON file, which names what was measured, goes first and comes last, so that an evaluation
    that was killed between leaves no numbers beside another one's pictures. Raises OSError from the file system.
    """
    make_folder(out)
    remove_abandoned_results(out)
    with permission(out):
        folder, descriptor = staging_folder(out)
    try:
        yield folder
        for name in sorted(owned, key=comes_last, reverse=True):
            (out / name).unlink(missing_ok=True)
        sync_folder(out)
        for path in sorted(folder.iterdir(), key=lambda path: comes_last(path.name)):
            os.replace(path, out / path.name)
        sync_folder(out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            close_locked(descriptor)


def staging_folder(out: Path) -> tuple[Path, int | None]:
    """Make a folder in `out` and lock it, so that no other process takes it for abandoned; None without locks."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=STAGED, dir=out))
        if not AVAILABLE:
            return folder, None
        with suppress(FileNotFoundError):  # another process took it for abandoned before it was locked
            descriptor = os.open(folder, os.O_RDONLY)
            if try_lock(descriptor) is not False and folder.exists():
                return folder, descriptor
            os.close(descriptor)


def comes_last(name: str) -> tuple[bool, str]:
    return name.endswith(".json"), name


def remove_abandoned_results(out: Path) -> None:
    """Remove the folders that killed evaluations left; one that is still going on has its folder locked."""
    for folder in out.glob(f"{STAGED}*") if AVAILABLE else ():
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            if try_lock(descriptor):
                shutil.rmtree(folder, ignore_errors=True)
            close_locked(descriptor)
