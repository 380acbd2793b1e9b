"""Draw which cells update at each step, and the noise of those cells alone.

The words are those of `refca.Streams`: fire masks are the same bit for bit, normals to rounding. The loops
have no branch and no call that is not inlined, so that the compiler makes vector instructions of them.

Source: `spec/chapters/philox.md`, `spec/chapters/streams.md`.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from refca.definition.philox import MULTIPLIER, ROUNDS, WEYL
from refca.definition.randomness import BLOCK, FIRE
from refca_cpu.arrays import Bools, Ints, Reals
from refca_cpu.compiled import njit

Key: TypeAlias = tuple[np.uint64, np.uint64]

WORD, HALF, EIGHT = np.uint64(2**32 - 1), np.uint64(32), np.uint64(8)
M0, M1 = np.uint64(MULTIPLIER[0]), np.uint64(MULTIPLIER[1])
W0, W1 = np.uint64(WEYL[0]), np.uint64(WEYL[1])

# Polynomials in float32, lowest power first: log(1 + f) / f for 1 + f from √½ to √2; sin(a) / a and cos(a)
# in a² for a up to π/4. Chebyshev interpolation in float64, errors below 3e-8.
L0, L1, L2, L3, L4 = (np.float32(c) for c in (1, -0.4999999, 0.33333346, -0.2500158, 0.20000939))
L5, L6, L7, L8, L9 = (np.float32(c) for c in (-0.1660837, 0.1419965, -0.13266031, 0.1280661, -0.07451186))
S0, S1, S2, S3 = (np.float32(c) for c in (1, -0.16666651, 0.0083320355, -0.00019503904))
C0, C1, C2, C3, C4 = (np.float32(c) for c in (1, -0.5, 0.041666616, -0.0013886618, 2.437983e-05))
LN2 = np.float32(np.log(2))
SQRT2_BITS = np.int32(np.float32(np.sqrt(2)).view(np.int32))
CHUNK = 256  # cells whose words and normals stay in the cache
RADIANS = np.float32(2 * np.pi / 2**25)


@njit(forceinline=True)
def philox(
    c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64, k0: np.uint64, k1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """Four words from a counter and a key, all uint64 below 2³²."""
    c0, c1, c2, c3 = c0 & WORD, c1 & WORD, c2 & WORD, c3 & WORD  # so that the compiler sees products of 32 bits
    k0, k1 = k0 & WORD, k1 & WORD
    for _ in range(ROUNDS):
        p0, p1 = M0 * c0, M1 * c2
        c0, c1, c2, c3 = (p1 >> HALF) ^ c1 ^ k0, p1 & WORD, (p0 >> HALF) ^ c3 ^ k1, p0 & WORD
        k0, k1 = (k0 + W0) & WORD, (k1 + W1) & WORD
    return c0, c1, c2, c3


@njit(forceinline=True)
def radius(word: np.uint32) -> np.float32:
    """√(−2 log u) in float32, where u = n / 2²⁵ and n is odd.

    log u = log(1 + f) + e log 2, and f = (n − 2ᵉ) / 2ᵉ is exact: u near 1 loses nothing.
    """
    n = np.int32(np.uint32(word >> np.uint32(8)) << np.uint32(1) | np.uint32(1))
    bits = np.float32(n).view(np.int32)
    e = np.int32((bits >> 23) - 127 + ((bits & 0x7FFFFF | 0x3F800000) > SQRT2_BITS))
    f = np.float32(n - (np.int32(1) << e)) * np.int32((127 - e) << 23).view(np.float32)
    high = (((L9 * f + L8) * f + L7) * f + L6) * f + L5
    series = ((((high * f + L4) * f + L3) * f + L2) * f + L1) * f + L0
    return np.sqrt(np.float32(-2) * (series * f + np.float32(e - 25) * LN2))


@njit(forceinline=True)
def direction(word: np.uint32) -> tuple[np.float32, np.float32]:
    """cos and sin of 2πu in float32: the nearest quarter of a turn, and the exact remainder as an angle."""
    n = np.int32(np.uint32(word >> np.uint32(8)) << np.uint32(1) | np.uint32(1))
    quarter = (n + (1 << 22)) >> 23
    a = np.float32(n - (quarter << 23)) * RADIANS
    s = a * a
    sin = (((S3 * s + S2) * s + S1) * s + S0) * a
    cos = (((C4 * s + C3) * s + C2) * s + C1) * s + C0
    x, y = (sin, cos) if quarter & 1 else (cos, sin)
    return -x if (quarter + 1) & 2 else x, -y if quarter & 2 else y


@njit(nogil=True, cache=True)
def draw_fires(out: Bools, site: Ints, sample: Ints, first: int, key: Key, threshold: np.uint64) -> None:
    """Fill out (T, n): whether the cells at sites y·W+x of samples fire at steps first, first+1, …"""
    purpose = np.uint64(FIRE << 16)
    for i in range(len(out)):
        t = np.uint64(first + i)
        for j in range(len(site)):
            words = philox(np.uint64(site[j]), np.uint64(sample[j]), t, purpose, key[0], key[1])
            out[i, j] = words[0] < threshold


@njit(nogil=True, cache=True)
def draw_normals_float32(out: Reals, site: Ints, sample: Ints, t: Ints, key: Key, purpose: int) -> None:
    """Fill out (n, D) with the standard normals of one purpose for n cells, each at its own step."""
    words, normals = np.empty((BLOCK, CHUNK), np.uint32), np.empty((BLOCK, CHUNK), np.float32)
    D = out.shape[1]
    for a in range(0, len(out), CHUNK):
        b = min(a + CHUNK, len(out))
        for block in range(-(-D // BLOCK)):
            draw_words(words, site[a:b], sample[a:b], t[a:b], np.uint64((purpose << 16) + block), key)
            for pair in range(0, BLOCK, 2):
                normal_pairs(words[pair, : b - a], words[pair + 1, : b - a], normals[pair], normals[pair + 1])
            for i in range(b - a):
                for c in range(min(BLOCK, D - BLOCK * block)):
                    out[a + i, BLOCK * block + c] = normals[c, i]


@njit(nogil=True, cache=True)
def draw_words(words: Ints, site: Ints, sample: Ints, t: Ints, last: np.uint64, key: Key) -> None:
    """Fill words (4, at least n) for n cells."""
    for i in range(len(site)):
        drawn = philox(np.uint64(site[i]), np.uint64(sample[i]), np.uint64(t[i]), last, key[0], key[1])
        words[0, i], words[1, i] = np.uint32(drawn[0]), np.uint32(drawn[1])
        words[2, i], words[3, i] = np.uint32(drawn[2]), np.uint32(drawn[3])


@njit(nogil=True, cache=True)
def normal_pairs(first: Ints, second: Ints, x: Reals, y: Reals) -> None:
    """Fill x and y with pairs of normals: radii from the first words, directions from the second.

    A loop over 32-bit numbers alone has twice the vectors' lanes of one that also multiplies 64-bit words.
    """
    for i in range(len(first)):
        r, (cos, sin) = radius(first[i]), direction(second[i])
        x[i], y[i] = r * cos, r * sin


@njit(nogil=True, cache=True)
def draw_normals_float64(out: Reals, site: Ints, sample: Ints, t: Ints, key: Key, purpose: int) -> None:
    """Do as `draw_normals_float32`, with the library's log, cos and sin."""
    n, D = out.shape
    for i in range(n):
        for c in range(D):
            last = np.uint64((purpose << 16) + c // BLOCK)
            words = philox(np.uint64(site[i]), np.uint64(sample[i]), np.uint64(t[i]), last, key[0], key[1])
            pair = c & 2
            r = np.sqrt(-2 * np.log(((words[pair] >> EIGHT) + 0.5) * 2.0**-24))
            angle = 2 * np.pi * (((words[pair + 1] >> EIGHT) + 0.5) * 2.0**-24)
            out[i, c] = r * (np.sin(angle) if c & 1 else np.cos(angle))
