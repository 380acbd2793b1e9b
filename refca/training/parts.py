"""A batch in parts, and the rank that computes each part.

The parts depend on the batch alone and their gradients are summed over a fixed binary tree, so that any number of
ranks gives the same bits. A rank has the states of its own samples only.

Source: `docs/cluster.md`.

Letters: B samples of a batch, b of them on this rank, H×W grid, D state channels, T steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np

from refca.contract.checks import dtype_name
from refca.contract.parts import contiguous_parts, streams_of
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Streams
from refca.distributed import current, sum_over_tree
from refca.errors import InvalidInput


@dataclass(frozen=True)
class Division:
    """The parts of a batch, each the ascending indices of its samples, and the rank of each part."""

    parts: list[np.ndarray]
    owners: np.ndarray  # (parts,)

    @cached_property
    def ranks(self) -> np.ndarray:
        """The rank of each sample, (B,)."""
        ranks = np.empty(sum(map(len, self.parts)), np.int64)
        for part, owner in zip(self.parts, self.owners, strict=True):
            ranks[part] = owner
        return ranks

    @cached_property
    def rows(self) -> np.ndarray:
        """The samples of this rank, (b,), ascending."""
        return np.flatnonzero(self.ranks == current().rank)

    @cached_property
    def own(self) -> dict[int, np.ndarray]:
        """The parts of this rank, by their index."""
        return {int(i): self.parts[i] for i in np.flatnonzero(self.owners == current().rank)}


def undivided(batch: int) -> Division:
    """Return a batch that is one part, on rank 0."""
    return Division([np.arange(batch)], np.zeros(1, np.int64))


def divide(backend: Any, cell: Cell, image: Array, workers: int) -> Division:
    """Return the parts of a batch (B, sH, sW, K): `workers` of them, or for 0 the parts that the backend chooses.

    Raises InvalidInput where several ranks would have to share a batch that is computed as a whole, and for several
    parts under the norm "batch".
    """
    size, B = current().size, len(image)
    parts = contiguous_parts(B, workers) if workers else backend.batch_parts(cell, image)
    if cell.norm == "batch" and not workers and parts is not None and len(parts) > 1:
        raise InvalidInput(f'batch_parts must return one part under the norm "batch", got {len(parts)}')
    if cell.norm == "batch" and (workers > 1 or size > 1):
        raise InvalidInput(
            'norm "batch" makes a batch one whole, which is computed by one rank and one logical worker, '
            f"got {size} ranks and {workers} logical workers; other norms can be shared"
        )
    if parts is None:
        if size > 1:
            raise InvalidInput(
                f"this backend computes a batch as a whole; to share it among {size} ranks, begin a run with "
                f"--logical-workers {size} or a multiple, which then gives the same bits on any number of ranks"
            )
        parts = [np.arange(B)]
    return Division(parts, np.arange(len(parts)) * size // len(parts))


def loss_and_grads(
    backend: Any,
    division: Division,
    cell: Cell,
    loss: Any,
    params: Params,
    image: Array,
    state: Array,
    target: np.ndarray,
    weights: np.ndarray,
    streams: Streams,
) -> tuple[Any, Params, Array]:
    """Return the loss of a batch and its gradients, summed over the parts, and the last states of this rank, (b, ...).

    `state` (b, H, W, D) holds the samples of this rank, all other arrays the whole batch. The result
    equals the result of `backend.loss_and_grads` up to rounding.
    """
    if len(division.parts) == 1 and current().size == 1:
        found: tuple[Any, Params, Array] = backend.loss_and_grads(
            cell, loss, params, image, state, target, weights, streams
        )
        return found

    states = States(backend, division, state)

    def compute(part: np.ndarray) -> tuple[Any, Params]:
        rows = states.rows(part)
        given = params, image[part], state[rows], target[part], weights[:, part], streams_of(streams, part)
        value, grads, last = backend.loss_and_grads(cell, loss, *given)
        states.put(rows, last)
        return value, grads

    terms = dict(zip(division.own, backend.map_parts(compute, list(division.own.values())), strict=True))
    packing = Packing(backend, params)
    value, grads = sum_over_tree(
        terms, list(division.owners), add_terms, packing.pack, packing.unpack, (packing.bytes,), np.uint8
    )
    return value, grads, states.joined()


def evolve(
    backend: Any,
    division: Division,
    cell: Cell,
    params: Params,
    image: Array,
    state: Array,
    streams: Streams,
    steps: int,
) -> Array:
    """Return the states of this rank's samples, (b, H, W, D), after some steps; `image` holds the whole batch."""
    if len(division.parts) == 1 and current().size == 1:
        return backend.evolve(cell, params, image, state, streams, steps)

    states = States(backend, division, state)

    def compute(part: np.ndarray) -> None:
        rows = states.rows(part)
        states.put(rows, backend.evolve(cell, params, image[part], state[rows], streams_of(streams, part), steps))

    backend.map_parts(compute, list(division.own.values()))
    return states.joined()


