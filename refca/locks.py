"""Locks on open files and folders, which end with the process.

Windows locks no folders: there `lock_file` locks a file in the folder instead, through filelock. Some file
systems have no locks.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

AVAILABLE = fcntl is not None


def try_lock(descriptor: int) -> bool | None:
    """Lock an open file or folder; return False if another opening of it has the lock, None if there are no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
    return True


@contextmanager
def lock_file(path: Path, wait: float) -> Iterator[bool]:
    """Hold a lock on a file within this block, and yield whether it was to be had within `wait` seconds."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=wait)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
