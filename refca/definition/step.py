"""One step of the automaton, for all cells at once: neighbourhood, hidden_layers, propose, gate, fire.

This file is the definition. It is written to be read and is not optimised; the backends are. It uses NumPy
through autograd, which derives the gradients.

Source: the article, "Model" and experiment 2; the paper, section 3 (depthwise), 3.3 (reset gate), 3.5 (norms);
`spec/chapters/step.md` gives the index formula.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

from typing import Any

import autograd.numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.errors import InvalidInput
from refca.definition.strided import decode

EPSILON = 1e-5  # added to a variance before the square root


def step(
    cell: Cell,
    params: Params,
    environment: Array,
    state: Array,
    fire_mask: Array,
    noise: Array | None,
    reset_noise: Array | None,
) -> Array:
    """Return the state after one step, (B, H, W, D), a new array of the dtype of `state`.

    environment (B, H, W, E) is the image, or `encode(image)` for a strided cell. It and state (B, H, W, D) are
    float32 or float64. fire_mask (B, H, W) is boolean and ignores whether a cell is alive. noise and
    reset_noise (B, H, W, D) are standard normal; noise is None for a cell without noise, reset_noise for a
    cell without a reset gate. Outside the grid everything is zero.

    Raises InvalidInput for noise that is missing, and for reset_noise that is missing or unused. Shapes are not
    checked here but in `refca.contract.checks`.
    """
    if cell.noise and noise is None:
        raise InvalidInput(f"noise must be an array for a cell with noise {cell.noise}, got None")
    if cell.resettable != (reset_noise is not None):
        needed, got = ("an array", "None") if cell.resettable else ("None", "an array")
        raise InvalidInput(f"reset_noise must be {needed} for a cell with resettable={cell.resettable}, got {got}")
    hidden = hidden_layers(cell, params, neighbourhood(environment, state))  # (B, H, W, P)
    proposal = propose(cell, params, hidden, noise)  # (B, H, W, D)
    candidate = state + proposal if cell.residual else proposal
    if cell.resettable:
        candidate = reset(gate(params, hidden), candidate, reset_noise)
    return fire(state, candidate, fire_mask & alive(cell, environment))


def neighbourhood(environment: Array, state: Array) -> Array:
    """Return the 3×3 neighbourhood of each cell, row by row, (B, H, W, 9, E+D), environment channels first."""
    x = np.concatenate([environment, state], axis=-1)  # (B, H, W, E+D)
    _, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "constant")  # (B, H+2, W+2, E+D)
    return np.stack([x[:, dy : dy + H, dx : dx + W] for dy in range(3) for dx in range(3)], axis=-2)


def hidden_layers(cell: Cell, params: Params, patches: Array) -> Array:
    """Return the hidden values (B, H, W, P): the 3×3 layer, then 1×1 layers, each normalised, then relu."""
    hidden = relu(normalise(cell, perceive(cell, params, patches)))
    for i in range(cell.hidden_layers):
        sums = hidden @ params[f"hidden.{i}.weight"] + bias(cell, params, f"hidden.{i}.bias")
        hidden = relu(normalise(cell, sums))
    return hidden


def perceive(cell: Cell, params: Params, patches: Array) -> Array:
    """Return the first layer's sums (B, H, W, P): a full 3×3 layer, or a 1×1 then a depthwise 3×3 layer."""
    if cell.depthwise:
        mixed = patches @ params["perceive.mix"]  # (B, H, W, 9, P)
        filters = np.reshape(params["perceive.depthwise"], (9, -1))  # (9, P)
        return np.sum(mixed * filters, axis=-2) + bias(cell, params, "perceive.bias")
    weight = np.reshape(params["perceive.weight"], (-1, cell.hidden_width))
    flat = np.reshape(patches, (*patches.shape[:3], len(weight)))  # (B, H, W, 9·(E+D))
    return flat @ weight + bias(cell, params, "perceive.bias")


def normalise(cell: Cell, sums: Array) -> Array:
    """Return the sums (B, H, W, P) normalised as `cell.norm` says, without learned scale or shift."""
    if cell.norm == "none" or not sums.size:  # an empty batch has no mean
        return sums
    axis = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}[cell.norm]
    centred = sums - np.mean(sums, axis=axis, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=axis, keepdims=True) + EPSILON)


def propose(cell: Cell, params: Params, hidden: Array, noise: Array | None) -> Array:
    """Return the proposed update (B, H, W, D): a linear layer plus residual noise on every channel."""
    update = hidden @ params["update.weight"] + bias(cell, params, "update.bias")
    if cell.noise:
        update = update + cell.noise * np.asarray(noise, update.dtype)
    return update


def gate(params: Params, hidden: Array) -> Array:
    """Return the reset gate of each cell, (B, H, W, 1), from 0 (keep) to 1 (reset)."""
    return sigmoid(hidden @ params["gate.weight"])


def reset(gate: Array, candidate: Array, reset_noise: Array) -> Array:
    """Return the mean of reset noise and candidate, weighted by the gate, (B, H, W, D)."""
    return gate * np.asarray(reset_noise, candidate.dtype) + (1 - gate) * candidate


def fire(state: Array, candidate: Array, active: Array) -> Array:
    """Return the candidate where `active` (B, H, W) is true, and the unchanged state elsewhere."""
    return np.where(active[..., None], candidate, state)


def alive(cell: Cell, environment: Array) -> Array:
    """Return the mask of live cells, (B, H, W) boolean: first channel > float32(alive_above).

    For the image of a strided cell instead of its environment it is the mask of live pixels, (B, sH, sW).
    """
    return environment[..., 0] > np.float32(-np.inf if cell.alive_above is None else cell.alive_above)


def readout(cell: Cell, params: Params, state: Array) -> Array:
    """Return one number for each label: logits (B, H, W, L), or (B, sH, sW, L) for a strided cell.

    They are the last L channels of the state (B, H, W, D), a linear map of it, or the output of the decoder.
    At stride 1 it also takes a flat list of N cells: state (N, D) gives (N, L).
    """
    if cell.stride > 1:
        return decode(cell, params, state)
    return state @ params["readout.weight"] if cell.linear_readout else state[..., -cell.labels :]


def bias(cell: Cell, params: Params, name: str) -> Array:
    """Return the bias of this name, or 0 for a cell without biases."""
    return params[name] if cell.biases else 0


def relu(x: Array) -> Array:
    """Return max(x, 0), whose derivative at 0 is 0; NaN stays NaN."""
    return np.where(x <= 0, 0, x)


def sigmoid(x: Array, xp: Any = np) -> Array:
    """Return 1 / (1 + exp(-x)) without overflow; x is an array of the library `xp`."""
    return (xp.tanh(x / 2) + 1) / 2
