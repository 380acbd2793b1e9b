"""The one rule of equality: exact for masks, labels, shapes and dtypes; a bound for real numbers.

A real number is right if |got − ref| ≤ C·eps(dtype)·√n·(1 + |ref|), where ref is the reference evaluated in
float64, eps belongs to the dtype that was computed in, and n is the longest sum in the operation. After T
steps the bound is T times that.

Source: `spec/notation.md`, "Equality".
"""

from __future__ import annotations

import numpy as np

from refca.definition.cell import Array, Cell

C = 16


def longest_sum(cell: Cell, cells: int = 0) -> int:
    """n: the terms of the longest sum in a step, or in a sum over `cells` cells if that is longer."""
    return max(9 * (cell.environment_channels + cell.state_channels), cell.hidden_width, cells)


def assert_close(
    got: Array, ref: Array, n: int, what: str, call: object, steps: int = 1, dtype: str | None = None
) -> None:
    """Raise AssertionError unless `got` equals `ref` by the rule of equality; `call` is the call to repeat.

    got and ref are NumPy arrays or numbers, ref float64. `dtype` is what was computed in: by default that
    of `got`; it must be given for a Python float. NaN equals nothing.
    """
    got, ref = np.asarray(got), np.asarray(ref)
    assert ref.dtype == np.float64, f"{what} is compared with a reference in {ref.dtype}, not in float64."
    assert_same_shape(got, ref, what, call)
    bound = steps * C * np.finfo(dtype or got.dtype).eps * np.sqrt(n) * (1 + np.abs(ref))
    report(got, ref, ~(np.abs(got - ref) <= bound), what, call, bound)


def assert_same(got: Array, ref: Array, what: str, call: object) -> None:
    """Raise AssertionError unless two NumPy arrays have the same dtype, shape and values; NaN equals NaN."""
    got, ref = np.asarray(got), np.asarray(ref)
    assert got.dtype == ref.dtype, f"{what} is {got.dtype}; expected {ref.dtype}. The call: {call}"
    assert_same_shape(got, ref, what, call)
    report(got, ref, ~((got == ref) | ((got != got) & (ref != ref))), what, call)


def assert_uniform(drawn: Array, count: int, what: str, call: object) -> None:
    """Raise AssertionError unless the numbers 0 ... count - 1 are about equally frequent among independent draws.

    By Hoeffding's inequality uniform draws fail less than once in 10⁹.
    """
    shares = np.bincount(np.ravel(drawn), minlength=count) / np.size(drawn)
    expected = np.full(count, 1 / count)
    assert_same_shape(shares, expected, f"{what}, counted,", call)
    bound = np.full(count, np.sqrt(np.log(2 * count / 1e-9) / (2 * np.size(drawn))))
    report(shares, expected, np.abs(shares - expected) > bound, f"{what}, as a share of each,", call, bound)


def assert_same_shape(got: Array, ref: Array, what: str, call: object) -> None:
    """Raise AssertionError unless two NumPy arrays have the same shape."""
    assert got.shape == ref.shape, f"{what} has shape {got.shape}; expected {ref.shape}. The call: {call}"


def report(got: Array, ref: Array, wrong: Array, what: str, call: object, bound: Array | None = None) -> None:
    """Raise AssertionError with a sentence on the worst of the wrong numbers, if there is one."""
    if not np.any(wrong):
        return
    distance = np.where(wrong, np.nan_to_num(np.abs(got * 1.0 - ref), nan=np.inf), -1)
    where = np.unravel_index(np.argmax(distance), np.shape(wrong))
    allowed = "exactly that" if bound is None else f"within {bound[where]:.2g} of it"
    place = f" at {tuple(map(int, where))}" if where else ""
    raise AssertionError(
        f"{what}{place}: got {got[where]!r}, expected {ref[where]!r}, {allowed}. "
        f"{int(np.sum(wrong))} of {np.size(wrong)} numbers are wrong. The call: {call}"
    )
