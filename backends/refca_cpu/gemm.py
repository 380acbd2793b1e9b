"""Matrix products that add to what is there, for compiled code: the routine behind numba's own `np.dot`.

`np.dot` can only replace. Each row must be contiguous, but rows may be part of a wider matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from refca_cpu.arrays import Reals
from refca_cpu.compiled import njit

ADDRESS, SIZE, LETTER = types.uintp, types.intp, types.char
XXGEMM: Any = types.ExternalFunction(
    "numba_xxgemm",
    types.intc(
        *(LETTER, LETTER, LETTER, SIZE, SIZE, SIZE),  # dtype, transpose, transpose, rows, columns, length
        *(ADDRESS, ADDRESS, SIZE, ADDRESS, SIZE),  # alpha, matrix, its step, matrix, its step
        *(ADDRESS, ADDRESS, SIZE),  # beta, result, its step
    ),
)
AS_IS, TRANSPOSED = ord("n"), ord("t")
SMALL = 1_000_000  # products up to this many multiplications take OpenBLAS's path without copies


@njit(nogil=True, cache=True)
def multiply(a: Reals, b: Reals, out: Reals, beta: float) -> None:
    """Set out (m, n) to a (m, k) @ b (k, n) + beta · out."""
    gemm(AS_IS, AS_IS, len(a), b.shape[1], a.shape[1], a, b, beta, out)


@njit(nogil=True, cache=True)
def multiply_back(a: Reals, b: Reals, out: Reals, beta: float) -> None:
    """Set out (m, n) to a (m, k) @ b (n, k).T + beta · out."""
    gemm(AS_IS, TRANSPOSED, len(a), len(b), a.shape[1], a, b, beta, out)


@njit(nogil=True, cache=True)
def add_product(a: Reals, b: Reals, out: Reals) -> None:
    """Add a (k, m).T @ b (k, n) to out (m, n), in runs of k that are small products."""
    run = max(64, SMALL // (a.shape[1] * b.shape[1]))
    for first in range(0, len(a), run):
        last = min(len(a), first + run)
        rows, columns = a.shape[1], b.shape[1]
        gemm(TRANSPOSED, AS_IS, rows, columns, last - first, a[first:last], b[first:last], 1, out)


@njit(nogil=True, cache=True)
def gemm(of_a: int, of_b: int, m: int, n: int, k: int, a: Reals, b: Reals, beta: float, out: Reals) -> None:
    """Call the routine, which counts columns first: ask for the transposed product, b before a."""
    if m == 0 or n == 0:
        return
    factors = np.array([1, beta], out.dtype)
    XXGEMM(
        ord("s") if out.itemsize == 4 else ord("d"),
        *(of_b, of_a, n, m, k),
        factors.ctypes.data,
        *(b.ctypes.data, b.strides[0] // b.itemsize),
        *(a.ctypes.data, a.strides[0] // a.itemsize),
        factors[1:].ctypes.data,
        *(out.ctypes.data, out.strides[0] // out.itemsize),
    )
