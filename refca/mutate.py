"""Mutation: the digit changes under a running automaton.

Source: the article, experiment 1, and its training notebook; `spec/mutate.md`.
"""

from __future__ import annotations

import numpy as np

from refca.cell import Array, Cell
from refca.step import alive


def mutate(cell: Cell, state: Array, image: Array) -> Array:
    """The state that a new digit starts from: kept where the new digit is alive, zero elsewhere.

    state (B, H, W, D), image (B, H, W, K) the new digit. Returns (B, H, W, D), a new array.
    """
    return np.where(alive(cell, image)[..., None], state, np.zeros_like(state))
