"""Whole unrolls on NumPy arrays: samples in shards, shards on threads, and of every shard only the cells that
are alive and fire, as far as the cell's norm allows.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from refca.contract.checks import check_targets, check_unroll
from refca.contract.strided_vjp import encoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.params import frozen
from refca.definition.randomness import Randomness
from refca_cpu import kernels, lockstep
from refca_cpu.arrays import Ints
from refca_cpu.batch import Batch
from refca_cpu.layout import Packed, Shard
from refca_cpu.readout import loss_of
from refca_cpu.workers import workers

SHARD = 32  # samples of 28×28 in a shard of an evolution; fewer of a larger grid
TAPED_SHARD = 4  # with a backward pass: the tape should stay in the cache
SPAN = 20  # steps of an evolution whose randomness is drawn at once


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
    """The state (B, H, W, D) after `steps` steps, numbered from `first_step`. A new array."""
    check_unroll(cell, params, image, state, steps, first_step)
    batch = Batch.of(cell, params, image, state, randomness, first_step, steps, taped=False)
    packed, split, last = Packed.of(cell, params), batch.split(SHARD), np.array(state)
    spans = [
        (first, np.zeros(min(SPAN, first_step + steps - first), bool))
        for first in range(first_step, first_step + steps, SPAN)
    ]

    def move(samples: Ints) -> None:
        shard = None
        for first, in_loss in spans:
            shard = batch.shard(samples, first, in_loss, shard)
            kernels.forward(shard, packed)
        keep(samples, shard)

    def keep(samples: Ints, shard: Shard | None) -> None:
        if shard:
            last[samples] = batch.states(shard)

    with workers(len(split)) as parallel_map:
        if cell.norm == "batch" and split:
            shards: list[Any] = [None] * len(split)
            for first, in_loss in spans:
                shards = parallel_map(batch.shard, split, repeat(first), repeat(in_loss), shards)
                lockstep.forward(shards, packed, parallel_map)
            parallel_map(keep, split, shards)
        else:
            parallel_map(move, split)
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
    batch = Batch.of(cell, params, image, state, randomness, first_step, len(weights), taped=True)
    packed, split, in_loss = Packed.of(cell, params), batch.split(TAPED_SHARD), weights.any(axis=1)
    last, environment_grad = np.empty_like(state), np.zeros_like(batch.environment)
    to_environment = image_grad or cell.stride > 1

    def objective(samples: Ints, shard: Shard) -> tuple[float, Params]:
        """The loss of a shard and the gradients of the readout; the gradient of its states goes into it."""
        last[samples] = batch.states(shard)
        states, asked = shard.in_loss.states, weights[in_loss][:, samples]
        value, states[...], readout_grads = loss_of(cell, loss, params, image[samples], target[samples], asked, states)
        return value, readout_grads

    def keep(samples: Ints, shard: Shard) -> None:
        if to_environment:
            environment_grad[samples] = batch.environments(shard, shard.grad)

    def gradients(samples: Ints) -> tuple[float, Params, Packed]:
        shard, step_grads = batch.shard(samples, first_step, in_loss), Packed.zeros(cell, state.dtype)
        kernels.forward(shard, packed)
        value, readout_grads = objective(samples, shard)
        kernels.backward(shard, packed, step_grads, to_environment)
        keep(samples, shard)
        return value, readout_grads, step_grads

    with workers(len(split)) as parallel_map:
        if cell.norm == "batch" and split:
            shards = parallel_map(batch.shard, split, repeat(first_step), repeat(in_loss))
            lockstep.forward(shards, packed, parallel_map)
            values = parallel_map(objective, split, shards)
            all_grads = [Packed.zeros(cell, state.dtype) for _ in shards]
            lockstep.backward(shards, packed, all_grads, to_environment, parallel_map)
            parallel_map(keep, split, shards)
            done = [(*pair, step_grads) for pair, step_grads in zip(values, all_grads, strict=True)]
        else:
            done = parallel_map(gradients, split)
    value, grads = total(cell, params, done)
    if to_environment:
        encoder_grads, of_image = encoded_grad(cell, params, batch.activations, environment_grad, image_grad)
        grads |= encoder_grads | ({"image": of_image} if image_grad else {})
    return value, grads | {name: np.zeros_like(params[name]) for name in frozen(cell)}, last


def total(cell: Cell, params: Params, done: list[tuple[float, Params, Packed]]) -> tuple[float, Params]:
    """The sums over shards of loss and gradients, in order."""
    value, packed = 0.0, Packed.zeros(cell, params["update.weight"].dtype)
    grads = {name: np.zeros_like(x) for name, x in params.items()} | packed.named(cell)
    for shard_value, readout_grads, step_grads in done:
        value += shard_value
        for array, grad in zip(packed, step_grads, strict=True):
            array += grad
        for name, grad in readout_grads.items():
            grads[name] += grad
    return float(value), grads
