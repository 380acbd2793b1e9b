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

LOCK = threading.Lock()


def renew_lock() -> None:
    """Have a forked child begin with a lock that is free: the thread that held it is not in the child."""
    global LOCK
    LOCK = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_lock)


@cache
def controller() -> ThreadpoolController:
    importlib.import_module("scipy.linalg.cython_blas")  # a library that is not loaded cannot be found
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def single_threaded() -> Iterator[None]:
    """Within this context a matrix product uses the thread that asks for it, and no other.

    The library's setting is the whole process's, so only one caller at a time is let in; it works on all
    threads anyway.
    """
    with LOCK, controller().limit(limits=1):
        yield
