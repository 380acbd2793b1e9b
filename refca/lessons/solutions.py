"""A solution of each exercise of the lessons. `refca.lessons.solution("1.1")` prints one."""

from __future__ import annotations

from typing import Any

import numpy as np

import refca
from refca.lessons.suspects import SUSPECTS


def count(state_channels, hidden_width):
    """Return the number of parameters: weights, and a bias for each output, of three layers."""
    first = 9 * (1 + state_channels) * hidden_width + hidden_width
    second = hidden_width * hidden_width + hidden_width
    last = hidden_width * state_channels + state_channels
    return first + second + last


def neighbours(x, row, column):
    """Return the numbers of 3x3 cells, row by row; cells outside the grid are zero."""
    height, width, channels = x.shape
    found = np.zeros((3, 3, channels))
    for i in range(3):
        for j in range(3):
            y, z = row + i - 1, column + j - 1
            if 0 <= y < height and 0 <= z < width:
                found[i, j] = x[y, z]
    return found.reshape(-1)


def step(params, image, state, fire, noise):
    """Return the state after one step, a new array. All cells read the old one."""
    x = np.concatenate([image, state], axis=-1)
    after = state.copy()
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            if fire[row, column] and image[row, column, 0] > 0.1:
                hidden = (
                    neighbours(x, row, column) @ params["perceive.weight"].reshape(180, 80) + params["perceive.bias"]
                )
                hidden = np.maximum(hidden, 0) @ params["hidden.0.weight"] + params["hidden.0.bias"]
                update = np.maximum(hidden, 0) @ params["update.weight"] + params["update.bias"]
                after[row, column] = state[row, column] + update + 0.02 * noise[row, column]
    return after


def arrival(one, other):
    """Return the first step at which a cell differs: argmax finds the first True."""
    differs = (one != other).any(axis=-1)  # (T, H, W)
    return np.where(differs.any(axis=0), differs.argmax(axis=0), -1)


def measure(predicted, label, live):
    """Return the share of live cells that are right, and whether live cells predict one label, right or wrong."""
    predicted_labels = predicted[live]
    return np.mean(predicted_labels == label), len(np.unique(predicted_labels)) == 1


def push(outputs, label, loss):
    """Return minus the gradient. For L2 it is zero at the target; for cross-entropy it is never zero."""
    one_hot = np.eye(10)[label]
    if loss == "l2":
        return one_hot - outputs
    softmax = np.exp(outputs - outputs.max())
    return one_hot - softmax / softmax.sum()


def compose(image, label, state, new_image, new_label):
    """Return a batch. The middle half goes on as it is."""
    image, label, state = image.copy(), label.copy(), state.copy()
    n = len(image) // 4
    for part in slice(0, n), slice(len(image) - n, len(image)):
        image[part], label[part] = new_image[part], new_label[part]
    state[:n] = 0
    state[-n:] = refca.mutate(refca.digits_cell(), state[-n:], image[-n:])
    return image, label, state


def slope(f, x, i, h):
    """Return the central difference. Its error falls with h * h; a one-sided difference's error only falls with h."""
    up, down = x.copy(), x.copy()
    up[i] += h
    down[i] -= h
    return (f(up) - f(down)) / (2 * h)


def measured_gate(automaton, image, state):
    """Return the gate. With z = 1 a cell becomes gate + rest, with z = 0 the same rest: the difference is the gate."""
    fire = np.ones(state.shape[:3], bool)
    ones, zeros = (
        refca.step(automaton.cell, automaton.params, image, state, fire, None, np.full_like(state, z)) for z in (1, 0)
    )
    return (ones - zeros)[..., 0]


def keep(p, K, T):
    """Return the probability of keeping over one mini-unroll. T / K of them follow each other, all kept with p."""
    return p ** (K / T)


def colony(automaton, photographs, steps):
    """Return the labels under each photograph. The state goes on, and so do the numbers of the steps."""
    state, labels = None, []
    for i, photograph in enumerate(photographs):
        state = automaton.evolve(photograph[None], steps, state, first_step=steps * i)
        labels.append(automaton.labels(state)[0])
    return np.array(labels)


def torch_step(cell, params, environment, state, fire, noise, reset_noise):
    """Return the state after one step, computed by PyTorch, whose layout is (B, channels, H, W)."""
    import torch
    from torch.nn.functional import conv2d, relu

    def channels_first(x):
        return torch.from_numpy(np.ascontiguousarray(x)).movedim(-1, 1)

    weights = {name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in params.items()}
    kernel = weights["perceive.weight"].permute(3, 2, 0, 1)  # (3, 3, in, out) to (out, in, 3, 3)
    x = torch.cat([channels_first(environment), channels_first(state)], dim=1)
    hidden = relu(conv2d(x, kernel, weights["perceive.bias"], padding=1)).movedim(1, -1)
    hidden = relu(hidden @ weights["hidden.0.weight"] + weights["hidden.0.bias"])
    update = (hidden @ weights["update.weight"] + weights["update.bias"]).numpy()
    if cell.noise:
        update = update + state.dtype.type(cell.noise) * noise
    active = fire
    if cell.alive_above is not None:
        active = fire & (environment[..., 0] > np.float32(cell.alive_above))
    return np.where(active[..., None], state + update, state)


NAMES = SUSPECTS
CONSTRAINTS = {
    "A": 1,  # only the formula says how large an update is; no rule about places or order is broken
    "B": 8,  # each sample has a mask of its own
    "C": 4,  # a convolution of mathematics turns its kernel around
    "D": 6,  # the comparison is strict: ink of exactly float32(0.1) is dead
    "E": 3,  # the second step reads what the first step read of its neighbours
    "F": 5,  # a cell that does not fire must keep its state
    "G": 7,  # the noise is multiplied by sigma, not by its square
    "H": 2,  # the neighbour of the first column is not the last column
    "I": 9,  # a batch is for speed: what a digit does must not depend on its neighbours in the batch
    "J": 6,  # neighbours of ink are dead
}

SOLUTIONS: dict[str, Any] = {
    "1.1": count,
    "1.2": neighbours,
    "1.3": step,
    "2.1": arrival,
    "2.2": measure,
    "2.3": push,
    "3.1": compose,
    "3.2": slope,
    "3.3": {"regime": "naive"},
    "4.1": measured_gate,
    "4.2": keep,
    "4.3": colony,
    "5.1": NAMES,
    "5.2": CONSTRAINTS,
    "5.3": torch_step,
}
