"""The layers of a cell on the rows of a shard, and their gradients: neighbourhood, norms, relu.

Pixels are flat, (n, C), with a border of zeros, so that a row of a neighbourhood is one run of 3·C numbers.
`corner` is the pixel where a cell's neighbourhood starts, `row_stride` the pixels from one row to the next.
The longest loops count in unsigned numbers: a signed index may mean "from the end", and the test for that
keeps the compiler from making vector instructions.

Letters: C channels of a pixel, P hidden width, R rows, one for each cell that is computed.
"""

from __future__ import annotations

import numpy as np

from refca.definition.step import EPSILON
from refca_cpu.arrays import Ints, Reals
from refca_cpu.compiled import njit


@njit(forceinline=True)
def flat(x: Reals) -> Reals:
    """x in one row, a view."""
    return x.reshape(-1)


@njit(nogil=True, cache=True)
def neighbourhood(pixels: Reals, row_stride: int, corner: Ints, seen: Reals) -> None:
    """Fill seen (R, 9·C) with the neighbourhoods of the cells, three runs of 3·C numbers each."""
    run, source, target = np.uintp(3 * pixels.shape[1]), pixels.reshape(-1), seen.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            start = np.uintp((corner[k] + dy * row_stride) * pixels.shape[1])
            for c in range(run):
                target[end + np.uintp(c)] = source[start + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def neighbourhood_grad(pixels_grad: Reals, row_stride: int, corner: Ints, seen_grad: Reals) -> None:
    """Add each neighbourhood's gradient to the pixels that it was read from."""
    run, source, target = np.uintp(3 * pixels_grad.shape[1]), seen_grad.reshape(-1), pixels_grad.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            start = np.uintp((corner[k] + dy * row_stride) * pixels_grad.shape[1])
            for c in range(run):
                target[start + np.uintp(c)] += source[end + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def add_bias(x: Reals, bias: Reals) -> None:
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] += bias[p]


@njit(nogil=True, cache=True)
def add_rows(total: Reals, x: Reals) -> None:
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total[p] += x[k, p]


@njit(nogil=True, cache=True)
def relu(x: Reals, out: Reals) -> None:
    """Fill out with x where it is above 0, else 0; NaN stays NaN."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            out[k, p] = zero if x[k, p] <= zero else x[k, p]


@njit(nogil=True, cache=True)
def biased_relu(x: Reals, bias: Reals, out: Reals) -> None:
    """Fill out, which is not x, with relu(x + bias)."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total = x[k, p] + bias[p]
            out[k, p] = zero if total <= zero else total


@njit(nogil=True, cache=True)
def biased_relu_in_place(x: Reals, bias: Reals) -> None:
    """Replace x by relu(x + bias). Apart from `biased_relu`, since arrays that may overlap are not vectorised."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total = x[k, p] + bias[p]
            x[k, p] = zero if total <= zero else total


@njit(nogil=True, cache=True)
def relu_grad(grad: Reals, preact: Reals) -> None:
    """Keep the gradient where relu let its input pass; `preact` is that input or the output."""
    zero = grad.dtype.type(0)
    for k in range(grad.shape[0]):
        for p in range(grad.shape[1]):
            grad[k, p] = zero if preact[k, p] <= zero else grad[k, p]


@njit(nogil=True, cache=True)
def add_moments(x: Reals, rows_before: int, moments: Reals) -> None:
    """Add rows x (r, P) to the moments (2, P) of the rows before them: mean, and squared distances to it."""
    r, P = x.shape
    mean, squares = np.zeros(P, x.dtype), np.zeros(P, x.dtype)
    add_rows(mean, x)
    for p in range(P):
        mean[p] /= r
    for k in range(r):
        for p in range(P):
            distance = x[k, p] - mean[p]
            squares[p] += distance * distance
    combine_moments(mean, squares, r, rows_before, moments)


@njit(nogil=True, cache=True)
def combine_moments(mean: Reals, squares: Reals, count: int, rows_before: int, moments: Reals) -> None:
    """Merge the moments of `count` more rows into `moments` (Chan, Golub, LeVeque 1979)."""
    total = rows_before + count
    for p in range(len(mean)):
        delta = mean[p] - moments[0, p]
        moments[0, p] += delta * (count / total)
        moments[1, p] += squares[p] + delta * delta * (rows_before * (count / total))


@njit(nogil=True, cache=True)
def inverse_deviations(moments: Reals, count: int, scale: Reals) -> None:
    """Fill scale (P,) with 1 / √(variance + ε)."""
    for p in range(len(scale)):
        scale[p] = 1 / np.sqrt(moments[1, p] / count + EPSILON)


@njit(nogil=True, cache=True)
def normalise(x: Reals, mean: Reals, scale: Reals) -> None:
    """Bring each channel of rows x (r, P) to mean 0 and variance 1, in place."""
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            x[k, p] = (x[k, p] - mean[p]) * scale[p]


@njit(nogil=True, cache=True)
def normalise_grad(grad: Reals, x: Reals, scale: Reals, grad_sums: Reals, count: int) -> None:
    """The gradient of the sums, replacing the gradient of the normalised rows x; grad_sums from `add_grad_sums`."""
    means = grad_sums / grad_sums.dtype.type(count)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            grad[k, p] = scale[p] * (grad[k, p] - means[0, p] - x[k, p] * means[1, p])


@njit(nogil=True, cache=True)
def add_grad_sums(grad: Reals, x: Reals, sums: Reals) -> None:
    """Add to sums (2, P) over rows: Σ grad and Σ grad · x."""
    for k in range(grad.shape[0]):
        for p in range(grad.shape[1]):
            sums[0, p] += grad[k, p]
            sums[1, p] += grad[k, p] * x[k, p]


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def normalise_channels(x: Reals, scale: Reals) -> None:
    """Bring each row of x (r, P) to mean 0 and variance 1, in place; scale (r,) gets 1 / √(variance + ε)."""
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
def normalise_channels_grad(grad: Reals, x: Reals, scale: Reals) -> None:
    """The gradient of the sums, replacing the gradient of the normalised rows x (r, P)."""
    real, P = x.dtype.type, x.shape[1]
    for k in range(x.shape[0]):
        total, along = real(0), real(0)
        for p in range(P):
            total += grad[k, p]
            along += grad[k, p] * x[k, p]
        total, along = total / real(P), along / real(P)
        for p in range(P):
            grad[k, p] = scale[k] * (grad[k, p] - total - x[k, p] * along)
