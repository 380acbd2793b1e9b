"""The laws of `spec/chapters/adam.md`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.contract.adam import adam_step, normalised
from refca.definition.cell import Array, Params
from refca.training.adam import Adam, learning_rate_at
from refca_spec import formulas
from refca_spec.calls import to_backend
from refca_spec.compare import assert_close, assert_same
from refca_spec.strategies import Case, cases, exact, law

RATE = 0.01


def gradients(case: Case) -> list[Params]:
    """Gradients for three training steps, of very different sizes."""
    rng = case.rng("gradients")
    return [
        {name: exact(size * rng.standard_normal(param.shape)) for name, param in case.params.items()}
        for size in (1.0, 1e-6, 10.0)
    ]


@law
@given(case=cases())
def test_adam_c1_each_number_moves_by_the_index_formula(backend: Any, dtype: str, case: Case) -> None:
    params = {name: to_backend(backend, param, dtype) for name, param in case.params.items()}
    adam, grads = Adam(), gradients(case)
    for i, grad in enumerate(grads):
        moved = {name: to_backend(backend, g, dtype) for name, g in grad.items()}
        params = adam_step(params, moved, adam.m, adam.v, i, RATE, False)
    for name, param in case.params.items():
        ref = np.empty(param.shape)
        for at in np.ndindex(*param.shape):
            ref[at] = formulas.adam(float(param[at]), [float(grad[name][at]) for grad in grads], RATE)
        got = backend.asnumpy(params[name])
        assert got.dtype == dtype, f"{name} became {got.dtype} in {dtype}"
        assert_close(got, ref, len(grads), f"{name} after {len(grads)} training steps", case)


@law
@given(case=cases())
def test_adam_c2_parameters_and_gradients_are_not_written(case: Case) -> None:
    assert_nothing_is_written(adam_step, case)


def assert_nothing_is_written(step: Callable[..., Params], case: Case) -> None:
    """Raise AssertionError if an update by `step`, or writing into its result, changes what it was given."""
    params, grad = case.params, gradients(case)[0]
    moved = step(params, grad, {}, {}, 0, RATE, False)
    for name, param in case.params.items():
        moved[name][...] = 7
        assert_same(params[name], param, f"{name} as it was given", case)
        assert_same(grad[name], gradients(case)[0][name], f"The gradient of {name}", case)


@law
@given(case=cases())
def test_adam_c3_a_gradient_of_zero_moves_nothing(case: Case) -> None:
    assert_zero_moves_nothing(adam_step, case)


def assert_zero_moves_nothing(step: Callable[..., Params], case: Case) -> None:
    """Raise AssertionError if the first updates by `step` move parameters whose gradients are zero."""
    zeros = {name: np.zeros_like(param) for name, param in case.params.items()}
    moved, adam = case.params, Adam()
    for i in range(3):
        moved = step(moved, zeros, adam.m, adam.v, i, RATE, True)
        for name, param in case.params.items():
            assert_same(moved[name], param, f"{name} after update {i}", case)


@law
@given(case=cases())
def test_adam_c4_each_gradient_is_divided_by_its_own_norm(backend: Any, dtype: str, case: Case) -> None:
    grad = gradients(case)[1]
    got = normalised({name: to_backend(backend, g, dtype) for name, g in grad.items()})
    for name, g in grad.items():
        norm = np.sqrt(sum(float(x) ** 2 for x in g.ravel()))
        assert_close(backend.asnumpy(got[name]), g / (norm + 1e-8), g.size, f"The normalised {name}", case)


@pytest.mark.parametrize("normalise", [False, True], ids=["as they are", "normalised"])
@law
@given(case=cases())
def test_adam_c8_a_backend_s_own_update_is_that_of_the_formulas(
    backend: Any, dtype: str, normalise: bool, case: Case
) -> None:
    """A backend without one has the default."""
    mine, theirs, true = Adam(), Adam(), case.params
    params = {name: to_backend(backend, param, dtype) for name, param in true.items()}
    sizes: dict[tuple[int, str], float] = {}
    for i, grad in enumerate(gradients(case)):
        before, moved = params, {name: to_backend(backend, g, dtype) for name, g in grad.items()}
        copies = {name: np.array(backend.asnumpy(param)) for name, param in before.items()}
        params = backend.adam_step(params, moved, mine.m, mine.v, i, RATE, normalise)
        true = adam_step(true, grad, theirs.m, theirs.v, i, RATE, normalise)
        assert set(mine.m) == set(mine.v) == set(params) == set(true), f"names are missing: {case}"
        for name, ref in true.items():
            call = (case, name, i)
            assert_same(backend.asnumpy(before[name]), copies[name], "A parameter as it was given", call)
            assert_same(backend.asnumpy(moved[name]), grad[name].astype(dtype), "A gradient", call)
            descended(backend.asnumpy(params[name]), ref, dtype, "A parameter", call, i + 1)
            for ours, expected in ((mine.m, theirs.m), (mine.v, theirs.v)):
                # a moment is a sum, and rounds as its terms do, which may cancel: 0.9 of what it was is one
                before_it = 0.9 * sizes.get((id(expected), name), 0.0)
                sizes[id(expected), name] = max(1e-30, before_it, float(np.abs(expected[name]).max()))
                unit = 1 / sizes[id(expected), name]
                value = unit * backend.asnumpy(ours[name])
                descended(value, unit * expected[name], dtype, "A moment in its own unit", call, i + 1)


def descended(got: Array, ref: Array, dtype: str, what: str, call: object, steps: int) -> None:
    """Raise AssertionError unless `got`, in `dtype`, equals `ref` after a number of updates."""
    assert got.dtype == dtype, f"{what} became {got.dtype} in {dtype}: {call}"
    assert_close(got, ref, ref.size, what, call, steps=steps)


@pytest.mark.parametrize(
    ("i", "expected"),
    [(0, 1e-3), (29_999, 1e-3), (30_000, 1e-4), (69_999, 1e-4), (70_000, 1e-5), (99_999, 1e-5)],
)
def test_adam_c5_the_rate_falls_twice(i: int, expected: float) -> None:
    assert_close(learning_rate_at(1e-3, i, 100_000), np.float64(expected), 1, "The learning rate", i, dtype="float64")


@pytest.mark.parametrize(
    ("steps", "drops"),
    [(10, (7, 9)), (10_000, (7_000, 9_000)), (50_000, (30_000, 45_000)), (300_000, (90_000, 210_000))],
)
def test_adam_c5_other_lengths_keep_steps_or_shares(steps: int, drops: tuple[int, int]) -> None:
    for k, drop in enumerate(drops):
        before, after = (learning_rate_at(1.0, i, steps) for i in (drop - 1, drop))
        assert_close(before, np.float64(10.0**-k), 1, "The rate before a drop", (steps, drop), dtype="float64")
        assert_close(after, np.float64(10.0 ** -(k + 1)), 1, "The rate after it", (steps, drop), dtype="float64")


@law
@given(steps=st.integers(1, 10**6), share=st.floats(0, 1, exclude_max=True))
def test_adam_c6_the_rate_falls_along_a_cosine(steps: int, share: float) -> None:
    i = int(share * steps)
    ref = np.float64((1 + np.cos(np.pi * i / steps)) / 2)
    got = learning_rate_at(1.0, i, steps, "cosine")
    assert_close(got, ref, 1, "The learning rate", (i, steps), dtype="float64")
    assert 0 <= learning_rate_at(1.0, i, steps, "cosine") <= 1


@pytest.mark.parametrize(("i", "expected"), [(0, 1e-3), (25_000, 8.535533905932737e-4), (50_000, 5e-4)])
def test_adam_c6_the_rate_is_whole_at_first_and_half_in_the_middle(i: int, expected: float) -> None:
    got = learning_rate_at(1e-3, i, 100_000, "cosine")
    assert_close(got, np.float64(expected), 1, "The learning rate", i, dtype="float64")


def test_adam_c7_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match='schedule must be one of article, constant, cosine, got "linear"'):
        learning_rate_at(1e-3, 0, 10, "linear")


@law
@given(steps=st.integers(1, 10**6), share=st.floats(0, 1, exclude_max=True))
def test_adam_c9_a_constant_rate_stays(steps: int, share: float) -> None:
    assert learning_rate_at(3e-4, int(share * steps), steps, "constant") == 3e-4


@pytest.mark.parametrize("schedule", ["article", "constant", "cosine"])
@law
@given(warmup=st.integers(1, 100), i=st.integers(0, 200))
def test_adam_c10_the_rate_rises_in_equal_parts_to_the_schedules(schedule: str, warmup: int, i: int) -> None:
    part, whole = min(1.0, (i + 1) / warmup), learning_rate_at(1.0, i, 1000, schedule)
    got = learning_rate_at(1.0, i, 1000, schedule, warmup)
    assert_close(got, np.float64(part * whole), 1, "The learning rate", (i, warmup), dtype="float64")
    if i >= warmup - 1:
        assert got == whole
