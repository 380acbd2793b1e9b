"""Mini-unrolls: photographs and states that persist between training steps until they are resampled.

A training step unrolls K steps, fewer than the horizon T. Between training steps each sample keeps or resamples
its photograph and its state. Gradients therefore cross K steps only, while states live much longer, under
photographs that change.

Every draw is a function of (seed, training step); a resumed run repeats them.

Source: the paper, section 3, where p^(K/T) is called a reset probability although it is a keep probability;
`spec/chapters/persistence.md`.

Letters: B samples of a batch, H×W grid, D state channels, K steps of an unroll, T steps of the horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell
from refca.definition.generators import RESAMPLE, generator
from refca.definition.randomness import Streams
from refca.training.transforms import unchanged


@dataclass(frozen=True)
class PersistentBatch:
    """A batch between two training steps. All arrays but the state are NumPy arrays on every backend."""

    SHARED: ClassVar = ("state",)  # what the ranks of a run share

    photo: np.ndarray  # (B,) int64, indices of training photographs
    state: Any  # (B, H, W, D), an array of the backend, or SharedStates
    age: np.ndarray  # (B,) int64, steps since the photo or the state was last resampled
    flipped: np.ndarray  # (B,) boolean, whether the photograph is mirrored
    transforms: np.ndarray = None  # type: ignore[assignment]  # (B, 4), see `refca/training/transforms.py`; None for none

    def __post_init__(self) -> None:
        if self.transforms is None:
            object.__setattr__(self, "transforms", unchanged(self.photo.shape[0]))

    def on(self, asarray: Callable[[Any], Array]) -> PersistentBatch:
        """Return a copy whose state is an array of a backend."""
        return replace(self, state=asarray(self.state))


@dataclass(frozen=True)
class Resample:
    """The resampling before a training step.

    photo is the index of the new photograph, flipped whether it is mirrored, and transforms how it is moved; samples
    that keep their photograph ignore all three.
    """

    new_photo: np.ndarray  # (B,) boolean
    new_state: np.ndarray  # (B,) boolean
    photo: np.ndarray  # (B,) int64
    flipped: np.ndarray  # (B,) boolean
    transforms: np.ndarray = field(default_factory=lambda: unchanged(1))  # (B, 4), or (1, 4) for all samples


def keep_probability(p: float, K: int, T: int) -> float:
    """Return the probability of keeping over one unroll, p^(K/T), so that p is the probability over T steps."""
    return float(p ** (K / T))


def draw_resample(
    batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int, flips: bool = False
) -> Resample:
    """Draw the resampling before training step i.

    Each sample gets a new photo with probability 1 - keep_photo and, independently, a new state with probability
    1 - keep_state. Before step 0 all samples get both. New photos are uniform below `photos`; with `flips` each is
    mirrored with probability 1/2.
    """
    rng = generator(RESAMPLE, seed, i)
    new_photo, new_state = rng.random((2, batch)) >= np.array([[keep_photo], [keep_state]])
    photo = rng.integers(0, photos, batch)
    flipped = rng.random(batch) < (0.5 if flips else 0.0)
    return Resample(new_photo | (i == 0), new_state | (i == 0), photo, flipped)


def resample(
    cell: Cell, batch: PersistentBatch, resampling: Resample, streams: Streams, backend: BaseBackend
) -> PersistentBatch:
    """Return the batch after a resampling, new arrays. A sample with a new photo or state has age 0.

    New states are the backend's initial states at their index in the batch.
    """
    state = 1 * batch.state  # a copy, in any array library
    for b in map(int, np.flatnonzero(resampling.new_state)):
        state = backend.put(state, slice(b, b + 1), new_state(cell, batch.state.shape, b, streams, backend))
    return resampled(batch, resampling, state)


def new_state(cell: Cell, shape: tuple[int, ...], b: int, streams: Streams, backend: BaseBackend) -> Array:
    """Return the initial state of sample b of a batch of states of this shape, (1, H, W, D)."""
    _, H, W, _ = shape
    image = np.broadcast_to(np.float32(0), (1, cell.stride * H, cell.stride * W, cell.image_channels))
    number = (streams.first_sample + b) % 2**32
    return backend.initial_state(cell, image, replace(streams, first_sample=number))


def resampled(batch: PersistentBatch, resampling: Resample, state: Any) -> PersistentBatch:
    """Return the batch after a resampling that led to these states."""
    return PersistentBatch(
        np.where(resampling.new_photo, resampling.photo, batch.photo),
        state,
        np.where(resampling.new_photo | resampling.new_state, 0, batch.age),
        np.where(resampling.new_photo, resampling.flipped, batch.flipped),
        np.where(resampling.new_photo[:, None], resampling.transforms, batch.transforms),
    )


def counted(age: np.ndarray, K: int, T: int) -> np.ndarray:
    """Return the steps that count in the loss, (K, B) boolean: step k = 1 ... K of sample b if age[b] + k > T/3."""
    return 3 * (age + np.arange(1, K + 1)[:, None]) > T


def loss_weights(age: np.ndarray, K: int, T: int) -> np.ndarray:
    """Return the loss weight of each step and sample for ages (B,), (K, B) float32.

    Every pair of step and sample that counts has the weight 1 / (number of such pairs); the others have weight 0.
    """
    counts = counted(age, K, T)
    return counts.astype(np.float32) / np.float32(max(1, counts.sum()))
