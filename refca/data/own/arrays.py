"""Data of the user's own that comes as arrays: .npz files, and IDX files of any name.

Letters: N samples, h×w pixels of a picture, S×S those used, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refca.data.decode import adjusted, from_array, resized, with_channels
from refca.data.idx import read_idx
from refca.data.own.masks import INSTANCES, Mask, Masks, indexed, meaning_of
from refca.data.own.pairing import class_sizes, masked_count, some
from refca.data.own.pictures import SAMPLE, as_bytes, pieces
from refca.data.own.settings import OwnSettings
from refca.errors import InvalidInput
from refca.npz import open_npz

IMAGES, LABELS, MASKS = (
    ("images", "image", "x", "data", "pixels"),
    ("labels", "label", "y", "targets"),
    ("masks", "mask"),
)
TESTS = ("test", "t10k", "val")


@dataclass(frozen=True)
class Whole:
    """Arrays of a dataset: for each part pictures (N, h, w[, C]) and labels (N,) or masks (N, h, w)."""

    path: Path
    parts: dict[str, tuple[np.ndarray, np.ndarray]]
    names: list[str]
    how: str

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the pictures."""
        images = next(iter(self.parts.values()))[0]
        return int(images.shape[1]), int(images.shape[2])

    def sample(self) -> list[np.ndarray]:
        """Return some of the pictures, (h, w, C) from 0 to 1."""
        images = next(iter(self.parts.values()))[0]
        return [self.picture(images, i) for i in range(0, len(images), max(1, len(images) // SAMPLE))]

    def picture(self, images: np.ndarray, i: int) -> np.ndarray:
        """Return a picture, (h, w, C) from 0 to 1. Raises InvalidInput for values out of range."""
        return from_array(images[i], f"picture {i} of {self.path}")

    def masks(self, ignore: int | None, named_classes: int) -> Masks:
        """Return what the values of the masks mean. Raises InvalidInput as `meaning_of` does."""
        found = (
            Mask(f"mask {i} of {self.path}", values.astype(np.int64))
            for _, masks in self.parts.values()
            for i, values in enumerate(masks)
        )
        return meaning_of(found, sum(len(masks) for _, masks in self.parts.values()), ignore, named_classes)

    def load(self, own: OwnSettings) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
        """Return pictures (N, S, S, C) uint8, labels, and the part and the name of each sample."""
        pixels: list[np.ndarray] = []
        labels: list[Any] = []
        parts: list[str] = []
        names: list[str] = []
        for part, (images, targets) in self.parts.items():
            for i in range(len(images)):
                picture = with_channels(self.picture(images, i), own.channels, f"picture {i} of {self.path}")
                picture = adjusted(picture, own.invert, own.stretch)
                name = f"{part}{i}"
                if targets.ndim == 1:
                    found = [(resized(picture, own.size, own.size), targets[i])]
                else:
                    found = pieces(picture, self.mask(targets[i], own, i), own)
                for number, (p, label) in enumerate(found):
                    pixels.append(as_bytes(p))
                    labels.append(label)
                    parts.append(part)
                    names.append(f"{name}#{number + 1}" if len(found) > 1 else name)
        kind = np.int64 if np.ndim(labels[0]) == 0 else np.uint8
        return np.stack(pixels), np.array(labels, kind), parts, names

    def mask(self, values: np.ndarray, own: OwnSettings, i: int) -> np.ndarray:
        """Return the labels of a mask, (h, w) uint8."""
        if own.mask_values == INSTANCES:
            return (values > 0).astype(np.uint8)
        return indexed(values.astype(np.int64), own.mask_values, own.ignore, False, f"mask {i} of {self.path}")


def read(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an .npz file, names in lower case. Raises InvalidInput."""
    with open_npz(path) as file:
        return {name.lower(): file.read(name) for name in file.declared if known(name.lower())}


def known(name: str) -> bool:
    """Return whether an array of this name can be a part of a dataset."""
    return any(name in keys(word, part) for word in (*IMAGES, *LABELS, *MASKS) for part in ("", "train", "test", "val"))


def pairs_by_part(
    path: Path, found: dict[str, np.ndarray], second: tuple[str, ...]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the pairs of arrays of each part: as images and labels, train_images and train_labels."""
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for part in ("", "train", "test", "val"):
        a = next((found[k] for name in IMAGES for k in keys(name, part) if k in found), None)
        b = next((found[k] for name in second for k in keys(name, part) if k in found), None)
        if a is None or b is None:
            continue
        parts[part] = (a, fitting(path, a, b, second is LABELS))
    return parts


def fitting(path: Path, images: np.ndarray, targets: np.ndarray, maybe_labels: bool) -> np.ndarray:
    """Return labels as (N,) and masks as (N, h, w). Raises InvalidInput for arrays of other shapes or lengths."""
    N, shape = targets.shape[:1], images.shape
    if len(shape) not in (3, 4):
        raise InvalidInput(f"{path}: pictures must be (N, height, width) or (N, height, width, channels), got {shape}")
    if len(shape) == 4 and shape[1] in (1, 3, 4) and shape[3] > 4:
        raise InvalidInput(
            f"{path}: pictures must be (N, height, width, channels), got {shape}, which looks like channels before "
            "rows; save images.transpose(0, 2, 3, 1) instead"
        )
    if not N or shape[:1] != N or not all(shape):
        raise InvalidInput(f"{path} has pictures {shape} for labels {targets.shape}; each needs one")
    if targets.ndim == 2 and maybe_labels and targets.shape[1] != 1:
        raise InvalidInput(
            f"{path}: labels must be (N,), got {targets.shape}; if there is a column for each class, save "
            "labels.argmax(1) instead"
        )
    if targets.ndim > 3 and targets.shape[1] < targets.shape[3]:
        raise InvalidInput(
            f"{path}: masks must be (N, height, width), got {targets.shape}, which looks like channels before rows; "
            "save masks.argmax(1) instead, or masks[:, 0] if there is one"
        )
    if targets.ndim > 3 and targets.shape[3:] != (1,):
        raise InvalidInput(
            f"{path}: masks must be (N, height, width), got {targets.shape}; if there is a channel for each class, "
            "save masks.argmax(-1) instead"
        )
    return targets.reshape(N) if targets.ndim == 2 and maybe_labels else targets.reshape(targets.shape[:3])


def keys(name: str, part: str) -> list[str]:
    return [name] if not part else [f"{part}_{name}", f"{name}_{part}"]


def npz_kind(path: Path) -> str:
    """Return the kind of an .npz file. Raises InvalidInput, with the arrays that it has, if it is of none."""
    found = read(path)
    if pairs_by_part(path, found, MASKS):
        return "segmentation"
    if parts := pairs_by_part(path, found, LABELS):
        return "segmentation" if next(iter(parts.values()))[1].ndim >= 3 else "classification"
    with open_npz(path) as file:
        names = sorted(file.declared)
    raise InvalidInput(
        f"{path} needs arrays images and labels or masks, perhaps with train_ or test_ before them; it has "
        f"{some(names) or 'none'}"
    )


def masked_arrays(path: Path) -> Whole:
    """Return the pictures and masks of an .npz file. Raises InvalidInput for masks of another size."""
    found = read(path)
    parts = pairs_by_part(path, found, MASKS) or pairs_by_part(path, found, LABELS)
    for images, masks in parts.values():
        if masks.shape[1:3] != images.shape[1:3] or masks.dtype.kind not in "iub":
            raise InvalidInput(
                f"{path} has masks {masks.dtype} of {masks.shape[1:]} for pictures of {images.shape[1:3]}; "
                f"masks are whole "
                "numbers of the size of the pictures"
            )
    count = sum(len(images) for images, _ in parts.values())
    return Whole(path, parts, [], f"{masked_count(count)} in {path.name}")


def labelled(path: Path) -> Whole | None:
    """Return pictures with labels from an .npz file, or from the IDX files of a folder; None if there are none."""
    if path.suffix.lower() == ".npz":
        parts = pairs_by_part(path, read(path), LABELS)
        how = path.name
    elif path.is_dir() and (files := idx_files(path)):
        parts, how = idx_parts(path, files), "IDX files"
    else:
        return None
    labels, sizes = np.unique(np.concatenate([labels for _, labels in parts.values()]), return_counts=True)
    if labels.dtype.kind not in "iub" or len(labels) < 2 or labels.min() < 0:
        raise InvalidInput(
            f"labels of {path} must be whole numbers from 0, of two classes at least; got {some(labels)}"
        )
    largest = int(labels.max())
    if largest + 1 > 10 * len(labels) + 10:
        raise InvalidInput(
            f"labels of {path} go to {largest}, and only {len(labels)} of them are used; number them from 0"
        )
    names = list(map(str, range(largest + 1)))
    count = sum(len(images) for images, _ in parts.values())
    counts = dict.fromkeys(names, 0) | {str(int(x)): int(n) for x, n in zip(labels, sizes, strict=True)}
    return Whole(path, parts, names, f"{count:,} pictures in {len(names)} classes from {how}: {class_sizes(counts)}")


def idx_files(folder: Path) -> list[Path]:
    """Return the IDX files of a folder, known by their names: idx and ubyte, with or without .gz."""
    return sorted(file for file in folder.iterdir() if "ubyte" in file.name.lower() and file.is_file())


def idx_parts(folder: Path, files: list[Path]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the pictures and labels of IDX files, told apart by their dimensions and the words train and test."""
    pictures: dict[str, np.ndarray] = {}
    labels: dict[str, np.ndarray] = {}
    read: dict[tuple[str, int], Path] = {}
    for file in files:
        part = "test" if any(word in file.name.lower() for word in TESTS) else "train"
        ndim = 1 if any(word in file.name.lower() for word in ("label", "idx1")) else 3
        where = labels if ndim == 1 else pictures
        other = read.setdefault((part, ndim), file)
        if other is not file:
            if file.name == f"{other.name}.gz":
                continue  # the same file, unzipped, was read
            raise InvalidInput(f"{folder} has {other.name} and {file.name}; keep each set in a folder of its own")
        where[part] = read_idx(file, ndim)
    parts = {}
    for part, images in pictures.items():
        if part not in labels or len(labels[part]) != len(images):
            count = f"{len(labels[part])} labels" if part in labels else "no file of labels"
            raise InvalidInput(f"{folder} has {len(images)} pictures to {part} on, and {count} for them")
        parts[part] = (images, labels[part])
    if not parts:
        raise InvalidInput(f"{folder} has no IDX file of pictures beside {some(file.name for file in files)}")
    return parts if set(parts) != {"train"} else {"": parts["train"]}
