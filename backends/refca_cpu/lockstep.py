"""Unrolls whose norm is over the batch: shards wait for each other wherever statistics go over all of them.

Source: `spec/chapters/step.md`, norm "batch".
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat

import numpy as np

from refca_cpu import kernels
from refca_cpu.arrays import Reals
from refca_cpu.layers import combine_moments
from refca_cpu.layout import Packed, Shard
from refca_cpu.workers import ParallelMap


def forward(shards: Sequence[Shard], params: Packed, parallel_map: ParallelMap) -> None:
    """Do `kernels.forward` on all shards at once."""
    count, same = repeat(sum(shard.cells for shard in shards)), repeat(params)
    for i in map(repeat, range(len(shards[0].updates.offsets) - 1)):
        parallel_map(kernels.perceive, shards, same, i)
        for j in range(len(params.hidden)):
            moments = repeat(moments_of_all(shards))
            parallel_map(kernels.hidden_layer, shards, same, i, repeat(j), moments, count)
        parallel_map(kernels.update_states, shards, same, i, repeat(moments_of_all(shards)), count)


def backward(
    shards: Sequence[Shard],
    params: Packed,
    grads: Sequence[Packed],
    to_environment: bool,
    parallel_map: ParallelMap,
) -> None:
    """Do `kernels.backward` on all shards at once, each into its own gradients."""
    count = repeat(sum(shard.cells for shard in shards))
    for i in range(len(shards[0].updates.offsets) - 2, -1, -1):
        common = (shards, repeat(params), grads, repeat(i))
        parallel_map(kernels.update_states_grad, *common)
        for j in range(len(params.hidden), 0, -1):
            sums = repeat(sums_of_all(shards))
            parallel_map(kernels.hidden_layer_grad, *common, repeat(j), sums, count)
        sums = repeat(sums_of_all(shards))
        parallel_map(kernels.perceive_grad, *common, sums, count, repeat(to_environment))


def moments_of_all(shards: Sequence[Shard]) -> Reals:
    """The mean over the rows of all shards, and the summed squared distance to it, (2, P)."""
    moments, rows_before = np.zeros_like(shards[0].moments), 0
    for shard in shards:
        combine_moments(shard.moments[0], shard.moments[1], shard.cells, rows_before, moments)
        rows_before += shard.cells
    return moments


def sums_of_all(shards: Sequence[Shard]) -> Reals:
    """Σ grad and Σ grad·preact over the rows of all shards, (2, P)."""
    return np.sum([shard.grad_sums for shard in shards], axis=0)
