"""The laws of `spec/chapters/backends.md`: whole unrolls, gradients, and what a backend promises of its arrays."""

from __future__ import annotations

from dataclasses import replace
from itertools import count, product
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refca.contract.checks import dtype_name
from refca.contract.parts import ChosenStreams, contiguous_parts, streams_of, tree_sum
from refca.contract.protocol import Backend
from refca.contract.reference import reference
from refca.contract.registry import get_backend
from refca.definition.cell import NORMS, Array, Cell, Params
from refca.definition.params import frozen, param_shapes
from refca.definition.randomness import Draw, Randomness, Streams
from refca.definition.step import alive
from refca.distributed import sum_over_tree
from refca.errors import InvalidInput
from refca_spec import formulas
from refca_spec.calls import (
    Result,
    evolve,
    inputs,
    loss_and_grads,
    min_relu_margin,
    randomness,
    reference_loss,
    reference_loss_and_grads,
    reference_state,
    to_backend,
)
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.simulated_ranks import simulate
from refca_spec.strategies import Case, CoarseCase, cases, exact, law, wide_cases

LOSSES, KINDS = ("l2", "ce"), ("labels", "map")
MARGIN = {"float32": 1e-4, "float64": 1e-10}  # of sums before a relu, far above their rounding errors
CASE = Case(Cell(2, 4, 5, 3, noise=0.02, alive_above=0.1), B=2, H=3, W=4, T=2, seed=0)
PAPER: dict[str, Any] = {"hidden_layers": 2, "biases": False, "resettable": True, "norm": "instance"}
STRIDED = Case(Cell(2, 4, 5, 3, **PAPER, stride=4), B=2, H=3, W=4, T=2, seed=0)
BATCHED = Case(Cell(2, 4, 5, 3, **PAPER | {"norm": "batch"}, depthwise=True), B=2, H=3, W=4, T=2, seed=0)
SOURCES = ("streams of chosen samples", "streams with numbers of their own", "an object")
sources = pytest.mark.parametrize("source", SOURCES)
TURN = 1e-3  # of sums before a relu that no difference along a direction may turn over
both = pytest.mark.parametrize(("loss", "kind"), [(loss, kind) for loss in LOSSES for kind in KINDS])


def test_backends_c1_it_has_the_names_of_the_contract(backend: Any) -> None:
    names = [*vars(Backend)["__annotations__"], *(name for name, x in vars(Backend).items() if is_method(name, x))]
    assert [name for name in names if not hasattr(backend, name)] == []
    assert {"evolve", "unroll_grads", "xp"} <= set(names)


def is_method(name: str, x: Any) -> bool:
    """Return whether an attribute of the protocol is a method that backends have."""
    return callable(x) and not name.startswith("_")


@law
@given(case=cases())
def test_backends_c2_arrays_go_in_and_come_out_unchanged(backend: Any, dtype: str, case: Case) -> None:
    for x in (case.image.astype(dtype), case.recorded.fire, case.target("map")):
        assert_same(backend.asnumpy(backend.asarray(x)), x, "An array that went in and came out", case)


@law
@given(case=cases())
def test_backends_c3_evolve_is_the_steps_of_the_reference(backend: Any, dtype: str, case: Case) -> None:
    got, ref = evolve(backend, dtype, case), reference_state(case)
    assert got.dtype == dtype, f"the state is {got.dtype}, not {dtype}: {case}"
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", case, steps=case.T)


@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c3_evolve_draws_from_streams(backend: Any, dtype: str, case: Case, first_step: int) -> None:
    got = evolve(backend, dtype, case, case.streams, first_step=first_step)
    ref = reference_state(case, source=case.streams, first_step=first_step)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", (case, first_step), steps=case.T)


@law
@given(case=wide_cases())
def test_backends_c3_wide_cells_evolve_on_large_grids(backend: Any, dtype: str, case: Case) -> None:
    got, ref = evolve(backend, dtype, case, case.streams), reference_state(case, source=case.streams)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", case, steps=case.T)


@sources
@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c3_evolve_draws_from_any_source(
    backend: Any, dtype: str, source: str, case: Case, first_step: int
) -> None:
    drawn = source_of(source, case)
    got = evolve(backend, dtype, case, drawn, first_step=first_step)
    ref = reference_state(case, source=drawn, first_step=first_step)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", (case, first_step), steps=case.T)


@law
@given(case=wide_cases(CoarseCase, T=1, stride=(1, 2), norm="none"))
def test_backends_c9_wide_cells_have_gradients_on_large_grids(backend: Any, dtype: str, case: Case) -> None:
    """Without a norm, whose means would make the sums inexact: see CoarseCase."""
    gradients_of_many_cells(backend, dtype, case)


@law
@given(case=wide_cases(T=2))
def test_backends_c9_wide_cells_have_gradients_with_any_norm(backend: Any, case: Case) -> None:
    """In float64, where of so many sums hardly ever one is so near zero that rounding decides about its relu."""
    if "float64" not in backend.dtypes:
        pytest.skip("not offered: float64")
    assume(min_relu_margin(case) > MARGIN["float64"])
    gradients_of_many_cells(backend, "float64", case)


