"""Mini-unrolls: photographs and states that go on from one training step to the next, until they are renewed.

A training step unrolls K steps, fewer than the T that a state is to last. Between training steps each sample
keeps its photograph, and its state, or gets a new one. So gradients cross K steps only, while states live
through many more, under photographs that change.

Every choice is a function of (seed, training step), so a resumed run makes the same ones.

Source: the paper, section 3, which calls p^(K/T) a reset probability and means one to keep;
`spec/chapters/persistence.md`.

Letters: B samples of a batch, H×W grid, D state channels, K steps of an unroll, T steps that states last.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca.definition.generators import RESAMPLE, generator
from refca.definition.randomness import Streams
from refca.definition.state import normal_start


@dataclass(frozen=True)
class PersistentBatch:
    """A batch between two training steps. All but the states are NumPy's on every backend."""

    photo: np.ndarray  # (B,) int64, numbers of training photographs
    state: Array  # (B, H, W, D)
    age: np.ndarray  # (B,) int64, steps since the sample's photo or state was last drawn anew
    flipped: np.ndarray  # (B,) boolean, whether the sample's photo is mirrored

    def on(self, asarray: Callable[[Any], Array]) -> PersistentBatch:
        """Return a copy whose states are an array of a backend."""
        return replace(self, state=asarray(self.state))


@dataclass(frozen=True)
class Resample:
    """What is drawn anew before a training step.

    photo and flipped are the photograph, and whether it is mirrored, of a sample with a new photo; the other
    samples ignore them.
    """

    new_photo: np.ndarray  # (B,) boolean
    new_state: np.ndarray  # (B,) boolean
    photo: np.ndarray  # (B,) int64
    flipped: np.ndarray  # (B,) boolean


def keep_probability(p: float, K: int, T: int) -> float:
    """The probability to keep something at one boundary, p^(K/T); at all T/K boundaries of T steps, p."""
    return float(p ** (K / T))


def draw_resample(
    batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int, flips: bool = False
) -> Resample:
    """What is renewed before training step i: each sample's photo with probability 1 − keep_photo and,
    independently, its state with probability 1 − keep_state. Before step 0 everything is.

    New photos are uniform below `photos`; they can be the one of before. With `flips` each is mirrored with
    probability 1/2.
    """
    rng = generator(RESAMPLE, seed, i)
    new_photo, new_state = rng.random((2, batch)) >= np.array([[keep_photo], [keep_state]])
    photo = rng.integers(0, photos, batch)
    flipped = rng.random(batch) < (0.5 if flips else 0.0)
    return Resample(new_photo | (i == 0), new_state | (i == 0), photo, flipped)


def resample(batch: PersistentBatch, resampling: Resample, streams: Streams, backend: Any = None) -> PersistentBatch:
    """The colony after this renewal, new arrays; a sample whose photo or state is renewed has age 0.

    New states are N(0, 1), those of `streams.initial` at their places in the batch, which the backend's own
    `initial` draws if it has one.
    """
    _, H, W, D = batch.state.shape
    state = 1 * batch.state  # a copy, in any array library
    for b in map(int, np.flatnonzero(resampling.new_state)):
        own = replace(streams, first_sample=streams.first_sample + b)
        state[b] = normal_start(own, state, (1, H, W, D), backend)[0]
    return PersistentBatch(
        np.where(resampling.new_photo, resampling.photo, batch.photo),
        state,
        np.where(resampling.new_photo | resampling.new_state, 0, batch.age),
        np.where(resampling.new_photo, resampling.flipped, batch.flipped),
    )


def counted(age: np.ndarray, K: int, T: int) -> np.ndarray:
    """Which steps of an unroll count, (K, B) boolean: step k = 1 … K of sample b does if age[b] + k > T/3."""
    return 3 * (age + np.arange(1, K + 1)[:, None]) > T


def loss_weights(age: np.ndarray, K: int, T: int) -> np.ndarray:
    """What each step's readout counts in the loss of an unroll from these ages (B,), (K, B) float32.

    Each pair of step and sample that counts weighs 1 / (number of such pairs), the others 0; all 0 if none
    counts.
    """
    counts = counted(age, K, T)
    return counts.astype(np.float32) / np.float32(max(1, counts.sum()))
