"""Generators for what is chosen once or once a training step: initial weights, the pool, the batches,
what a colony renews, how long an unroll is.

Draws inside a step come from `Streams` instead. Fixed numbers of words keep different arguments apart: NumPy
takes (5,) and (5, 0) for the same seed.
"""

from __future__ import annotations

import numpy as np

WEIGHTS, POOL, BATCH, RENEWAL, UNROLL = range(5)


def generator(purpose: int, seed: int, i: int = 0) -> np.random.Generator:
    """The generator of training step i; seed and i are from 0 to 2**64 - 1."""
    return np.random.default_rng((purpose, seed % 2**32, seed >> 32, i % 2**32, i >> 32))
