"""Steps and gradients of a library in JAX, for NumPy arrays.

`differentiable(cell, params, environment, state, fire, noise)` is one step of the library on arrays
(B, H, W, channels).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


class Steps:
    """The functions `step` and `unroll_grads` of a backend, from a differentiable step."""

    def __init__(self, differentiable: Any) -> None:
        self.differentiable = jax.jit(differentiable, static_argnums=0)

    def step(self, cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any, reset: Any) -> Any:
        """Return the library's state after one step."""
        given = (jnp.asarray(x) for x in (environment, state, fire))
        after = self.differentiable(cell, {name: jnp.asarray(x) for name, x in params.items()}, *given, noise)
        return np.array(after)

    def unroll_grads(self, *given: Any, first_step: int = 0, inputs_grad: bool = True) -> Any:
        """Unroll the library's steps and differentiate an objective of its states by JAX's vjp."""
        cell, params, environment, state, randomness, in_loss, objective = given
        draws = [randomness.at(cell, t, *state.shape[:3]) for t in range(first_step, first_step + len(in_loss))]

        def states_of(params: Any, environment: Any, now: Any) -> tuple[Any, Any]:
            states = []
            for (fire, noise, _), counts in zip(draws, in_loss, strict=True):
                now = self.differentiable(cell, params, environment, now, jnp.asarray(fire), noise)
                states += [now] * bool(counts)
            return jnp.stack(states), now

        counted, pullback, last = jax.vjp(states_of, params, environment, state, has_aux=True)
        value, gradient = objective(np.array(counted), slice(None))
        of_params, of_environment, of_state = pullback(jnp.asarray(gradient))
        named = {name: np.array(grad) for name, grad in of_params.items()}
        return float(value), named, np.array(of_environment), np.array(of_state), np.array(last)
