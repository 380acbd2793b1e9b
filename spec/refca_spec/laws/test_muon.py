"""The laws of `spec/chapters/muon.md`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.contract.adam import adam_step
from refca.definition.cell import Array, Params
from refca.training.adam import Adam
from refca.training.muon import muon_step, orthogonal
from refca_spec import formulas
from refca_spec.compare import assert_close, assert_same
from refca_spec.laws.test_adam import RATE, assert_nothing_is_written, assert_zero_moves_nothing, gradients
from refca_spec.strategies import Case, cases, law

GROWTH = 500  # how much the polynomial enlarges the rounding errors of small singular values
sides = st.integers(2, 12)


def matrix(rows: int, columns: int, seed: int) -> Array:
    """A matrix with singular values of very different sizes, (rows, columns)."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (rows, columns))
    rank = min(rows, columns)
    return left[:, :rank] * 10.0 ** rng.uniform(-4, 1, rank) @ right[:rank]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("normalise", [False, True], ids=["as they are", "normalised"])
@law
@given(case=cases())
def test_muon_c1_matrices_move_by_their_orthogonal_momentum(normalise: bool, dtype: str, case: Case) -> None:
    params = {name: param.astype(dtype) for name, param in case.params.items()}
    m: Params = {}
    v: Params = {}
    momentum = {name: np.zeros_like(param) for name, param in case.params.items()}
    expected = dict(case.params)
    for i, grads in enumerate(gradients(case)):
        params = muon_step(params, {name: g.astype(dtype) for name, g in grads.items()}, m, v, i, RATE, normalise)
        for name in filter(lambda name: formulas.updated_as_matrix(expected[name].shape), expected):
            grad = grads[name] / (np.sqrt((grads[name] ** 2).sum()) + 1e-8) if normalise else grads[name]
            momentum[name] = 0.95 * momentum[name] + 0.05 * grad
            ahead = (0.95 * momentum[name] + 0.05 * grad).reshape(-1, grad.shape[-1])
            size = RATE * 0.2 * max(ahead.shape) ** 0.5
            expected[name] = expected[name] - size * formulas.orthogonal(ahead).reshape(grad.shape)
            what = f"{name} after update {i}"
            steps = (i + 1) * (1 + GROWTH * size)
            assert_close(params[name], expected[name], ahead.size, what, case, steps=steps)
            assert_close(m[name], momentum[name], i + 1, f"The momentum of {what}", case)
            assert params[name].dtype == m[name].dtype == dtype
    assert list(params) == list(case.params), "the names of the parameters"
    assert v.keys() == {name for name, x in expected.items() if not formulas.updated_as_matrix(x.shape)}


@law
@given(case=cases())
def test_muon_c2_parameters_and_gradients_are_not_written(case: Case) -> None:
    assert_nothing_is_written(muon_step, case)


@law
@given(case=cases())
def test_muon_c3_a_gradient_of_zero_moves_nothing(case: Case) -> None:
    assert_zero_moves_nothing(muon_step, case)


@law
@given(rows=sides, columns=sides, seed=st.integers(0, 2**32 - 1))
def test_muon_c4_singular_values_follow_the_polynomial_and_vectors_stay(rows: int, columns: int, seed: int) -> None:
    u = matrix(rows, columns, seed)
    call = (rows, columns, seed)
    assert_close(orthogonal(u), formulas.orthogonal(u), u.size, "The orthogonal matrix", call, steps=GROWTH)
    values = np.linalg.svd(orthogonal(u), compute_uv=False)
    large = np.linalg.svd(u, compute_uv=False) >= 0.01 * np.sqrt((u**2).sum())
    assert values.max() < 1.21, call  # the polynomial's largest value is 1.2024, from 0.0041
    assert np.sort(values)[::-1][: large.sum()].min() > 0.68, call


@law
@given(rows=sides, columns=sides, seed=st.integers(0, 2**32 - 1))
def test_muon_c5_the_size_of_the_matrix_does_not_matter(rows: int, columns: int, seed: int) -> None:
    u = matrix(rows, columns, seed)
    u /= np.sqrt((u**2).sum())
    difference = np.abs(orthogonal(1000 * u) - orthogonal(u)).max()
    assert difference < GROWTH * 1e-6, f"{difference:.2g} apart: {(rows, columns, seed)}"


@law
@given(case=cases(hidden_width=(1, 3)))
def test_muon_c6_parameters_that_are_not_matrices_move_as_under_adam(case: Case) -> None:
    others = {name: x for name, x in case.params.items() if not formulas.updated_as_matrix(x.shape)}
    params, expected = case.params, others
    mine, alone = Adam(), Adam()
    for i, grads in enumerate(gradients(case)):
        params = muon_step(params, grads, mine.m, mine.v, i, RATE, True)
        expected = adam_step(expected, {name: grads[name] for name in others}, alone.m, alone.v, i, RATE, True)
        for name, x in expected.items():
            assert_same(params[name], x, f"{name} after update {i}", case)
