"""The laws of `spec/chapters/recorded.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from refca.definition.randomness import Recorded
from refca.errors import InvalidInput
from refca_spec.calls import evolve, reference_state
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases())
def test_recorded_c1_step_t_reads_entry_t(case: Case) -> None:
    for t in range(case.T):
        fire_mask, noise, reset_noise = case.recorded.at(case.cell, t, *case.grid)
        assert_same(fire_mask, case.recorded.fire[t], "The fire mask", (case, t))
        assert (noise is None, reset_noise is None) == (case.cell.noise == 0, not case.cell.resettable)
        if case.recorded.noise is not None:
            assert_same(noise, case.recorded.noise[t], "The noise", (case, t))
        if case.recorded.reset is not None:
            assert_same(reset_noise, case.recorded.reset[t], "z", (case, t))


@law
@given(case=cases(T=2, noise=0.5, resettable=(False, True)))
def test_recorded_c1_a_backend_starts_reading_at_start(backend: Any, dtype: str, case: Case) -> None:
    got = evolve(backend, dtype, case, first_step=1, steps=case.T - 1)
    source = case.recorded
    rest = Recorded(*(None if x is None else x[1:] for x in (source.fire, source.noise, source.reset)))
    ref, n = reference_state(case, source=rest, steps=case.T - 1), longest_sum(case.cell, case.normalised)
    assert_close(got, ref, n, "The state after the later steps", case, steps=case.T)


@law
@given(case=cases())
def test_recorded_c2_a_step_that_was_not_recorded_is_refused(backend: Any, dtype: str, case: Case) -> None:
    with pytest.raises(ValueError, match=f"recorded steps, got {case.T}"):
        case.recorded.at(case.cell, case.T, *case.grid)
    with pytest.raises(ValueError, match="steps"):
        evolve(backend, dtype, case, steps=case.T + 1)


@law
@given(case=cases())
def test_recorded_c3_masks_for_another_grid_are_refused(backend: Any, dtype: str, case: Case) -> None:
    other = replace(case, H=case.H + 1).recorded
    integers = replace(case.recorded, fire=case.recorded.fire.astype(np.int64))
    for wrong in (other, integers):
        with pytest.raises(ValueError, match="fire must be boolean"):
            wrong.at(case.cell, 0, *case.grid)
        with pytest.raises(ValueError, match="fire must be boolean"):
            evolve(backend, dtype, case, wrong)


@law
@given(case=cases(noise=0.5))
def test_recorded_c4_noise_that_does_not_fit_is_refused(backend: Any, dtype: str, case: Case) -> None:
    refused(backend, dtype, case, "noise")


@law
@given(case=cases(resettable=True))
def test_recorded_c5_resets_that_do_not_fit_are_refused(backend: Any, dtype: str, case: Case) -> None:
    refused(backend, dtype, case, "reset")


@law
@given(case=cases(resettable=False))
def test_recorded_c5_resets_for_a_cell_without_a_gate_are_refused(backend: Any, dtype: str, case: Case) -> None:
    source = replace(case.recorded, reset=np.zeros((case.T, *case.state.shape)))
    with pytest.raises(ValueError, match="reset must be None"):
        evolve(backend, dtype, case, source)


def refused(backend: Any, dtype: str, case: Case, name: str) -> None:
    """Raise AssertionError unless a case without this array, or with a wrong one, raises InvalidInput at step 0.

    Wrong arrays have other shapes, fewer or more steps than the fire masks, no axis at all, or integers.
    """
    right = getattr(case.recorded, name)
    with pytest.raises(ValueError, match=f"{name} must be an array for a cell with"):
        evolve(backend, dtype, case, replace(case.recorded, **{name: None}))
    shapes = [right[..., None], right[..., :1, :], np.concatenate([right, right], axis=-1), np.array(0.5)]
    lengths = [right[: case.T - 1], np.concatenate([right, right[:1]])]
    for wrong in (*(x for x in shapes if x.shape != right.shape), *lengths, right.astype(np.int64)):
        with pytest.raises(InvalidInput, match=f"{name} must be"):
            evolve(backend, dtype, case, replace(case.recorded, **{name: wrong}), steps=1)
