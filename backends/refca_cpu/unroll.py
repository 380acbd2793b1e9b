"""Whole unrolls on NumPy arrays: samples in shards, shards on threads, and of every shard only the cells that
are alive and fire, as far as the cell's norm allows.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np

from refca.contract.checks import check_numpy, check_unroll
from refca.contract.protocol import ObjectiveFunction, UnrollGrads
from refca.contract.strided_vjp import encoded
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Randomness
from refca.definition.step import alive
from refca_cpu import kernels, lockstep
from refca_cpu.arrays import Ints
from refca_cpu.batch import Batch, balanced, shard_size
from refca_cpu.layout import Packed, Shard
from refca_cpu.workers import workers

SHARD = 32  # samples of 28×28 in a shard of an evolution; fewer of a larger grid
TAPED_SHARD = 4  # with a backward pass: the tape should stay in the cache
SPAN = 20  # steps of an evolution whose randomness is drawn at once, at most
DRAWN = 1 << 20  # cells times steps whose randomness is drawn at once; at least one step


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
    check_unroll(cell, params, image, state, steps, first_step, randomness)
    check_numpy({**params, "image": image, "state": state})
    environment = encoded(cell, params, image, np)[-1]
    batch = Batch.of(cell, environment, state, randomness, first_step, steps, taped=False)
    packed, split = Packed.of(cell, params), batch.split(SHARD)
    last = np.empty(state.shape, state.dtype) if steps else np.array(state)
    drawn_at_once = max(1, DRAWN // max(1, max(map(len, split), default=0) * state.shape[1] * state.shape[2]))
    span = min(SPAN, drawn_at_once)
    spans = [
        (first, np.zeros(min(span, first_step + steps - first), bool))
        for first in range(first_step, first_step + steps, span)
    ]

    def evolve_shard(samples: Ints) -> None:
        shard = None
        for first, in_loss in spans:
            shard = batch.shard(samples, first, in_loss, shard)
            kernels.forward(shard, packed)
        keep(samples, shard)

    def keep(samples: Ints, shard: Shard | None) -> None:
        if shard:
            batch.put_states(shard, shard.pixels, samples, last)

    with workers(len(split)) as parallel_map:
        if cell.norm == "batch" and split:
            shards: list[Any] = [None] * len(split)
            for first, in_loss in spans:
                shards = parallel_map(batch.shard, split, repeat(first), repeat(in_loss), shards)
                lockstep.forward(shards, packed, parallel_map)
            parallel_map(keep, split, shards)
        else:
            parallel_map(evolve_shard, split)
    return last


def batch_parts(cell: Cell, image: Array) -> list[Ints] | None:
    """The shards of a batch (B, sH, sW, K) as parts for themselves; None under the norm over the batch."""
    if cell.norm == "batch":
        return None
    live = alive(cell, image)
    return balanced(live, shard_size(cell, TAPED_SHARD, live[0].size // cell.stride**2) if len(live) else 1)


def unroll_grads(
    cell: Cell,
    params: Params,
    environment: Array,
    state: Array,
    randomness: Randomness,
    in_loss: Array,
    objective: ObjectiveFunction,
    *,
    first_step: int = 0,
    inputs_grad: bool = True,
) -> UnrollGrads:
    """Unroll T steps and differentiate an objective of the states after those that count.

    The arguments are those of `refca.contract.protocol.BaseBackend.unroll_grads`. The objective is called for
    each shard, from several threads.
    """
    batch = Batch.of(cell, environment, state, randomness, first_step, len(in_loss), taped=True)
    packed, split = Packed.of(cell, params), batch.split(TAPED_SHARD)
    last, state_grad = np.empty(state.shape, state.dtype), np.empty(state.shape, state.dtype)  # in C order
    environment_grad = np.empty(environment.shape, environment.dtype)

    def evaluate(samples: Ints, shard: Shard) -> float:
        """The value of a shard's objective; the gradient of its states goes into the shard."""
        batch.put_states(shard, shard.pixels, samples, last)
        states = shard.in_loss.states
        value, states[...] = objective(states, samples)
        return float(value)

    def keep(samples: Ints, shard: Shard) -> None:
        if inputs_grad:
            batch.put_environments(shard, shard.grad, samples, environment_grad)
            batch.put_states(shard, shard.grad, samples, state_grad)

    def gradients(samples: Ints) -> tuple[float, Packed]:
        shard, grads = batch.shard(samples, first_step, in_loss), Packed.zeros(cell, state.dtype)
        kernels.forward(shard, packed)
        value = evaluate(samples, shard)
        kernels.backward(shard, packed, grads, inputs_grad)
        keep(samples, shard)
        return value, grads

    with workers(len(split)) as parallel_map:
        if cell.norm == "batch":
            shards = parallel_map(batch.shard, split, repeat(first_step), repeat(in_loss))
            lockstep.forward(shards, packed, parallel_map)
            values = parallel_map(evaluate, split, shards)
            all_grads = [Packed.zeros(cell, state.dtype) for _ in shards]
            lockstep.backward(shards, packed, all_grads, inputs_grad, parallel_map)
            parallel_map(keep, split, shards)
        else:
            done = parallel_map(gradients, split)
            values, all_grads = [value for value, _ in done], [grads for _, grads in done]
    total = Packed.zeros(cell, state.dtype)
    for grads in all_grads:
        for array, grad in zip(total, grads, strict=True):
            array += grad
    input_grads = (environment_grad, state_grad) if inputs_grad else (None, None)
    return sum(values), total.named(cell), *input_grads, last
