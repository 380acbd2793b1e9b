"""The interface to a device: a GPU (`device.py`), or a CPU in its place (`emulator.py`)."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from refca.definition.cell import Array, Cell


class Module(Protocol):
    """Kernels that were built together, and the structure that they share."""

    def write(self, name: str, structure: ctypes.Structure) -> None:
        """Give the kernels a structure, after all that was enqueued before."""

    def launch(self, name: str, blocks: int, *arguments: int, shared: int = 0) -> None:
        """Enqueue a kernel, with up to three integers, and `shared` bytes of shared memory besides its own."""


class Capacity(Protocol):
    """The number of blocks that run on a device, and their means to wait for each other."""

    @property
    def resident(self) -> int:
        """The number of blocks that run at once."""

    @property
    def clusters(self) -> bool:
        """Return whether the blocks of a launch can wait for each other."""

    @property
    def shared_memory(self) -> int:
        """The number of bytes of shared memory that a block can have."""

    @property
    def shared_states(self) -> bool:
        """Return whether states may be kept in shared memory where they fit."""

    @property
    def least_cells(self) -> int:
        """The least number of cells of a sample for a block."""

    @property
    def largest_cluster(self) -> int:
        """The largest number of blocks in a cluster."""


class Device(Capacity, Protocol):
    """A device, with arrays of its own."""

    @property
    def xp(self) -> Any:
        """The array library: CuPy or NumPy."""

    @property
    def tensor_cores(self) -> bool:
        """Return whether products in float32 are on tensor cores."""

    @property
    def keeps_layers(self) -> bool:
        """Return whether layers may be kept for the backward pass where they fit."""

    def memory_budget(self) -> int:
        """The number of bytes that an unroll may allocate."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array."""

    def asnumpy(self, x: Array) -> np.ndarray:
        """x as a NumPy array, after all that was enqueued before."""

    def address(self, x: Array) -> int:
        """Return the address of an array."""

    def spread(self, items: int) -> int:
        """Return the number of blocks to launch for a number of independent items."""

    def module(
        self,
        name: str,
        dtype: str,
        cell: Cell | None = None,
        team: int = 1,
        whole: bool = True,
        shared: str = "nothing",
    ) -> Module:
        """A module of `sources.py`, for this cell or for any."""
