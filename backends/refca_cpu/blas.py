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

from threadpoolctl import ThreadpoolController


class Callers:
    """The number of callers within `single_threaded`: the first limits the library, the last restores its setting."""

    def __init__(self) -> None:
        self.lock, self.count, self.limit = threading.Lock(), 0, None

    def enter(self) -> None:
        """Count a caller."""
        with self.lock:
            self.count += 1
            if self.count == 1:
                self.limit = controller().limit(limits=1)

    def leave(self) -> None:
        """Count one less."""
        with self.lock:
            self.count -= 1
            if self.count == 0 and self.limit:
                self.limit.restore_original_limits()


CALLERS = Callers()


def forget_callers() -> None:
    """Reset the count in a forked child, which has none of the callers' threads; one of them may hold the lock."""
    global CALLERS
    CALLERS = Callers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_callers)


@cache
def controller() -> ThreadpoolController:
    importlib.import_module("scipy.linalg.cython_blas")  # a library that is not loaded cannot be found
    return ThreadpoolController().select(user_api="blas")


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
