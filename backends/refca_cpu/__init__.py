"""The fast backend for processors: NumPy arrays in and out, with compiled loops and matrix products between.

Only cells that are alive and fire are computed, about one in eleven on digits, as far as the cell's norm
allows. The first use on a machine compiles the loops and keeps them in a cache.

REFCA_THREADS sets the number of threads; the default is the processors that the process may use. Each thread
does its own matrix products, so the settings of the BLAS library have no effect.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

import numpy as np
import numpy as xp

from refca_cpu.unroll import evolve, loss_and_grads
from refca_cpu.workers import threads

__all__ = ["asarray", "asnumpy", "description", "evolve", "loss_and_grads", "threads", "xp"]


def asarray(x: Any) -> np.ndarray:
    """x as an array of this backend."""
    return np.asarray(x)


def asnumpy(x: np.ndarray) -> np.ndarray:
    """An array of this backend as a NumPy array."""
    return np.asarray(x)


def description() -> str:
    """The number of threads, in words."""
    count = threads()
    return f"{count} thread{'s' if count > 1 else ''} (REFCA_THREADS)"
