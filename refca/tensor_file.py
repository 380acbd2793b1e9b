"""Files of named arrays in the safetensors format: written whole or not at all, with a hash of each array.

The format itself has no checksum: a turned bit loads as another number. refca's files have, in their
metadata, hashes of the settings and of every array; a file without them, which another program wrote, is
taken as it is. What an array declares to be is known before it is read, and only what is asked for is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refca.atomic import atomic_write
from refca.contract.checks import check_params
from refca.definition.cell import Cell, Params
from refca.errors import InvalidInput, NotFinite
from refca.reading import reading

KIND = "a whole safetensors file"
KEY = "refca"  # of the metadata; safetensors writes several keys in any order, and equal runs write equal files
HASHES, SETTINGS = "hashes", "settings"  # hashes are beside the settings, and have one of these
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "?",
    "F16": "<f4",  # read as float32, which holds its numbers exactly
    "BF16": "<f4",
}


class ArrayFile(Protocol):
    """An open file of arrays. `declared` maps each name to an array of its shape and dtype that takes no memory."""

    declared: dict[str, np.ndarray]

    def read(self, name: str) -> np.ndarray:
        """Return the array of this name, one of `declared`. Raises InvalidInput if it is damaged."""


class TensorFile:
    """An open safetensors file: an ArrayFile with metadata.

    `settings` is the JSON value that refca stores with arrays, None in files of other programs.
    """

    def __init__(self, path: Path, handle: Any) -> None:
        self.path, self.handle = path, handle
        metadata = handle.metadata() or {}
        slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
        self.dtypes = {name: str(x.get_dtype()) for name, x in slices.items()}
        self.declared = {
            name: np.broadcast_to(np.zeros((), DTYPES.get(self.dtypes[name], "V1")), x.get_shape())
            for name, x in slices.items()
        }
        if KEY not in metadata and any(f'"{HASHES}": ' in text for text in metadata.values()):
            raise ValueError("the key of its settings is wrong")
        self.settings: Any = json.loads(metadata[KEY]) if KEY in metadata else None
        self.hashes: dict[str, str] | None = None
        if isinstance(self.settings, dict) and HASHES in self.settings:
            found = self.settings.pop(HASHES)
            self.hashes = {str(name): str(hash) for name, hash in found.items()}
            if self.hashes.keys() != {SETTINGS, *self.declared} or self.hashes[SETTINGS] != text_hash(self.settings):
                raise ValueError("the hash of its settings or the names of its arrays are wrong")

    def read(self, name: str) -> np.ndarray:
        """Return the array of this name, one of `declared`.

        Raises InvalidInput if its hash is another one, and for a dtype that NumPy does not have.
        """
        dtype = self.dtypes[name]
        if dtype not in DTYPES:
            raise InvalidInput(
                f"{self.path}: {name} is {dtype}, whose scale the file does not tell; convert it to float32 first, "
                "in PyTorch with tensor.float(): see docs/weights.md"
            )
        with reading(self.path, KIND):
            array = self.bfloat16(name) if dtype == "BF16" else self.handle.get_tensor(name)
        if self.hashes is not None and array_hash(array) != self.hashes[name]:
            raise InvalidInput(f"{self.path} is damaged: {name} is not as it was written; get the file again")
        return np.asarray(array, self.declared[name].dtype)

    def bfloat16(self, name: str) -> np.ndarray:
        """An array of bfloat16, the upper halves of float32, as float32."""
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            first, last = json.loads(file.read(length))[name]["data_offsets"]
            file.seek(8 + length + first)
            halves = np.frombuffer(file.read(last - first), "<u2")
        return (halves.astype("<u4") << 16).view("<f4").reshape(self.declared[name].shape)


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a safetensors file. Raises InvalidInput, naming the file, if it is damaged or something else."""
    from safetensors import safe_open

    with reading(path, KIND):
        handle = safe_open(path, "numpy")
    with handle as opened:
        with reading(path, KIND):
            file = TensorFile(path, opened)
        yield file


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], settings: Any) -> None:
    """Write NumPy arrays and JSON settings as a safetensors file. Raises OSError as the file system does."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(x) for name, x in tensors.items()}
    hashes = {SETTINGS: text_hash(settings)} | {name: array_hash(arrays[name]) for name in sorted(arrays)}
    text = json.dumps({**settings, HASHES: hashes} if isinstance(settings, dict) else settings)
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(arrays, {KEY: text}))


def array_hash(array: np.ndarray) -> str:
    """A hash of an array's dtype, shape and bytes."""
    content = blake2b(f"{array.dtype.str} {array.shape}".encode(), digest_size=16)
    content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()


def text_hash(settings: Any) -> str:
    """A hash of settings as JSON, which is the same after they were written and read."""
    return blake2b(json.dumps(settings).encode(), digest_size=16).hexdigest()


def check_weights(path: Path, cell: Cell, params: Params, remedy: str = "") -> None:
    """Raise InvalidInput, naming the file, unless these are finite parameters of this cell.

    `remedy` is added to the sentence about parameters of another cell.
    """
    check_shapes(path, cell, params, remedy)
    check_finite(path, params)


def check_shapes(path: Path, cell: Cell, params: Params, remedy: str = "") -> None:
    """Raise InvalidInput, naming the file, unless these have the names, shapes and dtypes of the cell's parameters."""
    try:
        check_params(cell, params)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}{remedy}") from error


def check_finite(path: Path, arrays: Params) -> None:
    """Raise NotFinite, naming file and array, if a number is NaN or infinite."""
    for name, x in arrays.items():
        if not np.isfinite(np.asarray(x)).all():
            raise NotFinite(f"{path}: {name} holds NaN or infinity")
