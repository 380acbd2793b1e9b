"""The laws of `spec/chapters/cross_entropy.md`."""

from __future__ import annotations

import numpy as np
import pytest
from autograd import elementwise_grad
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.losses import cross_entropy
from refca_spec import formulas
from refca_spec.compare import assert_close, assert_same
from refca_spec.strategies import Case, cases, law


@pytest.mark.parametrize("kind", ["labels", "map"])
@law
@given(case=cases(stride=1))
def test_cross_entropy_c1_the_array_code_is_the_index_formula(kind: str, case: Case) -> None:
    arguments = case.readout, case.target(kind), case.live
    got, ref = cross_entropy(*arguments), np.array(formulas.cross_entropy(*arguments))
    assert_close(got, ref, case.cells, "The loss", (case, kind))


@law
@given(case=cases(stride=1))
def test_cross_entropy_c2_for_labels_dead_cells_do_not_count(case: Case) -> None:
    readout = case.readout
    readout[~case.live] += np.arange(case.cell.labels)
    got, ref = (cross_entropy(r, case.target("labels"), case.live) for r in (readout, case.readout))
    assert_same(got, ref, "The loss with other dead cells", case)


@law
@given(case=cases(stride=1))
def test_cross_entropy_c3_for_a_map_every_pixel_counts(case: Case) -> None:
    every = np.ones(case.grid, bool)
    got, ref = (cross_entropy(case.readout, case.target("map"), live) for live in (case.live, every))
    assert_same(got, ref, "The loss with other live cells", case)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@law
@given(case=cases(stride=1))
def test_cross_entropy_c4_no_readout_overflows(dtype: str, case: Case) -> None:
    """The first label ahead of the others by 1000, which exp cannot hold: it costs 0, any other 1000."""
    readout = np.zeros(case.readout.shape, dtype)
    readout[..., 0] = 1000
    target = case.target("labels")
    ref = 1000.0 * (target > 0) * np.sum(case.live, axis=(1, 2))
    assert_close(cross_entropy(readout, target, case.live), ref, case.cells, "The loss", (case, dtype))


@law
@given(case=cases(stride=1), shift=st.floats(-10, 10))
def test_cross_entropy_c4_only_differences_of_outputs_count(case: Case, shift: float) -> None:
    got, ref = (cross_entropy(r, case.target("labels"), case.live) for r in (case.readout + shift, case.readout))
    assert_close(got, ref, case.cells, "The loss of shifted outputs", (case, shift), steps=2)


@law
@given(case=cases(stride=1))
def test_cross_entropy_c5_its_gradient_is_softmax_minus_one_hot(case: Case) -> None:
    target, live = case.target("labels"), case.live
    got = elementwise_grad(lambda readout: cross_entropy(readout, target, live))(case.readout)
    power = np.exp(case.readout)
    softmax = power / power.sum(-1, keepdims=True)
    one_hot = np.eye(case.cell.labels)[target][:, None, None]
    assert_close(got, (softmax - one_hot) * live[..., None], case.cell.labels, "The gradient", case)
