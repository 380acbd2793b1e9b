"""ncalib with the padding and the pooled alive mask that its classes have without arguments."""

from __future__ import annotations

from typing import Any

from adapters import ncalib_nearest
from adapters.ncalib_nearest import dtypes, supports
from adapters.torch_side import Steps

__all__ = ["dtypes", "step", "supports", "unroll_grads"]


def differentiable(cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any) -> Any:
    """Return the library's state after one step, (B, H, W, D)."""
    return ncalib_nearest.differentiable(cell, params, environment, state, fire, noise, padding="replicate", pool=3)


steps = Steps(differentiable)
step, unroll_grads = steps.step, steps.unroll_grads
