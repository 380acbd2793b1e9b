"""A processor in the place of a GPU: the kernels' own source, built by the C++ compiler of the system.

It is for checking, and slow. What it cannot show: how fast a kernel is, and what CUDA alone does, which is in
`cuda/cuda.h`. Threads of a block take turns from barrier to barrier, in both directions, so that a missing
barrier shows wherever the result depends on it.

CXX names the compiler; by default it is c++, g++ or clang++.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from refca.backend import Unavailable
from refca.cell import Array, Cell
from refca.data.download import user_cache
from refca.files import replacing
from refca_cupy.layout import Unroll
from refca_cupy.sources import source

FLAGS = ("-std=c++17", "-O1", "-shared", "-fPIC", "-fvisibility=hidden", "-Wall", "-Werror", "-Wno-sign-compare")


class Emulator:
    """A device of `unroll.py`, on NumPy arrays. Memory that nothing has been written to is NaN."""

    xp = np
    least_cells = 1

    def __init__(self, threads: int = 8, processors: int = 6, clusters: bool = True, room: int = 1 << 30) -> None:
        self.threads, self.processors, self.clusters, self.memory = threads, processors, clusters, room
        self.resident, self.largest_cluster = processors // 2, 4

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 85, dtype)

    def address(self, x: Array) -> int:
        return x.ctypes.data

    def room(self) -> int:
        """How many bytes more fit."""
        return self.memory

    def spread(self, items: int) -> int:
        """Blocks for so many items, each on its own."""
        return min(3, -(-items // self.threads))

    def module(self, cell: Cell, dtype: str, team: int) -> Library:
        """The kernels for any cell."""
        return Library(dtype, self.threads, team)


class Library:
    """The kernels in one dtype."""

    def __init__(self, dtype: str, threads: int, team: int) -> None:
        self.library, self.threads, self.team = ctypes.CDLL(str(built(dtype))), threads, team

    def write(self, unroll: Unroll) -> None:
        """Give the kernels this call."""
        ctypes.memmove(ctypes.byref(Unroll.in_dll(self.library, "u")), ctypes.byref(unroll), ctypes.sizeof(Unroll))
        self.call = unroll  # its arrays live as long as it does

    def launch(self, name: str, blocks: int, *arguments: int, team: bool = False) -> None:
        given = (*arguments, 0, 0, 0)[:3]
        kernel = getattr(self.library, name)
        if self.library.launch(kernel, blocks, self.threads, self.team if team else 1, *given):
            raise RuntimeError(f"{name}: a barrier that some threads never reach")


@cache
def built(dtype: str) -> Path:
    """The library of the kernels in this dtype, built if it has not been. Raises Unavailable without a compiler."""
    compiler = compiler_of_the_system()
    text = source("emulator", dtype)
    name = hashlib.sha256("\0".join((text, compiler, *FLAGS)).encode()).hexdigest()[:16]
    library = folder() / f"kernels-{name}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "kernels.cpp"
            path.write_text(text, "utf-8")
            with replacing(library) as temporary:
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
