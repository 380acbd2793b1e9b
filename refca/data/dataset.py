"""Data sets with training and test samples, and the gray digits of the article.

Letters: N digits, H×W pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np

from refca.errors import InvalidInput

Samples = TypeVar("Samples")  # Split, or Photographs


@dataclass(frozen=True)
class Split:
    """pixels (N, H, W), or (N, H, W, K) of several channels, uint8, 0 for blank paper and `white` for full ink;
    labels (N,) int64, from 0; the file of each digit, if each has one."""

    pixels: Any  # NumPy's, or of the backend that they were moved to
    labels: np.ndarray
    white: int
    files: tuple[Path, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """A hash of all pixels and labels: equal for equal digits in the same order."""
        content = hashlib.blake2b(repr((self.pixels.shape, self.white)).encode(), digest_size=16)
        content.update(self.pixels.tobytes())
        content.update(self.labels.tobytes())
        return content.hexdigest()

    def on(self, backend: Any) -> Split:
        """The same digits, their pixels and so what `images` gives arrays of the backend."""
        return replace(self, pixels=backend.asarray(self.pixels))

    def part(self, first: int, end: int) -> Split:
        """Return the digits from number `first` up to but not including number `end`."""
        files = self.files[first:end]
        return replace(self, pixels=self.pixels[first:end], labels=self.labels[first:end], files=files)

    def centred(self, side: int) -> Split:
        """Return the digits in the middle of blank pictures of side×side, which are at least as large."""
        above, beside = ((side - length) // 2 for length in self.pixels.shape[1:3])
        H, W = self.pixels.shape[1:3]
        margins = ((0, 0), (above, side - H - above), (beside, side - W - beside))
        return replace(self, pixels=np.pad(self.pixels, margins + ((0, 0),) * (self.pixels.ndim - 3)))

    def images(self, indices: Any) -> Any:
        """Return the image of each digit as cells perceive it, (len(indices), H, W, 1) float32: pixels / white, 0 to 1.

        `indices` is a slice or a sequence of integers. Raises IndexError for one beyond the split.
        """
        pixels = self.pixels[indices if isinstance(indices, slice) else np.asarray(indices, int)]
        scaled = pixels / np.float32(self.white)  # float32, in any library
        return scaled if scaled.ndim == 4 else scaled[..., None]

    @property
    def side(self) -> int:
        """Rows of a picture."""
        return int(self.pixels.shape[1])

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return int(self.pixels.shape[3]) if self.pixels.ndim == 4 else 1

    @property
    def largest_label(self) -> int:
        """The largest label that a digit has; -1 without digits."""
        return int(self.labels.max(initial=-1))


@dataclass(frozen=True)
class Dataset(Generic[Samples]):
    """A dataset's name, what it has to train on and what is held out, each or the reason why it has none."""

    name: str
    training: Samples | str
    held_out: Samples | str
    validation: int = 0  # samples at the end of the training samples that the data sets apart for validation

    @property
    def train(self) -> Samples:
        """The samples to train on. Raises InvalidInput, with the reason, if there are none."""
        if isinstance(self.training, str):
            raise InvalidInput(self.training)
        return self.training

    @property
    def test(self) -> Samples:
        """The samples held out. Raises InvalidInput, with the reason, if there are none."""
        if isinstance(self.held_out, str):
            raise InvalidInput(self.held_out)
        return self.held_out
