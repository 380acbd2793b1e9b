"""The 3×3 filters of a depthwise first layer and their gradients, a vector of channels at a time.

The nine weights of these channels, or the nine sums of their gradients, stay in registers while the loop runs over
the rows of a block. Channels beyond the last whole vector are computed one by one.

`corner` is the pixel where a cell's neighbourhood starts, `row_stride` the pixels from one row to the next.

Letters: P channels, R rows, one for each cell that is computed.
"""

from __future__ import annotations

from typing import Any

from refca_cpu.arrays import Ints, Reals
from refca_cpu.compiled import njit
from refca_cpu.vectors import extent, load, store


@njit(nogil=True, cache=True)
def depthwise(mixed: Reals, row_stride: int, corner: Ints, filters: Reals, out: Reals) -> None:
    """Fill out (R, P): in each channel the 3×3 filter (9, P) over mixed pixels (n, P).

    The first rows of mixed may be `out` itself: row k is never after pixel corner[k], and later cells read only from
    later pixels.
    """
    P, whole, lanes = extent(mixed)
    source, weight, target, line = mixed.reshape(-1), filters.reshape(-1), out.reshape(-1), row_stride * P
    for p in range(0, whole, lanes):
        w0, w1, w2, w3, w4, w5, w6, w7, w8 = load_nine(weight, p, P)
        for k in range(len(corner)):
            a = corner[k] * P + p
            b, c = a + line, a + line + line
            top = load(source, a) * w0 + load(source, a + P) * w1 + load(source, a + P + P) * w2
            middle = load(source, b) * w3 + load(source, b + P) * w4 + load(source, b + P + P) * w5
            bottom = load(source, c) * w6 + load(source, c + P) * w7 + load(source, c + P + P) * w8
            store(target, k * P + p, top + middle + bottom)
    for p in range(whole, P):
        for k in range(len(corner)):
            total = target.dtype.type(0)
            for tap in range(9):
                pixel = (corner[k] + tap // 3 * row_stride + tap % 3) * P
                total += source[pixel + p] * weight[tap * P + p]
            target[k * P + p] = total


@njit(nogil=True, cache=True)
def depthwise_grad(
    mixed: Reals,
    mixed_grad: Reals,
    row_stride: int,
    corner: Ints,
    filters: Reals,
    filters_grad: Reals,
    grad: Reals,
) -> None:
    """Add the gradients of the mixed pixels and of the filters, from `grad` (R, P) of the sums."""
    add_pixels_grad(mixed_grad, row_stride, corner, filters, grad)
    add_filters_grad(mixed, row_stride, corner, filters_grad, grad)


@njit(nogil=True, cache=True)
def add_pixels_grad(mixed_grad: Reals, row_stride: int, corner: Ints, filters: Reals, grad: Reals) -> None:
    """Add each sum's gradient to the pixels that it was summed over."""
    P, whole, lanes = extent(mixed_grad)
    target, weight, above, line = mixed_grad.reshape(-1), filters.reshape(-1), grad.reshape(-1), row_stride * P
    for p in range(0, whole, lanes):
        w0, w1, w2, w3, w4, w5, w6, w7, w8 = load_nine(weight, p, P)
        for k in range(len(corner)):
            a, g = corner[k] * P + p, load(above, k * P + p)
            add_three(target, a, P, g * w0, g * w1, g * w2)
            add_three(target, a + line, P, g * w3, g * w4, g * w5)
            add_three(target, a + line + line, P, g * w6, g * w7, g * w8)
    for p in range(whole, P):
        for k in range(len(corner)):
            for tap in range(9):
                pixel = (corner[k] + tap // 3 * row_stride + tap % 3) * P
                target[pixel + p] += above[k * P + p] * weight[tap * P + p]


@njit(nogil=True, cache=True)
def add_filters_grad(mixed: Reals, row_stride: int, corner: Ints, filters_grad: Reals, grad: Reals) -> None:
    """Add the gradients of the filters."""
    P, whole, lanes = extent(mixed)
    source, target, above, line = mixed.reshape(-1), filters_grad.reshape(-1), grad.reshape(-1), row_stride * P
    for p in range(0, whole, lanes):
        w0, w1, w2, w3, w4, w5, w6, w7, w8 = load_nine(target, p, P)
        for k in range(len(corner)):
            a, g = corner[k] * P + p, load(above, k * P + p)
            b, c = a + line, a + line + line
            w0, w1, w2 = w0 + g * load(source, a), w1 + g * load(source, a + P), w2 + g * load(source, a + P + P)
            w3, w4, w5 = w3 + g * load(source, b), w4 + g * load(source, b + P), w5 + g * load(source, b + P + P)
            w6, w7, w8 = w6 + g * load(source, c), w7 + g * load(source, c + P), w8 + g * load(source, c + P + P)
        store_three(target, p, P, w0, w1, w2)
        store_three(target, 3 * P + p, P, w3, w4, w5)
        store_three(target, 6 * P + p, P, w6, w7, w8)
    for p in range(whole, P):
        for k in range(len(corner)):
            for tap in range(9):
                pixel = (corner[k] + tap // 3 * row_stride + tap % 3) * P
                target[tap * P + p] += above[k * P + p] * source[pixel + p]


@njit(forceinline=True)
def load_nine(x: Reals, p: int, P: int) -> tuple[Any, ...]:
    """The vectors of one block of channels in nine rows."""
    first = load(x, p), load(x, P + p), load(x, 2 * P + p)
    second = load(x, 3 * P + p), load(x, 4 * P + p), load(x, 5 * P + p)
    return first + second + (load(x, 6 * P + p), load(x, 7 * P + p), load(x, 8 * P + p))


@njit(forceinline=True)
def add_three(x: Reals, place: int, P: int, u: Any, v: Any, w: Any) -> None:
    """Add three vectors to three pixels side by side."""
    store(x, place, load(x, place) + u)
    store(x, place + P, load(x, place + P) + v)
    store(x, place + P + P, load(x, place + P + P) + w)


@njit(forceinline=True)
def store_three(x: Reals, place: int, P: int, u: Any, v: Any, w: Any) -> None:
    """Write three vectors to three rows one below the other."""
    store(x, place, u)
    store(x, place + P, v)
    store(x, place + P + P, w)
