"""Locks on open files and folders, which end with the process.

Windows locks no folders: there `lock_file` locks a file in the folder instead, through filelock. Some file
systems have no locks.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def close_locked(descriptor: int) -> None:
    """Unlock and close an open file or folder. Closing alone leaves the lock to a child that was forked meanwhile."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Wait until no other process has a folder, and keep it within this block; on a file system without locks, do not.

    Raises OSError if there is no such folder.
    """
    if fcntl is None:
        with lock_file(folder / ".lock", -1):
            yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        close_locked(descriptor)


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
