"""The batch of a rank from a pool whose states the ranks share.

Source: `docs/cluster.md`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.state import mutate
from refca.digits.pool import Batch, BatchPlan, Pool
from refca.training.parts import Division


def gather_own(
    pool: Pool,
    cell: Cell,
    plan: BatchPlan,
    division: Division,
    image: Array,
    label: np.ndarray,
    initial: Array | None,
    backend: Any,
) -> Batch:
    """Return a batch with the states of this rank's samples, (b, H, W, D), as `Pool.gather` makes them.

    image (B, H, W, K) and label (B,) are those of the whole batch. States that are on other ranks move here.
    """
    xp, B, own = backend.xp, len(plan.slots), division.rows
    kept = np.arange(plan.fresh, B)  # samples that need the state of their slot
    pool.state.fetch(plan.slots[kept], division.ranks[kept])
    fresh, mutated = own[own < plan.fresh], own[own >= B - plan.mutated]
    continued = own[(own >= plan.fresh) & (own < B - plan.mutated)]
    zeros = np.zeros((len(fresh), *pool.state.shape[1:]), pool.state.dtype)
    states = [
        backend.asarray(zeros) if initial is None else initial[fresh],
        pool.state.take(plan.slots[continued]),
        mutate(cell, pool.state.take(plan.slots[mutated]), image[mutated], xp),
    ]
    return Batch(image, label, xp.concatenate(states))


def commit_own(pool: Pool, plan: BatchPlan, division: Division, batch: Batch, state: Array, backend: Any) -> None:
    """Write the digits of a batch back into its slots, and the last states of this rank's samples."""
    pool.image = backend.put(pool.image, plan.slots, batch.image)
    pool.label[plan.slots] = batch.label
    pool.state.store(plan.slots, division.ranks, state)
