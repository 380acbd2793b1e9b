"""The laws of `spec/chapters/cell_accuracy.md`."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given

from refca.definition.metrics import cell_accuracy
from refca_spec import formulas
from refca_spec.compare import assert_close
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases(stride=1))
def test_cell_accuracy_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    live = case.live
    live[0, 0, 0] = True
    got = cell_accuracy(case.readout, case.target("labels"), live)
    assert got == formulas.cell_accuracy(case.readout, case.target("labels"), live), f"got {got} for {case}"


@law
@given(case=cases(stride=1))
def test_cell_accuracy_c2_ties_go_to_the_lowest_label(case: Case) -> None:
    every = np.ones(case.grid, bool)
    zeros = np.zeros_like(case.readout)
    assert cell_accuracy(zeros, np.zeros(case.B, int), every) == 1
    if case.cell.labels > 1:
        assert cell_accuracy(zeros, np.ones(case.B, int), every) == 0


@law
@given(case=cases(stride=1))
def test_cell_accuracy_c3_it_is_nan_where_nothing_lives(case: Case) -> None:
    assert math.isnan(cell_accuracy(case.readout, case.target("labels"), np.zeros(case.grid, bool)))


@law
@given(case=cases(B=2, stride=1))
def test_cell_accuracy_c4_every_cell_counts_the_same(case: Case) -> None:
    """The accuracy of a batch is the mean of its samples' accuracies, weighted by their live cells."""
    live, labels = case.live, case.target("labels")
    live[:, 0, 0] = True
    samples = [slice(b, b + 1) for b in range(case.B)]
    ref = sum(cell_accuracy(case.readout[b], labels[b], live[b]) * live[b].sum() for b in samples)
    assert_close(cell_accuracy(case.readout, labels, live), ref / live.sum(), case.B, "The accuracy", case)
