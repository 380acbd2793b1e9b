"""The laws of `spec/chapters/mutate.md`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given

from refca.definition.state import mutate
from refca_spec import formulas
from refca_spec.calls import to_backend
from refca_spec.compare import assert_same
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases(stride=1))
def test_mutate_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    got = mutate(case.cell, case.state, case.image)
    assert_same(got, formulas.mutate(case.cell, case.state, case.image), "The state", case)


@law
@given(case=cases(alive_above=0.1))
def test_mutate_c2_it_works_on_the_arrays_of_a_backend(backend: Any, dtype: str, case: Case) -> None:
    state, image = to_backend(backend, case.state, dtype), to_backend(backend, case.image, dtype)
    got = backend.asnumpy(mutate(case.cell, state, image, backend.xp))
    assert_same(got, formulas.mutate(case.cell, case.state, case.image).astype(dtype), "The state", case)


@law
@given(case=cases(stride=1))
def test_mutate_c3_the_result_is_a_new_array(case: Case) -> None:
    state, image = case.state, case.image
    got = mutate(case.cell, state, image)
    assert not np.shares_memory(got, state), f"the result shares memory with the state: {case}"
    got[...] = 7
    assert_same(state, case.state, "The state that was given", case)
    assert_same(image, case.image, "The image that was given", case)


@law
@given(case=cases(stride=1))
def test_mutate_c4_mutating_to_the_same_digit_again_changes_nothing(case: Case) -> None:
    once = mutate(case.cell, case.state, case.image)
    assert_same(mutate(case.cell, once, case.image), once, "The state", case)
