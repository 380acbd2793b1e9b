"""A processor in the place of a GPU: the source of the kernels, built by the C++ compiler of the system.

It is for checking, and slow. It shows wrong results, and most missing barriers, because the threads of a block
take turns from barrier to barrier, in one direction and then the other. It does not show how fast a kernel is,
nor what only CUDA does (`cuda/gpu.h`).

CXX names the compiler; the default is c++, g++ or clang++.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import atomic_write
from refca.data.download import user_cache
from refca.definition.cell import Array, Cell
from refca.errors import Unavailable
from refca_cupy.sources import files, source

WARP = 32  # of `cuda/warps.h`
FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-w")


class Emulator:
    """A device on NumPy arrays. Memory that nothing has been written to is NaN.

    The arguments say how work is spread, which may change no result. `edit` changes the text of each source
    file, to break kernels on purpose.
    """

    xp = np
    least_cells = 1

    def __init__(
        self,
        threads: int = 32,
        resident: int = 6,
        clusters: bool = True,
        memory_budget: int = 1 << 30,
        fixed: bool = False,
        keeps_layers: bool = True,
        shared_states: bool = False,
        shared_memory: int = 1 << 20,
        largest_cluster: int = 4,
        edit: Callable[[str], str] | None = None,
    ) -> None:
        self.threads, self.resident, self.clusters = threads, resident, clusters
        self.memory, self.fixed, self.keeps_layers, self.edit = memory_budget, fixed, keeps_layers, edit
        self.shared_states, self.shared_memory = shared_states, shared_memory
        self.largest_cluster = largest_cluster

    @property
    def tensor_cores(self) -> bool:
        """Return whether there are tensor cores: they need whole warps."""
        return self.threads % WARP == 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 85, dtype)

    def asnumpy(self, x: Array) -> Array:
        return x

    def address(self, x: Array) -> int:
        return int(x.ctypes.data)

    def memory_budget(self) -> int:
        """The number of bytes that an unroll may allocate."""
        return self.memory

    def spread(self, items: int) -> int:
        """Return the number of blocks to launch for a number of independent items."""
        return min(3, -(-items // self.threads))

    def module(
        self,
        name: str,
        dtype: str,
        cell: Cell | None = None,
        team: int = 1,
        whole: bool = True,
        shared: str = "nothing",
    ) -> Library:
        """A module for any cell, or if `fixed` for this one."""
        how = team if shared == "states" else 1, whole, self.tensor_cores, shared
        text = source("emulator", name, dtype, cell if self.fixed else None, *how)
        edit = self.edit if name == "unroll" else None
        return Library(built(text, edit), self.threads, team)


class Library:
    """A module as a shared library."""

    def __init__(self, path: Path, threads: int, team: int) -> None:
        self.library, self.threads, self.team = ctypes.CDLL(str(path)), threads, team

    def write(self, name: str, structure: ctypes.Structure) -> None:
        """Give the kernels a structure."""
        there = type(structure).in_dll(self.library, name)
        ctypes.memmove(ctypes.byref(there), ctypes.byref(structure), ctypes.sizeof(structure))

    def launch(self, name: str, blocks: int, *arguments: int, shared: int = 0) -> None:
        """Run a kernel. Raises RuntimeError if its threads wait for each other for ever."""
        given, team = (*arguments, 0, 0, 0)[:3], self.team if name in ("forward", "backward") else 1
        if self.library.launch(getattr(self.library, name), blocks, self.threads, team, *given):
            raise RuntimeError(f"{name}: a barrier that some threads never reach")


@cache
def built(text: str, edit: Callable[[str], str] | None = None) -> Path:
    """The library of a program, built at the first use. Raises Unavailable without a compiler."""
    compiler = system_compiler()
    headers = {name: edit(header) if edit else header for name, header in files().items()}
    name = hashlib.sha256("\0".join((text, compiler, *FLAGS, *headers.values())).encode()).hexdigest()[:16]
    library = folder() / f"kernels-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as scratch, atomic_write(library) as temporary:
            path = Path(scratch) / "program.cpp"
            for file, content in {path.name: text, **headers}.items():
                (path.parent / file).write_text(content, "utf-8")
            command = [compiler, *FLAGS, str(path), "-o", str(temporary)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return library


def system_compiler() -> str:
    """The C++ compiler. Raises Unavailable if there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise Unavailable("the kernels cannot be tried on a processor without a C++ compiler; install one, as g++")


def folder() -> Path:
    """The folder of built libraries."""
    return user_cache() / "kernels"
