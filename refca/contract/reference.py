"""The reference backend: the plain step, and autograd for gradients. Every other backend is held to it.

It computes in the dtype it is given, float32 or float64, allocates at every step and skips nothing.
Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as xp
import numpy as np
from autograd import value_and_grad

from refca.contract.checks import check_targets, check_unroll
from refca.definition.cell import Array, Cell, Params
from refca.definition.losses import LOSSES
from refca.definition.params import frozen
from refca.definition.randomness import Randomness
from refca.definition.state import grid
from refca.definition.step import alive, readout, step
from refca.definition.strided import encode

__all__ = ["asarray", "asnumpy", "evolve", "loss_and_grads", "xp"]


def asarray(x: Any) -> Array:
    """x as an array of this backend."""
    return np.asarray(x)


def asnumpy(x: Array) -> Array:
    """An array of this backend as a NumPy array."""
    return np.asarray(x)


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
    """The state (B, H, W, D) after `steps` steps, numbered from `start`. A new array, also after no step."""
    check_unroll(cell, params, image, state, steps, first_step)
    environment, state = encode(cell, params, image), np.array(state)
    for t in range(first_step, first_step + steps):
        state = step(cell, params, environment, state, *randomness.at(cell, t, *grid(cell, image)))
    return state


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

    loss is "l2" or "ce"; target as in `loss.py`; weights (T, B) says how much each step's readout
    counts for each sample. The loss is the sum over t and b of weights[t, b] · loss[t, b]. The gradient of
    a frozen parameter is zero.
    `image_grad` adds the gradient with respect to the image, under the key "image".
    """
    steps = len(weights)
    check_unroll(cell, params, image, state, steps, first_step)
    check_targets(cell, loss, image, target, weights)
    live = alive(cell, image)

    def unroll(variables: Params, state: Array) -> Array:
        params_ = {**params, **variables}
        environment = encode(cell, params_, variables.get("image", image))
        total = 0 * xp.sum(variables["update.weight"])  # a loss that counts no step has gradients too
        for i in range(steps):
            draw = randomness.at(cell, first_step + i, *grid(cell, image))
            state = step(cell, params_, environment, state, *draw)
            if np.any(weights[i]):
                total = total + xp.sum(weights[i] * LOSSES[loss](readout(cell, params_, state), target, live))
        last.append(state)
        return total

    last: list[Array] = []
    variables = {name: x for name, x in params.items() if name not in frozen(cell)}
    if image_grad:
        variables["image"] = image
    value, grads = value_and_grad(unroll)(variables, np.array(state))
    grads |= {name: np.zeros_like(params[name]) for name in frozen(cell)}
    return float(value), grads, getattr(last[0], "_value", last[0])
