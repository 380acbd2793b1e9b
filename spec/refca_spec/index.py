"""The index formulas of the chapters as plain loops over Python numbers: slow, and nothing to misread.

The laws compare the array code of `refca/` with these. Indices: b sample, y row, x column, c and d channels,
p hidden unit. Letters and layout: `spec/notation.md`.
"""

from __future__ import annotations

import math

import numpy as np

from refca.cell import Array, Cell, Params

LOW = 2**32


def step(cell: Cell, params: Params, image: Array, state: Array, fires: Array, noise: Array | None) -> Array:
    """`spec/step.md`: the state (B, H, W, D) after one step."""
    after = np.array(state)
    B, H, W, D = state.shape
    for b in range(B):
        for y in range(H):
            for x in range(W):
                if not (fires[b, y, x] and alive(cell, image[b, y, x])):
                    continue
                hidden = think(cell, params, image[b], state[b], y, x)
                for d in range(D):
                    update = params["update.bias"][d]
                    for p in range(cell.hidden_width):
                        update += hidden[p] * params["update.weight"][p, d]
                    if cell.noise and noise is not None:
                        update += cell.noise * noise[b, y, x, d]
                    after[b, y, x, d] = state[b, y, x, d] + update
    return after


def think(cell: Cell, params: Params, image: Array, state: Array, y: int, x: int) -> list[float]:
    """The hidden values (P,) of the cell at row y, column x."""
    H, W, K = image.shape
    hidden = []
    for p in range(cell.hidden_width):
        total = params["perceive.bias"][p]
        for dy in range(3):
            for dx in range(3):
                row, column = y + dy - 1, x + dx - 1
                if 0 <= row < H and 0 <= column < W:
                    for c in range(K + cell.state_channels):
                        value = image[row, column, c] if c < K else state[row, column, c - K]
                        total += value * params["perceive.weight"][dy, dx, c, p]
        hidden.append(max(total, 0.0))
    for i in range(cell.hidden_layers):
        weight, bias = params[f"hidden.{i}.weight"], params[f"hidden.{i}.bias"]
        P = range(cell.hidden_width)
        hidden = [max(bias[q] + sum(hidden[p] * weight[p, q] for p in P), 0.0) for q in P]
    return hidden


def alive(cell: Cell, pixel: Array) -> bool:
    """Whether the cell on a pixel (K,) lives."""
    return cell.alive_above is None or float(pixel[0]) > float(np.float32(cell.alive_above))


def l2(readout: Array, target: Array, live: Array) -> list[float]:
    """`spec/l2.md`: the loss of each sample."""
    return over_cells(half_squares, readout, target, live)


def cross_entropy(readout: Array, target: Array, live: Array) -> list[float]:
    """`spec/cross_entropy.md`: the loss of each sample."""
    return over_cells(surprise, readout, target, live)


def half_squares(said: Array, label: int) -> float:
    return sum((said[k] - (k == label)) ** 2 for k in range(len(said))) / 2


def surprise(said: Array, label: int) -> float:
    return math.log(sum(math.exp(value) for value in said)) - said[label]


def over_cells(loss: object, readout: Array, target: Array, live: Array) -> list[float]:
    """The sum over live cells for labels (B,); the mean over all pixels for a label map (B, H, W)."""
    assert callable(loss)
    B, H, W, _ = readout.shape
    losses = []
    for b in range(B):
        total = 0.0
        for y in range(H):
            for x in range(W):
                if target.ndim == 3:
                    total += loss(readout[b, y, x], int(target[b, y, x])) / (H * W)
                elif live[b, y, x]:
                    total += loss(readout[b, y, x], int(target[b]))
        losses.append(float(total))
    return losses


def label(said: Array) -> int:
    """The lowest of the labels with the highest value."""
    best = 0
    for k in range(len(said)):
        if said[k] > said[best]:
            best = k
    return best


def cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """`spec/cell_accuracy.md`."""
    said = [(label(readout[tuple(at)]), int(labels[at[0]])) for at in np.argwhere(live)]
    return sum(a == b for a, b in said) / len(said) if said else math.nan


def total_agreement(readout: Array, live: Array) -> float:
    """`spec/total_agreement.md`."""
    votes = [{label(r[tuple(at)]) for at in np.argwhere(v)} for r, v in zip(readout, live, strict=True)]
    counted = [said for said in votes if said]
    return sum(len(said) == 1 for said in counted) / len(counted) if counted else math.nan


def mutate(cell: Cell, state: Array, image: Array) -> Array:
    """`spec/mutate.md`."""
    after = np.zeros_like(state)
    for b, y, x in np.ndindex(*state.shape[:3]):
        if alive(cell, image[b, y, x]):
            after[b, y, x] = state[b, y, x]
    return after


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """`spec/philox.md`: ten rounds in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b // LOW) ^ c1 ^ k0, b % LOW, (a // LOW) ^ c3 ^ k1, a % LOW
        k0, k1 = (k0 + 0x9E3779B9) % LOW, (k1 + 0xBB67AE85) % LOW
    return c0, c1, c2, c3


def word(
    seed: int, sample: int, t: int, W: int, y: int, x: int, purpose: int, block: int
) -> tuple[int, int, int, int]:
    """`spec/streams.md`: the four words of one cell."""
    return philox((y * W + x, sample % LOW, t, purpose * 2**16 + block), (seed % LOW, seed // LOW))


def normal(words: tuple[int, int, int, int], channel: int) -> float:
    """`spec/streams.md`: the normal number of a channel, from the words of its block."""
    first, second = words[:2] if channel % 4 < 2 else words[2:]
    radius = math.sqrt(-2 * math.log((first // 256 + 0.5) / 2**24))
    angle = 2 * math.pi * (second // 256 + 0.5) / 2**24
    return radius * (math.sin(angle) if channel % 2 else math.cos(angle))


def adam(param: float, grads: list[float], rate: float) -> float:
    """`spec/adam.md`: one number after a step for each of its gradients, at a constant rate."""
    m = v = 0.0
    for i, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        param -= rate * math.sqrt(1 - 0.999**i) / (1 - 0.9**i) * m / (math.sqrt(v) + 1e-7)
    return param
