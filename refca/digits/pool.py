"""The pool of digits and states from which training batches are drawn.

A batch continues earlier states, so that cells learn to keep a correct label for many steps, and to change it
when the digit changes. Every draw is a function of (seed, training step); a resumed run repeats them.

Source: the article, experiments 1 and 2, and its training notebook; `spec/chapters/pool.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell
from refca.definition.generators import BATCH, generator
from refca.definition.state import mutate
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
    """The plan of a batch: pool slots (B,) and training digits (B,).

    The first `fresh` samples start from zero on their training digit. The last `mutated` samples mutate to their
    training digit: they keep the state of their slot where it is alive. The samples between continue the digit
    and state of their slot.
    """

    slots: np.ndarray
    digits: np.ndarray
    fresh: int
    mutated: int


def sample(regime: str, fresh_fraction: float, batch: int, pool: int, digits: int, seed: int, i: int) -> BatchPlan:
    """Draw the plan of training step i: `batch` different slots below `pool`, and digits below `digits`.

    Raises InvalidInput as `fractions` does, and for a batch larger than the pool.
    """
    fresh, mutated = fractions(regime, fresh_fraction, batch)
    if batch > pool:
        raise InvalidInput(f"batch must be at most pool, {pool}, got {batch}")
    rng = generator(BATCH, seed, i)
    return BatchPlan(rng.permutation(pool)[:batch], rng.integers(0, digits, batch), fresh, mutated)


def fractions(regime: str, fresh_fraction: float, batch: int) -> tuple[int, int]:
    """Return the number of fresh samples of a batch, which start anew, and the number of those that mutate.

    In the regime "naive" all samples are fresh; in "mutating" n = floor(batch * fresh_fraction + 1e-9) are fresh and n
    mutate; in "persistent" 2 n are fresh.
    Raises InvalidInput for an unknown regime, an empty batch, or a fraction outside 0 to 1/2.
    """
    if regime not in REGIMES:
        raise InvalidInput(f'regime must be one of {", ".join(REGIMES)}, got "{regime}"')
    if batch < 1:
        raise InvalidInput(f"batch must be at least 1, got {batch}")
    if not 0 <= fresh_fraction <= 0.5:
        raise InvalidInput(f"fresh_fraction must be from 0 to 0.5, got {fresh_fraction}")
    part = int(batch * fresh_fraction + 1e-9)  # 100 * 0.29 is 28.999999999999996
    return {"naive": (batch, 0), "persistent": (2 * part, 0), "mutating": (part, part)}[regime]


@dataclass
class Pool:
    """N digits and their states: image (N, H, W, K), label (N,), state (N, H, W, D).

    `label` is a NumPy array on every backend, so that checking labels does not wait for a device.
    """

    SHARED: ClassVar = ("state",)  # what the ranks of a run share

    image: Array
    label: np.ndarray
    state: Any  # an array of the backend, or SharedStates

    def on(self, asarray: Callable[[Any], Array]) -> Pool:
        """Return a copy whose images and states are arrays of a backend."""
        return replace(self, image=asarray(self.image), state=asarray(self.state))

    def gather(
        self, cell: Cell, plan: BatchPlan, image: Array, label: np.ndarray, xp: Any = np, initial: Array | None = None
    ) -> Batch:
        """Return the batch of a plan; image (B, H, W, K) and label (B,) are the digits `plan.digits`.

        Fresh samples begin in the states `initial` (B, H, W, D) at their places; None: in zeros.
        """
        B = len(plan.slots)
        fresh, mutated = slice(0, plan.fresh), slice(B - plan.mutated, B)
        continued = slice(plan.fresh, B - plan.mutated)
        pooled = self.state[plan.slots]
        return Batch(
            *self.gather_digits(plan, image, label, xp),
            xp.concatenate(
                [
                    xp.zeros_like(pooled[fresh]) if initial is None else initial[fresh],
                    pooled[continued],
                    mutate(cell, pooled[mutated], image[mutated], xp),
                ]
            ),
        )

    def gather_digits(self, plan: BatchPlan, image: Array, label: np.ndarray, xp: Any) -> tuple[Array, np.ndarray]:
        """Return the digits and labels of the batch of a plan; it takes the arguments of `gather`."""
        continued = slice(plan.fresh, len(plan.slots) - plan.mutated)
        slots, mutated = plan.slots[continued], slice(continued.stop, None)
        return (
            xp.concatenate([image[: plan.fresh], self.image[slots], image[mutated]]),
            np.concatenate([label[: plan.fresh], self.label[slots], label[mutated]]),
        )

    def commit(self, plan: BatchPlan, batch: Batch, state: Array, backend: BaseBackend) -> None:
        """Write a batch and its last state back into its slots."""
        self.image = backend.put(self.image, plan.slots, batch.image)
        self.label[plan.slots] = batch.label
        self.state = backend.put(self.state, plan.slots, state)
