"""The laws of `spec/recorded.md`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given

from refca.randomness import Recorded
from refca_spec.calls import evolve, true_state
from refca_spec.compare import close, longest_sum, same
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases())
def test_recorded_c1_step_t_reads_entry_t(case: Case) -> None:
    for t in range(case.T):
        fires, noise, z = case.recorded.at(case.cell, t, *case.grid)
        same(fires, case.recorded.fire[t], "The fire mask", (case, t))
        assert z is None
        if case.recorded.noise is not None:
            same(noise, case.recorded.noise[t], "The noise", (case, t))


@law
@given(case=cases(T=2, noise=0.5))
def test_recorded_c1_a_backend_starts_reading_at_start(backend: Any, dtype: str, case: Case) -> None:
    got = evolve(backend, dtype, case, start=1, steps=case.T - 1)
    noise = case.recorded.noise
    assert noise is not None
    rest = Recorded(case.recorded.fire[1:], noise[1:])
    ref = true_state(case, source=rest, steps=case.T - 1)
    close(got, ref, longest_sum(case.cell), "The state after the later steps", case, steps=case.T)


@law
@given(case=cases())
def test_recorded_c2_a_step_that_was_not_recorded_is_refused(backend: Any, dtype: str, case: Case) -> None:
    with pytest.raises(ValueError, match=f"step {case.T} "):
        case.recorded.at(case.cell, case.T, *case.grid)
    with pytest.raises(ValueError, match="steps"):
        evolve(backend, dtype, case, steps=case.T + 1)


@law
@given(case=cases())
def test_recorded_c3_masks_for_another_grid_are_refused(backend: Any, dtype: str, case: Case) -> None:
    other = Case(case.cell, case.B, case.H + 1, case.W, case.T, case.seed).recorded
    integers = Recorded(case.recorded.fire.astype(np.int64), case.recorded.noise)
    for wrong in (other, integers):
        with pytest.raises(ValueError, match="fire must be boolean"):
            wrong.at(case.cell, 0, *case.grid)
        with pytest.raises(ValueError, match="fire must be boolean"):
            evolve(backend, dtype, case, wrong)


@law
@given(case=cases(noise=0.5))
def test_recorded_c4_noise_that_does_not_fit_is_refused(backend: Any, dtype: str, case: Case) -> None:
    fire, noise = case.recorded.fire, case.recorded.noise
    assert noise is not None
    with pytest.raises(ValueError, match="needs recorded noise, got None"):
        evolve(backend, dtype, case, Recorded(fire))
    for wrong in (noise[..., None], noise[..., :1, :], np.concatenate([noise, noise], axis=-1)):
        if wrong.shape != noise.shape:
            with pytest.raises(ValueError, match="noise must be"):
                evolve(backend, dtype, case, Recorded(fire, wrong))
