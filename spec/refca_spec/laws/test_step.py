"""The laws of `spec/chapters/step.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from refca.definition.cell import NORMS, Array, Params
from refca.definition.randomness import Recorded
from refca.definition.step import step
from refca.definition.strided import encode
from refca.errors import InvalidInput
from refca_spec import formulas
from refca_spec.calls import evolve, reference_state
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import SPECIAL, Case, cases, exact, law

LOCAL = ("none", "channel")  # norms of each cell by itself
GATED: dict[str, Any] = {"resettable": True, "biases": True, "norm": "none"}


@law
@given(case=cases(T=1))
def test_step_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    environment, draw = encode(case.cell, case.params, case.image), case.recorded.at(case.cell, 0, *case.grid)
    got = step(case.cell, case.params, environment, case.state, *draw)
    ref = formulas.step(case.cell, case.params, environment, case.state, *draw)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The state after one step", case)


@law
@given(case=cases())
def test_step_c1_a_backend_steps_as_the_reference(backend: Any, dtype: str, case: Case) -> None:
    got, n = evolve(backend, dtype, case, steps=1), longest_sum(case.cell, case.normalised)
    assert_close(got, reference_state(case, steps=1), n, "The state after one step", case)


@law
@given(case=cases(fire_rate=1.0, alive_above=None, stride=1, norm=LOCAL))
def test_step_c2_outside_the_grid_everything_is_zero(backend: Any, dtype: str, case: Case) -> None:
    """A grid steps as the middle of a wider one whose margin is zero."""
    ring = ((0, 0), (1, 1), (1, 1), (0, 0))
    wider = replace(case, H=case.H + 2, W=case.W + 2)
    source, outer = case.recorded, wider.recorded
    for inner_draws, draws in ((source.noise, outer.noise), (source.reset, outer.reset)):
        if inner_draws is not None and draws is not None:
            draws[:, :, 1:-1, 1:-1] = inner_draws
    image, state = np.pad(case.image, ring), np.pad(case.state, ring)
    ref = reference_state(wider, source=outer, steps=1, image=image, state=state, params=case.params)
    got = evolve(backend, dtype, case, steps=1)
    assert_close(got, ref[:, 1:-1, 1:-1], longest_sum(case.cell), "The state after one step", case)


@law
@given(case=cases(least=2, fire_rate=1.0, norm=LOCAL))
def test_step_c3_a_cell_sees_no_further_than_one_cell(backend: Any, dtype: str, case: Case) -> None:
    y, x = case.H - 1, case.W // 2
    state = case.state
    state[:, y, x] += 1
    before = evolve(backend, dtype, case, steps=1)
    after = evolve(backend, dtype, case, steps=1, state=state)
    near = np.zeros(case.grid, bool)
    near[:, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = True
    n = longest_sum(case.cell)
    assert_close(after[~near], before[~near].astype(np.float64), n, "The state of a cell far from the change", case)


@law
@given(case=cases(least=3, fire_rate=1.0, norm="none", resettable=False))
def test_step_c4_neighbours_are_read_row_by_row(backend: Any, dtype: str, case: Case) -> None:
    """A layer with a single weight picks one channel of one neighbour, on the side that its index says."""
    params, picked = tapped(case)
    noise = np.zeros((case.T, *case.state.shape)) if case.cell.noise else None
    got = evolve(backend, dtype, case, Recorded(case.recorded.fire, noise), steps=1, params=params)
    candidate = (case.state if case.cell.residual else 0) + np.maximum(picked, 0)[..., None]
    ref = np.where(case.alive[..., None], candidate, case.state)
    assert_close(got, ref, longest_sum(case.cell), "A state plus one neighbour", case)


@law
@given(case=cases())
def test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit(backend: Any, dtype: str, case: Case) -> None:
    rests = ~(case.recorded.fire[0] & case.alive)
    got = evolve(backend, dtype, case, steps=1)
    assert_same(got[rests], case.state.astype(dtype)[rests], "The state of a cell at rest", case)


@law
@given(case=cases(alive_above=(0.1, 0.25), fire_rate=1.0, noise=0.0, biases=True, resettable=False))
def test_step_c6_alive_is_an_image_above_the_float32_threshold(backend: Any, dtype: str, case: Case) -> None:
    image, threshold = case.image, np.float32(case.cell.alive_above or 0)
    near = [float(np.nextafter(threshold, np.float32(towards))) for towards in (0, 1)]
    image[..., 0] = case.rng("special").choice([*SPECIAL, float(threshold), *near], case.grid)
    got = counted(backend, dtype, case, image)
    assert_same(got > 0, image[..., 0] > threshold, "Whether a cell updated", case)


@law
@given(case=cases(alive_above=None, fire_rate=1.0, noise=0.0, biases=True, resettable=False))
def test_step_c6_without_a_threshold_every_cell_is_alive(backend: Any, dtype: str, case: Case) -> None:
    got = counted(backend, dtype, case, case.image)
    assert_same(got > 0, np.ones(case.grid, bool), "Whether a cell updated", case)


@law
@given(case=cases(fire_rate=0.5, noise=0.5, resettable=False))
def test_step_c7_noise_enters_before_the_mask_in_every_channel(backend: Any, dtype: str, case: Case) -> None:
    noise = case.recorded.noise
    assert noise is not None
    got = evolve(backend, dtype, case, steps=1, params=zeros(case))
    candidate = (case.state if case.cell.residual else 0) + 0.5 * noise[0]
    ref = np.where((case.recorded.fire[0] & case.alive)[..., None], candidate, case.state)
    assert_close(got, ref, longest_sum(case.cell), "A state that only noise moves", case)


@law
@given(case=cases(fire_rate=0.5, noise=0.0, biases=True, resettable=False))
def test_step_c8_the_channels_of_a_cell_fire_together(backend: Any, dtype: str, case: Case) -> None:
    got = counted(backend, dtype, case, case.image, every_channel=True)
    updates = case.recorded.fire[0] & case.alive
    ref = np.broadcast_to(updates[..., None], got.shape)
    assert_same(got, ref.astype(got.dtype), "How often a channel of a cell updated", case)


@law
@given(case=cases(B=2))
def test_step_c9_another_order_of_the_samples_is_another_order_of_the_results(
    backend: Any, dtype: str, case: Case
) -> None:
    turned = rearranged(case.recorded, lambda x: x[:, ::-1])
    image, state = case.image[::-1], case.state[::-1]
    got = evolve(backend, dtype, case, turned, steps=1, image=image, state=state)
    ref, n = reference_state(case, steps=1), longest_sum(case.cell, case.normalised)
    assert_close(got[::-1], ref, n, "A state after one step in another batch order", case)


@law
@given(case=cases(B=2, norm=("none", "instance", "channel")))
def test_step_c9_samples_do_not_see_each_other(backend: Any, dtype: str, case: Case) -> None:
    state = case.state
    state[1:] += 1
    before = evolve(backend, dtype, case, steps=1)[:1].astype(np.float64)
    after = evolve(backend, dtype, case, steps=1, state=state)[:1]
    n = longest_sum(case.cell, case.normalised)
    assert_close(after, before, n, "A sample's state after one step beside other samples", case)


@law
@given(case=cases(least=4, fire_rate=1.0, noise=0.0, stride=1, norm=LOCAL))
def test_step_c10_away_from_the_border_a_step_commutes_with_translation(backend: Any, dtype: str, case: Case) -> None:
    """Everything one row further down: so are the results, where no cell saw a border on either grid."""

    def moved(x: Array) -> Array:
        return np.roll(x, 1, axis=-3)

    before = evolve(backend, dtype, case, steps=1).astype(np.float64)
    source = rearranged(case.recorded, lambda x: np.roll(x, 1, axis=2))
    image, state = moved(case.image), moved(case.state)
    after = evolve(backend, dtype, case, source, steps=1, image=image, state=state)
    got, ref = after[:, 2:-1], moved(before)[:, 2:-1]
    assert_close(got, ref, longest_sum(case.cell), "The inner rows one row further down", case)


PLAIN: dict[str, Any] = {"hidden_layers": 0, "residual": False, "noise": 0.0, "resettable": False}


@pytest.mark.parametrize("norm", NORMS)
@law
@given(case=cases(T=1, fire_rate=1.0, biases=False, alive_above=None, **PLAIN))
def test_step_c11_sums_are_normalised_before_relu(backend: Any, dtype: str, norm: str, case: Case) -> None:
    """A layer of single weights, and an update layer that shows each hidden unit in a channel of its own."""
    P = case.cell.hidden_width
    case = replace(case, cell=replace(case.cell, norm=norm, state_channels=P, labels=1))
    params, picked = tapped(case, 0.05)
    sums = np.zeros((*case.grid, P))
    sums[..., 0] = 0.05 * picked
    params["update.weight"][...] = np.eye(P)
    axes = {"none": None, "instance": (1, 2), "batch": (0, 1, 2), "channel": 3}[norm]
    if axes is not None:
        spread = np.sqrt(np.var(sums, axis=axes, keepdims=True) + 1e-5)
        sums = (sums - np.mean(sums, axis=axes, keepdims=True)) / spread
    got = evolve(backend, dtype, case, steps=1, params=params)
    assert_close(got, np.maximum(sums, 0), longest_sum(case.cell, case.normalised), "The hidden values", case)


@pytest.mark.parametrize("norm", NORMS)
@law
@given(case=cases(fire_rate=1.0, alive_above=None, **PLAIN))
def test_step_c12_proposals_and_states_are_not_normalised(backend: Any, dtype: str, norm: str, case: Case) -> None:
    """Twice the update layer is twice the proposal."""
    case, params = replace(case, cell=replace(case.cell, norm=norm)), {}
    for name, param in case.params.items():
        params[name] = 2 * param if name.startswith("update") else param
    once = evolve(backend, dtype, case, steps=1, params=case.params).astype(np.float64)
    twice = evolve(backend, dtype, case, steps=1, params=params)
    n = longest_sum(case.cell, case.normalised)
    assert_close(twice, 2 * once, n, "The state after twice the update", case)


@law
@given(case=cases(B=2, fire_rate=0.5, norm=("instance", "batch")))
def test_step_c13_statistics_are_over_cells_at_rest_too(backend: Any, dtype: str, case: Case) -> None:
    """The fire mask of other cells makes no difference to a cell that fires."""
    fire = case.recorded.fire
    everyone = replace(case.recorded, fire=np.ones_like(fire))
    some = evolve(backend, dtype, case, steps=1)[fire[0]]
    all_ = evolve(backend, dtype, case, everyone, steps=1)[fire[0]].astype(np.float64)
    n = longest_sum(case.cell, case.normalised)
    assert_close(some, all_, n, "The state of a firing cell among others at rest", case)


@law
@given(case=cases(depthwise=True))
def test_step_c14_the_depthwise_layer_is_a_full_one_of_products(backend: Any, dtype: str, case: Case) -> None:
    params = case.params
    mix, filters = params.pop("perceive.mix"), params.pop("perceive.depthwise")
    params["perceive.weight"] = mix * filters[:, :, None]
    full = replace(case, cell=replace(case.cell, depthwise=False))
    got, ref = evolve(backend, dtype, case, steps=1), reference_state(full, steps=1, params=params)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The state after one step", case)


@law
@given(case=cases(residual=False, resettable=False, biases=True, noise=0.0))
def test_step_c15_without_a_residual_the_proposal_is_the_state(backend: Any, dtype: str, case: Case) -> None:
    params = zeros(case)
    params["update.bias"][...] = case.params["update.bias"]
    got = evolve(backend, dtype, case, steps=1, params=params)
    updates = (case.recorded.fire[0] & case.alive)[..., None]
    ref: Array = np.where(updates, params["update.bias"], case.state)
    assert_same(got, ref.astype(dtype), "The state after one step", case)


@law
@given(case=cases(**GATED))
def test_step_c16_an_open_gate_puts_z_in_every_channel_of_a_cell_that_updates(
    backend: Any, dtype: str, case: Case
) -> None:
    got = evolve(backend, dtype, case, steps=1, params=gated(case, 80))
    reset_noise, updates = case.recorded.reset, (case.recorded.fire[0] & case.alive)[..., None]
    assert reset_noise is not None
    ref: Array = np.where(updates, reset_noise[0], case.state)
    assert_same(got, ref.astype(dtype), "The state after a reset", case)


@law
@given(case=cases(**GATED))
def test_step_c17_a_closed_gate_changes_nothing(backend: Any, dtype: str, case: Case) -> None:
    without = replace(case, cell=replace(case.cell, resettable=False))
    params = gated(case, -80)
    got = evolve(backend, dtype, case, steps=1, params=params)
    del params["gate.weight"]
    ref = reference_state(without, steps=1, params=params, source=replace(case.recorded, reset=None))
    assert_close(got, ref, longest_sum(case.cell), "The state of a cell whose gate is closed", case)


@law
@given(case=cases(resettable=True))
def test_step_c18_a_cell_without_hidden_values_opens_its_gate_by_half(backend: Any, dtype: str, case: Case) -> None:
    """The gate has no bias, and comes after noise and residual."""
    source, sigma = case.recorded, case.cell.noise
    assert source.reset is not None
    candidate = case.state if case.cell.residual else np.zeros_like(case.state)
    if source.noise is not None:
        candidate = candidate + sigma * source.noise[0]
    updates = (source.fire[0] & case.alive)[..., None]
    ref = np.where(updates, (source.reset[0] + candidate) / 2, case.state)
    got = evolve(backend, dtype, case, steps=1, params=zeros(case))
    assert_close(got, ref, longest_sum(case.cell), "The state after half a reset", case)


@law
@given(case=cases(T=1))
def test_step_c19_missing_draws_and_a_z_without_a_gate_are_refused(case: Case) -> None:
    environment = encode(case.cell, case.params, case.image)
    fire_mask, noise, reset_noise = case.recorded.at(case.cell, 0, *case.grid)
    wrong = [(noise, case.state if reset_noise is None else None)]
    if noise is not None:
        wrong.append((None, reset_noise))
    for draws in wrong:
        with pytest.raises(InvalidInput, match="must be"):
            step(case.cell, case.params, environment, case.state, fire_mask, *draws)


def zeros(case: Case) -> Params:
    """Parameters that are all zero."""
    return {name: np.zeros_like(param) for name, param in case.params.items()}


def tapped(case: Case, weight: float = 1.0) -> tuple[Params, Array]:
    """Parameters that show `weight` times one channel of one neighbour in every state channel, and what
    that neighbour's channel holds, (B, H, W). Those of the encoder stay as they are.
    """
    cell, params = case.cell, zeros(case)
    params |= {name: param for name, param in case.params.items() if name.startswith("encode")}
    rng = case.rng("tap")
    dy, dx, c = (int(rng.integers(n)) for n in (3, 3, cell.environment_channels + cell.state_channels))
    if cell.depthwise:
        params["perceive.mix"][c, 0], params["perceive.depthwise"][dy, dx, 0] = 1, weight
    else:
        params["perceive.weight"][dy, dx, c, 0] = weight
    for i in range(cell.hidden_layers):
        params[f"hidden.{i}.weight"][0, 0] = 1
    params["update.weight"][0] = 1
    x = np.concatenate([encode(cell, params, case.image), case.state], -1)
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return params, x[:, dy : dy + case.H, dx : dx + case.W, c]


def gated(case: Case, total: float) -> Params:
    """The case's parameters, but with hidden values that are all 1 and a gate that sums to `total`."""
    params = case.params
    for name, param in params.items():
        if name.startswith(("perceive", "hidden")):
            param[...] = 1 if name.endswith("bias") else 0
    params["gate.weight"][...] = total / case.cell.hidden_width
    return params


def rearranged(source: Recorded, change: Any) -> Recorded:
    """The same change made to each of the recorded arrays."""
    return Recorded(*(None if x is None else change(x) for x in (source.fire, source.noise, source.reset)))


def counted(backend: Any, dtype: str, case: Case, image: Array, every_channel: bool = False) -> Array:
    """1 where a cell updated in one step, 0 elsewhere; (B, H, W) or with D channels. Exact in any dtype."""
    params = zeros(case)
    params["update.bias"][...] = 1
    state = exact(np.zeros_like(case.state))
    got = evolve(backend, dtype, case, steps=1, params=params, image=image, state=state)
    return got if every_channel else got[..., 0]
