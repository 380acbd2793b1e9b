"""The pool: states that training goes on from, so that cells learn to stay right and to change their minds.

Every choice is a function of (seed, training step), so a resumed run makes the same ones.

Source: the article, experiments 1 and 2, and its training notebook; `spec/pool.md`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refca.cell import Array, Cell, init_state
from refca.mutate import mutate
from refca.refused import Refused
from refca.seeds import BATCH, generator

REGIMES = ("naive", "persistent", "mutating")


@dataclass(frozen=True)
class Batch:
    """What one training step works on: image (B, H, W, K), label (B,), state (B, H, W, D)."""

    image: Array
    label: np.ndarray
    state: Array


@dataclass(frozen=True)
class Choices:
    """What training step i takes: pool slots (B,), and the training digits (B,) that enter the batch.

    The first `fresh` samples of the batch start anew on their digit; the last `mutated` keep their state
    where their new digit is alive; those between go on with the digit of the pool, and ignore `digits`.
    """

    slots: np.ndarray
    digits: np.ndarray
    fresh: int
    mutated: int


def choose(regime: str, renewal: int, batch: int, pool: int, digits: int, seed: int, i: int) -> Choices:
    """The choices of training step i: `batch` of `pool` slots, none twice, and numbers below `digits`.

    Raises Refused as `shares` does, and for a batch larger than the pool.
    """
    fresh, mutated = shares(regime, renewal, batch)
    if batch > pool:
        raise Refused(f"a batch of {batch} does not fit in a pool of {pool}")
    rng = generator(BATCH, seed, i)
    return Choices(rng.permutation(pool)[:batch], rng.integers(0, digits, batch), fresh, mutated)


def shares(regime: str, renewal: int, batch: int) -> tuple[int, int]:
    """How many samples of a batch start anew, and how many mutate.

    regime "naive" starts all anew; "mutating" one in `renewal` of them, and mutates as many; "persistent"
    starts both of these anew. Raises Refused for another regime, an empty batch, or a renewal below 2.
    """
    if regime not in REGIMES:
        raise Refused(f'unknown regime "{regime}"; known are {", ".join(REGIMES)}')
    if batch < 1:
        raise Refused(f"batch must be at least 1, got {batch}")
    if renewal < 2:
        raise Refused(f"renewal must be at least 2, as two parts of a batch are new, got {renewal}")
    part = batch // renewal
    return {"naive": (batch, 0), "persistent": (2 * part, 0), "mutating": (part, part)}[regime]


@dataclass
class Pool:
    """N digits and the states of their cells: image (N, H, W, K), label (N,), state (N, H, W, D).

    label is NumPy's on every backend, so that a device need not be waited for to know that labels exist.
    """

    image: Array
    label: np.ndarray
    state: Array

    def take(self, cell: Cell, choices: Choices, image: Array, label: np.ndarray, xp: Any = np) -> Batch:
        """The batch of these choices; image (B, H, W, K) and label (B,) are those of `choices.digits`."""
        B = len(choices.slots)
        fresh, kept = slice(0, choices.fresh), slice(choices.fresh, B - choices.mutated)
        mutated = slice(B - choices.mutated, B)
        pooled = self.state[choices.slots]
        return Batch(
            xp.concatenate([image[fresh], self.image[choices.slots[kept]], image[mutated]]),
            np.concatenate([label[fresh], self.label[choices.slots[kept]], label[mutated]]),
            xp.concatenate(
                [init_state(cell, image[fresh]), pooled[kept], mutate(cell, pooled[mutated], image[mutated])]
            ),
        )

    def put_back(self, choices: Choices, batch: Batch, state: Array) -> None:
        """Write the batch and the state that it ended in over the slots that it was taken from."""
        self.image[choices.slots] = batch.image
        self.label[choices.slots] = batch.label
        self.state[choices.slots] = state
