"""Matrix products for compiled code, which replace or add to a result.

Products with weights call the routine of OpenBLAS behind numba's own `np.dot`, which can only replace. OpenBLAS
is slow where a small result sums over many rows, so the gradients of weights are computed in tiles of our own.
Each row must be contiguous, but rows may be part of a wider matrix.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from refca_cpu.arrays import Reals
from refca_cpu.compiled import njit
from refca_cpu.tiles import ROWS, VECTOR_BYTES, VECTORS, tile

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
TILED = 96  # rows or columns of a result up to which tiles are faster than OpenBLAS
SMALL = 1_000_000  # products up to this many multiplications take OpenBLAS's path without copies
CHUNK_BYTES = 16 * 1024  # half of a small first cache
FACTORS_32, FACTORS_64 = np.array([0, 1], np.float32), np.array([0, 1], np.float64)  # global: their memory stays
ADD_TILE, ADD_NARROW = tile(VECTORS, edge=False), tile(1, edge=True)


@njit(nogil=True, cache=True)
def multiply(a: Reals, b: Reals, out: Reals, beta: int) -> None:
    """Set out (m, n) to a (m, k) @ b (k, n) + beta · out; beta is 0 or 1."""
    gemm(AS_IS, AS_IS, len(a), b.shape[1], a.shape[1], a, b, beta, out)


@njit(nogil=True, cache=True)
def multiply_back(a: Reals, b: Reals, out: Reals, beta: int) -> None:
    """Set out (m, n) to a (m, k) @ b (n, k).T + beta · out; beta is 0 or 1."""
    gemm(AS_IS, TRANSPOSED, len(a), len(b), a.shape[1], a, b, beta, out)


@njit(nogil=True, cache=True)
def add_product(a: Reals, b: Reals, out: Reals) -> None:
    """Add a.T @ b to out (m, n), for a (k, m) and b (k, n): the gradient of weights, summed over k rows."""
    m, n = a.shape[1], b.shape[1]
    if n <= ROWS < m:
        transposed = np.zeros((n, m), out.dtype)
        add_tiles(b, a, transposed)
        out += transposed.T
        return
    if min(m, n) <= TILED:
        add_tiles(a, b, out)
        return
    run = max(64, SMALL // (m * n))
    for first in range(0, len(a), run):
        last = min(len(a), first + run)
        gemm(TRANSPOSED, AS_IS, m, n, last - first, a[first:last], b[first:last], 1, out)


@njit(nogil=True, cache=True)
def add_tiles(a: Reals, b: Reals, out: Reals) -> None:
    """Add a (k, m).T @ b (k, n) to out (m, n), tile by tile.

    A chunk of the rows of b stays in the first cache while all tiles of `out` pass over it.
    """
    (k, m), n, size = a.shape, b.shape[1], out.itemsize
    lanes = VECTOR_BYTES // size
    chunk, whole = max(64, CHUNK_BYTES // (max(1, n) * size)), n // lanes * lanes
    last_columns = np.zeros((min(k, chunk) if whole < n else 0, lanes), out.dtype)
    for first in range(0, k, chunk):
        length = min(chunk, k - first)
        if whole < n:
            fill_columns(last_columns, b[first : first + length, whole:])
        for row in range(0, m, ROWS):
            rows = min(ROWS, m - row)
            from_a = np.intp(a.ctypes.data) + first * a.strides[0] + row * size, size, a.strides[0]
            column = 0
            while column < n:
                from_b = np.intp(b.ctypes.data) + first * b.strides[0] + column * size, b.strides[0]
                to = np.intp(out.ctypes.data) + row * out.strides[0] + column * size, out.strides[0]
                if rows < ROWS or whole - column < VECTORS * lanes:
                    columns = min(lanes, n - column)
                    if columns < lanes:
                        from_b = np.intp(last_columns.ctypes.data), last_columns.strides[0]
                    ADD_NARROW(out, (*from_a, *from_b, *to, length, rows, columns))
                    column += lanes
                    continue
                ADD_TILE(out, (*from_a, *from_b, *to, length, rows, VECTORS * lanes))
                column += VECTORS * lanes


@njit(nogil=True, cache=True)
def fill_columns(wide: Reals, narrow: Reals) -> None:
    """Copy a few columns into the first of an array of whole vectors."""
    for i in range(len(narrow)):
        for j in range(narrow.shape[1]):
            wide[i, j] = narrow[i, j]


@njit(nogil=True, cache=True)
def gemm(of_a: int, of_b: int, m: int, n: int, k: int, a: Reals, b: Reals, beta: int, out: Reals) -> None:
    """Call the routine, which counts columns first: ask for the transposed product, b before a."""
    if m == 0 or n == 0:
        return
    zero = FACTORS_32.ctypes.data if out.itemsize == 4 else FACTORS_64.ctypes.data
    one = zero + out.itemsize
    factor_of_out = one if beta else zero
    XXGEMM(
        ord("s") if out.itemsize == 4 else ord("d"),
        *(of_b, of_a, n, m, k),
        one,
        *(b.ctypes.data, b.strides[0] // b.itemsize),
        *(a.ctypes.data, a.strides[0] // a.itemsize),
        factor_of_out,
        *(out.ctypes.data, out.strides[0] // out.itemsize),
    )
