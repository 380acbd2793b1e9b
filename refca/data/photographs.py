"""Photographs with a label for each pixel, as the segmentation automaton sees them.

Source: the paper's three classes, and images scaled to [-1, 1]; `spec/data.md`.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

CLASSES = ("background", "object", "boundary")


@dataclass(frozen=True)
class Photographs:
    """pixels (N, S, S, 3) uint8; trimaps (N, S, S) uint8, numbers of CLASSES; a name for each."""

    pixels: Any  # NumPy's, or of the backend that they were moved to
    trimaps: np.ndarray
    names: tuple[str, ...]

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

    def images(self, numbers: Any) -> Any:
        """What cells see of these photographs: (len(numbers), S, S, 3) float32 in [-1, 1], pixels/127.5 - 1.

        `numbers` is a slice or a sequence of integers. Raises IndexError for one beyond the last.
        """
        return self.pixels[chosen(numbers)].astype(np.float32) / np.float32(127.5) - np.float32(1)

    def labels(self, numbers: Any) -> np.ndarray:
        """The label map of each photograph, (len(numbers), S, S) int64; `numbers` as in `images`."""
        return self.trimaps[chosen(numbers)].astype(np.int64)


def chosen(numbers: Any) -> Any:
    """A slice as it is, a sequence as an array of integers, also an empty one."""
    return numbers if isinstance(numbers, slice) else np.asarray(numbers, int)


def in_order(names: Iterable[str]) -> list[str]:
    """Names in the order of their MD5: shuffled, the same everywhere, so that the first are a fair sample."""
    return sorted(names, key=lambda name: hashlib.md5(name.encode()).digest())
