"""The cupy backend without a GPU: its kernels on a processor, to check them. Too slow for training.

Source: the contract of `spec/chapters/backends.md`.
"""

from typing import Any

from refca_cupy.emulator import Emulator, system_compiler
from refca_cupy.unroll import DeviceBackend


class Emulated(DeviceBackend):
    """NumPy arrays, and the kernels in an emulator; the arguments are the emulator's."""

    def __init__(self, **how: Any) -> None:
        super().__init__(Emulator(**how))

    def description(self) -> str:
        """Return what the backend is for, in a few words."""
        return "a processor, for checking kernels; slow"


system_compiler()  # raises Unavailable where there is none
BACKEND = Emulated()
