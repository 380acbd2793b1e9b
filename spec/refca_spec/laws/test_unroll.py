"""The laws of `spec/chapters/unroll.md`."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.digits.unroll_length import last_steps, unroll_length
from refca_spec.compare import assert_same, assert_uniform
from refca_spec.strategies import law

SEEDS = st.integers(0, 2**64 - 1)
STEPS = st.integers(0, 10**6)
LENGTHS = st.integers(1, 100)


@law
@given(least=LENGTHS, more=st.integers(0, 5), seed=SEEDS)
def test_unroll_c1_every_length_between_least_and_most_comes(least: int, more: int, seed: int) -> None:
    lengths = {unroll_length(least, least + more, seed, i) for i in range(200)}
    assert lengths == set(range(least, least + more + 1)), f"of {least} to {least + more} come {lengths}"


@pytest.mark.parametrize("shortest", [1, 7])
def test_unroll_c1_every_length_occurs_equally_often(shortest: int) -> None:
    lengths = np.array([unroll_length(shortest, shortest + 4, 3, i) for i in range(1000)])
    assert_uniform(lengths - shortest, 5, "The lengths above the shortest", shortest)


@law
@given(seed=SEEDS, i=STEPS)
def test_unroll_c2_lengths_depend_on_the_seed_and_the_training_step_alone(seed: int, i: int) -> None:
    def lengths(seed: int, i: int) -> list[int]:
        return [unroll_length(1, 2**40, seed, i + k) for k in range(2)]

    assert lengths(seed, i) == lengths(seed, i)
    assert lengths(seed, i)[0] != lengths(seed, i)[1]
    assert lengths(seed, i) != lengths(seed ^ 1, i)


@law
@given(least=LENGTHS, seed=SEEDS, i=STEPS)
def test_unroll_c3_one_length_alone_is_that_length(least: int, seed: int, i: int) -> None:
    assert unroll_length(least, least, seed, i) == least


@law
@given(steps=st.integers(1, 30), batch=st.integers(1, 9), last=st.integers(1, 30))
def test_unroll_c4_the_last_steps_and_the_samples_share_one(steps: int, batch: int, last: int) -> None:
    last = min(last, steps)
    expected = np.zeros((steps, batch), np.float32)
    for t in range(steps - last, steps):
        expected[t] = 1 / (batch * last)
    assert_same(last_steps(steps, batch, last), expected, "The weights", (steps, batch, last))


@pytest.mark.parametrize(("least", "most"), [(0, 3), (3, 2), (-1, -1)])
def test_unroll_c5_impossible_lengths_are_refused(least: int, most: int) -> None:
    with pytest.raises(ValueError, match="unroll lengths must satisfy"):
        unroll_length(least, most, 0, 0)


@pytest.mark.parametrize("last", [0, 5])
def test_unroll_c5_more_steps_than_there_are_cannot_count(last: int) -> None:
    with pytest.raises(ValueError, match="loss_steps must be from 1 to 4"):
        last_steps(4, 2, last)
