"""Packs: all photographs of one size in one npz file, which is quick to read and to carry about.

For each split, "train" and "test", a pack has {split}_trimaps (N, S, S) uint8, {split}_names (N,) bytes, and
either {split}_images (N, S, S, 3) uint8, or JPEG files end to end in {split}_images_jpeg (bytes,) uint8 with
{split}_images_offsets (N+1,): file i is bytes offsets[i] to offsets[i+1].

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from refca.atomic import atomic_write
from refca.data.photographs import CLASSES, Photographs, in_order
from refca.data.pictures import opened, rgb
from refca.errors import InvalidInput
from refca.npz import open_npz

SPLITS = ("train", "test")
SOURCES = "sources"  # the hashes of the archives that a pack in the cache was made from
LONGEST_NAME = 256  # bytes
AGAIN = "delete it and get it again"


def read_pack(path: Path, size: int, splits: Iterable[str] = SPLITS) -> dict[str, Photographs]:
    """Return splits of a pack of photographs of size×size, in the order of `in_order`.

    Raises InvalidInput, naming the file, if it cannot be read, is damaged, or holds something else.
    """
    return {split: read_split(path, read_arrays(path, split, size), split, size) for split in splits}


def sources_of(path: Path) -> tuple[str, ...]:
    """The hashes of the archives that a pack was made from, as far as it says. Raises InvalidInput."""
    with open_npz(path, AGAIN) as file:
        declared = file.declared.get(SOURCES, np.empty(0))
        if declared.dtype.kind != "S" or declared.shape != (2,) or declared.dtype.itemsize > LONGEST_NAME:
            return ()
        return tuple(hash.decode("ascii", "replace") for hash in file.read(SOURCES).tolist())


def write_pack(path: Path, splits: Mapping[str, Photographs], sources: Iterable[str] = ()) -> None:
    """Writes a pack with plain pixels, whole or not at all. Raises OSError as the file system does."""
    arrays: dict[str, np.ndarray] = {SOURCES: np.array([hash.encode() for hash in sources])} if sources else {}
    for split, photographs in splits.items():
        arrays[f"{split}_images"] = photographs.pixels
        arrays[f"{split}_trimaps"] = photographs.trimaps
        arrays[f"{split}_names"] = np.array([name.encode() for name in photographs.names])
    with atomic_write(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)


def read_arrays(path: Path, split: str, size: int) -> dict[str, np.ndarray]:
    """The arrays of a pack that belong to a split, after a look at what they declare to be.

    Raises InvalidInput if the file is damaged or an array is not of a pack of size×size photographs.
    """
    with open_npz(path, AGAIN) as file:
        check_declared(path, file.declared, split, size)
        pixels = [name for name in (f"{split}_images_jpeg", f"{split}_images") if name in file.declared][:1]
        names = [f"{split}_names", f"{split}_trimaps", f"{split}_images_offsets", *pixels]
        return {name: file.read(name) for name in names if name in file.declared}


def check_declared(path: Path, declared: Mapping[str, np.ndarray], split: str, size: int) -> None:
    """Raise InvalidInput unless the arrays have the names, shapes and dtypes of a pack."""
    names = declared.get(f"{split}_names", np.empty(0))
    if names.ndim != 1 or names.dtype.kind != "S" or not len(names) or names.dtype.itemsize > LONGEST_NAME:
        raise InvalidInput(f"{path} is not a pack with {split} photographs: it has no names of them, {split}_names")
    N = len(names)
    checked(path, declared, f"{split}_trimaps", (N, size, size))
    if f"{split}_images_jpeg" in declared:
        checked(path, declared, f"{split}_images_jpeg")
        ends = declared.get(f"{split}_images_offsets", np.empty(0))
        if ends.shape != (N + 1,) or ends.dtype.kind not in "iu":
            raise InvalidInput(
                f"{path} has {split}_images_offsets {ends.dtype} {ends.shape}; needed are {N + 1} integers"
            )
    else:
        checked(path, declared, f"{split}_images", (N, size, size, 3))


def read_split(path: Path, arrays: Mapping[str, np.ndarray], split: str, size: int) -> Photographs:
    """One split of a pack. Raises InvalidInput unless its arrays are as they should be and fit each other."""
    names = read_names(path, arrays, split)
    N = len(names)
    trimaps = checked(path, arrays, f"{split}_trimaps", (N, size, size))
    if trimaps.max() >= len(CLASSES):
        known = ", ".join(f"{i} {name}" for i, name in enumerate(CLASSES))
        raise InvalidInput(f"{path} holds the label {trimaps.max()} in {split}_trimaps; labels are {known}")
    if f"{split}_images_jpeg" in arrays:
        pixels = decoded(path, arrays, split, names, size)
    else:
        pixels = checked(path, arrays, f"{split}_images", (N, size, size, 3))
    ordered = in_order(names)
    if ordered != names:
        place = {name: i for i, name in enumerate(names)}
        order = [place[name] for name in ordered]
        pixels, trimaps = pixels[order], trimaps[order]
    return Photographs(pixels, trimaps, tuple(ordered))


def read_names(path: Path, arrays: Mapping[str, np.ndarray], split: str) -> list[str]:
    """The names of a split in a pack. Raises InvalidInput if one comes twice."""
    names = [name.decode("ascii", "replace") for name in arrays[f"{split}_names"].tolist()]
    if len(set(names)) < len(names):
        raise InvalidInput(f"{path} names {len(names)} {split} photographs, of which {len(set(names))} differ")
    return names


def checked(
    path: Path, arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...] | None = None
) -> np.ndarray:
    """This array of a pack. Raises InvalidInput unless it is there, of bytes, and of this shape; None: (n,)."""
    array = arrays.get(name)
    if array is None:
        raise InvalidInput(f"{path} is not a whole pack of photographs: it has no {name}")
    if array.dtype != np.uint8 or array.shape != (shape or (array.size,)):
        raise InvalidInput(f"{path} has {name} {array.dtype} {array.shape}; needed are uint8 {shape or '(bytes,)'}")
    return array


def decoded(path: Path, arrays: Mapping[str, np.ndarray], split: str, names: list[str], size: int) -> np.ndarray:
    """The pixels of the JPEG files of a split, (N, size, size, 3) uint8. Raises InvalidInput."""
    jpeg, ends = arrays[f"{split}_images_jpeg"], arrays[f"{split}_images_offsets"]
    if (ends[0], ends[-1]) != (0, len(jpeg)) or (ends[1:] <= ends[:-1]).any():
        raise InvalidInput(
            f"{path} has {split}_images_offsets {ends.dtype} {ends.shape} that do not cut {len(jpeg)} bytes "
            f"into {len(names)} JPEG files"
        )
    pixels = np.empty((len(names), size, size, 3), np.uint8)
    for i, (begin, end) in enumerate(pairwise(ends.tolist())):
        what = f"{names[i]} in {path}"
        picture = rgb(opened(jpeg[begin:end].tobytes(), what), what)
        if picture.size != (size, size):
            raise InvalidInput(f"{what} has {picture.width}x{picture.height} pixels; needed are {size}x{size}")
        pixels[i] = np.asarray(picture)
    return pixels
