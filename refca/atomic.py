"""Files written whole or not at all.

A reader of a run directory never finds half a file, also after a full disk or Ctrl-C.
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
    """A temporary path beside `path`, of the same suffix; it takes the place of `path` if the block succeeds.

    The block writes and closes the temporary file. Its bytes are on the disk before it is renamed. If the
    block raises, the temporary file is removed and `path` is as it was. Missing folders are made.
    Raises OSError as the file system does.
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
    """Write a file of UTF-8 text, as `replacing` does. Raises OSError as the file system does."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, "utf-8")
