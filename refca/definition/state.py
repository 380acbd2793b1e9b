"""The initial state of a grid of cells, and the state after a mutation.

Source: the article, experiment 1, and its training notebook; the paper, section 3 (initial noise);
`spec/chapters/init_state.md`, `spec/chapters/mutate.md`.

Letters: B samples, H×W grid, s stride, K image channels, D state channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.errors import InvalidInput
from refca.definition.randomness import Streams
from refca.definition.step import alive


def init_state(cell: Cell, image: Array, streams: Streams | None = None) -> Array:
    """Return the state before the first step, (B, H, W, D), in the dtype of image (B, sH, sW, K).

    It is zero, or N(0, 1) from `streams` for a cell with a normal start, and a new array at each call.
    Raises InvalidInput for a normal start without streams.
    """
    shape = (*grid(cell, image), cell.state_channels)
    if not cell.normal_start:
        return np.zeros_like(image, shape=shape)
    if streams is None:
        raise InvalidInput("streams must be given for a cell with a normal start, such as Streams(seed=0), got None")
    return np.asarray(streams.initial(*shape), image.dtype, like=image)


def grid(cell: Cell, image: Array) -> tuple[int, int, int]:
    """Return samples, rows and columns (B, H, W) of the grid of cells for an image (B, sH, sW, K)."""
    B, rows, columns, _ = image.shape
    return B, rows // cell.stride, columns // cell.stride


def mutate(cell: Cell, state: Array, image: Array, xp: Any = np) -> Array:
    """Return the state after the image changes to a new digit: kept where the new digit is alive, else zero.

    state is (B, H, W, D), image (B, H, W, K) the new digit, both arrays of the library `xp`; the result
    (B, H, W, D) is a new array.
    """
    return xp.where(alive(cell, image)[..., None], state, xp.zeros_like(state))
