"""Whole unrolls on NumPy arrays: samples in parts, parts on threads, and of every part only the cells that
are alive and fire, as far as the cell's norm allows.

Parts depend on the batch alone and their results are summed in order, so that the number of threads changes
nothing. Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np

from refca.contract.checks import check_targets, check_unroll
from refca.contract.strided_vjp import encoded, encoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.params import frozen
from refca.definition.randomness import Randomness
from refca.definition.step import alive
from refca.errors import InvalidInput
from refca_cpu import blas, in_step, kernels
from refca_cpu.layout import Counted, Form, Live, Packed, Part
from refca_cpu.readout import loss_of
from refca_cpu.room import Room
from refca_cpu.updates import Source, draw_updates, source_of

PART = 32  # samples of 28×28 in a part of an evolution; fewer of a larger grid
TAPED_PART = 4  # and where the way back follows: the tape should stay in the cache
TOGETHER_PART = 2  # samples in a part where parts wait for each other
SPAN = 20  # steps of an evolution whose randomness is drawn at once


@dataclass(frozen=True)
class Batch:
    """What the parts of one call share."""

    cell: Cell
    form: Form
    activations: list[Array]  # the image, and what each layer of the encoder makes of it
    state: Array  # (B, H, W, D)
    source: Source
    own: threading.local = field(default_factory=threading.local)  # each thread's memory to work in

    @classmethod
    def of(
        cls,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        first_step: int,
        steps: int,
        keep: bool,
    ) -> Batch:
        source = source_of(cell, randomness, state.shape[:3], first_step, steps)
        return cls(cell, Form.of(cell, state.dtype, keep), encoded(cell, params, image), state, source)

    @property
    def environment(self) -> Array:
        """(B, H, W, E)."""
        return self.activations[-1]

    def split(self, most: int) -> list[Array]:
        """The samples of each part, at most `most` of 28×28; fewer of a larger grid."""
        _, H, W, _ = self.environment.shape
        sizes = {"instance": 1, "batch": TOGETHER_PART}
        size = sizes.get(self.cell.norm, min(most, max(1, most * 28 * 28 // max(1, H * W))))
        return balanced(alive(self.cell, self.environment), size)

    def part(self, samples: Array, first: int, counts: Array, before: Part | None = None) -> Part:
        """A part at its steps from `first` on; `counts` (T,) says which count; it goes on from `before`."""
        cell, dtype, (_, H, W, _) = self.cell, self.state.dtype, self.environment.shape
        live, room = Live.of(cell, self.environment[samples]), self.room()
        updates = draw_updates(cell, self.source, live, samples, first, len(counts), H * W, dtype, room)
        counted = Counted.of(counts, (len(samples), *self.state.shape[1:]), dtype, room)
        pixels = before.pixels if before else None
        return Part.of(cell, self.form, self.environment, self.state, samples, updates, counted, room, pixels)

    def room(self) -> Room:
        """Memory for a part: this thread's, whose part before is done; its own where all parts go in step."""
        if self.cell.norm == "batch":
            return Room()
        if not hasattr(self.own, "room"):
            self.own.room = Room()
        room: Room = self.own.room
        return room

    def environments(self, part: Part, flat_pixels: Array) -> Array:
        """The environment's channels of a part's flat pixels, (b, H, W, E)."""
        return self.channels(part, flat_pixels, 0, self.environment.shape[-1])

    def states(self, part: Part) -> Array:
        """The states of a part, (b, H, W, D)."""
        E, D = self.environment.shape[-1], self.state.shape[-1]
        return self.channels(part, part.pixels, E, D)

    def channels(self, part: Part, flat_pixels: Array, first: int, count: int) -> Array:
        _, H, W, _ = self.environment.shape
        moved = np.empty((part.rows // (H * W), H, W, count), self.state.dtype)
        kernels.leave(moved, first, flat_pixels, part.row)
        return moved


def evolve(
    cell: Cell,
    params: Params,
    image: Array,
    state: Array,
    randomness: Randomness,
    steps: int,
    *,
    first_step: int = 0,
) -> Array:
    """The state (B, H, W, D) after `steps` steps, numbered from `start`. A new array."""
    check_unroll(cell, params, image, state, steps, first_step)
    batch = Batch.of(cell, params, image, state, randomness, first_step, steps, keep=False)
    packed, split, last = Packed.of(cell, params), batch.split(PART), np.array(state)
    spans = [
        (first, np.zeros(min(SPAN, first_step + steps - first), bool))
        for first in range(first_step, first_step + steps, SPAN)
    ]

    def move(samples: Array) -> None:
        part = None
        for first, counts in spans:
            part = batch.part(samples, first, counts, part)
            kernels.forward(part, packed)
        keep(samples, part)

    def keep(samples: Array, part: Part | None) -> None:
        if part:
            last[samples] = batch.states(part)

    with workers(len(split)) as over:
        if cell.norm == "batch" and split:
            parts: list[Any] = [None] * len(split)
            for first, counts in spans:
                parts = over(batch.part, split, repeat(first), repeat(counts), parts)
                in_step.forward(parts, packed, over)
            over(keep, split, parts)
        else:
            over(move, split)
    return last


def loss_and_grads(
    cell: Cell,
    loss: str,
    params: Params,
    image: Array,
    state: Array,
    target: Array,
    weights: Array,
    randomness: Randomness,
    *,
    first_step: int = 0,
    image_grad: bool = False,
) -> tuple[float, Params, Array]:
    """Unroll T steps; return the loss, its gradient for every parameter, and the last state.

    The arguments are those of `refca.contract.reference.loss_and_grads`.
    """
    check_unroll(cell, params, image, state, len(weights), first_step)
    check_targets(cell, loss, image, target, weights)
    batch = Batch.of(cell, params, image, state, randomness, first_step, len(weights), keep=True)
    packed, split, counts = Packed.of(cell, params), batch.split(TAPED_PART), weights.any(axis=1)
    last, environment_grad = np.empty_like(state), np.zeros_like(batch.environment)
    whole = image_grad or cell.stride > 1

    def learn(samples: Array) -> tuple[float, Params, Packed]:
        part, grads = batch.part(samples, first_step, counts), Packed.zeros(cell, state.dtype)
        kernels.forward(part, packed)
        value, of_readout = judge(samples, part)
        kernels.backward(part, packed, grads, whole)
        keep(samples, part)
        return value, of_readout, grads

    def judge(samples: Array, part: Part) -> tuple[float, Params]:
        """The loss of a part at its last step, and the readout's gradients; the states' go into the part."""
        last[samples] = batch.states(part)
        states, asked = part.counted.states, weights[counts][:, samples]
        value, states[...], of_readout = loss_of(cell, loss, params, image[samples], target[samples], asked, states)
        return value, of_readout

    def keep(samples: Array, part: Part) -> None:
        if whole:
            environment_grad[samples] = batch.environments(part, part.grad)

    with workers(len(split)) as over:
        if cell.norm == "batch" and split:
            parts = over(batch.part, split, repeat(first_step), repeat(counts))
            in_step.forward(parts, packed, over)
            judged = over(judge, split, parts)
            of_steps = [Packed.zeros(cell, state.dtype) for _ in parts]
            in_step.backward(parts, packed, of_steps, whole, over)
            over(keep, split, parts)
            done = [(*pair, grads) for pair, grads in zip(judged, of_steps, strict=True)]
        else:
            done = over(learn, split)
    value, grads = total(cell, params, done)
    if whole:
        of_layers, of_image = encoded_grad(cell, params, batch.activations, environment_grad, image_grad)
        grads |= of_layers | ({"image": of_image} if image_grad else {})
    return value, grads | {name: np.zeros_like(params[name]) for name in frozen(cell)}, last


def total(cell: Cell, params: Params, done: list[tuple[float, Params, Packed]]) -> tuple[float, Params]:
    """The sums over parts of loss and gradients, in order."""
    value, packed = 0.0, Packed.zeros(cell, params["update.weight"].dtype)
    grads = {name: np.zeros_like(x) for name, x in params.items()} | packed.named(cell)
    for of_part, of_readout, of_steps in done:
        value += of_part
        for array, grad in zip(packed, of_steps, strict=True):
            array += grad
        for name, grad in of_readout.items():
            grads[name] += grad
    return float(value), grads


def balanced(live: Array, size: int) -> list[Array]:
    """The samples in parts of at most `size`, with about as many live cells (B, H, W) in each."""
    if not len(live):
        return []
    largest_first = np.argsort(-live.sum(axis=(1, 2)), kind="stable")
    count = -(-len(live) // size)
    rows = [largest_first[i : i + count] for i in range(0, len(live), count)]
    turned = [row if i % 2 == 0 else row[::-1] for i, row in enumerate(rows)]  # there and back again
    return [np.sort([row[p] for row in turned if p < len(row)]) for p in range(count)]


@contextmanager
def workers(parts: int) -> Iterator[in_step.Over]:
    """A map, in order, whose calls are shared out to as many threads as `threads()`."""
    with blas.single_threaded():
        if parts <= 1 or threads() == 1:
            yield lambda work, *items: list(map(work, *items))
        else:
            with ThreadPoolExecutor(threads()) as pool:
                yield lambda work, *items: list(pool.map(work, *items))


def threads() -> int:
    """The threads to work on: REFCA_THREADS, else the processors that this process may use."""
    setting = os.environ.get("REFCA_THREADS")
    if setting is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (setting.isdecimal() and int(setting)):
        raise InvalidInput(f'REFCA_THREADS is a number of threads from 1 on, got "{setting}"')
    return int(setting)
