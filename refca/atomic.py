"""Atomic writes: a file is written whole or not at all, even if the disk is full or the process is killed.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
import errno
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from refca.errors import InvalidInput, NotWritable
from refca.locks import AVAILABLE, close_locked, try_lock

RANDOM = re.compile(r"[0-9a-f]{8}")


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `path`, and rename it to `path` if the block succeeds.

    The block writes and closes the temporary file, which is synced before it is renamed. If the block raises,
    the temporary file is removed and `path` is unchanged. Missing folders are created, a symbolic link is
    written through, and temporary files that killed processes left of the same file are removed.
    Raises NotWritable for a path that may not be written, and otherwise OSError from the file system.
    """
    path = Path(path)
    if path.is_symlink():
        path = Path(os.path.realpath(path))
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    make_folder(path.parent)
    remove_abandoned(path)
    with permission(path):
        temporary, descriptor = create(path)
    try:
        yield temporary
        os.fsync(descriptor)
        if os.name == "nt":
            os.close(descriptor)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise
    finally:
        with suppress(OSError):
            close_locked(descriptor)


def make_folder(folder: Path) -> None:
    """Create a folder and those that it is in, where they are missing.

    Raises InvalidInput if one of them is a file, NotWritable if one may not be written.
    """
    try:
        with permission(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(path for path in (folder, *folder.parents) if path.exists())
        raise InvalidInput(f"{folder} cannot be created: {file} is a file; name another folder") from error


@contextmanager
def permission(path: Path) -> Iterator[None]:
    """Within this block, a lack of permission raises NotWritable, which names `path` and not a temporary file."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        raise NotWritable(
            f"{path} cannot be written: {error.strerror}; name another place, or change the permissions"
        ) from error


def create(path: Path) -> tuple[Path, int]:
    """Make a temporary file for `path` and lock it, so that no other process takes it for abandoned."""
    while True:
        temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if try_lock(descriptor) is not False and temporary.exists():
            return temporary, descriptor
        os.close(descriptor)  # another process took it for abandoned before it was locked


def remove_abandoned(path: Path) -> None:
    """Remove the temporary files of `path` that no process is writing."""
    if not AVAILABLE:
        return
    for other in path.parent.glob(f".{escape(path.stem)}.*{escape(path.suffix)}"):
        if not RANDOM.fullmatch(other.name[len(path.stem) + 2 : len(other.name) - len(path.suffix)]):
            continue
        with suppress(OSError):  # it is gone, or somebody else's
            descriptor = os.open(other, os.O_RDWR)
            try:
                if try_lock(descriptor):
                    other.unlink()
            finally:
                close_locked(descriptor)


def sync_folder(folder: Path) -> None:
    """Make sure that what was renamed or removed in a folder is on the disk."""
    with suppress(OSError):  # not every file system opens folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_text(path: Path | str, text: str) -> None:
    """Write a file of UTF-8 text, atomically. Raises OSError from the file system."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_csv(
    path: Path | str, header: Sequence[str], rows: Iterable[Sequence[Any]], digits: int | None = None
) -> None:
    """Write a CSV file, atomically; NaN becomes empty, and other floats have `digits` digits (None: all).

    Raises OSError from the file system.
    """

    def written(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return "" if value != value else value if digits is None else f"{value:.{digits}g}"

    with atomic_write(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(map(written, row) for row in rows)
