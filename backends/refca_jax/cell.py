"""One step of the cell in JAX, with convolutions.

Source: `refca/definition/step.py`.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from refca.definition.cell import Cell, Params
from refca.definition.step import EPSILON

AXES = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}  # that each norm averages over


def step(
    cell: Cell,
    params: Params,
    environment: jax.Array,
    state: jax.Array,
    fire: jax.Array,
    noise: Any,
    reset_noise: Any,
) -> jax.Array:
    """Return the state after one step, (B, H, W, D); the arguments are those of `refca.step`."""
    x = jnp.concatenate([environment, state], -1)  # (B, H, W, E+D)
    if cell.depthwise:
        x = convolution(x @ params["perceive.mix"], params["perceive.depthwise"][:, :, None])
    else:
        x = convolution(x, params["perceive.weight"])
    x = jax.nn.relu(normalise(cell.norm, x + params.get("perceive.bias", 0)))  # (B, H, W, P)
    for i in range(cell.hidden_layers):
        x = x @ params[f"hidden.{i}.weight"] + params.get(f"hidden.{i}.bias", 0)
        x = jax.nn.relu(normalise(cell.norm, x))
    candidate = x @ params["update.weight"] + params.get("update.bias", 0)  # (B, H, W, D)
    if cell.noise:
        candidate = candidate + cell.noise * noise
    if cell.residual:
        candidate = state + candidate
    if cell.resettable:
        gate = jax.nn.sigmoid(x @ params["gate.weight"])  # (B, H, W, 1)
        candidate = gate * reset_noise + (1 - gate) * candidate
    if cell.alive_above is not None:
        fire = fire & (environment[..., 0] > np.float32(cell.alive_above))
    return jnp.where(fire[..., None], candidate, state)


def convolution(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Return the 3×3 convolution of x (B, H, W, channels) with zeros outside the grid; weight (3, 3, in, P).

    A depthwise convolution has a weight (3, 3, 1, P). XLA's own gradients of convolutions take ten times longer on a
    CPU than the gradients of the same sums written as products. There the nine shifted copies of x are made anew for
    the gradients, which takes less time than keeping them.
    """
    if default_device().platform == "cpu":
        return jax.checkpoint(as_products)(x, weight)
    layout, groups = ("NHWC", "HWIO", "NHWC"), x.shape[-1] // weight.shape[2]
    return lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=layout, feature_group_count=groups)


def default_device() -> jax.Device:
    """Return the device on which JAX computes."""
    chosen = jax.config.jax_default_device  # a device, the name of a platform, or None
    return jax.devices(chosen)[0] if isinstance(chosen, str) else chosen or jax.devices()[0]


def as_products(x: jax.Array, weight: jax.Array) -> jax.Array:
    """Return the convolution by a product of each neighbourhood with the weights."""
    _, H, W, channels = x.shape
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = [padded[:, i : i + H, j : j + W] for i in range(3) for j in range(3)]
    flat = weight.reshape(-1, weight.shape[3])  # (9·in, P)
    if weight.shape[2] < channels:
        return sum(x * w for x, w in zip(seen, flat, strict=True))
    return jnp.concatenate(seen, -1) @ flat


def normalise(norm: str, x: jax.Array) -> jax.Array:
    """Return sums (B, H, W, P) with mean 0 and variance 1 over the axes of a norm."""
    if norm == "none":
        return x
    centred = x - x.mean(AXES[norm], keepdims=True)
    return centred * lax.rsqrt((centred**2).mean(AXES[norm], keepdims=True) + EPSILON)
