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


def init_state(cell: Cell, image: Array, streams: Streams | None = None, *, backend: Any = None) -> Array:
    """Return the state before the first step, (B, H, W, D), in the dtype and library of image (B, sH, sW, K).

    It is zero, or N(0, 1) from `streams` for a cell with a normal start. A `backend` with a function `initial`
    draws the normal numbers itself. Raises InvalidInput for a normal start without streams.
    """
    B, H, W = grid(cell, image)
    if not cell.normal_start:
        return np.zeros_like(image, shape=(B, H, W, cell.state_channels))
    if streams is None:
        raise InvalidInput("streams must be given for a cell with a normal start, such as Streams(seed=0), got None")
    return normal_start(streams, image, (B, H, W, cell.state_channels), backend)


def normal_start(streams: Streams, like: Array, shape: tuple[int, ...], backend: Any = None) -> Array:
    """Return `streams.initial(B, H, W, D)` in the dtype and library of another array.

    A backend with a function `initial` draws them itself if the dtype is float32.
    """
    if hasattr(backend, "initial") and str(like.dtype) == "float32":
        return backend.initial(streams, *shape)
    return np.asarray(streams.initial(*shape), like.dtype, like=like)


def grid(cell: Cell, image: Array) -> tuple[int, int, int]:
    """Return samples, rows and columns (B, H, W) of the grid of cells for an image (B, sH, sW, K)."""
    B, rows, columns, _ = image.shape
    return B, rows // cell.stride, columns // cell.stride


def mutate(cell: Cell, state: Array, image: Array) -> Array:
    """Return the state after the image changes to a new digit: kept where the new digit is alive, else zero.

    state is (B, H, W, D), image (B, H, W, K) the new digit; the result (B, H, W, D) is a new array.
    """
    return np.where(alive(cell, image)[..., None], state, np.zeros_like(state))
