"""A processor in the place of a GPU: the kernels' own source, built by the C++ compiler of the system.

It is for checking, and slow. What it cannot show: how fast a kernel is, and what CUDA alone does, which is in
`cuda/cuda.h`. Threads of a block take turns from barrier to barrier, in one direction and the other, so that
most barriers that are missing show in the result.

CXX names the compiler; by default it is c++, g++ or clang++.
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
from refca_cupy.sources import source

FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-w")


class Emulator:
    """A device of `unroll.py`, on NumPy arrays. Memory that nothing has been written to is NaN.

    Arguments say how work is laid out, which may change no result; `edit` changes the source, to try checks.
    """

    xp = np
    least_cells = 1
    largest_cluster = 4

    def __init__(
        self,
        threads: int = 16,
        resident: int = 6,
        clusters: bool = True,
        room: int = 1 << 30,
        fixed: bool = False,
        edit: Callable[[str], str] = lambda source: source,
    ) -> None:
        self.threads, self.resident, self.clusters = threads, resident, clusters
        self.memory, self.fixed, self.edit = room, fixed, edit

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 85, dtype)

    def asnumpy(self, x: Array) -> Array:
        return x

    def address(self, x: Array) -> int:
        return int(x.ctypes.data)

    def room(self) -> int:
        """How many bytes an unroll may keep."""
        return self.memory

    def spread(self, items: int) -> int:
        """Blocks for so many items, each on its own."""
        return min(3, -(-items // self.threads))

    def module(self, name: str, dtype: str, cell: Cell | None = None, team: int = 1, whole: bool = True) -> Library:
        """Kernels, for any cell or for this one."""
        text = source("emulator", name, dtype, cell if self.fixed else None, whole=whole)
        text = self.edit(text) if name == "unroll" else text
        return Library(built(text), self.threads, team)


class Library:
    """The kernels in one dtype."""

    def __init__(self, path: Path, threads: int, team: int) -> None:
        self.library, self.threads, self.team = ctypes.CDLL(str(path)), threads, team

    def write(self, name: str, structure: ctypes.Structure) -> None:
        """Give the kernels a structure."""
        there = type(structure).in_dll(self.library, name)
        ctypes.memmove(ctypes.byref(there), ctypes.byref(structure), ctypes.sizeof(structure))

    def launch(self, name: str, blocks: int, *arguments: int) -> None:
        """Run a kernel. Raises RuntimeError if its threads wait for each other for ever."""
        given, team = (*arguments, 0, 0, 0)[:3], self.team if name in ("forward", "backward") else 1
        if self.library.launch(getattr(self.library, name), blocks, self.threads, team, *given):
            raise RuntimeError(f"{name}: a barrier that some threads never reach")


@cache
def built(text: str) -> Path:
    """The library of this source, built if it has not been. Raises Unavailable without a compiler."""
    compiler = compiler_of_the_system()
    name = hashlib.sha256("\0".join((text, compiler, *FLAGS)).encode()).hexdigest()[:16]
    library = folder() / f"kernels-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as scratch, atomic_write(library) as temporary:
            path = Path(scratch) / "kernels.cpp"
            path.write_text(text, "utf-8")
            command = [compiler, *FLAGS, str(path), "-o", str(temporary)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return library


def compiler_of_the_system() -> str:
    """The C++ compiler. Raises Unavailable if there is none."""
    for name in (os.environ.get("CXX"), "c++", "g++", "clang++"):
        if name and shutil.which(name):
            return name
    raise Unavailable("the kernels cannot be tried on a processor without a C++ compiler; install one, as g++")


def folder() -> Path:
    """Where libraries are kept."""
    return user_cache() / "kernels"
