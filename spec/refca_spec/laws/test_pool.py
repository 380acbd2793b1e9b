"""The laws of `spec/chapters/pool.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.contract.reference import reference
from refca.data import Split
from refca.definition.cell import Array
from refca.definition.randomness import Streams
from refca.digits.pool import REGIMES, BatchPlan, Pool, fractions, sample
from refca.digits.settings import DigitsExperiment
from refca.digits.training import begin
from refca_spec import formulas
from refca_spec.calls import to_backend
from refca_spec.compare import assert_same, assert_uniform
from refca_spec.strategies import Case, cases, exact, law

SIZES = st.tuples(st.integers(1, 24), st.integers(0, 24), st.integers(1, 100)).map(lambda s: (s[0], s[0] + s[1], s[2]))
SLOTS = 5


@pytest.mark.parametrize("regime", REGIMES)
@law
@given(sizes=SIZES, seed=st.integers(0, 2**64 - 1), i=st.integers(0, 10**6))
def test_pool_c1_slots_are_taken_once_and_digits_exist(
    regime: str, sizes: tuple[int, int, int], seed: int, i: int
) -> None:
    batch, pool, digits = sizes
    plan = sample(regime, 0.25, batch, pool, digits, seed, i)
    assert plan.slots.shape == plan.digits.shape == (batch,)
    assert len(set(plan.slots.tolist())) == batch, f"a slot is taken twice: {plan}"
    assert set(plan.slots.tolist()) <= set(range(pool))
    assert set(plan.digits.tolist()) <= set(range(digits))


@pytest.mark.parametrize("digits", [1, 2, 5])
def test_pool_c1_every_slot_and_every_digit_is_drawn_equally_often(digits: int) -> None:
    plans = [sample("mutating", 0.25, 2, 4, digits, 3, i) for i in range(400)]
    assert_uniform(np.stack([plan.digits for plan in plans]), digits, "The digits", digits)
    assert_uniform(np.stack([plan.slots for plan in plans]), 4, "The slots", digits)


def test_pool_c1_a_digit_may_be_drawn_twice() -> None:
    """Sixteen draws of 16 digits hardly ever choose each once."""
    plans = [sample("mutating", 0.25, 16, 20, 16, 3, i) for i in range(10)]
    assert all(len(set(plan.digits.tolist())) < 16 for plan in plans), "digits are drawn without replacement"


@law
@given(seed=st.integers(0, 2**64 - 1), i=st.integers(0, 10**6))
def test_pool_c2_choices_depend_on_the_seed_and_the_training_step_alone(seed: int, i: int) -> None:
    def chosen(seed: int, i: int) -> list[int]:
        plan = sample("mutating", 0.25, 16, 160, 60000, seed, i)
        return [*plan.slots.tolist(), *plan.digits.tolist()]

    assert chosen(seed, i) == chosen(seed, i)
    assert chosen(seed, i) != chosen(seed, i + 1)
    assert chosen(seed, i) != chosen(seed ^ 1, i)


@pytest.mark.parametrize("fresh_fraction", [0.5, 0.25, 0.125])
@pytest.mark.parametrize("batch", [1, 4, 7, 16])
def test_pool_c3_each_regime_has_its_shares(batch: int, fresh_fraction: float) -> None:
    found = {}
    for regime in REGIMES:
        plan = sample(regime, fresh_fraction, batch, 20, 9, 0, 0)
        found[regime] = plan.fresh, plan.mutated
    part = batch * round(8 * fresh_fraction) // 8
    assert found == {"naive": (batch, 0), "persistent": (2 * part, 0), "mutating": (part, part)}


@pytest.mark.parametrize(("batch", "fresh_fraction", "part"), [(100, 0.29, 29), (10, 0.3, 3), (12, 1 / 3, 4)])
def test_pool_c3_a_fraction_between_two_floats_is_not_rounded_down(
    batch: int, fresh_fraction: float, part: int
) -> None:
    assert fractions("mutating", fresh_fraction, batch) == (part, part)
    assert fractions("persistent", fresh_fraction, batch) == (2 * part, 0)


@law
@given(batch=st.integers(1, 10_000), whole=st.integers(2, 1000), data=st.data())
def test_pool_c3_shares_are_those_of_exact_fractions(batch: int, whole: int, data: st.DataObject) -> None:
    part = data.draw(st.integers(0, whole // 2))
    assert fractions("mutating", part / whole, batch) == (batch * part // whole, batch * part // whole)


@law
@given(case=cases(alive_above=0.1), fresh=st.integers(0, 2), mutated=st.integers(0, 2))
def test_pool_c4_a_batch_is_fresh_then_continued_then_mutated(
    backend: Any, dtype: str, case: Case, fresh: int, mutated: int
) -> None:
    pool, image, label, plan = taken(case, fresh, mutated)
    moved = Pool(to_backend(backend, pool.image, dtype), pool.label, to_backend(backend, pool.state, dtype))
    start = exact(case.rng("initial").standard_normal((SLOTS - 1, *pool.state.shape[1:]))) * case.cell.normal_start
    initial = to_backend(backend, start, dtype) if case.cell.normal_start else None
    batch = moved.gather(case.cell, plan, to_backend(backend, image, dtype), label, backend.xp, initial)
    for b, slot in enumerate(plan.slots):
        new = b < fresh or b >= SLOTS - 1 - mutated
        expected_image = image[b] if new else pool.image[slot]
        state = pool.state[slot]
        if b < fresh:
            state = start[b]
        elif new:
            state = formulas.mutate(case.cell, state[None], image[b][None])[0]
        call = (case, fresh, mutated, b)
        assert_same(backend.asnumpy(batch.image)[b], expected_image.astype(dtype), "The image of a sample", call)
        assert_same(backend.asnumpy(batch.state)[b], state.astype(dtype), "The state of a sample", call)
        assert_same(batch.label[b], label[b] if new else pool.label[slot], "The label", call)


@law
@given(case=cases(stride=1, normal_start=False))
def test_pool_c5_taking_a_batch_leaves_the_pool_as_it_is(case: Case) -> None:
    pool, image, label, plan = taken(case, 1, 1)
    before = pool.state.copy(), pool.image.copy(), pool.label.copy()
    batch = pool.gather(case.cell, plan, image, label)
    for x in (batch.state, batch.image, batch.label):
        x[...] = 7
    for got, ref in zip((pool.state, pool.image, pool.label), before, strict=True):
        assert_same(got, ref, "The pool", case)


@law
@given(case=cases(stride=1, normal_start=False))
def test_pool_c6_a_batch_is_put_back_where_it_was_taken(backend: Any, dtype: str, case: Case) -> None:
    before, image, label, plan = taken(case, 1, 1)
    batch = before.gather(case.cell, plan, image, label)
    moved, state = (to_backend(backend, x, dtype) for x in (batch.image, batch.state + 1))
    pool = Pool(to_backend(backend, before.image, dtype), before.label.copy(), to_backend(backend, before.state, dtype))
    pool.commit(plan, replace(batch, image=moved), state, backend)
    found_image, found_state = backend.asnumpy(pool.image), backend.asnumpy(pool.state)
    for slot in range(SLOTS):
        (at,) = np.nonzero(plan.slots == slot)
        image_, label_, state_ = (
            (batch.image[at[0]], batch.label[at[0]], batch.state[at[0]] + 1)
            if len(at)
            else (before.image[slot], before.label[slot], before.state[slot])
        )
        assert_same(found_image[slot], image_.astype(dtype), "The image in a slot", (case, slot))
        assert_same(pool.label[slot], label_, "The label in a slot", (case, slot))
        assert_same(found_state[slot], state_.astype(dtype), "The state in a slot", (case, slot))


@pytest.mark.parametrize(
    ("regime", "batch", "fresh_fraction"),
    [("nonsense", 4, 0.25), ("naive", 0, 0.25), ("naive", 21, 0.25), ("naive", 4, 0.75)],
)
def test_pool_c7_what_cannot_be_chosen_is_refused(regime: str, batch: int, fresh_fraction: float) -> None:
    with pytest.raises(ValueError, match=r"regime|batch|fresh_fraction"):
        sample(regime, fresh_fraction, batch, 20, 9, 0, 0)


def taken(case: Case, fresh: int, mutated: int) -> tuple[Pool, Array, Array, BatchPlan]:
    """A pool of SLOTS digits, new digits for a batch one smaller, and choices with these shares."""
    rng, cell = case.rng("pool"), case.cell
    wide = Case(cell, 2 * SLOTS - 1, case.H, case.W, 1, case.seed)
    pool = Pool(wide.image[:SLOTS], rng.integers(0, cell.labels, SLOTS), wide.state[:SLOTS])
    slots = rng.permutation(SLOTS)[: SLOTS - 1]
    plan = BatchPlan(slots, np.arange(SLOTS - 1), fresh, mutated)
    return pool, wide.image[SLOTS:], rng.integers(0, cell.labels, SLOTS - 1), plan


def test_pool_c8_the_first_pool_has_digits_drawn_uniformly_in_their_initial_states() -> None:
    digits = Split(np.arange(5 * 9, dtype=np.uint8).reshape(5, 3, 3), np.arange(5), 44)
    first, same, other = (first_pool(digits, seed=seed) for seed in (3, 3, 4))
    assert_uniform(first.label, 5, "The digits", digits)
    assert_same(first.image, digits.images(first.label), "The images", digits)
    assert_same(first.state, np.zeros((400, 3, 3, 19), np.float32), "The states", digits)
    assert_same(same.label, first.label, "The labels", digits)
    assert (other.label != first.label).any()
    normal = first_pool(digits, seed=3, normal_start=True)
    expected = Streams(3).initial(400, 3, 3, 19).astype(np.float32)
    assert_same(normal.state, expected, "The normal states", digits)


def first_pool(digits: Split, **settings: Any) -> Pool:
    """Return the pool of a run before its first training step."""
    pool: Pool = begin(DigitsExperiment(pool=400, **settings), reference, digits).buffer
    return pool
