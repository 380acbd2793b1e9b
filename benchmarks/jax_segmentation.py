"""The paper's cell as one writes it in JAX: dense, jitted with all steps unrolled.

Randomness is JAX's own at each step for which no draws are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

EPSILON = 1e-5
AXES = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}  # that a norm's statistics are over


def normalise(norm: str, x: jax.Array) -> jax.Array:
    if norm == "none":
        return x
    mean = x.mean(AXES[norm], keepdims=True)
    return (x - mean) * lax.rsqrt(x.var(AXES[norm], keepdims=True) + EPSILON)


def convolve(x: jax.Array, weight: jax.Array, groups: int = 1) -> jax.Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=groups)


def step(
    norm: str, params: Any, image: jax.Array, state: jax.Array, fire_mask: jax.Array, reset_noise: Any
) -> jax.Array:
    x = jnp.concatenate([image, state], -1)
    if "perceive.mix" in params:
        x = x @ params["perceive.mix"]
        x = convolve(x, params["perceive.depthwise"][:, :, None], x.shape[-1])
    else:
        x = convolve(x, params["perceive.weight"])
    x = jax.nn.relu(normalise(norm, x))
    for i in range(2):
        x = jax.nn.relu(normalise(norm, x @ params[f"hidden.{i}.weight"]))
    candidate = state + x @ params["update.weight"]
    r = jax.nn.sigmoid(x @ params["gate.weight"])
    return jnp.where(fire_mask[..., None], r * reset_noise + (1 - r) * candidate, state)


def loss(
    norm: str,
    params: Any,
    image: jax.Array,
    state: jax.Array,
    label: jax.Array,
    key: Any,
    draws: Sequence[Any],
) -> tuple[jax.Array, jax.Array]:
    """The cross-entropy of label (B, H, W), mean over pixels, samples and steps; and the last state."""
    total = jnp.zeros(())
    for drawn in draws:
        if drawn is None:
            key, fire, normal = jax.random.split(key, 3)
            drawn = jax.random.bernoulli(fire, 0.5, state.shape[:3]), jax.random.normal(normal, state.shape)
        state = step(norm, params, image, state, *drawn)
        said = jax.nn.log_softmax(state @ params["readout.weight"])
        total = total - jnp.take_along_axis(said, label[..., None], -1).mean()
    return total / len(draws), state