def gradients_of_many_cells(backend: Any, dtype: str, case: Case) -> None:
    """Compare a result whose weights are small, so that rounding in sums over many cells stays within the bound."""
    arguments: dict = {"image_grad": True, "weights": np.full((case.T, case.B), 1 / 16)}
    got = loss_and_grads(backend, dtype, case, **arguments)
    compare(got, reference_loss_and_grads(case, **arguments), dtype, case, arguments)


@sources
@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c9_loss_and_grads_draws_from_any_source(
    backend: Any, dtype: str, source: str, case: Case, first_step: int
) -> None:
    drawn = source_of(source, case)
    assume(min_relu_margin(case, drawn, first_step) > MARGIN[dtype])
    arguments: dict = {"source": drawn, "first_step": first_step}
    got = loss_and_grads(backend, dtype, case, **arguments)
    compare(got, reference_loss_and_grads(case, **arguments), dtype, case, arguments)


class Later(Streams):
    """Streams whose step t is step t + 1 of plain ones."""

    def at(self, cell: Any, t: int, B: int, H: int, W: int) -> Draw:
        return super().at(cell, t + 1, B, H, W)


class Drawn(NamedTuple):
    """A source that is no kind of streams."""

    streams: Streams

    def at(self, cell: Any, t: int, B: int, H: int, W: int) -> Draw:
        return self.streams.at(cell, t, B, H, W)


def source_of(source: str, case: Case) -> Randomness:
    """Return a source that is neither `Streams` nor `Recorded`: samples in reverse, later steps, or an object."""
    seed, first = case.streams.seed, case.streams.first_sample
    if source == SOURCES[0]:
        return ChosenStreams(seed, first, tuple(range(case.B))[::-1])
    return Later(seed, first) if source == SOURCES[1] else Drawn(case.streams)


@law
@given(case=cases(T=2), first_step=st.integers(0, 100))
def test_backends_c4_an_evolution_may_be_cut_in_two(backend: Any, dtype: str, case: Case, first_step: int) -> None:
    whole = evolve(backend, dtype, case, case.streams, first_step=first_step)
    first = evolve(backend, dtype, case, case.streams, steps=1, first_step=first_step)
    rest = evolve(
        backend,
        dtype,
        case,
        case.streams,
        steps=case.T - 1,
        first_step=first_step + 1,
        state=first.astype(np.float64),
    )
    assert_same(rest, whole, "The last state", (case, first_step))


@law
@given(case=cases(B=2, norm=("none", "instance", "channel")))
def test_backends_c5_a_slice_of_the_batch_evolves_as_in_the_batch(backend: Any, dtype: str, case: Case) -> None:
    later = Streams(case.streams.seed, case.streams.first_sample + 1)
    part = replace(case, B=case.B - 1)
    got = evolve(backend, dtype, part, later, image=case.image[1:], state=case.state[1:])
    ref = reference_state(case, source=case.streams)[1:]
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state of a slice", case, steps=case.T)


@law
@given(case=cases(), steps=st.integers(0, 1))
def test_backends_c6_arrays_that_come_in_are_not_written(backend: Any, dtype: str, case: Case, steps: int) -> None:
    image, state = to_backend(backend, case.image, dtype), to_backend(backend, case.state, dtype)
    params = {name: to_backend(backend, param, dtype) for name, param in case.params.items()}
    target, weights = backend.asarray(case.target("labels")), to_backend(backend, case.weights, dtype)
    draws = randomness(backend, dtype, case.recorded)
    last = backend.evolve(case.cell, params, image, state, draws, steps)
    backend.put(last, slice(None), 0 * last + 7)
    if backend.offers("loss_and_grads"):
        _, _, last = backend.loss_and_grads(
            case.cell, "l2", params, image, state, target, weights, draws, image_grad=True
        )
        backend.put(last, slice(None), 0 * last + 7)
    given = {"state": (state, case.state), "image": (image, case.image), "weights": (weights, case.weights)}
    given |= {name: (param, case.params[name]) for name, param in params.items()}
    given |= {name: (x, ref) for (name, x), ref in zip(vars(draws).items(), vars(case.recorded).values(), strict=True)}
    given["target"] = (target, case.target("labels"))
    for name, (got, ref) in given.items():
        if ref is not None:
            ref = ref.astype(dtype) if ref.dtype.kind == "f" else ref
            assert_same(backend.asnumpy(got), ref, f"{name} as it was given", (case, steps))


@law
@given(case=cases())
def test_backends_c7_the_dtype_of_the_arguments_is_the_dtype_of_the_results(
    backend: Any, dtype: str, case: Case
) -> None:
    params, image, state = inputs(backend, dtype, case)
    target, weights = backend.asarray(case.target("labels")), to_backend(backend, case.weights, dtype)
    loss, grads, last = backend.loss_and_grads(
        case.cell, "l2", params, image, state, target, weights, case.streams, image_grad=True
    )
    if type(loss) is not float:
        kind = f"{type(loss).__name__} {getattr(loss, 'dtype', '')} {getattr(loss, 'shape', '')}"
        assert type(loss) is type(state), f"the loss is {kind}, neither a float nor an array of the backend"
        assert (tuple(loss.shape), dtype_name(loss)) == ((), dtype), f"the loss is {kind}, not a {dtype}"
        assert type(float(loss)) is float
    shapes = {name: param.shape for name, param in case.params.items()} | {"image": case.image.shape}
    assert {name: tuple(grad.shape) for name, grad in grads.items()} == shapes
    dtypes = {name: dtype_name(grad) for name, grad in grads.items()} | {"state": dtype_name(last)}
    assert dtypes == dict.fromkeys(dtypes, dtype)
    assert evolve(backend, dtype, case, steps=0).dtype == dtype