def add_terms(left: tuple[Any, Params], right: tuple[Any, Params]) -> tuple[Any, Params]:
    """Return the sums of two losses and of their gradients."""
    return left[0] + right[0], {name: grad + right[1][name] for name, grad in left[1].items()}


class States:
    """The last states of the parts of this rank, put together in the order of its samples."""

    def __init__(self, backend: Any, division: Division, start: Array) -> None:
        self.backend, self.start = backend, start
        self.own = division.rows  # asked for here: the threads of a backend do not know the ranks
        self.whole = np.empty_like(start) if isinstance(start, np.ndarray) else None
        self.found: list[tuple[np.ndarray, Array]] = []

    def rows(self, part: np.ndarray) -> np.ndarray:
        """Return the positions of a part's samples among the samples of this rank."""
        return np.searchsorted(self.own, part)

    def put(self, rows: np.ndarray, states: Array) -> None:
        """Add the states of a part; called from several threads."""
        if self.whole is not None:
            self.whole[rows] = states
        else:
            self.found.append((rows, states))

    def joined(self) -> Array:
        """Return all states of this rank, (b, H, W, D)."""
        if self.whole is not None:
            return self.whole
        if not self.found:
            return 1 * self.start
        order = np.argsort(np.concatenate([rows for rows, _ in self.found]))
        together = self.backend.xp.concatenate([states for _, states in self.found])
        return together if (np.diff(order) == 1).all() else together[order]


class Packing:
    """A loss and its gradients as bytes.

    Two float64 numbers, whether the loss is an array and its value, are followed by the gradients in the order of
    the parameters.
    """

    def __init__(self, backend: Any, params: Params) -> None:
        self.backend, self.shapes = backend, {name: tuple(x.shape) for name, x in params.items()}
        self.dtype = np.dtype(dtype_name(next(iter(params.values()))))
        self.bytes = 16 + self.dtype.itemsize * sum(prod(shape) for shape in self.shapes.values())

    def pack(self, term: tuple[Any, Params]) -> np.ndarray:
        """Return the bytes of a loss and its gradients."""
        value, grads = term
        head = np.array([not isinstance(value, float), float(value)], np.float64)
        arrays = (np.ascontiguousarray(self.backend.asnumpy(grads[name])) for name in self.shapes)
        flat = [x.reshape(-1).view(np.uint8) for x in arrays]
        return np.concatenate([head.view(np.uint8), *flat])

    def unpack(self, content: np.ndarray) -> tuple[Any, Params]:
        """Return the loss and its gradients, arrays of the backend. A loss that is a Python float stays one."""
        is_array, value = map(float, content[:16].view(np.float64))
        flat, grads, first = content[16:].view(self.dtype), {}, 0
        for name, shape in self.shapes.items():
            grads[name] = self.backend.asarray(flat[first : first + prod(shape)].reshape(shape))
            first += prod(shape)
        return (self.backend.asarray(np.array(value, self.dtype)) if is_array else value), grads
