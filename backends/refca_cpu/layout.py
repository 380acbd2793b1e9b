"""How the kernels see parameters and pixels: contiguous, padded, and of the cells only the live ones.

Letters: b samples, H×W grid, K image channels, D state channels, P hidden width, n hidden layers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca.cell import Array, Cell, Params, param_shapes
from refca.step import alive
from refca_cpu import kernels


class Packed(NamedTuple):
    """Parameters, or their gradients; hidden layers are stacked."""

    perceive: Array  # (9·(K+D), P)
    hidden: Array  # (n, P, P)
    biases: Array  # (n+1, P), the 3×3 layer's first
    update: Array  # (P, D)
    update_bias: Array  # (D,)

    @classmethod
    def zeros(cls, cell: Cell, dtype: Any) -> Packed:
        C, D, P = cell.image_channels + cell.state_channels, cell.state_channels, cell.hidden_width
        n = cell.hidden_layers
        return cls(*(np.zeros(shape, dtype) for shape in ((9 * C, P), (n, P, P), (n + 1, P), (P, D), (D,))))

    @classmethod
    def of(cls, cell: Cell, params: Params) -> Packed:
        """A copy of params."""
        packed = cls.zeros(cell, params["perceive.weight"].dtype)
        for name, view in packed.named(cell).items():
            view[...] = params[name]
        return packed

    def named(self, cell: Cell) -> Params:
        """Views of the arrays, under the parameters' names and in their shapes."""
        layers = [self.perceive, self.biases[0]]
        for i in range(cell.hidden_layers):
            layers += [self.hidden[i], self.biases[i + 1]]
        layers += [self.update, self.update_bias]
        shapes = param_shapes(cell)
        return {name: x.reshape(shapes[name]) for name, x in zip(shapes, layers, strict=True)}


class Live(NamedTuple):
    """The live cells of a few samples, (n,) each."""

    cell: Array  # y·W+x
    sample: Array
    corner: Array  # the padded pixel where the neighbourhood starts

    @classmethod
    def of(cls, cell: Cell, image: Array) -> Live:
        _, H, W, _ = image.shape
        sample, y, x = np.nonzero(alive(cell, image))
        return cls(y * W + x, sample, (sample * (H + 2) + y) * (W + 2) + x)


def pad(image: Array, state: Array, part: Array) -> Array:
    """Image and state of the samples `part`, side by side within a border of zeros: (b, H+2, W+2, K+D)."""
    _, H, W, K = image.shape
    pixels = np.empty((len(part), H + 2, W + 2, K + state.shape[-1]), state.dtype)
    kernels.enter(pixels, image, state, part)
    return pixels


def flat(pixels: Array) -> Array:
    """Padded pixels in one row, (b·(H+2)·(W+2), K+D), a view."""
    return pixels.reshape(-1, pixels.shape[-1])


class Tape(NamedTuple):
    """What the way back needs of each update, one row for each."""

    before: Array  # (rows, D), the state that was replaced
    felt: Array  # (n+1, rows, P), the hidden values

    @classmethod
    def empty(cls, cell: Cell, rows: int, dtype: Any) -> Tape:
        felt = np.empty((cell.hidden_layers + 1, rows, cell.hidden_width), dtype)
        return cls(np.empty((rows, cell.state_channels), dtype), felt)


class Counted(NamedTuple):
    """Which steps and pixels the loss counts, and its gradient with respect to their readouts."""

    slot: Array  # (T,) where a step's gradient is kept; -1: the step does not count
    centre: Array  # (m,) the padded pixels that are asked
    label: Array  # (m,)
    weight: Array  # (T, m)
    readout_grad: Array  # (slots, m, L)
    squared: bool  # L2, or else cross-entropy

    @classmethod
    def none(cls, cell: Cell, steps: int, dtype: Any) -> Counted:
        nobody = np.zeros(0, np.int64)
        slot = np.full(steps, -1)
        return cls(
            slot, nobody, nobody, np.zeros((steps, 0), dtype), np.zeros((0, 0, cell.labels), dtype), True
        )

    @classmethod
    def of(cls, cell: Cell, loss: str, image: Array, live: Live, target: Array, weights: Array) -> Counted:
        """One label a sample asks its live cells; a label map asks every pixel, each for its share."""
        B, H, W, _ = image.shape
        if target.ndim == 1:
            asked, label, share = live, target[live.sample], 1.0
        else:
            sample, y, x = (axis.reshape(-1) for axis in np.indices((B, H, W)))
            asked = Live(y * W + x, sample, (sample * (H + 2) + y) * (W + 2) + x)
            label, share = target.reshape(-1), 1 / (H * W)
        counts = weights.any(axis=1)
        slot = np.where(counts, np.cumsum(counts) - 1, -1)
        return cls(
            slot,
            asked.corner + (W + 2) + 1,
            label.astype(np.int64),
            (weights[:, asked.sample] * share).astype(image.dtype),
            np.empty((int(counts.sum()), len(label), cell.labels), image.dtype),
            loss == "l2",
        )
