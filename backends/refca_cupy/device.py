"""The GPU, through CuPy. Work is enqueued, and not waited for."""

from __future__ import annotations

import ctypes
import os
from functools import cache, cached_property
from typing import Any

import cupy
import numpy as np

from refca.definition.cell import Array, Cell
from refca_cupy.sources import FOLDER, THREADS, source, threads

CLUSTERS = os.environ.get("REFCA_CUPY_CLUSTERS", "1") != "0"  # 0: do without clusters, should they fail
TENSOR_CORES = os.environ.get("REFCA_CUPY_TENSOR_CORES", "1") != "0"  # 0: do without tensor cores
SHARED_STATES = os.environ.get("REFCA_CUPY_SHARED_STATES", "1") != "0"  # 0: keep no states in shared memory
LEAST_WIDTH = 16  # hidden units from which a cell gets a module of its own, which takes seconds to build


class Gpu:
    """The GPU that is current at the first use.

    A block gets at least `least_cells` cells of a sample. Without `clusters` blocks never wait for each other, without
    `tensor_cores`, float32 products are computed in the same way as float64 products, and without `shared_states` the
    states are in the device's memory alone.
    """

    xp = cupy
    largest_cluster = 8  # blocks; every GPU with clusters supports so many

    def __init__(
        self,
        least_cells: int = 16,
        clusters: bool = CLUSTERS,
        keeps_layers: bool = True,
        tensor_cores: bool = TENSOR_CORES,
        shared_states: bool = SHARED_STATES,
    ) -> None:
        self.least_cells, self.with_clusters, self.keeps_layers = least_cells, clusters, keeps_layers
        self.with_tensor_cores, self.shared_states = tensor_cores, shared_states
        self.modules: dict[str, Module] = {}

    @cached_property
    def properties(self) -> dict[str, Any]:
        found: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        return found

    @property
    def resident(self) -> int:
        """The number of blocks that run at once: two on each multiprocessor."""
        return 2 * int(self.properties["multiProcessorCount"])

    @property
    def clusters(self) -> bool:
        """Return whether the blocks of a launch can wait for each other."""
        return self.with_clusters and int(self.properties["major"]) >= 9

    @property
    def tensor_cores(self) -> bool:
        """Return whether products in float32 are on tensor cores: these have TF32 from Ampere on."""
        return self.with_tensor_cores and int(self.properties["major"]) >= 8

    @property
    def shared_memory(self) -> int:
        """The number of bytes of shared memory that a block can have."""
        return int(self.properties["sharedMemPerBlockOptin"])

    @cached_property
    def memory(self) -> int:
        free, _ = cupy.cuda.Device().mem_info
        return int(free)

    def memory_budget(self) -> int:
        """The number of bytes that an unroll may allocate: half of the memory that was free at first."""
        return self.memory // 2

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return cupy.empty(shape, dtype)

    def asnumpy(self, x: Array) -> np.ndarray:
        """x as a NumPy array, after all that was enqueued before."""
        return x if isinstance(x, np.ndarray) else x.get()

    def address(self, x: Array) -> int:
        return int(x.data.ptr)

    def spread(self, items: int) -> int:
        """Return the number of blocks to launch for a number of independent items."""
        return min(4 * self.resident, -(-items // THREADS))

    def module(
        self,
        name: str,
        dtype: str,
        cell: Cell | None = None,
        team: int = 1,
        whole: bool = True,
        shared: str = "nothing",
    ) -> Module:
        """A module for this cell; for a small cell, or none, the module for any cell."""
        own = cell if cell is not None and cell.hidden_width >= LEAST_WIDTH else None
        text = source("gpu", name, dtype, own, team, whole, self.tensor_cores, shared)
        if text not in self.modules:
            self.modules[text] = Module(text, threads(team, shared))
        return self.modules[text]


class Module:
    """Kernels that NVRTC builds at the first use. CuPy caches what it has built."""

    def __init__(self, text: str, threads: int = THREADS) -> None:
        self.threads = threads
        raw = cupy.RawModule(code=text, options=("-std=c++17", f"-I{FOLDER}"))
        self.kernel, self.structure = cache(raw.get_function), cache(raw.get_global)

    def write(self, name: str, structure: ctypes.Structure) -> None:
        """Give the kernels a structure, after all that was enqueued before."""
        there, stream = self.structure(name), cupy.cuda.get_current_stream()
        there.copy_from_host_async(ctypes.addressof(structure), ctypes.sizeof(structure), stream)

    def launch(self, name: str, blocks: int, *arguments: int, shared: int = 0) -> None:
        """Enqueue a kernel, with `shared` bytes of shared memory besides its own."""
        given, kernel = tuple(map(cupy.int32, (*arguments, 0, 0, 0)[:3])), self.kernel(name)
        if shared > kernel.max_dynamic_shared_size_bytes:
            kernel.max_dynamic_shared_size_bytes = shared
        kernel((blocks,), (self.threads,), given, shared_mem=shared)
