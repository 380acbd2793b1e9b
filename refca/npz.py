"""Reading .npz files with care: what an array declares is known before it is read, and only what is asked for is.

NumPy's own reader loads whatever an array claims to be. This one reads the headers first, refuses pickled
objects, and reads each array to its end, where the checksum of the zip file is compared.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase, BytesIO
from math import prod
from pathlib import Path
from typing import Any, cast

import numpy as np

from refca.errors import InvalidInput
from refca.reading import AGAIN, check_expansion, reading

KIND = "an .npz file"
LONGEST_HEADER = 10_240  # bytes; NumPy writes 128


class NpzFile:
    """An open .npz file. `declared` maps each name to an array of its shape and dtype that takes no memory."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, remedy: str) -> None:
        self.path, self.archive, self.remedy = path, archive, remedy
        self.declared: dict[str, np.ndarray] = {}
        self.members: dict[str, tuple[zipfile.ZipInfo, int, bool]] = {}  # with the header's length, and column order
        for info in archive.infolist():
            if not info.filename.endswith(".npy"):
                continue  # nothing that NumPy writes, and nothing that is asked for
            name = info.filename.removesuffix(".npy")
            if name in self.declared:
                raise InvalidInput(f"{path} holds two arrays called {name}; {remedy}")
            with archive.open(info) as file:
                head = BytesIO(file.read(LONGEST_HEADER))
            shape, columns_first, dtype = header(head)
            if dtype.hasobject:
                raise InvalidInput(f"{path}: {name} holds pickled Python objects, which are never loaded")
            self.declared[name] = np.broadcast_to(np.zeros((), dtype), shape)
            self.members[name] = info, head.tell(), columns_first

    def read(self, name: str) -> np.ndarray:
        """Return the array of this name, one of `declared`. Raises InvalidInput if it is not whole."""
        info, start, columns_first = self.members[name]
        declared = self.declared[name]
        size = prod(declared.shape) * declared.dtype.itemsize
        if info.file_size != start + size:
            raise InvalidInput(
                f"{self.path} is damaged: {name} declares {size:,} bytes and has {info.file_size - start:,}; "
                f"{self.remedy}"
            )
        check_expansion(f"{self.path}: {name}", info.compress_size, size)
        content = np.empty(size, np.uint8)
        with reading(self.path, KIND, self.remedy), self.archive.open(info) as opened:
            file = cast(BufferedIOBase, opened)
            file.read(start)
            filled, view = 0, content.data
            while count := file.readinto(view[filled:]):
                filled += count
            file.read(1)  # at the end the checksum is compared
        return content.view(declared.dtype).reshape(declared.shape, order="F" if columns_first else "C")


@contextmanager
def open_npz(path: Path, remedy: str = AGAIN) -> Iterator[NpzFile]:
    """Open an .npz file. Raises InvalidInput, naming the file, if it is damaged or something else."""
    with reading(path, KIND, remedy):
        archive = zipfile.ZipFile(path)
    with archive:
        with reading(path, KIND, remedy):
            file = NpzFile(path, archive, remedy)
        yield file


def header(file: BytesIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Return shape, whether columns come first, and dtype as the head of an .npy file declares them."""
    version = np.lib.format.read_magic(file)
    read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, columns_first, dtype = read(file)
    if any(size < 0 for size in shape):
        raise ValueError(f"an array has shape {shape}")
    return shape, columns_first, dtype
