"""Whole unrolls on NumPy arrays: samples in parts, parts on threads, and of every part only the cells that
are alive and fire.

Parts depend on the batch alone and their results are summed in order, so that the number of threads changes
nothing. Source: the contract of `spec/backends.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from refca.cell import Array, Cell, Params
from refca.check import check_targets, check_unroll
from refca.randomness import Randomness
from refca.refused import Refused
from refca.step import alive
from refca_cpu import blas, kernels
from refca_cpu.layout import Counted, Live, Packed, Tape, flat, pad
from refca_cpu.updates import draw_updates, source_of

PART = 32  # samples in a part of an evolution
TAPED_PART = 4  # and where the way back follows: the tape should stay in the cache
SPAN = 20  # steps of an evolution whose randomness is drawn at once

T = TypeVar("T")


def evolve(
    cell: Cell,
    params: Params,
    image: Array,
    state: Array,
    randomness: Randomness,
    steps: int,
    *,
    start: int = 0,
) -> Array:
    """The state (B, H, W, D) after `steps` steps, numbered from `start`. A new array."""
    check_unroll(cell, params, image, state, steps, start)
    source = source_of(cell, randomness, image.shape[:3], start, steps)
    packed, sigma = Packed.of(cell, params), state.dtype.type(cell.noise)
    last = np.empty(state.shape, state.dtype)

    def work(part: Array) -> None:
        pixels, live = pad(image, state, part), Live.of(cell, image[part])
        tape = Tape.empty(cell, 0, state.dtype)
        for first in range(start, start + steps, SPAN):
            span = min(SPAN, start + steps - first)
            updates = draw_updates(cell, source, live, part, first, span, state.dtype)
            counted = Counted.none(cell, span, state.dtype)
            kernels.forward(flat(pixels), pixels.shape[2], updates, sigma, packed, tape, counted)
        kernels.leave(last, cell.image_channels, pixels, part)

    over_parts(work, balanced(alive(cell, image), PART))
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
    start: int = 0,
    image_grad: bool = False,
) -> tuple[float, Params, Array]:
    """Unroll T steps; return the loss, its gradient for every parameter, and the last state.

    The arguments are those of `refca.reference.loss_and_grads`.
    """
    steps = len(weights)
    check_unroll(cell, params, image, state, steps, start)
    check_targets(cell, loss, image, target, weights)
    source = source_of(cell, randomness, image.shape[:3], start, steps)
    packed, sigma = Packed.of(cell, params), state.dtype.type(cell.noise)
    last, image_grads = np.empty(state.shape, state.dtype), np.empty(image.shape, image.dtype)

    def work(part: Array) -> tuple[float, Packed]:
        pixels, live = pad(image, state, part), Live.of(cell, image[part])
        updates = draw_updates(cell, source, live, part, start, steps, state.dtype)
        tape = Tape.empty(cell, len(updates.corner), state.dtype)
        counted = Counted.of(cell, loss, image[part], live, target[part], weights[:, part])
        row = pixels.shape[2]
        value = kernels.forward(flat(pixels), row, updates, sigma, packed, tape, counted)
        kernels.leave(last, cell.image_channels, pixels, part)
        grad, grads = np.zeros_like(pixels), Packed.zeros(cell, state.dtype)
        kernels.backward(flat(pixels), flat(grad), row, updates, packed, tape, counted, grads, image_grad)
        if image_grad:
            kernels.leave(image_grads, 0, grad, part)
        return value, grads

    parts = over_parts(work, balanced(alive(cell, image), TAPED_PART))
    total = Packed.zeros(cell, state.dtype)
    for _, grads in parts:
        for array, grad in zip(total, grads, strict=True):
            array += grad
    named = total.named(cell) | ({"image": image_grads} if image_grad else {})
    return float(sum(value for value, _ in parts)), named, last


def balanced(live: Array, size: int) -> list[Array]:
    """The samples in parts of at most `size`, with about as many live cells (B, H, W) in each."""
    if not len(live):
        return []
    largest_first = np.argsort(-live.sum(axis=(1, 2)), kind="stable")
    count = -(-len(live) // size)
    rows = [largest_first[i : i + count] for i in range(0, len(live), count)]
    turned = [row if i % 2 == 0 else row[::-1] for i, row in enumerate(rows)]  # there and back again
    return [np.sort([row[p] for row in turned if p < len(row)]) for p in range(count)]


def over_parts(work: Callable[[Array], T], parts: list[Array]) -> list[T]:
    """The results of `work` on each part, in order, from as many threads as `threads()`."""
    with blas.single_threaded():
        if len(parts) == 1 or threads() == 1:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(threads()) as pool:
            return list(pool.map(work, parts))


def threads() -> int:
    """The threads to work on: REFCA_THREADS, else the processors that this process may use."""
    setting = os.environ.get("REFCA_THREADS")
    if setting is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (setting.isdecimal() and int(setting)):
        raise Refused(f'REFCA_THREADS is a number of threads from 1 on, got "{setting}"')
    return int(setting)