@both
@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c8_the_loss_is_the_weighted_sum_over_steps_and_samples(
    loss: str, kind: str, case: Case, first_step: int
) -> None:
    """The reference's loss, against loops over states that the index formula of the step gives."""
    cell, params = case.cell, case.params
    environment, live = formulas.encode(cell, params, case.image), alive(cell, case.image)
    formula = {"l2": formulas.l2, "ce": formulas.cross_entropy}[loss]
    state, total = case.state, 0.0
    for i in range(case.T):
        draw = case.streams.at(cell, first_step + i, *case.grid)
        state = formulas.step(cell, params, environment, state, *draw)
        each = formula(formulas.readout(cell, params, state), case.target(kind), live)
        total += sum(w * value for w, value in zip(case.weights[i], each, strict=True))
    got = reference_loss_and_grads(case, loss=loss, kind=kind, source=case.streams, first_step=first_step).loss
    n, call = longest_sum(case.cell, case.cells), (case, loss, kind, first_step)
    assert_close(got, np.float64(total), n, "The loss", call, steps=case.T, dtype="float64")


@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c8_the_last_state_is_that_of_evolve(backend: Any, dtype: str, case: Case, first_step: int) -> None:
    got = loss_and_grads(backend, dtype, case, source=case.streams, first_step=first_step).state
    ref = evolve(backend, dtype, case, case.streams, first_step=first_step).astype(np.float64)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", (case, first_step), steps=case.T)


@both
@law
@given(case=cases())
def test_backends_c9_loss_gradients_and_state_are_the_reference_s(
    backend: Any, dtype: str, loss: str, kind: str, case: Case
) -> None:
    assume(min_relu_margin(case) > MARGIN[dtype])
    arguments: dict = {"loss": loss, "kind": kind, "image_grad": True}
    got = loss_and_grads(backend, dtype, case, **arguments)
    compare(got, reference_loss_and_grads(case, **arguments), dtype, case, arguments)


@both
@law
@given(case=cases(), first_step=st.integers(1, 10**6))
def test_backends_c9_loss_and_grads_draws_from_streams(
    backend: Any, dtype: str, loss: str, kind: str, case: Case, first_step: int
) -> None:
    assume(min_relu_margin(case, case.streams, first_step) > MARGIN[dtype])
    arguments: dict = {"loss": loss, "kind": kind, "source": case.streams, "first_step": first_step}
    got = loss_and_grads(backend, dtype, case, **arguments)
    compare(got, reference_loss_and_grads(case, **arguments), dtype, case, arguments)


@pytest.mark.parametrize("depthwise", [False, True], ids=["full", "depthwise"])
@law
@given(data=st.data())
def test_backends_c9_both_kinds_of_first_layer_are_tried_where_cells_fire(
    backend: Any, dtype: str, depthwise: bool, data: st.DataObject
) -> None:
    case = data.draw(cases(least=2, T=2, depthwise=depthwise, frozen_filters=False, fire_rate=(0.75, 0.5, 1.0)))
    assume(min_relu_margin(case) > MARGIN[dtype])
    arguments: dict = {"loss": "ce", "kind": "map", "image_grad": True}
    got = loss_and_grads(backend, dtype, case, **arguments)
    compare(got, reference_loss_and_grads(case, **arguments), dtype, case, arguments)


@law
@given(case=cases())
def test_backends_c10_the_gradient_of_the_image_is_there_if_asked_for(backend: Any, dtype: str, case: Case) -> None:
    plain = loss_and_grads(backend, dtype, case)
    asked = loss_and_grads(backend, dtype, case, image_grad=True)
    assert set(plain.grads) == set(case.params)
    assert set(asked.grads) == {*case.params, "image"}
    n = longest_sum(case.cell, case.cells)
    for name, grad in plain.grads.items():
        close_grad(asked.grads[name], grad.astype(np.float64), n, f"{name} beside that of the image", case)


@both
@law
@given(case=cases())
def test_backends_c11_gradients_of_the_reference_are_central_differences(loss: str, kind: str, case: Case) -> None:
    """Along a random direction in each parameter, and in the image without moving any cell's aliveness."""
    assume(min_relu_margin(case) > TURN)
    grads = reference_loss_and_grads(case, loss=loss, kind=kind, image_grad=True).grads
    for name, direction in directions(case).items():
        differentiated(case, loss, kind, grads, {name: direction})


SWITCHES = ("depthwise", "frozen_filters", "residual", "resettable", "biases", "strided")


@pytest.mark.parametrize("norm", NORMS)
def test_backends_c11_every_combination_of_settings_is_differentiated(norm: str) -> None:
    """Along a random direction in all parameters and the image at once."""
    for values in product((False, True), repeat=len(SWITCHES)):
        settings: dict[str, Any] = dict(zip(SWITCHES, values, strict=True))
        strided = settings.pop("strided")
        cell = Cell(2, 3, 4, 3, **settings, norm=norm, stride=2 if strided else 1, linear_readout=not strided)
        seeds = (Case(cell, B=2, H=2, W=2, T=2, seed=seed) for seed in count())
        case = next(case for case in seeds if min_relu_margin(case) > TURN)
        grads = reference_loss_and_grads(case, loss="ce", kind="map", image_grad=True).grads
        differentiated(case, "ce", "map", grads, directions(case))


