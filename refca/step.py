"""One step of the automaton, all cells at once: look, think, propose, fire.

This file is the definition. It is meant to be read, and is never made faster at the price of that; the
backends are where speed lives. It is written in NumPy through autograd, so that gradients follow from it.

Source: the article, "Model" and experiment 2; `spec/step.md` gives the index formula.

Letters: B samples, H×W grid, K image channels, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

import autograd.numpy as np

from refca.cell import Array, Cell, Params
from refca.refused import Refused


def step(
    cell: Cell, params: Params, image: Array, state: Array, fires: Array, noise: Array | None, z: Array | None
) -> Array:
    """The state after one step, (B, H, W, D), a new array of the dtype of `state`.

    image (B, H, W, K) and state (B, H, W, D) are float32 or float64; fires (B, H, W) is boolean, drawn
    before aliveness is known; noise (B, H, W, D) is standard normal, None for a cell without noise.
    z, the noise of a reset gate, is None: this cell has no gate. Outside the grid everything is zero.
    Raises Refused for missing noise or a z; shapes are the caller's to keep (`refca.check` has the checks).
    """
    if z is not None or (cell.noise and noise is None):
        raise Refused("z must be None, and noise may be None only for a cell without noise")
    seen = look(image, state)  # (B, H, W, 9·(K+D))
    hidden = think(cell, params, seen)  # (B, H, W, P)
    update = propose(cell, params, hidden, noise)  # (B, H, W, D)
    return fire(state, state + update, fires & alive(cell, image))


def look(image: Array, state: Array) -> Array:
    """What each cell sees: its 3×3 neighbourhood, row by row, image channels before state channels."""
    x = np.concatenate([image, state], axis=-1)
    _, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "constant")  # (B, H+2, W+2, K+D)
    return np.concatenate([x[:, dy : dy + H, dx : dx + W] for dy in range(3) for dx in range(3)], axis=-1)


def think(cell: Cell, params: Params, seen: Array) -> Array:
    """The hidden values: the 3×3 layer, then the 1×1 layers, each followed by relu."""
    weight = params["perceive.weight"]
    hidden = relu(seen @ np.reshape(weight, (-1, cell.hidden_width)) + params["perceive.bias"])
    for i in range(cell.hidden_layers):
        hidden = relu(hidden @ params[f"hidden.{i}.weight"] + params[f"hidden.{i}.bias"])
    return hidden


def propose(cell: Cell, params: Params, hidden: Array, noise: Array | None) -> Array:
    """The update each cell would make: a linear layer, and the residual noise on every channel."""
    update = hidden @ params["update.weight"] + params["update.bias"]
    if cell.noise:
        update = update + cell.noise * np.asarray(noise, update.dtype)
    return update


def fire(state: Array, candidate: Array, updates: Array) -> Array:
    """The candidate where a cell updates, (B, H, W) boolean; elsewhere the state, unchanged."""
    return np.where(updates[..., None], candidate, state)


def alive(cell: Cell, image: Array) -> Array:
    """Which cells live, (B, H, W) boolean: those whose image exceeds the threshold, a float32 number."""
    if cell.alive_above is None:
        return np.ones_like(image[..., 0], dtype=bool)
    return image[..., 0] > np.float32(cell.alive_above)


def readout(cell: Cell, state: Array) -> Array:
    """What each cell says of the image, (B, H, W, L): one number for each label, the last L channels."""
    return state[..., -cell.labels :]


def relu(x: Array) -> Array:
    """max(x, 0), with derivative 0 at 0; NaN stays NaN."""
    return np.where(x <= 0, 0, x)
