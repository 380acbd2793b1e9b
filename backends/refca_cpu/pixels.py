"""Grids with a border of zeros, and their channels without it.

Flat padded pixels are (n, C): the pixels of some samples one after another, each sample with its border.
`row_stride` counts the padded pixels from one row of a grid to the next.
"""

from __future__ import annotations

import numpy as np

from refca_cpu.arrays import Ints, Reals
from refca_cpu.compiled import njit
from refca_cpu.layers import flat


@njit(nogil=True, cache=True)
def pad(pixels: Reals, environment: Reals, state: Reals, samples: Ints) -> None:
    """Fill pixels (b, H+2, W+2, E+D) with environment and state of some samples, and zeros around them."""
    _, H, W, E = environment.shape
    for i in range(len(samples)):
        b = samples[i]
        for y in range(H + 2):
            for x in range(W + 2):
                if 0 < y <= H and 0 < x <= W:
                    for c in range(E):
                        pixels[i, y, x, c] = environment[b, y - 1, x - 1, c]
                    for d in range(state.shape[3]):
                        pixels[i, y, x, E + d] = state[b, y - 1, x - 1, d]
                else:
                    for c in range(pixels.shape[3]):
                        pixels[i, y, x, c] = 0


@njit(nogil=True, cache=True)
def unpad(array: Reals, first: int, pixels: Reals, row_stride: int) -> None:
    """Fill array (b, H, W, channels) with the channels of flat padded pixels from `first` on."""
    b, H, W, channels = array.shape
    source, target, C = flat(pixels), flat(array), pixels.shape[1]
    end, run = np.uintp(0), np.uintp(channels)
    for i in range(b):
        for y in range(H):
            for x in range(W):
                start = np.uintp(((i * (H + 2) + y + 1) * row_stride + x + 1) * C + first)
                for c in range(run):
                    target[end + np.uintp(c)] = source[start + np.uintp(c)]
                end += run


@njit(nogil=True, cache=True)
def add_padded(pixels: Reals, first: int, row_stride: int, array: Reals) -> None:
    """Add array (b, H, W, channels) to the channels of flat padded pixels from `first` on."""
    b, H, W, channels = array.shape
    source, target, C = flat(array), flat(pixels), pixels.shape[1]
    end, run = np.uintp(0), np.uintp(channels)
    for i in range(b):
        for y in range(H):
            for x in range(W):
                start = np.uintp(((i * (H + 2) + y + 1) * row_stride + x + 1) * C + first)
                for c in range(run):
                    target[start + np.uintp(c)] += source[end + np.uintp(c)]
                end += run
