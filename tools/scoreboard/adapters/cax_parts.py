"""CAX's parts without its alive mask: `ConvPerceive`, then `ResidualUpdate` with the fire rate as its step size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapters import cax_example
from adapters.cax_example import dtypes
from adapters.jax_side import Steps

__all__ = ["cells", "dtypes", "step", "supports", "unroll_grads"]

cells = tuple(replace(cell, alive_above=None) for cell in cax_example.cells)


def supports(cell: Any) -> Any:
    """Return True for cells like the example's that are all alive, or the reason why there is none."""
    if cell.alive_above is not None:
        return "this configuration has no alive mask"
    if cell.stride > 1:
        return "it has no encoder"
    return cax_example.supports(replace(cell, alive_above=0.1))


def differentiable(cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any) -> Any:
    """Return the library's state after one step, (B, H, W, D)."""
    return cax_example.differentiable(cell, params, environment, state, fire, noise, pooled=False)


steps = Steps(differentiable)
step, unroll_grads = steps.step, steps.unroll_grads
