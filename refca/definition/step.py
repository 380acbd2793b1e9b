"""One step of the automaton, all cells at once: look, think, propose, gate, fire.

This file is the definition. It is meant to be read, and is never made faster at the price of that; the
backends are where speed lives. It is written in NumPy through autograd, so that gradients follow from it.

Source: the article, "Model" and experiment 2; the paper, 3.1 (depthwise), 3.3 (reset gate), 3.5 (norms);
`spec/chapters/step.md` gives the index formula.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

import autograd.numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.errors import InvalidInput
from refca.definition.strided import decode

EPSILON = 1e-5  # added to a variance before its root is taken


def step(
    cell: Cell, params: Params, image: Array, state: Array, fires: Array, noise: Array | None, z: Array | None
) -> Array:
    """The state after one step, (B, H, W, D), a new array of the dtype of `state`.

    image (B, H, W, E), what `encode` makes of it for a strided cell, and state (B, H, W, D) are float32 or
    float64; fires (B, H, W) is boolean, drawn before aliveness is known; noise and z (B, H, W, D) are
    standard normal, None for a cell without noise, and for one without a reset gate. Outside the grid
    everything is zero.
    Raises InvalidInput for missing noise or a z that is missing or not asked for; shapes are the caller's to keep
    (`refca.check` has the checks).
    """
    if (cell.noise and noise is None) or cell.resettable != (z is not None):
        raise InvalidInput("noise may be None only for a cell without noise, and z for one without a reset gate")
    hidden = hidden_layers(cell, params, neighbourhood(image, state))  # (B, H, W, P)
    proposal = propose(cell, params, hidden, noise)  # (B, H, W, D)
    candidate = state + proposal if cell.residual else proposal
    if cell.resettable:
        candidate = reset(gate(params, hidden), candidate, z)
    return fire(state, candidate, fires & alive(cell, image))


def neighbourhood(image: Array, state: Array) -> Array:
    """What each cell sees: its 3×3 neighbourhood row by row, (B, H, W, 9, E+D), image channels first."""
    x = np.concatenate([image, state], axis=-1)
    _, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "constant")  # (B, H+2, W+2, E+D)
    return np.stack([x[:, dy : dy + H, dx : dx + W] for dy in range(3) for dx in range(3)], axis=-2)


def hidden_layers(cell: Cell, params: Params, seen: Array) -> Array:
    """The hidden values: the 3×3 layer, then the 1×1 layers; each normalises its sums, then rectifies."""
    hidden = relu(normalise(cell, perceive(cell, params, seen)))
    for i in range(cell.hidden_layers):
        sums = hidden @ params[f"hidden.{i}.weight"] + bias(cell, params, f"hidden.{i}.bias")
        hidden = relu(normalise(cell, sums))
    return hidden


def perceive(cell: Cell, params: Params, seen: Array) -> Array:
    """The first layer's sums (B, H, W, P): over all that is seen, or in each channel of a mix of it."""
    if cell.depthwise:
        mixed = seen @ params["perceive.mix"]  # (B, H, W, 9, P)
        filters = np.reshape(params["perceive.depthwise"], (9, -1))
        return np.sum(mixed * filters, axis=-2) + bias(cell, params, "perceive.bias")
    weight = np.reshape(params["perceive.weight"], (-1, cell.hidden_width))
    flat = np.reshape(seen, (*seen.shape[:3], len(weight)))  # (B, H, W, 9·(E+D))
    return flat @ weight + bias(cell, params, "perceive.bias")


def normalise(cell: Cell, sums: Array) -> Array:
    """Sums (B, H, W, P) to mean 0 and variance 1 over a sample's cells, the batch's, or a cell's channels."""
    if cell.norm == "none" or not sums.size:  # no sample has no mean
        return sums
    axis = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}[cell.norm]
    centred = sums - np.mean(sums, axis=axis, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=axis, keepdims=True) + EPSILON)


def propose(cell: Cell, params: Params, hidden: Array, noise: Array | None) -> Array:
    """The update each cell would make: a linear layer, and the residual noise on every channel."""
    update = hidden @ params["update.weight"] + bias(cell, params, "update.bias")
    if cell.noise:
        update = update + cell.noise * np.asarray(noise, update.dtype)
    return update


def gate(params: Params, hidden: Array) -> Array:
    """How far each cell would reset itself, (B, H, W, 1), from 0 to 1."""
    return sigmoid(hidden @ params["gate.weight"])


def reset(gate: Array, candidate: Array, z: Array) -> Array:
    """The candidate, replaced by noise as far as the gate is open."""
    return gate * np.asarray(z, candidate.dtype) + (1 - gate) * candidate


def fire(state: Array, candidate: Array, updates: Array) -> Array:
    """The candidate where a cell updates, (B, H, W) boolean; elsewhere the state, unchanged."""
    return np.where(updates[..., None], candidate, state)


def alive(cell: Cell, image: Array) -> Array:
    """Which cells live, (B, H, W) boolean: those whose image exceeds the threshold, a float32 number."""
    if cell.alive_above is None:
        return np.ones_like(image[..., 0], dtype=bool)
    return image[..., 0] > np.float32(cell.alive_above)


def readout(cell: Cell, params: Params, state: Array) -> Array:
    """What is said of the image, one number for each label: (B, H, W, L), of a strided cell (B, sH, sW, L).

    The last L channels of the state (B, H, W, D), or a linear map of it, or what its decoder makes of it. Of
    a cell without a stride also from rows of cells, (N, D) to (N, L).
    """
    if cell.stride > 1:
        return decode(cell, params, state)
    return state @ params["readout.weight"] if cell.linear_readout else state[..., -cell.labels :]


def bias(cell: Cell, params: Params, name: str) -> Array:
    """This bias, or for a cell that has none 0."""
    return params[name] if cell.biases else 0


def relu(x: Array) -> Array:
    """max(x, 0), with derivative 0 at 0; NaN stays NaN."""
    return np.where(x <= 0, 0, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(−x)), without overflow."""
    return (np.tanh(x / 2) + 1) / 2
