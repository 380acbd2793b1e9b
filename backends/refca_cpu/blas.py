"""The matrix products are done by the OpenBLAS that comes with SciPy, which is what numba's `np.dot` calls.

Samples are spread over threads, so a product must not spread again: the two would fight over processors.
"""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import LibController, ThreadpoolController


class Callers:
    """The number of callers within `single_threaded`: the first limits the library, the last restores its setting."""

    def __init__(self) -> None:
        self.lock, self.count = threading.Lock(), 0
        self.before: list[int | None] = []  # the number of threads of each library

    def enter(self) -> None:
        """Count a caller."""
        with self.lock:
            if self.count == 0:
                self.before = [library.get_num_threads() for library in libraries()]
                set_threads([1 for _ in self.before])
            self.count += 1

    def leave(self) -> None:
        """Remove a caller; the last one restores the setting."""
        with self.lock:
            self.count -= 1
            if self.count == 0:
                set_threads(self.before)


CALLERS = Callers()


def forget_callers() -> None:
    """Reset the count in a forked child, which has none of the callers' threads; one of them may hold the lock."""
    global CALLERS
    CALLERS = Callers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_callers)


@cache
def libraries() -> list[LibController]:
    """Return the loaded libraries of matrix products: SciPy's, and NumPy's own."""
    importlib.import_module("scipy.linalg.cython_blas")  # a library that is not loaded cannot be found
    found: list[LibController] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


def set_threads(counts: list[int | None]) -> None:
    """Set the number of threads of each library, from any thread.

    threadpoolctl 3.8 lets one thread alone set the number for OpenBLAS, and ignores the others unless it is released.
    """
    for library, count in zip(libraries(), counts, strict=True):
        release(library)
        library.set_num_threads(count)
        release(library)


def release(library: LibController) -> None:
    """Let any thread set the number next; older versions of threadpoolctl always do."""
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within this context a matrix product uses the thread that asks for it, and no other.

    The library's setting is the whole process's.
    """
    callers = CALLERS
    callers.enter()
    try:
        yield
    finally:
        callers.leave()
