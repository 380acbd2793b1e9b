"""The laws of `spec/chapters/total_agreement.md`."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given

from refca.definition.metrics import total_agreement
from refca_spec import formulas
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases(stride=1))
def test_total_agreement_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    live = case.live
    live[0, 0, 0] = True
    got = total_agreement(case.readout, live)
    assert got == formulas.total_agreement(case.readout, live), f"got {got} for {case}"


@law
@given(case=cases(stride=1))
def test_total_agreement_c2_agreeing_on_a_wrong_label_counts(case: Case) -> None:
    readout = case.readout * 0
    readout[..., -1] += 1
    assert total_agreement(readout, np.ones(case.grid, bool)) == 1


@law
@given(case=cases(B=2, stride=1))
def test_total_agreement_c3_a_digit_without_live_cells_is_left_out(case: Case) -> None:
    live = case.live
    live[0], live[1, 0, 0] = False, True
    got, ref = total_agreement(case.readout, live), total_agreement(case.readout[1:], live[1:])
    assert got == ref, f"got {got}, expected {ref}: {case}"
    assert math.isnan(total_agreement(case.readout, np.zeros(case.grid, bool)))


@law
@given(case=cases(least=2, stride=1))
def test_total_agreement_c4_a_cell_whose_outputs_are_all_negative_votes(case: Case) -> None:
    live = case.live
    live[:, 0, 0] = True
    got, ref = total_agreement(case.readout - 9, live), total_agreement(case.readout, live)
    assert got == ref, f"got {got}, expected {ref}: {case}"


def test_total_agreement_c4_a_negative_vote_against_the_others_breaks_agreement() -> None:
    readout = np.array([[[[1.0, 0.0], [-2.0, -1.0]]]])
    assert total_agreement(readout, np.ones((1, 1, 2), bool)) == 0
