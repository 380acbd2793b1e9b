"""The laws of `spec/chapters/l2.md`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from refca.definition.losses import l2
from refca_spec import formulas
from refca_spec.compare import assert_close, assert_same
from refca_spec.strategies import Case, cases, law


@pytest.mark.parametrize("kind", ["labels", "map"])
@law
@given(case=cases(stride=1))
def test_l2_c1_the_array_code_is_the_index_formula(kind: str, case: Case) -> None:
    arguments = case.readout, case.target(kind), case.live
    assert_close(l2(*arguments), np.array(formulas.l2(*arguments)), case.cells, "The loss", (case, kind))


@law
@given(case=cases(stride=1))
def test_l2_c2_for_labels_dead_cells_do_not_count(case: Case) -> None:
    readout = case.readout
    readout[~case.live] += 7
    got, ref = (l2(r, case.target("labels"), case.live) for r in (readout, case.readout))
    assert_same(got, ref, "The loss with other dead cells", case)


@law
@given(case=cases(stride=1))
def test_l2_c3_for_a_map_every_pixel_counts(case: Case) -> None:
    every = np.ones(case.grid, bool)
    got, ref = (l2(case.readout, case.target("map"), live) for live in (case.live, every))
    assert_same(got, ref, "The loss with other live cells", case)


@law
@given(case=cases(stride=1))
def test_l2_c4_renaming_the_labels_changes_nothing(case: Case) -> None:
    order = case.rng("order").permutation(case.cell.labels)
    target = np.argsort(order)[case.target("labels")]
    got = l2(case.readout[..., order], target, case.live)
    ref = l2(case.readout, case.target("labels"), case.live)
    assert_close(got, ref, case.cells, "The loss under other names", (case, order))


@law
@given(case=cases(stride=1))
def test_l2_c5_it_is_zero_at_the_one_hot_label_alone(case: Case) -> None:
    target, every = case.target("labels"), np.ones(case.grid, bool)
    readout = np.broadcast_to(np.eye(case.cell.labels)[target][:, None, None], case.readout.shape)
    assert_same(l2(readout, target, every), np.zeros(case.B), "The loss of the right answer", case)
    assert np.all(l2(readout + 0.5, target, every) > 0)
