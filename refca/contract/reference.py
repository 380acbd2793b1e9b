"""The reference backend: the step of the definition, with gradients by autograd. Others are tested against it.

It computes in the dtype of its arguments, float32 or float64, and optimises nothing.
Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as xp
import numpy as np
from autograd import make_vjp, value_and_grad

from refca.contract.checks import check_numpy, check_targets, check_unroll, count_steps
from refca.contract.protocol import BaseBackend, ObjectiveFunction, UnrollGrads
from refca.definition.cell import Array, Cell, Params
from refca.definition.losses import LOSSES
from refca.definition.params import frozen
from refca.definition.randomness import Randomness
from refca.definition.state import grid
from refca.definition.step import alive, readout, step
from refca.definition.strided import encode


class Reference(BaseBackend):
    """The definition as a backend."""

    xp = xp

    def evolve(
        self,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        steps: int,
        *,
        first_step: int = 0,
    ) -> Array:
        """Return the state (B, H, W, D) after `steps` steps, numbered from `first_step`; a new array."""
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        check_numpy({**params, "image": image, "state": state})
        environment, state = encode(cell, params, image), np.array(state)
        for t in range(first_step, first_step + steps):
            state = step(cell, params, environment, state, *randomness.at(cell, t, *grid(cell, image)))
        return state

    def unroll_grads(
        self,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        randomness: Randomness,
        in_loss: np.ndarray,
        objective: ObjectiveFunction,
        *,
        first_step: int = 0,
        inputs_grad: bool = True,
    ) -> UnrollGrads:
        """Unroll T steps and differentiate an objective of the states after those that count."""

        def unroll(inputs: tuple[Params, Array, Array]) -> Array:
            params, environment, state = inputs
            states = []
            for i, counts in enumerate(in_loss):
                draw = randomness.at(cell, first_step + i, *environment.shape[:3])
                state = step(cell, params, environment, state, *draw)
                states += [state] if counts else []
            last.append(state)
            return xp.stack(states)

        last: list[Array] = []
        pullback, states = make_vjp(unroll)((params, environment, np.array(state)))
        value, states_grad = objective(states, slice(None))
        return value, *pullback(states_grad), unboxed(last[0])

    def loss_and_grads(
        self,
        cell: Cell,
        loss: Any,
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

        Unlike `BaseBackend.loss_and_grads` it differentiates the definition of a named loss as a whole.
        """
        if callable(loss):
            given = cell, loss, params, image, state, target, weights, randomness
            return super().loss_and_grads(*given, first_step=first_step, image_grad=image_grad)
        steps = count_steps(weights)
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        check_numpy({**params, "image": image, "state": state})
        check_targets(cell, loss, image, target, weights)
        live = alive(cell, image)

        def unroll(variables: Params, state: Array) -> Array:
            params_ = {**params, **variables}
            environment = encode(cell, params_, variables.get("image", image))
            total = 0 * xp.sum(variables["update.weight"])  # gradients exist even if no step counts
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
        return float(value), grads, unboxed(last[0])


def unboxed(x: Array) -> Array:
    """Return a NumPy array that autograd may have wrapped."""
    return getattr(x, "_value", x)


reference = BACKEND = Reference()
