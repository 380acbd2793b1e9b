"""What a dataset is: two splits of gray images with one label each.

Letters: N digits, H×W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Split:
    """pixels (N, H, W) uint8, 0 for blank paper and `white` for full ink; labels (N,) int64, 0 to 9."""

    pixels: np.ndarray
    labels: np.ndarray
    white: int

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """A hash of all pixels and labels: equal for equal digits in the same order."""
        content = hashlib.blake2b(repr((self.pixels.shape, self.white)).encode(), digest_size=16)
        content.update(self.pixels.tobytes())
        content.update(self.labels.tobytes())
        return content.hexdigest()

    def images(self, indices: Any) -> np.ndarray:
        """What cells see of these digits: (len(indices), H, W, 1) float32 from 0 to 1, pixels / white.

        `indices` is a slice or a sequence of integers. Raises IndexError for one beyond the split.
        """
        pixels = self.pixels[indices if isinstance(indices, slice) else np.asarray(indices, int)]
        return (pixels.astype(np.float32) / np.float32(self.white))[..., None]


@dataclass(frozen=True)
class Dataset:
    """A dataset's name, the digits to train on, and those held out for testing."""

    name: str
    train: Split
    test: Split

    @property
    def white(self) -> int:
        """The pixel value of full ink: 255, or 16 for the optdigits as they are."""
        return self.train.white
