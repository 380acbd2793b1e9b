"""A batch as the shards that threads work on.

Shards depend on the batch alone, and their results are summed in order, so that the number of threads changes
nothing.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np

from refca.definition.cell import Cell
from refca.definition.randomness import Randomness
from refca.definition.step import alive
from refca_cpu.arrays import Bools, Ints, Reals
from refca_cpu.layout import Form, Live, LossStates, Shard
from refca_cpu.pixels import unpad
from refca_cpu.updates import Source, draw_updates, source_of
from refca_cpu.workers import INSIDE
from refca_cpu.workspace import Workspace

TOGETHER_SHARD = 2  # samples of a shard where shards wait for each other


@dataclass(frozen=True)
class Batch:
    """The data that the shards of one call share."""

    cell: Cell
    form: Form
    environment: Reals  # (B, H, W, E)
    state: Reals  # (B, H, W, D)
    source: Source
    own: threading.local = field(default_factory=threading.local)  # the workspace of each thread
    lockstep: dict[int, Workspace] = field(default_factory=dict)  # of each shard, by its first sample

    @classmethod
    def of(
        cls,
        cell: Cell,
        environment: Reals,
        state: Reals,
        randomness: Randomness,
        first_step: int,
        steps: int,
        taped: bool,
    ) -> Batch:
        """Draw what has to be drawn at once."""
        source = source_of(cell, randomness, state.shape[:3], first_step, steps)
        return cls(cell, Form.of(cell, state.dtype, taped), environment, state, source)

    def split(self, most: int) -> list[Ints]:
        """The samples of each shard, at most `most` of 28×28; fewer of a larger grid."""
        _, H, W, _ = self.environment.shape
        return balanced(alive(self.cell, self.environment), shard_size(self.cell, most, H * W))

    def shard(self, samples: Ints, first: int, in_loss: Bools, before: Shard | None = None) -> Shard:
        """A shard at its steps from `first` on, of which `in_loss` (T,) count; it goes on from `before`."""
        cell, dtype, (_, H, W, _) = self.cell, self.state.dtype, self.environment.shape
        live, workspace = Live.of(cell, self.environment[samples]), self.workspace(samples)
        updates = draw_updates(cell, self.source, live, samples, first, len(in_loss), H * W, dtype, workspace)
        states = LossStates.of(in_loss, (len(samples), *self.state.shape[1:]), dtype, workspace)
        pixels = before.pixels if before else None
        given = self.environment, self.state, samples, updates, states, workspace, pixels
        return Shard.of(cell, self.form, *given)

    def workspace(self, samples: Ints) -> Workspace:
        """The workspace of this thread, which its last shard has left; one for each shard if all go in lockstep."""
        if self.cell.norm == "batch":
            return self.lockstep.setdefault(int(samples[0]), Workspace())
        if INSIDE.workspace is not None:
            return INSIDE.workspace
        if not hasattr(self.own, "workspace"):
            self.own.workspace = Workspace()
        workspace: Workspace = self.own.workspace
        return workspace

    def put_environments(self, shard: Shard, flat_pixels: Reals, samples: Ints, out: Reals) -> None:
        """Put the environment's channels of a shard's flat pixels where its samples are in out (B, H, W, E)."""
        self.put_channels(shard, flat_pixels, 0, samples, out)

    def put_states(self, shard: Shard, flat_pixels: Reals, samples: Ints, out: Reals) -> None:
        """Put the state's channels of a shard's flat pixels where its samples are in out (B, H, W, D)."""
        self.put_channels(shard, flat_pixels, self.environment.shape[-1], samples, out)

    def put_channels(self, shard: Shard, flat_pixels: Reals, first: int, samples: Ints, out: Reals) -> None:
        """Put the channels of a shard's flat pixels from `first` on where its samples are in out."""
        for sample, pixels in zip(samples, np.split(flat_pixels, len(samples)), strict=True):
            unpad(out[sample : sample + 1], first, pixels, shard.row_stride)


def shard_size(cell: Cell, most: int, sites: int) -> int:
    """The samples of a shard, at most `most` on a grid of 28×28 sites; fewer on a larger grid."""
    sizes = {"instance": 1, "batch": TOGETHER_SHARD}
    return sizes.get(cell.norm, min(most, max(1, most * 28 * 28 // max(1, sites))))


def balanced(live: Bools, size: int) -> list[Ints]:
    """Split samples into shards of at most `size`, with about as many live cells (B, H, W) in each."""
    if not len(live):
        return []
    largest_first = np.argsort(-live.sum(axis=(1, 2)), kind="stable")
    count = -(-len(live) // size)
    rows = [largest_first[i : i + count] for i in range(0, len(live), count)]
    turned = [row if i % 2 == 0 else row[::-1] for i, row in enumerate(rows)]  # there and back again
    return [np.sort([row[p] for row in turned if p < len(row)]) for p in range(count)]
