"""The laws of `spec/chapters/iou.md`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.metrics import iou
from refca.errors import InvalidInput
from refca_spec import formulas
from refca_spec.compare import assert_same
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases())
def test_iou_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    got, ref = (code(*maps(case), case.cell.labels) for code in (iou, formulas.iou))
    assert_same(got, np.array(ref), "The IoU", case)


@law
@given(case=cases())
def test_iou_c2_it_is_accumulated_over_everything_given(case: Case) -> None:
    """Pixels count the same, in whatever shape they come: it is no mean over samples."""
    predicted, target = maps(case)
    flat, whole = (iou(p, t, case.cell.labels) for p, t in ((predicted.ravel(), target.ravel()), maps(case)))
    assert_same(flat, whole, "The IoU of the pixels in a row", case)


def test_iou_c2_samples_of_other_sizes_of_an_object_count_by_their_pixels() -> None:
    predicted, target = np.array([[0, 0, 0, 1], [1, 1, 1, 1]]), np.array([[0, 0, 0, 0], [0, 1, 1, 1]])
    assert_same(iou(predicted, target, 2), np.array([3 / 5, 3 / 5]), "The IoU", (predicted, target))


@law
@given(case=cases())
def test_iou_c3_a_class_neither_predicted_nor_there_has_none(case: Case) -> None:
    predicted, target = maps(case)
    got, L = iou(predicted, target, case.cell.labels + 1), case.cell.labels
    assert np.isnan(got[L]), f"the IoU of an absent class is {got[L]}: {case}"
    there = [k in predicted or k in target for k in range(L)]
    assert np.array_equal(~np.isnan(got[:L]), there), f"got {got}: {case}"


@law
@given(case=cases())
def test_iou_c4_it_is_symmetric_and_1_for_the_truth(case: Case) -> None:
    predicted, target = maps(case)
    L = case.cell.labels
    assert_same(iou(predicted, target, L), iou(target, predicted, L), "The IoU the other way round", case)
    got = iou(target, target, L)
    assert set(got[~np.isnan(got)]) == {1.0}, f"got {got}: {case}"


@law
@given(case=cases(), wrong=st.sampled_from(("shape", "label", "negative")))
def test_iou_c5_other_shapes_and_labels_are_refused(case: Case, wrong: str) -> None:
    predicted, target = maps(case)
    if wrong == "shape":
        predicted = predicted[..., None]
    else:
        predicted[0, 0, 0] = case.cell.labels if wrong == "label" else -1
    for pair in ((predicted, target), (target, predicted)):
        with pytest.raises(InvalidInput, match="shape" if wrong == "shape" else "labels"):
            iou(*pair, case.cell.labels)


def maps(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and true labels, (B, sH, sW), the predicted often right."""
    target = case.target("map")
    guess = case.rng("guess").integers(0, case.cell.labels, case.pixels)
    return np.where(case.live, target, guess), target
