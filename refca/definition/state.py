"""The state of a grid of cells: where it starts, and what a mutation keeps of it.

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
    """The state before the first step, (B, H, W, D), in the dtype and the library of image (B, sH, sW, K).

    Zeros; or for a cell with a normal start N(0, 1), a new array at each call, drawn from `streams`, without
    which InvalidInput is raised. A backend's own `initial` draws them if `backend` has one.
    """
    B, H, W = grid(cell, image)
    if not cell.normal_start:
        return np.zeros_like(image, shape=(B, H, W, cell.state_channels))
    if streams is None:
        raise InvalidInput("this cell starts from noise: init_state needs streams, such as Streams(seed)")
    return normal_start(streams, image, (B, H, W, cell.state_channels), backend)


def normal_start(streams: Streams, like: Array, shape: tuple[int, ...], backend: Any = None) -> Array:
    """The initial numbers of the streams, (B, H, W, D), in the dtype and the library of another array; by the
    backend's own `initial`, if it has one and computes in that dtype."""
    if hasattr(backend, "initial") and str(like.dtype) == "float32":
        return backend.initial(streams, *shape)
    return np.asarray(streams.initial(*shape), like.dtype, like=like)


def grid(cell: Cell, image: Array) -> tuple[int, int, int]:
    """Samples, rows and columns of cells beside an image (B, sH, sW, K) whose sides the stride s divides."""
    B, rows, columns, _ = image.shape
    return B, rows // cell.stride, columns // cell.stride


def mutate(cell: Cell, state: Array, image: Array) -> Array:
    """The state that a new digit starts from: kept where the new digit is alive, zero elsewhere.

    state (B, H, W, D), image (B, H, W, K) the new digit. Returns (B, H, W, D), a new array.
    """
    return np.where(alive(cell, image)[..., None], state, np.zeros_like(state))
