"""Photographs with a label for each pixel, as the segmentation automaton sees them.

Source: the paper's three classes, and images scaled to [-1, 1]; `spec/data.md`.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

CLASSES = ("background", "object", "boundary")
IGNORED = 255  # the number in a trimap of pixels that count in nothing


def picture_of(tile: str) -> str:
    """Return the name of the picture that a tile, such as NAME#3, was cut from."""
    return re.sub(r"#\d+$", "", tile)


@dataclass(frozen=True)
class Photographs:
    """pixels (N, S, S, K) uint8; trimaps (N, S, S) uint8, numbers of `classes`, 255 for ignored; a name for each."""

    pixels: Any  # NumPy's, or of the backend that they were moved to
    trimaps: np.ndarray
    names: tuple[str, ...]
    classes: tuple[str, ...] = CLASSES
    colours: tuple[str, ...] = ()  # of the classes, as #rrggbb, if they are known

    @cached_property
    def label_counts(self) -> np.ndarray:
        """The number of pixels that have each label, (256,)."""
        return np.bincount(self.trimaps.ravel(), minlength=256)

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return int(self.pixels.shape[3])

    @property
    def largest_label(self) -> int:
        """The largest label that a pixel has; -1 if all are ignored."""
        return int(np.flatnonzero(self.label_counts[:IGNORED]).max(initial=-1))

    def __len__(self) -> int:
        return len(self.pixels)

    def fingerprint(self) -> str:
        """A hash of all pixels and trimaps: equal for equal photographs in the same order."""
        content = hashlib.blake2b(repr(self.pixels.shape).encode(), digest_size=16)
        content.update(self.pixels.ravel().data)
        content.update(self.trimaps.ravel().data)
        return content.hexdigest()

    def on(self, backend: Any) -> Photographs:
        """The same photographs, their pixels and so what `images` gives arrays of the backend."""
        return replace(self, pixels=backend.asarray(self.pixels))

    def part(self, first: int, end: int) -> Photographs:
        """Return the photographs from number `first` up to but not including number `end`."""
        here = slice(first, end)
        return replace(self, pixels=self.pixels[here], trimaps=self.trimaps[here], names=self.names[here])

    def chosen(self, here: np.ndarray) -> Photographs:
        """Return the photographs for which `here` (N,) is true."""
        names = tuple(name for name, kept in zip(self.names, here, strict=True) if kept)
        return replace(self, pixels=self.pixels[here], trimaps=self.trimaps[here], names=names)

    def images(self, numbers: Any, flipped: np.ndarray | None = None) -> Any:
        """Return photographs as cells perceive them, (len(numbers), S, S, 3) float32: pixels / 127.5 - 1.

        `numbers` is a slice or a sequence of integers; `flipped` (len(numbers),) boolean marks those that are
        mirrored left to right. Raises IndexError for a number beyond the last.
        """
        pixels = mirrored(self.pixels[chosen(numbers)], flipped)
        return pixels / np.float32(127.5) - np.float32(1)  # float32, in any library

    def labels(self, numbers: Any, flipped: np.ndarray | None = None) -> np.ndarray:
        """The label map of each photograph, (len(numbers), S, S) int64, -1 where it is ignored; as in `images`."""
        labels = np.asarray(mirrored(self.trimaps[chosen(numbers)], flipped).astype(np.int64))
        return np.where(labels == IGNORED, -1, labels)


def mirrored(pixels: Any, flipped: np.ndarray | None) -> Any:
    """Return pixels (B, S, S, ...), mirrored left to right in the samples that are flipped (B,)."""
    if flipped is None or not flipped.any():
        return pixels
    B, S = pixels.shape[:2]
    columns = np.where(flipped[:, None], np.arange(S)[::-1], np.arange(S))
    return pixels[np.arange(B)[:, None, None], np.arange(S)[:, None], columns[:, None]]


def chosen(numbers: Any) -> Any:
    """A slice as it is, a sequence as an array of integers, also an empty one."""
    return numbers if isinstance(numbers, slice) else np.asarray(numbers, int)


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of their MD5: shuffled, the same everywhere, so that the first are a fair sample."""
    return sorted(names, key=lambda name: hashlib.md5(name.encode()).digest())
