"""The pool: states that training goes on from, so that cells learn to stay right and to change their minds.

Every choice is a function of (seed, training step), so a resumed run makes the same ones.

Source: the article, experiments 1 and 2, and its training notebook; `spec/chapters/pool.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.generators import BATCH, generator
from refca.definition.state import init_state, mutate
from refca.errors import InvalidInput

REGIMES = ("naive", "persistent", "mutating")


@dataclass(frozen=True)
class Batch:
    """The batch of one training step: image (B, H, W, K), label (B,), state (B, H, W, D)."""

    image: Array
    label: np.ndarray
    state: Array


@dataclass(frozen=True)
class BatchPlan:
    """The plan of a training step: pool slots (B,), and the training digits (B,) that enter the batch.

    The first `fresh` samples of the batch start anew on their digit; the last `mutated` keep their state
    where their new digit is alive; those between go on with the digit of the pool, and ignore `digits`.
    """

    slots: np.ndarray
    digits: np.ndarray
    fresh: int
    mutated: int


def sample(regime: str, fresh_fraction: float, batch: int, pool: int, digits: int, seed: int, i: int) -> BatchPlan:
    """Draw the plan of training step i: `batch` of `pool` slots, none twice, and indices below `digits`.

    Raises InvalidInput as `fractions` does, and for a batch larger than the pool.
    """
    fresh, mutated = fractions(regime, fresh_fraction, batch)
    if batch > pool:
        raise InvalidInput(f"a batch of {batch} does not fit in a pool of {pool}")
    rng = generator(BATCH, seed, i)
    return BatchPlan(rng.permutation(pool)[:batch], rng.integers(0, digits, batch), fresh, mutated)


def fractions(regime: str, fresh_fraction: float, batch: int) -> tuple[int, int]:
    """The number of samples of a batch that begin from zero, and the number that mutate.

    In the regime "naive" all begin from zero; in "mutating" floor(batch * fresh_fraction) do, and as many
    mutate; in "persistent" both of these parts begin from zero.
    Raises InvalidInput for an unknown regime, an empty batch, or a fraction outside 0 to 1/2.
    """
    if regime not in REGIMES:
        raise InvalidInput(f'unknown regime "{regime}"; known are {", ".join(REGIMES)}')
    if batch < 1:
        raise InvalidInput(f"batch must be at least 1, got {batch}")
    if not 0 <= fresh_fraction <= 0.5:
        raise InvalidInput(
            f"fresh_fraction must be from 0 to 0.5, as two such parts of a batch are new, got {fresh_fraction}"
        )
    part = int(batch * fresh_fraction)
    return {"naive": (batch, 0), "persistent": (2 * part, 0), "mutating": (part, part)}[regime]


@dataclass
class Pool:
    """N digits and the states of their cells: image (N, H, W, K), label (N,), state (N, H, W, D).

    label is NumPy's on every backend, so that a device need not be waited for to know that labels exist.
    """

    image: Array
    label: np.ndarray
    state: Array

    def on(self, asarray: Callable[[Any], Array]) -> Pool:
        """Return a copy whose images and states are arrays of a backend."""
        return replace(self, image=asarray(self.image), state=asarray(self.state))

    def gather(self, cell: Cell, plan: BatchPlan, image: Array, label: np.ndarray, xp: Any = np) -> Batch:
        """Return the batch of a plan; image (B, H, W, K) and label (B,) belong to `plan.digits`."""
        B = len(plan.slots)
        fresh, kept = slice(0, plan.fresh), slice(plan.fresh, B - plan.mutated)
        mutated = slice(B - plan.mutated, B)
        pooled = self.state[plan.slots]
        return Batch(
            xp.concatenate([image[fresh], self.image[plan.slots[kept]], image[mutated]]),
            np.concatenate([label[fresh], self.label[plan.slots[kept]], label[mutated]]),
            xp.concatenate(
                [init_state(cell, image[fresh]), pooled[kept], mutate(cell, pooled[mutated], image[mutated])]
            ),
        )

    def commit(self, plan: BatchPlan, batch: Batch, state: Array) -> None:
        """Write a batch and its last state back into the slots that it came from."""
        self.image[plan.slots] = batch.image
        self.label[plan.slots] = batch.label
        self.state[plan.slots] = state
