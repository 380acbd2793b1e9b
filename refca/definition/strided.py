"""High resolution: strided layers between an image of sH×sW pixels and a grid of H×W cells.

Each layer is 3×3 with stride 2, without bias or activation; two layers give stride 4, three give stride 8. The
window of cell (y, x) starts at pixel (2y, 2x), as in TensorFlow with padding "SAME" and even sizes; beyond the
image everything is zero. A decoder layer is the transpose of an encoder layer.

Source: the paper, 3.4 and 5.4, A.3; `spec/chapters/encode.md`, `spec/chapters/decode.md`.

Letters: B samples, H×W grid, s stride, K image channels, E environment channels, D state channels, L labels.
"""

from __future__ import annotations

import autograd.numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import decoders, encoders


def encode(cell: Cell, params: Params, image: Array) -> Array:
    """Return the environment (B, H, W, E) of an image (B, sH, sW, K): the encoder's output, or the image itself."""
    for name in encoders(cell):
        image = conv_stride2(image, params[name])
    return image


def decode(cell: Cell, params: Params, state: Array) -> Array:
    """Return the logits of each pixel, (B, sH, sW, L), from a state (B, H, W, D)."""
    for name in decoders(cell):
        state = conv_transpose_stride2(state, params[name])
    return state


def conv_stride2(x: Array, weight: Array) -> Array:
    """Return the stride-2 convolution of x (B, 2H, 2W, C) with weight (3, 3, C, N): (B, H, W, N)."""
    _, rows, columns, _ = x.shape
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), "constant")
    return sum(x[:, i : i + rows : 2, j : j + columns : 2] @ weight[i, j] for i in range(3) for j in range(3))


def conv_transpose_stride2(x: Array, weight: Array) -> Array:
    """Return the transposed stride-2 convolution of x (B, H, W, C) with weight (3, 3, N, C): (B, 2H, 2W, N).

    Pixel row 2y is the sum of weight row 0 at cell y and weight row 2 at cell y-1; pixel row 2y+1 is weight
    row 1 at cell y. Columns work alike.
    """
    B, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), "constant")
    taps = {0: ((0, 1), (2, 0)), 1: ((1, 1),)}  # for even and odd pixels: (row of weight, first row of x)

    def pixels(odd_y: int, odd_x: int) -> Array:
        terms = [(i, j, y, x_) for i, y in taps[odd_y] for j, x_ in taps[odd_x]]
        return sum(x[:, y : y + H, x_ : x_ + W] @ weight[i, j].T for i, j, y, x_ in terms)

    rows = [np.stack([pixels(odd_y, 0), pixels(odd_y, 1)], axis=3) for odd_y in (0, 1)]  # (B, H, W, 2, N)
    return np.reshape(np.stack(rows, axis=2), (B, 2 * H, 2 * W, weight.shape[2]))  # from (B, H, 2, W, 2, N)
