"""The layers of a cell on the rows of a part, and the same backwards: look, depthwise, norms, relu.

Pixels are flat, (n, C), with a border of zeros, so that a row of a neighbourhood is one run of 3·C numbers.
`corner` is the pixel where a cell's neighbourhood starts, `row` the pixels from one row to the next. The
longest loops count in unsigned numbers: a signed index may mean "from the end", and the test for that keeps
the compiler from making vector instructions.

Letters: C channels of a pixel, P hidden width, R rows, one for each cell that is computed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from refca.definition.step import EPSILON


@njit(forceinline=True)
def flat(x: Any) -> Any:
    """x in one row, a view."""
    return x.reshape(-1)


@njit(nogil=True, cache=True)
def neighbourhood(pixels: Any, row: Any, corner: Any, seen: Any) -> None:
    """seen (R, 9·C): the neighbourhoods of the cells, three runs of 3·C numbers each."""
    run, source, target = np.uintp(3 * pixels.shape[1]), pixels.reshape(-1), seen.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            first_step = np.uintp((corner[k] + dy * row) * pixels.shape[1])
            for c in range(run):
                target[end + np.uintp(c)] = source[first_step + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def look_grad(pixels_grad: Any, row: Any, corner: Any, seen_grad: Any) -> None:
    """Add each neighbourhood's gradient to the pixels that it was read from."""
    run, source, target = np.uintp(3 * pixels_grad.shape[1]), seen_grad.reshape(-1), pixels_grad.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            first_step = np.uintp((corner[k] + dy * row) * pixels_grad.shape[1])
            for c in range(run):
                target[first_step + np.uintp(c)] += source[end + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def depthwise(mixed: Any, row: Any, corner: Any, filters: Any, out: Any) -> None:
    """out (R, P): each channel's 3×3 filter (9, P) over mixed pixels (n, P)."""
    one = np.uintp(mixed.shape[1])
    two, four = one + one, one + one + one + one
    source, weight, target = flat(mixed), flat(filters), flat(out)
    for k in range(len(corner)):
        a = np.uintp(corner[k]) * one
        b, c = np.uintp(corner[k] + row) * one, np.uintp(corner[k] + 2 * row) * one
        end = np.uintp(k) * one
        for i in range(one):
            p = np.uintp(i)
            total = source[a + p] * weight[p]
            total += source[a + one + p] * weight[one + p]
            total += source[a + two + p] * weight[two + p]
            total += source[b + p] * weight[one + two + p]
            total += source[b + one + p] * weight[four + p]
            total += source[b + two + p] * weight[four + one + p]
            total += source[c + p] * weight[four + two + p]
            total += source[c + one + p] * weight[four + two + one + p]
            total += source[c + two + p] * weight[four + four + p]
            target[end + p] = total


@njit(nogil=True, cache=True)
def depthwise_grad(
    mixed: Any, mixed_grad: Any, row: Any, corner: Any, filters: Any, filters_grad: Any, grad: Any
) -> None:
    """Add the gradients of the mixed pixels and of the filters, from `grad` (R, P) of the sums."""
    P = np.uintp(mixed.shape[1])
    source, weight, above = mixed.reshape(-1), filters.reshape(-1), grad.reshape(-1)
    source_grad, weight_grad = mixed_grad.reshape(-1), filters_grad.reshape(-1)
    for k in range(len(corner)):
        end = np.uintp(k) * P
        for dy in range(3):
            for dx in range(3):
                a = np.uintp(corner[k] + dy * row + dx) * P
                u = np.uintp(3 * dy + dx) * P
                for i in range(P):
                    p = np.uintp(i)
                    source_grad[a + p] += above[end + p] * weight[u + p]
                    weight_grad[u + p] += above[end + p] * source[a + p]


@njit(nogil=True, cache=True)
def add_bias(x: Any, bias: Any) -> None:
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] += bias[p]


@njit(nogil=True, cache=True)
def add_rows(total: Any, x: Any) -> None:
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total[p] += x[k, p]


