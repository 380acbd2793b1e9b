"""The article's cell as one writes it in JAX: dense, jitted with all steps unrolled.

Randomness is JAX's own unless draws are given, which is how it is checked against the reference.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax


def step(params: Any, image: jax.Array, state: jax.Array, fire_mask: jax.Array, noise: jax.Array) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    x = jnp.concatenate([image, state], -1)
    x = lax.conv_general_dilated(x, params["perceive.weight"], (1, 1), "SAME", dimension_numbers=layout)
    x = jax.nn.relu(x + params["perceive.bias"])
    x = jax.nn.relu(x @ params["hidden.0.weight"] + params["hidden.0.bias"])
    x = x @ params["update.weight"] + params["update.bias"] + 0.02 * noise
    return state + x * fire_mask[..., None] * (image > 0.1)


def unroll(params: Any, image: jax.Array, state: jax.Array, key: Any, steps: int, draws: Any = None) -> jax.Array:
    for t in range(steps):
        if draws is None:
            key, fire, normal = jax.random.split(key, 3)
            drawn = jax.random.bernoulli(fire, 0.5, image.shape[:3]), jax.random.normal(normal, state.shape)
        else:
            drawn = draws[t]
        state = step(params, image, state, *drawn)
    return state


def loss(
    params: Any, image: jax.Array, state: jax.Array, label: jax.Array, key: Any, steps: int, draws: Any = None
) -> tuple[jax.Array, jax.Array]:
    """The L2 loss at the last step, mean over the batch, and the last state."""
    state = unroll(params, image, state, key, steps, draws)
    error = state[..., -10:] - jax.nn.one_hot(label, 10)[:, None, None]
    return (error**2 * (image > 0.1)).sum() / 2 / len(image), state


@partial(jax.jit, static_argnames="steps")
def loss_and_grads(
    params: Any, image: jax.Array, state: jax.Array, label: jax.Array, key: Any, steps: int, draws: Any = None
) -> Any:
    return jax.value_and_grad(loss, has_aux=True)(params, image, state, label, key, steps, draws)
