"""Random generators for choices outside a step: initial weights, pool, batches, resampling, unroll lengths.

Draws inside a step come from `Streams` instead. Every seed below has the same number of words, because NumPy
treats (5,) and (5, 0) as equal seeds.
"""

from __future__ import annotations

import numpy as np

from refca.definition.errors import check_count

WEIGHTS, POOL, BATCH, RESAMPLE, UNROLL, AUGMENTATION, TRANSFORM = range(7)


def generator(purpose: int, seed: int, i: int = 0) -> np.random.Generator:
    """Return the generator for a purpose, a seed and training step i.

    Raises InvalidInput unless seed and i are integers from 0 to 2**64 - 1.
    """
    seed, i = check_count("seed", seed, 64), check_count("i", i, 64)
    return np.random.default_rng((purpose, seed % 2**32, seed >> 32, i % 2**32, i >> 32))
