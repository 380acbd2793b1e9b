"""The laws of `spec/chapters/persistence.md`."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refca.contract.reference import reference
from refca.data import Photographs
from refca.definition.cell import Array
from refca.segmentation.persistence import (
    PersistentBatch,
    Resample,
    counted,
    draw_resample,
    keep_probability,
    loss_weights,
    resample,
)
from refca_spec.calls import to_backend
from refca_spec.compare import assert_close, assert_same, assert_uniform
from refca_spec.strategies import Case, cases, law

SEEDS, STEPS = st.integers(0, 2**64 - 1), st.integers(1, 10**6)
LENGTHS = st.tuples(st.integers(1, 50), st.integers(0, 100)).map(lambda n: (n[0], n[0] + n[1]))  # K ≤ T


@law
@given(p=st.floats(0, 1), lengths=LENGTHS)
def test_persistence_c1_it_is_the_probability_to_keep(p: float, lengths: tuple[int, int]) -> None:
    """Keeping at each of T/K boundaries has the probability p together; one boundary alone has the probability p."""
    K, T = lengths
    assert_close(keep_probability(p, K, T) ** (T / K), np.float64(p), 1, "The share kept", (p, K, T), steps=T)
    assert keep_probability(p, T, T) == p
    assert keep_probability(0.5, 10, 40) == 0.5**0.25


@law
@given(seed=SEEDS, i=STEPS)
def test_persistence_c1_certainties(seed: int, i: int) -> None:
    """With probability 1 to keep, everything is kept; with probability 0 nothing."""
    for photo in (0.0, 1.0):
        for state in (0.0, 1.0):
            resampling = draw_resample(8, 9, photo, state, seed, i)
            assert resampling.new_photo.tolist() == [photo == 0] * 8
            assert resampling.new_state.tolist() == [state == 0] * 8


@pytest.mark.parametrize("i", [1, 17])
def test_persistence_c2_photo_and_state_of_each_sample_are_decided_independently(i: int) -> None:
    """Shares of 200,000 samples: of each, and of both together; five standard deviations are 0.0056."""
    n, p, q = 200_000, 0.8, 0.3
    resampling = draw_resample(n, 100, p, q, 5, i)
    kept, stayed = ~resampling.new_photo, ~resampling.new_state
    for got, share, what in (
        (kept, p, "keep their photo"),
        (stayed, q, "keep their state"),
        (kept & stayed, p * q, "keep both"),
        (kept[1:] & kept[:-1], p * p, "keep their photo beside one that does"),
    ):
        assert abs(got.mean() - share) < 0.0056, f"{got.mean()} of the samples {what}, expected {share}"


@law
@given(seed=SEEDS, i=STEPS)
def test_persistence_c3_decisions_are_a_function_of_seed_and_training_step(seed: int, i: int) -> None:
    def chosen(seed: int, i: int) -> list[list]:
        resampling = draw_resample(64, 10**9, 0.5, 0.5, seed, i)
        return [x.tolist() for x in (resampling.new_photo, resampling.new_state, resampling.photo)]

    np.random.default_rng(seed).random(7)
    assert chosen(seed, i) == chosen(seed, i)
    assert all(a != b for a, b in zip(chosen(seed, i), chosen(seed, i + 1), strict=True))
    assert all(a != b for a, b in zip(chosen(seed, i), chosen(seed ^ 1, i), strict=True))


@law
@given(seed=SEEDS, photos=st.integers(1, 5))
def test_persistence_c4_before_the_first_step_everything_is_new(seed: int, photos: int) -> None:
    resampling = draw_resample(6, photos, 1.0, 1.0, seed, 0)
    assert resampling.new_photo.all()
    assert resampling.new_state.all()
    assert resampling.photo.shape == (6,)
    assert set(resampling.photo.tolist()) <= set(range(photos))


@pytest.mark.parametrize("i", [0, 17])
def test_persistence_c4_every_photograph_is_drawn_equally_often(i: int) -> None:
    drawn = draw_resample(20_000, 5, 0.5, 0.5, 5, i)
    for samples, what in ((drawn.new_photo, "new photographs"), (slice(100), "the first 100")):
        assert_uniform(drawn.photo[samples], 5, f"The photographs of {what}", i)


@law
@given(case=cases(B=3, normal_start=True))
def test_persistence_c5_nothing_that_is_given_is_modified(case: Case) -> None:
    given_, copies = begun(case), begun(case)
    got = resample(case.cell, *given_, case.streams, reference)
    for x in vars(got).values():
        x[...] = 0
    for each, copy in zip(given_, copies, strict=True):
        for (name, x), ref in zip(vars(each).items(), vars(copy).values(), strict=True):
            assert_same(x, ref, f"{name} as it was given", case)


@law
@given(case=cases(B=3), first_sample=st.sampled_from((7, 2**32 - 2)))
def test_persistence_c5_what_is_renewed_is_new_and_the_rest_stays(backend: Any, case: Case, first_sample: int) -> None:
    colony, resampling = begun(case)
    streams = replace(case.streams, first_sample=first_sample)  # after the last sample number comes the first
    moved = PersistentBatch(colony.photo, to_backend(backend, colony.state, "float32"), colony.age, colony.flipped)
    got = resample(case.cell, moved, resampling, streams, backend)
    fresh = streams.initial(*case.grid, case.cell.state_channels) * case.cell.normal_start
    state: Array = np.where(resampling.new_state[:, None, None, None], fresh, colony.state)
    renewed = resampling.new_state
    assert_close(backend.asnumpy(got.state)[renewed], state[renewed], 1, "The new states", case)
    assert_same(backend.asnumpy(got.state)[~renewed], state[~renewed].astype("f4"), "The other states", case)
    assert_same(got.photo, np.where(resampling.new_photo, resampling.photo, colony.photo), "The photos", case)
    assert_same(backend.asnumpy(moved.state), colony.state.astype("f4"), "The states that were given", case)


@law
@given(case=cases(B=3, normal_start=True))
def test_persistence_c6_age_begins_anew_with_photo_or_state(case: Case) -> None:
    colony, resampling = begun(case)
    got = resample(case.cell, colony, resampling, case.streams, reference).age
    kept = ~(resampling.new_photo | resampling.new_state)
    assert_same(got, colony.age * kept, "The ages", case)


@law
@given(lengths=LENGTHS, age=st.lists(st.integers(0, 200), max_size=5))
def test_persistence_c7_steps_later_than_a_third_of_the_target_count(lengths: tuple[int, int], age: list[int]) -> None:
    K, T = lengths
    got = counted(np.array(age, np.int64), K, T)
    later = [[age_ + k > Fraction(T, 3) for age_ in age] for k in range(1, K + 1)]
    assert_same(got, np.array(later, bool).reshape(K, len(age)), "The steps that count", (K, T, age))


@law
@given(lengths=LENGTHS, age=st.lists(st.integers(0, 200), min_size=1, max_size=5))
def test_persistence_c8_the_loss_is_a_mean_over_what_counts(lengths: tuple[int, int], age: list[int]) -> None:
    """The same weight for every pair that counts, together 1; where none does, no weight at all."""
    K, T = lengths
    ages = np.array(age, np.int64)
    weights, counts = loss_weights(ages, K, T), counted(ages, K, T)
    ref = counts.astype(np.float64) / max(1, counts.sum())
    assert weights.shape == (K, len(age))
    assert_close(weights, ref, 1, "The weights of the loss", (K, T, age))
    assert bool(weights.any()) == bool(counts.any())


@law
@given(T=st.integers(1, 100), seed=SEEDS, i=STEPS)
def test_persistence_c9_unrolls_of_the_whole_length_with_nothing_kept_are_the_classical_ones(
    T: int, seed: int, i: int
) -> None:
    resampling = draw_resample(4, 9, keep_probability(0, T, T), keep_probability(0, T, T), seed, i)
    assert resampling.new_photo.all()
    assert resampling.new_state.all()
    weights = loss_weights(np.zeros(4, np.int64), T, T)
    first = T // 3 + 1  # the first step after a third
    assert not weights[: first - 1].any()
    assert np.all(weights[first - 1 :] == np.float32(1) / np.float32(4 * (T - first + 1)))


def begun(case: Case) -> tuple[PersistentBatch, Resample]:
    """A colony of some age, and a renewal with each combination of photo and state somewhere."""
    rng = case.rng("colony")
    new_photo, new_state = rng.random((2, case.B)) < 0.5
    assume(new_photo.any() and new_state.any() and not (new_photo & new_state).all())
    photo, age = rng.integers(0, 9, case.B), rng.integers(1, 40, case.B)
    flipped = rng.random((2, case.B)) < 0.5
    batch = PersistentBatch(photo, case.state, age, flipped[0])
    return batch, Resample(new_photo, new_state, photo + 9, flipped[1])


@law
@given(seed=SEEDS, i=st.integers(0, 10**6))
def test_persistence_c10_flips_change_no_other_draw(seed: int, i: int) -> None:
    plain, flipped = (draw_resample(64, 10**9, 0.5, 0.5, seed, i, flips) for flips in (False, True))
    assert not plain.flipped.any()
    for name in ("new_photo", "new_state", "photo"):
        assert_same(getattr(flipped, name), getattr(plain, name), name, (seed, i))


@pytest.mark.parametrize("i", [0, 17])
def test_persistence_c10_half_of_the_photographs_are_mirrored_whatever_else_is_new(i: int) -> None:
    """Shares of 200,000 samples; five standard deviations of the share of half of them are 0.008."""
    drawn = draw_resample(200_000, 100, 0.5, 0.5, 5, i, flips=True)
    for some, what in ((drawn.new_photo, "new photos"), (drawn.new_state, "new states"), (drawn.photo < 50, "half")):
        share = drawn.flipped[some].mean()
        assert abs(share - 0.5) < 0.008, f"{share} of the samples with {what} are mirrored, expected 0.5"
    other = draw_resample(200_000, 100, 0.5, 0.5, 5, i + 1, flips=True).flipped
    assert abs((drawn.flipped == other).mean() - 0.5) < 0.008, "Step after step mirrors the same samples"


@law
@given(case=cases(B=3, normal_start=True))
def test_persistence_c10_a_photograph_stays_mirrored_as_long_as_it_is_kept(case: Case) -> None:
    batch, drawn = begun(case)
    got = resample(case.cell, batch, drawn, case.streams, reference).flipped
    assert_same(got, np.where(drawn.new_photo, drawn.flipped, batch.flipped), "Mirrored samples", case)


def test_persistence_c10_label_maps_are_mirrored_with_their_photographs() -> None:
    rng = np.random.default_rng(0)
    trimaps = rng.integers(0, 3, (4, 5, 5)).astype(np.uint8)
    photographs = Photographs(rng.integers(0, 256, (4, 5, 5, 3)).astype(np.uint8), trimaps, tuple("abcd"))
    numbers, flipped = [2, 0, 2], np.array([True, False, False])
    for whole in (photographs.images, photographs.labels):
        got, plain = whole(numbers, flipped), whole(numbers)
        assert_same(got[0], plain[0][:, ::-1], "The sample that is mirrored", flipped)
        assert_same(got[1:], plain[1:], "The samples that are not", flipped)
