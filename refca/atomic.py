"""Atomic writes: a file is written whole or not at all, even if the disk is full or Ctrl-C comes.
Source: `spec/programs.md`.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path with the suffix of `path`, and rename it to `path` if the block succeeds.

    The block writes and closes the temporary file, which is synced before it is renamed. If the block raises,
    the temporary file is removed and `path` is unchanged. Missing folders are created. Raises OSError from the
    file system.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path | str, text: str) -> None:
    """Write a file of UTF-8 text atomically. Raises OSError from the file system."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, "utf-8")
