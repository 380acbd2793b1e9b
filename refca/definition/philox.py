"""Philox4x32-10: 32-bit random words as a function of a counter and a key, without any state.

Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011), section 3.3.
Random123's published vectors are a law (`spec/chapters/philox.md`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

ROUNDS = 10
MULTIPLIER = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key after each round


def philox(counter: tuple[npt.ArrayLike, ...], key: tuple[int, int]) -> tuple[Words, Words, Words, Words]:
    """Return four random uint32 arrays from four counter words (integers or arrays) and two key words."""
    c0, c1, c2, c3 = (np.asarray(c, np.uint64) for c in counter)
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = split(c0 * np.uint64(MULTIPLIER[0]))
        high1, low1 = split(c2 * np.uint64(MULTIPLIER[1]))
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + WEYL[0]) % 2**32, (k1 + WEYL[1]) % 2**32
    w0, w1, w2, w3 = (w.astype(np.uint32) for w in np.broadcast_arrays(c0, c1, c2, c3))
    return w0, w1, w2, w3


def split(product: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Return the upper and the lower 32 bits of 64-bit products."""
    return product >> np.uint64(32), product & np.uint64(0xFFFFFFFF)
