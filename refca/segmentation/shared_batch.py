"""A persistent batch whose states the ranks share.

Source: `docs/cluster.md`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.randomness import Streams
from refca.segmentation.persistence import PersistentBatch, Resample, new_state, resampled
from refca.training.parts import Division


def resample_own(
    cell: Cell, batch: PersistentBatch, division: Division, resampling: Resample, streams: Streams, backend: Any
) -> tuple[PersistentBatch, Array]:
    """Return the batch after a resampling, as `resample`, and the states of this rank's samples, (b, H, W, D).

    States that are kept and are on other ranks move here.
    """
    shared, own = batch.state, division.rows
    kept = np.flatnonzero(~resampling.new_state)
    shared.fetch(kept, division.ranks[kept])
    states = [
        new_state(cell, shared.shape, int(b), streams, backend)
        if resampling.new_state[b]
        else shared.take(np.array([b]))
        for b in own
    ]
    state = backend.xp.concatenate(states) if states else shared.take(own)
    return resampled(batch, resampling, shared), state
