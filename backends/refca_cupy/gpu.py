"""The backend for NVIDIA GPUs: CUDA kernels, through CuPy, that make whole unrolls. Nothing waits for them.

The kernels are CUDA C++, built at the first use for the cell in hand; `emulated.py` runs the same source on a
processor. CuPy builds them so that subnormal numbers are zero. Importing this needs CuPy and a GPU.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca.errors import InvalidInput, Unavailable

INSTEAD = "or use --backend cpu"
try:
    import cupy
    import cupy as xp
except ImportError as error:
    raise Unavailable(
        f"the cupy backend needs CuPy ({error}): pip install 'refca[cuda13]', or for a driver of CUDA 12 "
        f"'refca[cuda12]', in its checkout '.[cuda13]'; {INSTEAD}"
    ) from error
try:
    DEVICES = cupy.cuda.runtime.getDeviceCount()
except cupy.cuda.runtime.CUDARuntimeError as error:
    raise Unavailable(f"the cupy backend needs an NVIDIA GPU and its driver ({error}); {INSTEAD}") from error

from refca_cupy.device import Gpu  # noqa: E402
from refca_cupy.unroll import Backend  # noqa: E402

__all__ = [
    "adam_step",
    "asarray",
    "asnumpy",
    "description",
    "evolve",
    "initial",
    "loss_and_grads",
    "sample_slice",
    "use_device",
    "xp",
]

sample_slice = 1000
BACKEND = Backend(Gpu())
evolve, loss_and_grads = BACKEND.evolve, BACKEND.loss_and_grads
adam_step, initial = BACKEND.adam_step, BACKEND.initial


def asarray(x: Any) -> Array:
    """x as an array on the GPU."""
    return cupy.asarray(x)


def asnumpy(x: Array) -> np.ndarray:
    """An array of this backend as a NumPy array."""
    found: np.ndarray = cupy.asnumpy(x)
    return found


def use_device(n: int) -> None:
    """Compute on GPU n from now on, counted from 0. Raises InvalidInput if there is none of this number."""
    if not 0 <= n < DEVICES:
        raise InvalidInput(f"there is no GPU {n} here; they are counted from 0 to {DEVICES - 1}")
    cupy.cuda.Device(n).use()
    BACKEND.device = Gpu()


def description() -> str:
    """The GPU and the libraries, in a few words."""
    name = Gpu().properties["name"].decode()
    version = cupy.cuda.runtime.runtimeGetVersion()
    return f"{name}, CuPy {cupy.__version__}, CUDA {version // 1000}.{version % 1000 // 10}"
