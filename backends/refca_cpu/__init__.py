"""The fast backend for processors: NumPy arrays in and out, compiled loops and matrix products between.

Only cells that are alive and fire are computed, about one in eleven on digits, as far as the cell's norm
allows. The first use on a machine compiles the loops and keeps them in a cache.

REFCA_THREADS sets the threads it works on; by default the processors that the process may use. Each does
its own matrix products, so no setting of the BLAS library is needed or heeded.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

import numpy as np
import numpy as xp

from refca_cpu.unroll import evolve, loss_and_grads, threads

__all__ = ["asarray", "asnumpy", "description", "evolve", "loss_and_grads", "threads", "xp"]


def asarray(x: Any) -> np.ndarray:
    """x as an array of this backend."""
    return np.asarray(x)


def asnumpy(x: np.ndarray) -> np.ndarray:
    """An array of this backend as a NumPy array."""
    return np.asarray(x)


def description() -> str:
    """What it works on."""
    count = threads()
    return f"{count} thread{'s' if count > 1 else ''} (REFCA_THREADS)"
