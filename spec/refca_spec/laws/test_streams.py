"""The laws of `spec/chapters/streams.md`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.cell import Array, Cell
from refca.definition.generators import BATCH, generator
from refca.definition.params import init_params
from refca.definition.randomness import FIRE, INITIAL, NOISE, RESET, Streams
from refca.digits.pool import sample
from refca.digits.unroll_length import unroll_length
from refca.errors import InvalidInput
from refca_spec import formulas
from refca_spec.calls import evolve
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case, cases, law


@law
@given(case=cases(), t=st.integers(0, 2**32 - 1), purpose=st.sampled_from((FIRE, NOISE, RESET, INITIAL)))
def test_streams_c1_the_counter_is_cell_sample_step_and_purpose(case: Case, t: int, purpose: int) -> None:
    seed, first = case.streams.seed, case.streams.first_sample
    s, block = Streams(seed, 2**32 - 1 if case.seed % 4 == 0 else first), case.seed % 3  # sample numbers wrap around
    got = np.stack(s.words(purpose, block, t, *case.grid), -1)
    ref = np.empty_like(got)
    for b, y, x in np.ndindex(*case.grid):
        ref[b, y, x] = formulas.word(s.seed, s.first_sample + b, t, case.W, y, x, purpose, block)
    assert_same(got, ref, "The words of each cell", (case, t, purpose))


@law
@given(case=cases(), t=st.integers(0, 1000), rate=st.floats(0, 1))
def test_streams_c2_a_cell_fires_if_its_word_is_below_the_rate(case: Case, t: int, rate: float) -> None:
    word, _, _, _ = case.streams.words(FIRE, 0, t, *case.grid)
    ref = np.vectorize(lambda w: int(w) < round(rate * 2**32), otypes=[bool])(word)
    assert_same(case.streams.fire_mask(rate, t, *case.grid), ref, "The fire mask", (case, t, rate))


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_streams_c2_at_rate_0_none_fires_and_at_rate_1_all(rate: float) -> None:
    assert_same(Streams(3).fire_mask(rate, 0, 2, 9, 9), np.full((2, 9, 9), rate == 1), "The fire mask", rate)


@law
@given(case=cases(noise=0.5), t=st.integers(0, 1000))
def test_streams_c3_normal_numbers_by_box_muller(case: Case, t: int) -> None:
    noise = case.streams.at(case.cell, t, *case.grid).noise
    assert_close(noise, normals(case, NOISE, t), 1, "The noise", (case, t))


@law
@given(case=cases(B=2), t=st.integers(0, 1000))
def test_streams_c4_a_slice_of_a_batch_draws_what_the_batch_draws(case: Case, t: int) -> None:
    whole = case.streams.at(case.cell, t, *case.grid)
    later = Streams(case.streams.seed, case.streams.first_sample + 1)
    part = later.at(case.cell, t, case.B - 1, case.H, case.W)
    assert_same(part.fire_mask, whole.fire_mask[1:], "The fire mask of a slice", (case, t))
    for got, ref, what in ((part.noise, whole.noise, "noise"), (part.reset_noise, whole.reset_noise, "reset noise")):
        if got is not None and ref is not None:
            assert_same(got, ref[1:], f"The {what} of a slice", (case, t))


@law
@given(seed=st.integers(0, 2**64 - 1), first=st.integers(0, 2**32 - 1), i=st.integers(0, 2**40))
def test_streams_c5_folding_in_a_training_step_gives_another_key(seed: int, first: int, i: int) -> None:
    folded = Streams(seed, first).fold(i)
    w0, w1, _, _ = formulas.philox((i % 2**32, i // 2**32, 0, 4 * 2**16), (seed % 2**32, seed // 2**32))
    assert (folded.seed, folded.first_sample) == (w0 + 2**32 * w1, first)
    assert folded.seed != Streams(seed, first).fold(i + 1).seed


@law
@given(case=cases(noise=0.0, biases=True, residual=True, resettable=False), t=st.integers(0, 100))
def test_streams_c6_a_backend_fires_exactly_these_cells(backend: Any, dtype: str, case: Case, t: int) -> None:
    """Every update is 1, so the last state counts the steps in which a cell fired: exact in any dtype."""
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    params["update.bias"][...] = 1
    zeros = np.zeros_like(case.state)
    got = evolve(backend, dtype, case, case.streams, params=params, state=zeros, first_step=t)
    fire_mask = (case.streams.fire_mask(case.cell.fire_rate, t + i, *case.grid) & case.alive for i in range(case.T))
    ref = np.broadcast_to(sum(mask.astype(dtype) for mask in fire_mask)[..., None], got.shape)
    assert_same(got, ref, "The number of steps in which a cell fired", (case, t))


@law
@given(case=cases(noise=0.5, residual=True, resettable=False), t=st.integers(0, 100))
def test_streams_c7_a_backend_adds_exactly_this_noise(backend: Any, dtype: str, case: Case, t: int) -> None:
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    zeros = np.zeros_like(case.state)
    got = evolve(backend, dtype, case, case.streams, params=params, state=zeros, first_step=t)
    ref = zeros
    for i in range(case.T):
        fire_mask, noise, _ = case.streams.at(case.cell, t + i, *case.grid)
        ref = ref + (fire_mask & case.alive)[..., None] * 0.5 * noise
    assert_close(got, ref, longest_sum(case.cell), "A state that only noise moves", (case, t), steps=case.T)


@law
@given(case=cases())
def test_streams_c8_a_source_that_the_cell_does_not_use_is_none(case: Case) -> None:
    fire_mask, noise, reset_noise = case.streams.at(case.cell, 0, *case.grid)
    assert fire_mask.shape == case.grid
    assert fire_mask.dtype == bool
    assert (noise is None) == (case.cell.noise == 0), f"noise is {noise} for {case.cell}"
    assert (reset_noise is None) != case.cell.resettable, f"reset_noise is {reset_noise} for {case.cell}"


@pytest.mark.parametrize(("seed", "first"), [(-1, 0), (2**64, 0), (0, -1), (0, 2**32)])
def test_streams_c9_other_seeds_and_sample_numbers_are_refused(seed: int, first: int) -> None:
    with pytest.raises(InvalidInput, match=r"seed|first_sample"):
        Streams(seed, first)


@pytest.mark.parametrize("i", [-1, 2**64, 1.5])
def test_streams_c9_other_training_steps_are_refused(i: Any) -> None:
    for draw in (Streams(0).fold, partial(generator, BATCH, 0)):
        with pytest.raises(InvalidInput, match=r"^i must be"):
            draw(i)


@pytest.mark.parametrize("t", [-1, 2**32, 1.5])
def test_streams_c9_other_steps_are_refused(t: Any) -> None:
    for cell in (Cell(1, 2, 1, 1), Cell(1, 2, 1, 1, fire_rate=0.0, noise=0.5)):
        with pytest.raises(InvalidInput, match=r"^t must be"):
            Streams(0).at(cell, t, 1, 2, 2)
    with pytest.raises(InvalidInput, match=r"^t must be"):
        Streams(0).normals(NOISE, t, 1, 2, 2, 3)


@pytest.mark.parametrize("size", [-1, 2**32, 1.5])
@pytest.mark.parametrize("letter", ["B", "H", "W"])
def test_streams_c9_other_grids_are_refused(letter: str, size: Any) -> None:
    sizes = {"B": 1, "H": 2, "W": 2} | {letter: size}
    draws: list[Any] = [partial(Streams(0).at, Cell(1, 2, 1, 1), 0), partial(Streams(0).fire_mask, 0.5, 0)]
    for draw in [*draws, partial(Streams(0).initial, D=3)]:
        with pytest.raises(InvalidInput, match=f"^{letter} must be"):
            draw(**sizes)
        with pytest.raises(InvalidInput, match=r"^H \* W must be at most"):
            draw(B=1, H=2**17, W=2**17)


@pytest.mark.parametrize("channels", [-1, 0, 2**18 + 1, 1.5])
def test_streams_c9_states_have_channels_that_a_counter_can_number(channels: Any) -> None:
    with pytest.raises(InvalidInput, match=r"^D must be"):
        Streams(0).initial(1, 2, 2, channels)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.uint32, np.int64, np.uint64])
def test_streams_c9_integers_of_any_width_give_the_same_numbers(kind: Any) -> None:
    five, cell = kind(5), Cell(1, 2, 1, 1, noise=0.5)
    streams = Streams(five, five).fold(five)
    assert streams == Streams(5, 5).fold(5)
    assert_same(streams.at(cell, five, 1, 2, 2).noise, streams.at(cell, 5, 1, 2, 2).noise, "The noise", kind)
    long = kind(20)  # 20 times 20 is more than a byte holds
    assert_same(streams.initial(1, long, long, 1), streams.initial(1, 20, 20, 1), "The initial state", kind)
    for name, weight in init_params(cell, five).items():
        assert_same(weight, init_params(cell, 5)[name], f"The parameter {name}", kind)
    assert unroll_length(1, 2**40, five, five) == unroll_length(1, 2**40, 5, 5)
    plans = (sample("mutating", 0.25, 5, 9, 7, *counted) for counted in ((five, five), (5, 5)))
    for got, ref in zip(*(vars(plan).values() for plan in plans), strict=True):
        assert_same(got, ref, "A plan", kind)


@law
@given(case=cases(resettable=True), t=st.integers(0, 1000))
def test_streams_c10_resets_are_normal_numbers_of_their_own_purpose(case: Case, t: int) -> None:
    assert_close(case.streams.at(case.cell, t, *case.grid).reset_noise, normals(case, RESET, t), 1, "z", (case, t))


@law
@given(case=cases(resettable=True, fire_rate=1.0, alive_above=None), t=st.integers(0, 100))
def test_streams_c10_a_backend_resets_to_exactly_these_numbers(backend: Any, dtype: str, case: Case, t: int) -> None:
    """Without residual and noise, cells whose gate is half open hold half of the last z."""
    case = replace(case, cell=replace(case.cell, residual=False, noise=0.0))
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    got = evolve(backend, dtype, case, case.streams, params=params, first_step=t)
    ref = normals(case, RESET, t + case.T - 1) / 2
    assert_close(got, ref, longest_sum(case.cell), "A state that only resets move", (case, t), steps=case.T)


@law
@given(case=cases())
def test_streams_c11_initial_states_are_normal_numbers_of_step_0(case: Case) -> None:
    got = case.streams.initial(*case.grid, case.cell.state_channels)
    assert_close(got, normals(case, INITIAL, 0), 1, "The initial state", case)


def normals(case: Case, purpose: int, t: int) -> Array:
    """The normal numbers of every state channel by the index formula."""
    s, numbers = case.streams, np.empty((*case.grid, case.cell.state_channels))
    for b, y, x, c in np.ndindex(*numbers.shape):
        words = formulas.word(s.seed, s.first_sample + b, t, case.W, y, x, purpose, c // 4)
        numbers[b, y, x, c] = formulas.normal(words, c)
    return numbers
