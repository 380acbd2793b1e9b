"""The laws of `spec/chapters/init_state.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from refca.definition.randomness import Streams
from refca.definition.state import init_state
from refca.errors import InvalidInput
from refca_spec.calls import to_backend
from refca_spec.compare import assert_close, assert_same
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases(normal_start=False))
def test_init_state_c1_zeros_beside_the_image(backend: Any, case: Case) -> None:
    assert_same(init_state(case.cell, case.image), np.zeros_like(case.state), "The state before the first step", case)
    for image in (case.image, to_backend(backend, case.image, "float32")):
        got = backend.asnumpy(backend.initial_state(case.cell, image))
        assert_same(got, np.zeros_like(case.state, "float32"), "The backend's state before the first step", case)


@law
@given(case=cases(normal_start=True))
def test_init_state_c2_or_the_initial_numbers_of_the_streams(case: Case) -> None:
    got = init_state(case.cell, case.image, case.streams)
    ref = case.streams.initial(*case.grid, case.cell.state_channels)
    assert_same(got, ref, "The state before the first step", case)


@law
@given(case=cases(B=2, normal_start=True))
def test_init_state_c3_a_slice_of_a_batch_starts_as_in_the_batch(case: Case) -> None:
    later = Streams(case.streams.seed, case.streams.first_sample + 1)
    got, ref = init_state(case.cell, case.image[1:], later), init_state(case.cell, case.image, case.streams)
    assert_same(got, ref[1:], "The state of a slice before the first step", case)


@law
@given(case=cases(normal_start=(False, True)))
def test_init_state_c4_each_call_makes_a_new_array(case: Case) -> None:
    first = init_state(case.cell, case.image, case.streams)
    expected = first.copy()
    first[...] = 7
    assert_same(init_state(case.cell, case.image, case.streams), expected, "The state of another call", case)


@law
@given(case=cases(normal_start=True))
def test_init_state_c5_a_normal_start_without_streams_is_refused(case: Case) -> None:
    with pytest.raises(InvalidInput, match="streams"):
        init_state(case.cell, case.image)
    init_state(replace(case.cell, normal_start=False), case.image)


@law
@given(case=cases(normal_start=True))
def test_init_state_c6_a_backend_s_own_numbers_are_those_of_the_streams(backend: Any, case: Case) -> None:
    image = to_backend(backend, case.image, "float32")
    later = Streams(case.streams.seed, case.streams.first_sample + 1)
    got = backend.asnumpy(backend.initial_state(case.cell, image, later))
    assert got.dtype == np.float32
    ref = later.initial(*case.grid, case.cell.state_channels)
    assert_close(got, ref, 1, "The state before the first step", case)
