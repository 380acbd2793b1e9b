"""The backend for NVIDIA GPUs: CUDA kernels, through CuPy, that make whole unrolls. Nothing waits for them.

The kernels are CUDA C++, built at the first use for the cell in hand; `emulated.py` runs the same source on a
processor. CuPy builds them so that subnormal numbers are zero. Importing this needs CuPy and a GPU.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca.errors import InvalidInput, NotOffered, Unavailable

INSTEAD = "or use --backend cpu"


def in_one_line(error: Exception) -> str:
    """The message of an error, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


try:
    import cupy
except Exception as error:  # not there, or broken, in many ways
    raise Unavailable(
        f"the cupy backend needs CuPy ({in_one_line(error)}): pip install 'refca[cuda13]', or for a driver of "
        f"CUDA 12 'refca[cuda12]', in its checkout '.[cuda13]'; {INSTEAD}"
    ) from error
try:
    DEVICES = cupy.cuda.runtime.getDeviceCount()
except Exception as error:  # of CUDA, or of what loads its libraries
    cause = in_one_line(error)
    raise Unavailable(f"the cupy backend needs an NVIDIA GPU and its driver ({cause}); {INSTEAD}") from error
if not DEVICES:
    raise Unavailable(f"the cupy backend needs an NVIDIA GPU, and the driver finds none; {INSTEAD}")
try:
    cupy.cuda.nvrtc.getVersion()
except Exception as error:
    raise Unavailable(
        f"the cupy backend needs CUDA's compiler NVRTC ({in_one_line(error)}): pip install 'refca[cuda13]'; {INSTEAD}"
    ) from error

from refca_cupy.device import Gpu  # noqa: E402
from refca_cupy.unroll import DeviceBackend  # noqa: E402

__all__ = ["BACKEND", "Cupy"]


class Cupy(DeviceBackend):
    """CuPy's arrays, and kernels on the current GPU; the arguments are those of `Gpu`."""

    sample_slice = 1000
    devices = tuple(map(str, range(DEVICES)))

    def __init__(self, **how: Any) -> None:
        self.how = how
        super().__init__(Gpu(**how))

    def asarray(self, x: Any) -> Array:
        """Return x as an array on the GPU."""
        return cupy.asarray(x)

    def asnumpy(self, x: Array) -> np.ndarray:
        """Return an array of this backend as a NumPy array."""
        found: np.ndarray = cupy.asnumpy(x)
        return found

    def vjp(self, function: Any, x: Array) -> Any:
        """Raise NotOffered: CuPy differentiates nothing."""
        raise NotOffered("the cupy backend differentiates no functions; let the loss return its gradient too")

    def use_device(self, device: str) -> None:
        """Compute on this GPU from now on, a number from 0. Raise InvalidInput if there is none of this number."""
        if device not in self.devices:
            raise InvalidInput(f"there is no GPU {device} here; they are counted from 0 to {DEVICES - 1}")
        cupy.cuda.Device(int(device)).use()
        self.use(Gpu(**self.how))

    def description(self) -> str:
        """Return the GPU and the libraries, in a few words."""
        name = Gpu().properties["name"].decode()
        version = cupy.cuda.runtime.runtimeGetVersion()
        return f"{name}, CuPy {cupy.__version__}, CUDA {version // 1000}.{version % 1000 // 10}"


BACKEND = Cupy()
