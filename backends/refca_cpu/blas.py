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
from weakref import WeakSet

from threadpoolctl import LibController, ThreadpoolController


class Caller:
    """A call within `single_threaded`."""


class Callers:
    """The calls within `single_threaded`: the first limits the libraries, the last restores their settings.

    An interrupt may fall anywhere: settings that were not restored are kept, and the last of the next calls restores
    them. `before` is the number of threads of each library, None if it is what it was.
    """

    def __init__(self, before: list[int | None] | None = None) -> None:
        self.lock, self.inside, self.before = threading.RLock(), WeakSet[Caller](), before

    def enter(self, caller: Caller) -> None:
        """Add a call."""
        with self.lock:
            if not self.inside:
                if self.before is None:
                    self.before = [library.get_num_threads() for library in libraries()]
                for library in libraries():
                    release(library)
                    library.set_num_threads(1)  # not released: what other threads set is ignored
            self.inside.add(caller)

    def leave(self, caller: Caller) -> None:
        """Remove a call."""
        with self.lock:
            self.inside.discard(caller)
            if not self.inside and self.before is not None:
                for library, count in zip(libraries(), self.before, strict=True):
                    release(library)
                    library.set_num_threads(count)
                    release(library)
                self.before = None


CALLERS = Callers()


def forget_callers() -> None:
    """Forget the calls in a forked child, which has none of their threads; its next call restores the settings."""
    global CALLERS
    CALLERS = Callers(CALLERS.before)


if hasattr(os, "register_at_fork"):  # OpenBLAS has a lock of its own, which no thread may hold at a fork
    os.register_at_fork(
        before=lambda: CALLERS.lock.acquire(),
        after_in_parent=lambda: CALLERS.lock.release(),
        after_in_child=forget_callers,
    )


@cache
def libraries() -> list[LibController]:
    """Return the loaded libraries of matrix products: SciPy's, and NumPy's own."""
    importlib.import_module("scipy.linalg.cython_blas")  # a library that is not loaded cannot be found
    found: list[LibController] = ThreadpoolController().select(user_api="blas").lib_controllers
    return found


def release(library: LibController) -> None:
    """Let any thread set the number of threads next.

    threadpoolctl 3.8 lets one thread alone set it for OpenBLAS, and ignores the others without a word.
    """
    if hasattr(library, "clear_controlling_thread"):
        library.clear_controlling_thread(force=True)


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within this context a matrix product uses the thread that asks for it, and no other.

    The libraries' settings are the whole process's.
    """
    callers, caller = CALLERS, Caller()
    try:
        callers.enter(caller)
        yield
    finally:
        callers.leave(caller)
