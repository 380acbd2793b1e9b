"""Unrolls whose norm is over the batch: the parts wait for each other wherever statistics are of all of them.

Source: `spec/chapters/step.md`, norm "batch".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca_cpu import kernels
from refca_cpu.layers import combine_moments
from refca_cpu.layout import Packed, Part

Over = Callable[..., list[Any]]  # as `map`, but done when it returns


def forward(parts: Sequence[Part], params: Packed, over: Over) -> None:
    """`kernels.forward` of all parts at once."""
    rows = repeat(sum(part.rows for part in parts))
    for i in range(len(parts[0].updates.offsets) - 1):
        over(kernels.first_sums, parts, repeat(params), repeat(i))
        for j in range(len(params.hidden)):
            moments = moments_of_all(parts)
            over(kernels.next_sums, parts, repeat(params), repeat(i), repeat(j), repeat(moments), rows)
        over(kernels.finish, parts, repeat(params), repeat(i), repeat(moments_of_all(parts)), rows)


def backward(parts: Sequence[Part], params: Packed, grads: Sequence[Packed], whole: bool, over: Over) -> None:
    """`kernels.backward` of all parts at once, each into its own gradients."""
    rows = repeat(sum(part.rows for part in parts))
    for i in range(len(parts[0].updates.offsets) - 2, -1, -1):
        common = (parts, repeat(params), grads, repeat(i))
        over(kernels.finish_grad, *common)
        for j in range(len(params.hidden), 0, -1):
            over(kernels.next_sums_grad, *common, repeat(j), repeat(sums_of_all(parts)), rows)
        over(kernels.first_sums_grad, *common, repeat(sums_of_all(parts)), rows, repeat(whole))


def moments_of_all(parts: Sequence[Part]) -> Array:
    """Mean and summed squared distance to it over the rows of all parts, (2, P)."""
    moments, seen = np.zeros_like(parts[0].moments), 0
    for part in parts:
        combine_moments(part.moments[0], part.moments[1], part.rows, seen, moments)
        seen += part.rows
    return moments


def sums_of_all(parts: Sequence[Part]) -> Array:
    """Σ grad and Σ grad·felt over the rows of all parts, (2, P)."""
    return np.sum([part.sums for part in parts], axis=0)
