"""A data set: pictures of horizontal and of vertical stripes."""

from __future__ import annotations

import numpy as np

from refca.data import Dataset, Request, Source, Split


def stripes(count: int, seed: int) -> Split:
    """Pictures (count, 6, 6), label 0 for horizontal and 1 for vertical stripes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    horizontal = (np.arange(6)[:, None] + rng.integers(0, 2, (count, 1, 1))) % 2 * np.ones((1, 1, 6), int)
    pixels = np.where(labels[:, None, None] == 0, horizontal, horizontal.transpose(0, 2, 1))
    return Split((16 * pixels).astype(np.uint8), labels, 16)


def load(request: Request) -> Dataset[Split]:
    return Dataset("stripes", stripes(40, 0), stripes(20, 1))


SOURCE = Source("stripes", load)
