"""States that ranks share: each row of an array is on one rank, and every rank knows on which.

A rank that needs a row which is elsewhere gets it, and has it from then on. In a run of one process nothing of
this is used.

Source: `docs/cluster.md`.

Letters: N rows, H×W grid, D state channels.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca.distributed import current, gathered


class SharedStates:
    """The rows of an array (N, H, W, D) that this rank has."""

    def __init__(self, whole: Array, backend: Any) -> None:
        """Take this rank's share of an array that every rank has."""
        ranks, N = current(), len(whole)
        self.backend, self.shape, self.dtype = backend, tuple(whole.shape), np.dtype(backend.asnumpy(whole[:1]).dtype)
        self.owners = np.arange(N) * ranks.size // max(N, 1)  # the rank of each row
        self.rows = {int(i): 1 * whole[i] for i in np.flatnonzero(self.owners == ranks.rank)}

    def __len__(self) -> int:
        return self.shape[0]

    def fetch(self, rows: np.ndarray, to: np.ndarray) -> None:
        """Move rows (n,), all different, to the ranks `to` (n,) that need them; all ranks call this together."""
        ranks, owners = current(), self.owners[rows]
        for rank in range(ranks.size):
            leaving = rows[(owners == ranks.rank) & (to == rank)]
            if rank != ranks.rank and len(leaving):
                ranks.send(np.stack([self.backend.asnumpy(self.rows.pop(int(i))) for i in leaving]), rank)
        for rank in range(ranks.size):
            coming = rows[(owners == rank) & (to == ranks.rank)]
            if rank != ranks.rank and len(coming):
                received = ranks.receive((len(coming), *self.shape[1:]), self.dtype, rank)
                self.rows |= {int(i): self.backend.asarray(x.copy()) for i, x in zip(coming, received, strict=True)}
        ranks.flush()
        self.owners[rows] = to

    def take(self, rows: np.ndarray) -> Array:
        """Return rows that this rank has, (n, H, W, D)."""
        if not len(rows):
            return self.backend.asarray(np.zeros((0, *self.shape[1:]), self.dtype))
        return self.backend.xp.stack([self.rows[int(i)] for i in rows])

    def store(self, rows: np.ndarray, ranks: np.ndarray, states: Array) -> None:
        """Replace rows (n,), which are on the ranks (n,) from now on; `states` has the rows of this rank, in order."""
        me = current().rank
        for i in rows[ranks != me]:
            self.rows.pop(int(i), None)
        for state, i in zip(states, rows[ranks == me], strict=True):
            self.rows[int(i)] = 1 * state  # a copy: a view would keep the whole batch in memory
        self.owners[rows] = ranks

    def whole(self) -> np.ndarray | None:
        """Return all rows on rank 0, None on the other ranks; all ranks call this together."""
        own = {i: self.backend.asnumpy(x) for i, x in self.rows.items()}
        return gathered(own, self.owners, self.shape[1:], self.dtype)


def share(buffer: Any, backend: Any) -> Any:
    """Return a buffer of which each rank has its share; unchanged in one process, and if it has no states to share."""
    if current().size == 1:
        return buffer
    shared = {name: SharedStates(getattr(buffer, name), backend) for name in names_of_shared(buffer)}
    return replace(buffer, **shared)


def whole_buffer(buffer: Any) -> Any:
    """Return on rank 0 the buffer with all states, None on the other ranks; all ranks call this together."""
    if current().size == 1:
        return buffer
    whole = {name: getattr(buffer, name).whole() for name in names_of_shared(buffer)}
    return None if current().rank else replace(buffer, **whole)


def names_of_shared(buffer: Any) -> tuple[str, ...]:
    """Return the names of the fields that ranks share: those that the buffer's class lists as SHARED."""
    listed = getattr(buffer, "SHARED", ())
    return tuple(f.name for f in fields(buffer) if f.name in listed)