@law
@given(case=cases(noise=0.0, fire_rate=1.0, alive_above=None, hidden_layers=0, biases=True))
def test_backends_c12_the_derivative_of_relu_at_zero_is_zero(backend: Any, dtype: str, case: Case) -> None:
    params = case.params
    for name, param in params.items():
        if name.startswith("perceive"):
            param[...] = 0
    _, grads, _ = loss_and_grads(backend, dtype, case, params=params)
    zeros = np.zeros_like(params["perceive.bias"], dtype)
    assert_same(grads["perceive.bias"], zeros, "The gradient through a relu at zero", case)


@law
@given(case=cases())
def test_backends_c13_steps_of_weight_zero_do_not_count(backend: Any, dtype: str, case: Case) -> None:
    weights = np.zeros_like(case.weights)
    got = loss_and_grads(backend, dtype, case, weights=weights, image_grad=True)
    assert got.loss == 0, f"the loss of weights that are all zero is {got.loss}: {case}"
    for name, grad in got.grads.items():
        assert_same(grad, np.zeros_like(grad), f"The gradient of {name} for weights that are all zero", case)
    n = longest_sum(case.cell, case.normalised)
    assert_close(got.state, reference_state(case), n, "The last state", case, steps=case.T)


@law
@given(case=cases())
def test_backends_c14_no_steps_change_nothing(backend: Any, dtype: str, case: Case) -> None:
    assert_same(evolve(backend, dtype, case, steps=0), case.state.astype(dtype), "The state", case)
    if not backend.offers("loss_and_grads"):
        return
    none = replace(case, T=0)
    got = loss_and_grads(backend, dtype, none)
    assert_same(got.state, case.state.astype(dtype), "The state", none)
    assert got.loss == 0, f"the loss of no steps is {got.loss}: {none}"


WRONG = (
    ("image", "image", lambda x: x[..., :0]),
    ("image without a pixel", "image", lambda x: x[:, :0]),
    ("image without a batch axis", "image", lambda x: x[0]),
    ("state of another width", "state", lambda x: np.concatenate([x, x], -1)),
    ("state of another grid", "state", lambda x: np.concatenate([x, x], 1)),
    ("perceive.bias", "perceive.bias", lambda x: x[:, None]),
    ("update.weight", "update.weight", lambda x: x.T[None]),
    ("integers in the image", "image", lambda x: x.astype(int)),
    ("float16 in the state", "state", lambda x: x.astype("float16")),
    ("another dtype in the state", "state", lambda x: x.astype({4: "f8", 8: "f4"}[x.itemsize])),
    ("another dtype in update.bias", "update.bias", lambda x: x.astype({4: "f8", 8: "f4"}[x.itemsize])),
)


