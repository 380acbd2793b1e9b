"""The matrix products are done by the OpenBLAS that comes with SciPy, which is what numba's `np.dot` calls.

Samples are spread over threads, so a product must not spread again: the two would fight over processors.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

from threadpoolctl import ThreadpoolController


@cache
def controller() -> ThreadpoolController:
    importlib.import_module("scipy.linalg.cython_blas")  # a library that is not loaded cannot be found
    return ThreadpoolController().select(user_api="blas")


def single_threaded() -> AbstractContextManager[Any]:
    """Within this context a matrix product uses the thread that asks for it, and no other."""
    return controller().limit(limits=1)
