"""The cupy backend without a GPU: its kernels on a processor, to check them. Too slow for training.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

import numpy as np
import numpy as xp

from refca_cupy.emulator import Emulator, system_compiler
from refca_cupy.unroll import Backend

__all__ = ["adam_step", "asarray", "asnumpy", "description", "evolve", "initial", "loss_and_grads", "xp"]

BACKEND = Backend(Emulator())
evolve, loss_and_grads = BACKEND.evolve, BACKEND.loss_and_grads
adam_step, initial = BACKEND.adam_step, BACKEND.initial
system_compiler()  # raises Unavailable where there is none


def description() -> str:
    """Return a short description of the backend."""
    return "a processor, for checking kernels; slow"


def asarray(x: Any) -> np.ndarray:
    """x as an array of this backend."""
    return np.asarray(x)


def asnumpy(x: np.ndarray) -> np.ndarray:
    """An array of this backend as a NumPy array."""
    return np.asarray(x)
