"""The laws of `spec/step.md`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given

from refca.step import alive, step
from refca_spec import index
from refca_spec.calls import evolve, true_state
from refca_spec.compare import close, longest_sum, same
from refca_spec.strategies import SPECIAL, Case, cases, exact, law


@law
@given(case=cases(T=1))
def test_step_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    fires, noise, z = case.recorded.at(case.cell, 0, *case.grid)
    got = step(case.cell, case.params, case.image, case.state, fires, noise, z)
    ref = index.step(case.cell, case.params, case.image, case.state, fires, noise)
    close(got, ref, longest_sum(case.cell), "The state after one step", case)


@law
@given(case=cases())
def test_step_c1_a_backend_steps_as_the_reference(backend: Any, dtype: str, case: Case) -> None:
    got = evolve(backend, dtype, case, steps=1)
    close(got, true_state(case, steps=1), longest_sum(case.cell), "The state after one step", case)


@law
@given(case=cases(fire_rate=1.0, alive_above=None))
def test_step_c2_outside_the_grid_everything_is_zero(backend: Any, dtype: str, case: Case) -> None:
    """A grid steps as the middle of a wider one whose margin is zero."""
    ring = ((0, 0), (1, 1), (1, 1), (0, 0))
    wider = Case(case.cell, case.B, case.H + 2, case.W + 2, case.T, case.seed)
    source, outer = case.recorded, wider.recorded
    if source.noise is not None and outer.noise is not None:
        outer.noise[:, :, 1:-1, 1:-1] = source.noise
    image, state = np.pad(case.image, ring), np.pad(case.state, ring)
    ref = true_state(wider, source=outer, steps=1, image=image, state=state, params=case.params)
    got = evolve(backend, dtype, case, steps=1)
    close(got, ref[:, 1:-1, 1:-1], longest_sum(case.cell), "The state after one step", case)


@law
@given(case=cases(least=2, fire_rate=1.0))
def test_step_c3_a_cell_sees_no_further_than_one_cell(backend: Any, dtype: str, case: Case) -> None:
    y, x = case.H - 1, case.W // 2
    state = case.state
    state[:, y, x] += 1
    before = evolve(backend, dtype, case, steps=1)
    after = evolve(backend, dtype, case, steps=1, state=state)
    near = np.zeros(case.grid, bool)
    near[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    n = longest_sum(case.cell)
    close(after[~near], before[~near].astype(np.float64), n, "The state of a cell far from the change", case)


@law
@given(case=cases(least=3, fire_rate=1.0))
def test_step_c4_neighbours_are_read_row_by_row(backend: Any, dtype: str, case: Case) -> None:
    """A layer with a single weight picks one channel of one neighbour, on the side that its index says."""
    K, D = case.cell.image_channels, case.cell.state_channels
    rng = case.rng("tap")
    dy, dx, c = (int(rng.integers(n)) for n in (3, 3, K + D))
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    params["perceive.weight"][dy, dx, c, 0] = 1
    for i in range(case.cell.hidden_layers):
        params[f"hidden.{i}.weight"][0, 0] = 1
    params["update.weight"][0] = 1
    source = type(case.recorded)(case.recorded.fire, None)
    quiet = Case(type(case.cell)(**vars(case.cell) | {"noise": 0.0}), *case.grid, case.T, case.seed)
    got = evolve(backend, dtype, quiet, source, steps=1, params=params)
    x = np.pad(np.concatenate([case.image, case.state], -1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    picked = np.maximum(x[:, dy : dy + case.H, dx : dx + case.W, c], 0)
    updates = alive(case.cell, case.image) * picked
    close(got, case.state + updates[..., None], longest_sum(case.cell), "A state plus one neighbour", case)


@law
@given(case=cases())
def test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit(backend: Any, dtype: str, case: Case) -> None:
    rests = ~(case.recorded.fire[0] & alive(case.cell, case.image))
    got = evolve(backend, dtype, case, steps=1)
    same(got[rests], case.state.astype(dtype)[rests], "The state of a cell at rest", case)


@law
@given(case=cases(alive_above=0.1, fire_rate=1.0, noise=0.0))
def test_step_c6_alive_is_an_image_above_the_float32_threshold(backend: Any, dtype: str, case: Case) -> None:
    image = case.image
    image[..., 0] = case.rng("special").choice(SPECIAL, case.grid)
    got = counted(backend, dtype, case, image)
    same(got > 0, image[..., 0] > np.float32(0.1), "Whether a cell updated", case)


@law
@given(case=cases(alive_above=None, fire_rate=1.0, noise=0.0))
def test_step_c6_without_a_threshold_every_cell_is_alive(backend: Any, dtype: str, case: Case) -> None:
    got = counted(backend, dtype, case, case.image)
    same(got > 0, np.ones(case.grid, bool), "Whether a cell updated", case)


@law
@given(case=cases(fire_rate=0.5, noise=0.5))
def test_step_c7_noise_enters_before_the_mask_in_every_channel(backend: Any, dtype: str, case: Case) -> None:
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    noise = case.recorded.noise
    assert noise is not None
    updates = case.recorded.fire[0] & alive(case.cell, case.image)
    got = evolve(backend, dtype, case, steps=1, params=params)
    ref = case.state + updates[..., None] * 0.5 * noise[0]
    close(got, ref, longest_sum(case.cell), "A state that only noise moves", case)


@law
@given(case=cases(fire_rate=0.5, noise=0.0))
def test_step_c8_the_channels_of_a_cell_fire_together(backend: Any, dtype: str, case: Case) -> None:
    got = counted(backend, dtype, case, case.image, every_channel=True)
    updates = case.recorded.fire[0] & alive(case.cell, case.image)
    ref = np.broadcast_to(updates[..., None], got.shape)
    same(got, ref.astype(got.dtype), "How often a channel of a cell updated", case)


@law
@given(case=cases(B=2))
def test_step_c9_samples_do_not_see_each_other(backend: Any, dtype: str, case: Case) -> None:
    """Another order of the samples, with their own randomness, is another order of the results."""
    source = case.recorded
    noise = None if source.noise is None else source.noise[:, ::-1]
    turned = type(source)(source.fire[:, ::-1], noise)
    image, state = case.image[::-1], case.state[::-1]
    got = evolve(backend, dtype, case, turned, steps=1, image=image, state=state)
    ref = true_state(case, steps=1)
    close(got[::-1], ref, longest_sum(case.cell), "A state after one step in another batch order", case)


@law
@given(case=cases(least=4, fire_rate=1.0, noise=0.0))
def test_step_c10_away_from_the_border_a_step_commutes_with_translation(
    backend: Any, dtype: str, case: Case
) -> None:
    """Everything one row further down: so are the results, where no cell saw a border on either grid."""

    def moved(x: np.ndarray) -> np.ndarray:
        return np.roll(x, 1, axis=1)

    before = evolve(backend, dtype, case, steps=1).astype(np.float64)
    after = evolve(backend, dtype, case, steps=1, image=moved(case.image), state=moved(case.state))
    got, ref = after[:, 2:-1], moved(before)[:, 2:-1]
    close(got, ref, longest_sum(case.cell), "The inner rows one row further down", case)


def counted(
    backend: Any, dtype: str, case: Case, image: np.ndarray, every_channel: bool = False
) -> np.ndarray:
    """1 where a cell updated in one step, 0 elsewhere; (B, H, W) or with D channels. Exact in any dtype."""
    params = {name: np.zeros_like(param) for name, param in case.params.items()}
    params["update.bias"][...] = 1
    zeros = exact(np.zeros_like(case.state))
    got = evolve(backend, dtype, case, steps=1, params=params, image=image, state=zeros)
    return got if every_channel else got[..., 0]