@pytest.mark.parametrize(("name", "change"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_backends_c15_arrays_that_do_not_fit_the_cell_are_refused(
    backend: Any, dtype: str, name: str, change: Any
) -> None:
    arrays = {**CASE.params, "image": CASE.image, "state": CASE.state}
    arrays = {key: x.astype(dtype) for key, x in arrays.items()}
    arrays[name] = change(arrays[name])
    moved = {key: backend.asarray(x) for key, x in arrays.items()}
    image, state = moved.pop("image"), moved.pop("state")
    for call in calls(backend, dtype, moved, image, state):
        with pytest.raises(InvalidInput, match=name):
            call()


@pytest.mark.parametrize("change", ["missing", "unknown"])
def test_backends_c15_other_parameters_are_refused(backend: Any, dtype: str, change: str) -> None:
    params = {name: to_backend(backend, param, dtype) for name, param in CASE.params.items()}
    name = "update.bias" if change == "missing" else "gate.weight"
    if change == "missing":
        del params[name]
    else:
        params[name] = params["update.bias"]
    image, state = to_backend(backend, CASE.image, dtype), to_backend(backend, CASE.state, dtype)
    for call in calls(backend, dtype, params, image, state):
        with pytest.raises(InvalidInput, match=name):
            call()


@pytest.mark.parametrize("sides", [(14, 16), (12, 15), (8, 16)], ids=["rows", "columns", "another grid"])
def test_backends_c15_an_image_that_does_not_divide_into_cells_is_refused(
    backend: Any, dtype: str, sides: tuple[int, int]
) -> None:
    image = to_backend(backend, np.zeros((2, *sides, 2)), dtype)
    params, _, state = inputs(backend, dtype, STRIDED)
    for call in calls(backend, dtype, params, image, state, STRIDED):
        with pytest.raises(InvalidInput, match="image"):
            call()


@pytest.mark.parametrize("change", [{"steps": -1}, {"first_step": -1}])
def test_backends_c15_negative_steps_are_refused(backend: Any, dtype: str, change: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match="negative"):
        evolve(backend, dtype, CASE, CASE.streams, **change)
    if "first_step" in change and backend.offers("loss_and_grads"):
        with pytest.raises(InvalidInput, match="negative"):
            loss_and_grads(backend, dtype, CASE, source=CASE.streams, first_step=change["first_step"])


def test_backends_c15_steps_are_numbered_below_2_to_the_32(backend: Any, dtype: str) -> None:
    evolve(backend, dtype, CASE, CASE.streams, steps=1, first_step=2**32 - 1)
    with pytest.raises(InvalidInput, match=r"at most 2\*\*32"):
        evolve(backend, dtype, CASE, CASE.streams, steps=2, first_step=2**32 - 1)
    if backend.offers("loss_and_grads"):
        loss_and_grads(backend, dtype, CASE, source=CASE.streams, first_step=2**32 - CASE.T)
        with pytest.raises(InvalidInput, match=r"at most 2\*\*32"):
            loss_and_grads(backend, dtype, CASE, source=CASE.streams, first_step=2**32 - CASE.T + 1)


@pytest.mark.parametrize("case", [CASE, STRIDED, BATCHED], ids=["digits", "strided", "batch norm"])
def test_backends_c14_no_samples_are_no_work(backend: Any, dtype: str, case: Case) -> None:
    params = {name: to_backend(backend, param, dtype) for name, param in case.params.items()}
    image, state = to_backend(backend, case.image[:0], dtype), to_backend(backend, case.state[:0], dtype)
    label, weights = backend.asarray(np.zeros(0, int)), backend.asarray(np.zeros((2, 0), dtype))
    after = backend.asnumpy(backend.evolve(case.cell, params, image, state, case.streams, 2))
    assert after.shape == tuple(state.shape)
    if not backend.offers("loss_and_grads"):
        return
    loss, grads, last = backend.loss_and_grads(case.cell, "ce", params, image, state, label, weights, case.streams)
    assert float(loss) == 0
    assert tuple(last.shape) == tuple(state.shape)
    assert not any(np.any(backend.asnumpy(grad)) for grad in grads.values())


BAD_TARGETS: dict[str, tuple[str, dict]] = {
    "an unknown loss": ("loss", {"loss": "l1"}),
    "a label too many": ("labels", {"target": np.array([0, 3])}),
    "a negative label": ("labels", {"target": np.array([0, -1])}),
    "labels of another batch": ("target", {"target": np.array([0, 1, 1])}),
    "labels that are not integers": ("target", {"target": np.array([0.0, 1.0])}),
    "a map of another grid": ("target", {"target": np.zeros((2, 4, 3), int)}),
    "weights of another batch": ("weights", {"weights": np.ones((2, 3))}),
    "weights without a batch axis": ("weights", {"weights": np.ones(2)}),
}


@pytest.mark.parametrize(("name", "change"), list(BAD_TARGETS.values()), ids=list(BAD_TARGETS))
def test_backends_c16_losses_that_are_not_defined_are_refused(
    backend: Any, dtype: str, name: str, change: dict
) -> None:
    with pytest.raises(InvalidInput, match=name):
        loss_and_grads(backend, dtype, CASE, source=CASE.streams, **change)


def test_backends_c16_labels_of_a_loss_that_is_a_function_are_not_checked(backend: Any, dtype: str) -> None:
    arguments: dict = {"loss": quartic_with_gradient, "target": np.array([-1, 99])}
    got = loss_and_grads(backend, dtype, CASE, **arguments)
    compare(got, reference_loss_and_grads(CASE, **arguments), dtype, CASE, arguments)


@pytest.mark.parametrize(("name", "change"), list(BAD_TARGETS.values()), ids=list(BAD_TARGETS))
def test_backends_c20_numpy_s_are_refused_as_the_backend_s(backend: Any, dtype: str, name: str, change: dict) -> None:
    params, image, state = inputs(backend, dtype, CASE)
    given_ = {"loss": "l2", "target": CASE.target("labels"), "weights": CASE.weights.astype(dtype)} | change
    loss, target, weights = given_.values()
    with pytest.raises(InvalidInput, match=name):
        backend.loss_and_grads(CASE.cell, loss, params, image, state, target, weights, CASE.streams)


def test_backends_c17_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="reference"):
        get_backend("no_such_backend")
    with pytest.raises(InvalidInput, match="evolve"):
        get_backend("refca.definition.philox")
    assert get_backend("reference") is get_backend("refca.contract.reference")


@law
@given(case=cases(frozen_filters=True))
def test_backends_c18_the_gradient_of_a_frozen_parameter_is_zero(backend: Any, dtype: str, case: Case) -> None:
    """The other gradients are those of the cell whose filters learn."""
    assume(min_relu_margin(case) > MARGIN[dtype])
    learning = replace(case, cell=replace(case.cell, frozen_filters=False))
    got, ref = loss_and_grads(backend, dtype, case).grads, reference_loss_and_grads(learning).grads
    n = longest_sum(case.cell, case.cells)
    assert set(got) == set(ref)
    for name, grad in got.items():
        if name in frozen(case.cell):
            assert_same(grad, np.zeros(param_shapes(case.cell)[name], dtype), f"The gradient of {name}", case)
        else:
            close_grad(grad, ref[name], n, name, case)


@law
@given(case=cases(B=2, norm=("instance", "batch", "channel")))
def test_backends_c19_a_call_leaves_nothing_behind(backend: Any, dtype: str, case: Case) -> None:
    """Statistics are of the step at hand: training and another batch between make no difference."""
    before = evolve(backend, dtype, case)
    if backend.offers("loss_and_grads"):
        loss_and_grads(backend, dtype, case)
    evolve(backend, dtype, replace(case, seed=case.seed ^ 1))
    assert_same(evolve(backend, dtype, case), before, "The last state, the second time", case)


@both
@law
@given(case=cases())
def test_backends_c20_targets_and_weights_may_be_numpy_s(
    backend: Any, dtype: str, loss: str, kind: str, case: Case
) -> None:
    params, image, state = inputs(backend, dtype, case)
    target, weights = case.target(kind), case.weights.astype(dtype)
    value, grads, last = backend.loss_and_grads(case.cell, loss, params, image, state, target, weights, case.streams)
    got = Result(float(value), {k: backend.asnumpy(g) for k, g in grads.items()}, backend.asnumpy(last))
    ref = loss_and_grads(backend, dtype, case, loss, kind, case.streams)
    real = {name: grad.astype(np.float64) for name, grad in ref.grads.items()}
    compare(got, Result(ref.loss, real, ref.state.astype(np.float64)), dtype, case, {"NumPy's": loss})


@pytest.mark.parametrize("integers", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
@pytest.mark.parametrize("kind", KINDS)
def test_backends_c20_a_target_has_any_integers(backend: Any, dtype: str, kind: str, integers: str) -> None:
    """A batch has as many samples as labels, none labelled 0: a target that is read as a mask selects every row."""
    case = replace(CASE, B=CASE.cell.labels, T=1)
    params, image, state = inputs(backend, dtype, case)
    target = (1 + case.target(kind) % (case.cell.labels - 1)).astype(integers)
    weights = case.weights.astype(dtype)
    ref = reference_loss_and_grads(case, loss="ce", kind=kind, source=case.streams, target=target)
    targets = [target]
    if integers not in ("uint16", "uint32", "uint64"):  # libraries may have no minimum of such arrays
        targets.append(backend.asarray(target))
    for given_ in targets:
        loss, grads, last = backend.loss_and_grads(case.cell, "ce", params, image, state, given_, weights, case.streams)
        got = Result(float(loss), {n: backend.asnumpy(grad) for n, grad in grads.items()}, backend.asnumpy(last))
        compare(got, ref, dtype, case, {"integers": integers})


@law
@given(case=cases(B=2, norm="batch", fire_rate=1.0, alive_above=None, hidden_width=4, resettable=False))
def test_backends_c5_under_batch_norm_the_samples_are_one(backend: Any, dtype: str, case: Case) -> None:
    """Statistics are common to samples that differ, which a batch cut into pieces does not have."""
    image, state = case.image, case.state
    image[1:], state[1:] = 3 * image[1:], 3 * state[1:]
    got = evolve(backend, dtype, case, image=image, state=state)
    ref = reference_state(case, image=image, state=state)
    assert_close(got, ref, longest_sum(case.cell, case.normalised), "The last state", case, steps=case.T)


def quartic(readout: Array, target: Array, live: Array, xp: Any) -> Array:
    """A loss of a user's own: outputs go to 1 where the label is even, else to -1."""
    error, live = quartic_error(readout, target, xp), live[..., None]
    return xp.sum(xp.where(live, error**4, xp.zeros_like(readout)), axis=(1, 2, 3)) / 64


def quartic_with_gradient(readout: Array, target: Array, live: Array, xp: Any) -> tuple[Array, Array]:
    """The same with its gradient, for backends that differentiate no functions."""
    error, losses = quartic_error(readout, target, xp), quartic(readout, target, live, xp)
    return losses, xp.where(live[..., None], error**3 / 16, xp.zeros_like(readout))


def quartic_error(readout: Array, target: Array, xp: Any) -> Array:
    even = (target if target.ndim == 3 else target[:, None, None])[..., None] % 2 == 0
    return xp.where(even, readout - 1, readout + 1)


@pytest.mark.parametrize("kind", KINDS)
@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c21_a_loss_may_be_a_function(
    backend: Any, dtype: str, kind: str, case: Case, first_step: int
) -> None:
    assume(min_relu_margin(case, case.streams, first_step) > MARGIN[dtype])
    arguments: dict = {"kind": kind, "source": case.streams, "first_step": first_step, "image_grad": True}
    got = loss_and_grads(backend, dtype, case, loss=quartic_with_gradient, **arguments)
    compare(got, reference_loss_and_grads(case, loss=quartic, **arguments), dtype, case, arguments)


@law
@given(case=cases(), data=st.data())
def test_backends_c21_a_loss_may_call_the_backend(backend: Any, dtype: str, case: Case, data: st.DataObject) -> None:
    """A loss evolves other cells, or the same, and takes their gradients: nothing of its own call changes."""
    other = data.draw(st.one_of(st.just(case), cases()))
    params, image, state = inputs(backend, dtype, other)
    weights = other.weights.astype(dtype)

    def loss(readout: Array, target: Array, live: Array, xp: Any) -> tuple[Array, Array]:
        given_ = other.cell, params, image, state
        backend.evolve(*given_, other.streams, other.T)
        labels = other.target("labels")
        backend.loss_and_grads(other.cell, quartic_with_gradient, *given_[1:], labels, weights, other.streams)
        return quartic_with_gradient(readout, target, live, xp)

    for got, ref in zip(
        flat(loss_and_grads(backend, dtype, case, loss=loss, image_grad=True)),
        flat(loss_and_grads(backend, dtype, case, loss=quartic_with_gradient, image_grad=True)),
        strict=True,
    ):
        assert_same(got, ref, "A result with a loss that calls the backend", (case, other))


def flat(result: Result) -> list[Array]:
    """Return loss, gradients and last state."""
    return [np.asarray(result.loss), *result.grads.values(), result.state]


@pytest.mark.parametrize("kind", KINDS)
@law
@given(case=cases())
def test_backends_c21_the_reference_differentiates_a_function(kind: str, case: Case) -> None:
    """Along a random direction in each parameter and in the image, as in C11."""
    assume(min_relu_margin(case) > TURN)
    grads = reference_loss_and_grads(case, loss=quartic, kind=kind, image_grad=True).grads
    for name, direction in directions(case).items():
        differentiated(case, quartic, kind, grads, {name: direction})


@law
@given(case=cases(), first_step=st.integers(0, 10**6))
def test_backends_c22_an_objective_is_a_function_of_the_counted_states(
    backend: Any, dtype: str, case: Case, first_step: int
) -> None:
    """One that is linear in them: its value, and its gradients for environment, first state and parameters."""
    if not backend.offers("unroll_grads"):
        pytest.skip("not offered: unroll_grads")
    assume(case.weights.any() and min_relu_margin(case, case.streams, first_step) > MARGIN[dtype])
    got = linear_objective(backend, dtype, case, first_step)
    ref = linear_objective(reference, "float64", case, first_step)
    n = longest_sum(case.cell, case.cells)
    for name, expected in ref.items():
        close_grad(got[name], expected, n, name, case, {"first_step": first_step})


def linear_objective(backend: Any, dtype: str, case: Case, first_step: int) -> Params:
    """Return the result of `unroll_grads` for an objective that is linear in the counted states, as NumPy arrays."""
    in_loss, rng = case.weights.any(axis=1), case.rng("objective")
    slope = exact(rng.standard_normal((int(in_loss.sum()), *case.state.shape)))
    environment, params = case.environment, {n: to_backend(backend, x, dtype) for n, x in case.params.items()}
    seen: list[Array] = []

    def objective(states: Array, samples: Any) -> tuple[float, Array]:
        seen.append(np.arange(case.B)[samples])
        values = backend.asnumpy(states) * slope[:, samples]
        return float(values.sum()), to_backend(backend, slope[:, samples], dtype)

    arrays = (to_backend(backend, x, dtype) for x in (environment, case.state))
    given_ = case.cell, params, *arrays, case.streams, in_loss, objective
    value, grads, *others = backend.unroll_grads(*given_, first_step=first_step)
    assert sorted(np.concatenate(seen)) == list(range(case.B)), f"the objective was called for samples {seen}: {case}"
    of_step = {n: grads[n] for n in case.params if not n.startswith(("encode", "decode", "readout"))}
    named = of_step | dict(zip(("environment", "state", "last state"), others, strict=True))
    found = {name: backend.asnumpy(x) for name, x in named.items() if name not in frozen(case.cell)}
    return found | {"the value": np.asarray(float(value), dtype)}


@law
@given(case=cases(B=3, norm=("none", "instance", "channel")), size=st.integers(1, 4), data=st.data())
def test_backends_c23_the_parts_of_a_batch_sum_to_the_same_bits_on_any_ranks(
    backend: Any, dtype: str, case: Case, size: int, data: st.DataObject
) -> None:
    params, image, state = inputs(backend, dtype, case)
    target, weights, B = case.target("labels"), case.weights.astype(dtype), len(case.image)
    own = backend.batch_parts(case.cell, image)
    parts = own or contiguous_parts(B, 3)
    assert sorted(np.concatenate(parts)) == list(range(B)), f"parts {parts} of {B} samples: {case}"

    def compute(part: np.ndarray) -> list[Array]:
        given_ = params, image[part], state[part], target[part], weights[:, part], streams_of(case.streams, part)
        loss, grads, last = backend.loss_and_grads(case.cell, "ce", *given_)
        return [np.asarray(float(loss)), *(backend.asnumpy(grads[name]) for name in params), backend.asnumpy(last)]

    def add(left: list[Array], right: list[Array]) -> list[Array]:
        return [x + y for x, y in zip(left, right, strict=True)]

    whole = backend.map_parts(compute, parts)
    expected = tree_sum([found[:-1] for found in whole], add)
    ref = reference_loss_and_grads(case, loss="ce", kind="labels", source=case.streams)
    n = longest_sum(case.cell, case.cells)
    assert_close(expected[0], np.float64(ref.loss), n, "The loss of the parts", case, steps=case.T, dtype=dtype)
    for got, x in zip(backend.map_parts(compute, parts[-1:])[0], whole[-1], strict=True):
        assert_same(got, x, "A result of the last part, computed without the others", case)
    owners = data.draw(st.lists(st.integers(0, size - 1), min_size=len(parts), max_size=len(parts)))

    def program(ranks: Any) -> list[Array]:
        terms = {i: whole[i][:-1] for i, owner in enumerate(owners) if owner == ranks.rank}
        sizes = [x.shape for x in expected]

        def pack(term: list[Array]) -> Array:
            return np.concatenate([x.reshape(-1).astype(float) for x in term])  # exact, also from float32

        def unpack(flat: Array) -> list[Array]:
            ends = np.cumsum([int(np.prod(shape)) for shape in sizes])
            found = zip(np.split(flat, ends[:-1]), expected, strict=True)
            return [x.reshape(like.shape).astype(like.dtype) for x, like in found]

        count = sum(x.size for x in expected)
        return sum_over_tree(terms, owners, add, pack, unpack, (count,), float)

    for summed in simulate(size, program):
        for got, x in zip(summed, expected, strict=True):
            assert_same(got, x, f"A sum of parts on ranks {owners}", case)


@law
@given(case=cases(B=2, norm="batch"))
def test_backends_c23_under_batch_norm_there_is_one_part(backend: Any, dtype: str, case: Case) -> None:
    parts = backend.batch_parts(case.cell, inputs(backend, dtype, case)[1])
    assert parts is None or [list(part) for part in parts] == [list(range(case.B))], f"parts {parts}: {case}"


@pytest.mark.parametrize("case", [CASE, STRIDED, BATCHED], ids=["digits", "strided", "batch norm"])
def test_backends_c21_a_loss_of_one_s_own_can_be_trained(backend: Any, dtype: str, case: Case) -> None:
    """Twenty updates, from the same draws each time, make it smaller."""
    params, image, state = inputs(backend, dtype, case)
    target, weights = case.target("map"), case.weights.astype(dtype)
    m: Params = {}
    v: Params = {}
    values = []
    for i in range(21):
        given_ = params, image, state, target, weights, case.streams
        value, grads, _ = backend.loss_and_grads(case.cell, quartic_with_gradient, *given_)
        values.append(float(value))
        params = backend.adam_step(params, grads, m, v, i, 3e-3, True)
    assert values[-1] < 0.99 * values[0], f"the loss went from {values[0]} to {values[-1]}: {case}"


def calls(backend: Any, dtype: str, params: dict, image: Array, state: Array, case: Case = CASE) -> list:
    """The calls of the contract that the backend offers on these arrays, not yet made."""
    target, weights = backend.asarray(case.target("labels")), to_backend(backend, case.weights, dtype)
    possible = [lambda: backend.evolve(case.cell, params, image, state, case.streams, 1)]
    if backend.offers("loss_and_grads"):
        given_ = case.cell, "l2", params, image, state, target, weights, case.streams
        possible.append(lambda: backend.loss_and_grads(*given_))
    return possible


def directions(case: Case) -> Params:
    """A random direction in each parameter that learns, of its size, and in the image."""
    rng, along = case.rng("direction"), {}
    for name, value in {**case.params, "image": case.image}.items():
        if name not in frozen(case.cell):
            along[name] = np.sqrt(np.mean(value**2)) * rng.standard_normal(value.shape)
    if case.cell.alive_above is not None:
        along["image"] *= np.abs(case.image - case.cell.alive_above) > 1e-3
    return along


def differentiated(case: Case, loss: Any, kind: str, grads: Params, along: Params) -> None:
    """Raise AssertionError unless the derivative along these directions together equals the difference."""

    def at(step: float) -> float:
        variables = {**case.params, "image": case.image}
        moved = {name: variables[name] + step * direction for name, direction in along.items()}
        image, params = moved.pop("image", case.image), {**case.params, **moved}
        return reference_loss(case, loss, kind, image=image, params=params)

    h = 1e-6
    got, ref = sum(np.sum(grads[name] * along[name]) for name in along), (at(h) - at(-h)) / (2 * h)
    # a difference over 2h is right to about eps/h in the loss and h² in its third derivative
    bound = 1e-7 * (1 + abs(ref) + abs(at(0)))
    assert abs(got - ref) <= bound, f"along {sorted(along)}: got {got}, expected {ref} within {bound}: {case}"


def compare(got: Result, ref: Result, dtype: str, case: Case, arguments: dict) -> None:
    """The loss, every gradient and the last state by the rule of `compare.py`, and no gradient besides."""
    n, call = longest_sum(case.cell, case.cells), (case, arguments)
    assert_close(got.loss, np.float64(ref.loss), n, "The loss", call, steps=case.T, dtype=dtype)
    assert set(got.grads) == set(ref.grads), f"gradients of {sorted(got.grads)}, not of {sorted(ref.grads)}"
    for name, grad in ref.grads.items():
        close_grad(got.grads[name], grad, n, name, case, arguments)
    assert_close(got.state, ref.state, n, "The last state", call, steps=case.T)


def close_grad(got: Array, ref: Array, n: int, name: str, case: Case, arguments: dict | None = None) -> None:
    """A gradient by the rule of `compare.py`, that of a small parameter in its own unit of size."""
    # of a parameter s times as large as usual, each term of the gradient is 1/s times, and so is its rounding
    unit = case.size(name.partition(" ")[0])
    assert_close(unit * got, unit * ref, n, f"The gradient of {name}", (case, arguments), steps=case.T)
