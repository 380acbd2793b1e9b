"""CAX as its example "Self-classifying MNIST Digits" sets it up: `ConvPerceive`, then `NCAUpdate`.

The state's last channel is the image; the example writes it back after each step, and here every step is given it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from cax.core.perceive import ConvPerceive
from cax.core.update import NCAUpdate, ResidualUpdate
from flax import nnx

from adapters.draws import answer, answering
from adapters.jax_side import Steps
from refca import digits_cell

dtypes = ("float32",)  # JAX's default
# The article's cell with fewer channels, of one size, because JAX compiles for each size.
cells = (replace(digits_cell(noise=0.0), state_channels=4, hidden_width=6, labels=3),)


def supports(cell: Any) -> Any:
    """Return True for cells like the example's, or the reason why the library has no such cell."""
    for missing, reason in (
        (cell.noise, "its update has no noise"),
        (cell.norm != "none", "its update has no norm"),
        (cell.resettable, "it has no reset gate"),
        (cell.stride > 1, "it has no encoder"),
        (cell.depthwise, "the example has no depthwise layer"),
        (not cell.biases, "the example has biases"),
        (not cell.residual, "its update is added to the state"),
        (cell.image_channels != 1, "its alive mask reads the last channel alone"),
        (cell.alive_above is None, "its alive mask has a threshold"),
    ):
        if missing:
            return reason
    return True


def modules(cell: Any, pooled: bool) -> Any:
    """Return the library's perception and update with initial weights."""
    rngs, channels, P = nnx.Rngs(0), cell.state_channels + 1, cell.hidden_width
    perceive = ConvPerceive(channel_size=channels, perception_size=P, use_bias=True, activation_fn=nnx.relu, rngs=rngs)
    sizes: dict[str, Any] = {
        "channel_size": channels,
        "perception_size": P,
        "hidden_layer_sizes": (P,) * cell.hidden_layers,
    }
    sizes |= {"cell_dropout_rate": 1 - cell.fire_rate, "zeros_init": True, "rngs": rngs}
    if pooled:
        update = NCAUpdate(**sizes, alive_threshold=cell.alive_above)
    else:
        update = ResidualUpdate(**sizes, num_spatial_dims=2, step_size=cell.fire_rate)
    return perceive, update


def differentiable(
    cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any, pooled: bool = True
) -> Any:
    """Return the library's state after one step, (B, H, W, D)."""
    K, D = cell.image_channels, cell.state_channels
    perceive, update = modules(cell, pooled)
    kernel = params["perceive.weight"]
    perceive.conv.kernel = nnx.Param(jnp.concatenate([kernel[:, :, K:], kernel[:, :, :K]], 2))  # the image comes last
    perceive.conv.bias = nnx.Param(params["perceive.bias"])
    for i in range(cell.hidden_layers):
        update.layers[i].kernel = nnx.Param(params[f"hidden.{i}.weight"][None, None])
        update.layers[i].bias = nnx.Param(params[f"hidden.{i}.bias"])
    # the update of the image is 0, as at the start of training
    update.layers[-1].kernel = nnx.Param(jnp.pad(params["update.weight"], ((0, 0), (0, K)))[None, None])
    update.layers[-1].bias = nnx.Param(jnp.pad(params["update.bias"], (0, K)))
    before = jnp.concatenate([state, environment], -1)

    def bernoulli(key: Any, p: Any, shape: Any, **_: Any) -> Any:
        return answer(fire[..., None], shape)

    with answering(jax.random, bernoulli=bernoulli):
        after = update(before, perceive(before))
    return after[..., :D]


steps = Steps(differentiable)
step, unroll_grads = steps.step, steps.unroll_grads
