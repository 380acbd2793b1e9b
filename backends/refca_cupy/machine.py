"""What the backend needs of a device: a GPU (`device.py`), or a processor in its place (`emulator.py`)."""

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

    def launch(self, name: str, blocks: int, *arguments: int) -> None:
        """Enqueue a kernel, with up to three integers."""


class Capacity(Protocol):
    """How many blocks work on a device, and how they can wait for each other."""

    @property
    def resident(self) -> int:
        """How many blocks work at once."""

    @property
    def clusters(self) -> bool:
        """Whether the blocks of a launch can wait for each other."""

    @property
    def least_cells(self) -> int:
        """How many cells of a sample a block gets at least."""

    @property
    def largest_cluster(self) -> int:
        """How many blocks a cluster can have."""


class Device(Capacity, Protocol):
    """A device, with arrays of its own."""

    @property
    def xp(self) -> Any:
        """The array library: CuPy or NumPy."""

    @property
    def keeps_layers(self) -> bool:
        """Whether layers may be kept for the backward pass, where they fit."""

    def room(self) -> int:
        """How many bytes an unroll may allocate."""

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An uninitialised array."""

    def asnumpy(self, x: Array) -> np.ndarray:
        """x as a NumPy array, after all that was enqueued before."""

    def address(self, x: Array) -> int:
        """Where an array is in memory."""

    def spread(self, items: int) -> int:
        """How many blocks to launch for so many independent items."""

    def module(self, name: str, dtype: str, cell: Cell | None = None, team: int = 1, whole: bool = True) -> Module:
        """A module of `sources.py`, for this cell or for any."""