@njit(nogil=True, cache=True)
def relu(x: Any, out: Any) -> None:
    """x where it is above 0, else 0; NaN stays NaN."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            out[k, p] = zero if x[k, p] <= zero else x[k, p]


@njit(nogil=True, cache=True)
def biased_relu(x: Any, bias: Any) -> None:
    """relu(x + bias), in place."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total = x[k, p] + bias[p]
            x[k, p] = zero if total <= zero else total


@njit(nogil=True, cache=True)
def relu_grad(grad: Any, felt: Any) -> None:
    """Keep the gradient where relu let its input pass; `felt` is that input or the output."""
    zero = grad.dtype.type(0)
    for k in range(grad.shape[0]):
        for p in range(grad.shape[1]):
            grad[k, p] = zero if felt[k, p] <= zero else grad[k, p]


@njit(nogil=True, cache=True)
def add_moments(x: Any, seen: Any, moments: Any) -> None:
    """Take rows x (r, P) into the moments (2, P) of those seen before: mean, squared distances to it."""
    r, P = x.shape
    mean, squares = np.zeros(P, x.dtype), np.zeros(P, x.dtype)
    add_rows(mean, x)
    for p in range(P):
        mean[p] /= r
    for k in range(r):
        for p in range(P):
            distance = x[k, p] - mean[p]
            squares[p] += distance * distance
    combine_moments(mean, squares, r, seen, moments)


@njit(nogil=True, cache=True)
def combine_moments(mean: Any, squares: Any, count: Any, seen: Any, moments: Any) -> None:
    """Moments of two sets of rows as those of both (Chan, Golub, LeVeque 1979)."""
    total = seen + count
    for p in range(len(mean)):
        apart = mean[p] - moments[0, p]
        moments[0, p] += apart * (count / total)
        moments[1, p] += squares[p] + apart * apart * (seen * (count / total))


@njit(nogil=True, cache=True)
def scales(moments: Any, count: Any, scale: Any) -> None:
    """scale (P,) = 1 / √(variance + ε)."""
    for p in range(len(scale)):
        scale[p] = 1 / np.sqrt(moments[1, p] / count + EPSILON)


@njit(nogil=True, cache=True)
def normalise(x: Any, mean: Any, scale: Any) -> None:
    """Each channel of rows x (r, P) to mean 0 and variance 1, in place."""
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] = (x[k, p] - mean[p]) * scale[p]


@njit(nogil=True, cache=True)
def normalise_grad(grad: Any, x: Any, scale: Any, sums: Any, count: Any) -> None:
    """The gradient of the sums, in place, from that of the normalised rows x; `sums` as of `add_sums`."""
    sums = sums / sums.dtype.type(count)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            grad[k, p] = scale[p] * (grad[k, p] - sums[0, p] - x[k, p] * sums[1, p])


@njit(nogil=True, cache=True)
def add_sums(grad: Any, x: Any, sums: Any) -> None:
    """Add to sums (2, P) over rows: Σ grad and Σ grad · x."""
    for k in range(grad.shape[0]):
        for p in range(grad.shape[1]):
            sums[0, p] += grad[k, p]
            sums[1, p] += grad[k, p] * x[k, p]


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def normalise_channels(x: Any, scale: Any) -> None:
    """Each row of x (r, P) to mean 0 and variance 1, in place; scale (r,) keeps 1 / √(variance + ε)."""
    real, P = x.dtype.type, x.shape[1]
    for k in range(x.shape[0]):
        total = real(0)
        for p in range(P):
            total += x[k, p]
        mean, squares = total / real(P), real(0)
        for p in range(P):
            x[k, p] -= mean
            squares += x[k, p] * x[k, p]
        scale[k] = 1 / np.sqrt(squares / P + EPSILON)
        for p in range(P):
            x[k, p] *= scale[k]


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def normalise_channels_grad(grad: Any, x: Any, scale: Any) -> None:
    """The gradient of the sums, in place, from that of the normalised rows x (r, P)."""
    real, P = x.dtype.type, x.shape[1]
    for k in range(x.shape[0]):
        first, second = real(0), real(0)
        for p in range(P):
            first += grad[k, p]
            second += grad[k, p] * x[k, p]
        first, second = first / real(P), second / real(P)
        for p in range(P):
            grad[k, p] = scale[k] * (grad[k, p] - first - x[k, p] * second)
