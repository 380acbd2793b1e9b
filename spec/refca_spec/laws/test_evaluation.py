"""The laws of `spec/chapters/evaluation.md`."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from refca.contract.reference import Reference, reference
from refca.data import Photographs, Split
from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import cell_accuracy, iou, predict, total_agreement
from refca.definition.params import param_shapes
from refca.definition.randomness import Streams
from refca.definition.state import init_state, mutate
from refca.definition.step import alive, readout
from refca.digits import evaluation as digits_evaluation
from refca.segmentation import evaluation as segmentation_evaluation
from refca.segmentation.cell import segmentation_cell
from refca_spec.compare import assert_same

CELL = Cell(image_channels=1, state_channels=4, hidden_width=5, labels=3, noise=0.02, alive_above=0.1)
PHOTOGRAPHS_CELL = segmentation_cell(state=4, hidden=5)
BATCH_NORM_CELL = replace(CELL, norm="batch")
STEPS = 3


def random_params(cell: Cell) -> Params:
    """Random parameters whose updates change labels."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, 0.5, shape).astype(np.float32) for name, shape in param_shapes(cell).items()}


def digits(count: int) -> Split:
    """Digits of 3x3 pixels, some of them without a live cell."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 17, (count, 3, 3)) * (rng.random((count, 1, 1)) < 0.9)
    return Split(pixels.astype(np.uint8), rng.integers(0, 3, count), 16)


def photographs(count: int) -> Photographs:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    names = tuple(map(str, range(count)))
    return Photographs(pixels, rng.integers(0, 3, (count, 4, 4)).astype(np.uint8), names)


def evolve(cell: Cell, image: Array, state: Array, first: int, first_step: int) -> Array:
    """The reference's state after one step of samples numbered from `first`."""
    streams = Streams(0, first_sample=first)
    return reference.evolve(cell, random_params(cell), image, state, streams, 1, first_step=first_step)


def expected_curves(samples: Split, parts: list[tuple[np.ndarray, Array, int]]) -> dict[str, np.ndarray]:
    """Mean accuracy and agreement over batches, each of (numbers of digits shown, initial state, first number)."""
    curves: dict[str, list[list[float]]] = {"accuracy": [], "agreement": []}
    for chosen, state, first in parts:
        image, labels = samples.images(chosen), samples.labels[chosen]
        accuracy, agreement = [], []
        for t in range(STEPS):
            state = evolve(CELL, image, state, first % 10**6, t + STEPS * (first >= 10**6))
            logits, live = readout(CELL, {}, state), alive(CELL, image)
            accuracy.append(float(cell_accuracy(logits, labels, live)))
            agreement.append(float(total_agreement(logits, live)))
        curves["accuracy"].append(accuracy)
        curves["agreement"].append(agreement)
    return {name: np.mean(values, axis=0) for name, values in curves.items()}


def evaluate(
    samples: Split, count: int, mutation: str, slice_size: int = 125, cell: Cell = CELL
) -> dict[str, dict[str, np.ndarray]]:
    backend = Reference()
    backend.sample_slice = slice_size
    run = partial(digits_evaluation.evaluate, cell, random_params(cell), backend, samples)
    return run(samples=count, steps=STEPS, mutation=mutation)


@pytest.mark.parametrize("slice_size", [125, 1000, 7])
def test_evaluation_c1_accuracy_is_the_mean_over_batches_of_1000(slice_size: int) -> None:
    samples = digits(1003)
    got = evaluate(samples, 1003, "none", slice_size)["before"]
    batches = [np.arange(1000), np.arange(1000, 1003)]
    starts = [np.zeros((len(chosen), 3, 3, 4), np.float32) for chosen in batches]
    expected = expected_curves(samples, [(c, s, int(c[0])) for c, s in zip(batches, starts, strict=True)])
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-12, err_msg=name)


def test_evaluation_c1_a_batch_without_a_live_cell_is_left_out() -> None:
    every = digits(1003)
    samples = replace(every, pixels=every.pixels * (np.arange(1003) < 1000)[:, None, None].astype(np.uint8))
    got, expected = (evaluate(samples, count, "none")["before"] for count in (1003, 1000))
    for name in ("accuracy", "agreement"):
        assert_same(got[name], expected[name], f"The {name}", samples)
    nothing = evaluate(samples.part(1000, 1003), 3, "none")["before"]
    assert np.isnan(nothing["accuracy"]).all()
    assert np.isnan(nothing["agreement"]).all()


@pytest.mark.parametrize("slice_size", [1000, 7])
def test_evaluation_c8_digits_share_the_means_of_batch_norm_in_slices_of_125(slice_size: int) -> None:
    samples = digits(130)
    got = evaluate(samples, 130, "none", slice_size, BATCH_NORM_CELL)["before"]["accuracy"]
    params, correct, live_cells = random_params(BATCH_NORM_CELL), np.zeros(STEPS), 0
    for chosen in (np.arange(125), np.arange(125, 130)):
        image, streams = samples.images(chosen), Streams(0, first_sample=int(chosen[0]))
        state, live = np.zeros((len(chosen), 3, 3, 4), np.float32), alive(BATCH_NORM_CELL, image)
        live_cells += live.sum()
        for t in range(STEPS):
            state = reference.evolve(BATCH_NORM_CELL, params, image, state, streams, 1, first_step=t)
            right = predict(readout(BATCH_NORM_CELL, params, state)) == samples.labels[chosen][:, None, None]
            correct[t] += (right & live).sum()
    np.testing.assert_allclose(got, correct / live_cells, rtol=1e-12)


def test_evaluation_c8_photographs_share_the_means_of_batch_norm_in_slices_of_32() -> None:
    cell, samples = replace(PHOTOGRAPHS_CELL, norm="batch"), photographs(33)
    params = random_params(cell)
    got = segmentation_evaluation.iou_at(cell, params, reference, samples, samples=33, at=(STEPS,))[0]
    predicted = []
    for chosen in (np.arange(32), np.array([32])):
        streams, image = Streams(0, first_sample=int(chosen[0])), samples.images(chosen)
        state = reference.evolve(cell, params, image, init_state(cell, image, streams), streams, STEPS)
        predicted.append(predict(readout(cell, params, state)))
    np.testing.assert_allclose(got, iou(np.concatenate(predicted), samples.labels(slice(33)), 3), rtol=1e-12)


def after_mutation(carry: bool) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Curves after a mutation as they are measured and as they are expected."""
    samples, chosen = digits(9), np.arange(6)
    got = evaluate(samples, 6, "carry" if carry else "restart")["carry" if carry else "restart"]
    image = samples.images(chosen)
    state = np.zeros((6, 3, 3, 4), np.float32)
    for t in range(STEPS):
        state = evolve(CELL, image, state, 0, t)
    shown = (chosen + 4) % 9
    start = mutate(CELL, state, samples.images(shown)) if carry else np.zeros_like(state)
    return got, expected_curves(samples, [(shown, start, 10**6)])


def test_evaluation_c2_a_mutation_carries_states_over_and_counts_on() -> None:
    got, expected = after_mutation(carry=True)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-12, err_msg=name)


def test_evaluation_c3_a_restart_begins_at_zero_and_counts_on() -> None:
    got, expected = after_mutation(carry=False)
    for name, values in expected.items():
        np.testing.assert_allclose(got[name], values, rtol=1e-12, err_msg=name)
    carried = after_mutation(carry=True)[0]
    assert any(not np.array_equal(got[name], carried[name], equal_nan=True) for name in expected)


def test_evaluation_c4_iou_is_a_ratio_of_sums_over_all_photographs() -> None:
    cell, samples, count = PHOTOGRAPHS_CELL, photographs(35), 33
    params = random_params(cell)
    got = segmentation_evaluation.iou_at(cell, params, reference, samples, samples=count, at=(0, STEPS))
    for k, steps in enumerate((0, STEPS)):
        predicted = []
        for n in range(count):
            streams, image = Streams(0, first_sample=n), samples.images([n])
            state = init_state(cell, image, streams)
            state = reference.evolve(cell, params, image, state, streams, steps)
            predicted.append(predict(readout(cell, params, state)))
        expected = iou(np.concatenate(predicted), samples.labels(slice(count)), 3)
        np.testing.assert_allclose(got[k], expected, rtol=1e-12)


@pytest.mark.parametrize("changes", [0, 1, 5])
def test_evaluation_c5_a_replaced_photograph_is_1009_further_on(changes: int) -> None:
    samples, chosen = photographs(13), np.array([0, 4, 12])
    image, target = segmentation_evaluation.shown(samples, chosen, "replaced", changes, 1)
    expected = [(n + 1009 * changes) % 13 for n in chosen]
    assert_same(image, samples.images(expected), "The photographs", changes)
    assert_same(target, samples.labels(expected), "The label maps", changes)


@pytest.mark.parametrize(("changes", "down", "right"), [(0, 0, 0), (1, 0, 1), (2, 1, 1), (3, 1, 0), (4, 0, 0)])
def test_evaluation_c6_a_shifted_photograph_goes_round_a_square(changes: int, down: int, right: int) -> None:
    samples, chosen = photographs(3), np.array([0, 2])
    image, target = segmentation_evaluation.shown(samples, chosen, "shifted", changes, 1)
    pixels, labels = samples.images(chosen), samples.labels(chosen)
    for y in range(4):
        for x in range(4):
            inside = y >= down and x >= right
            expected = pixels[:, y - down, x - right] if inside else np.zeros((2, 3), np.float32)
            label = labels[:, y - down, x - right] if inside else np.full(2, -1)
            assert_same(image[:, y, x], expected, "A pixel", (changes, y, x))
            assert_same(target[:, y, x], label, "A label", (changes, y, x))


@pytest.mark.parametrize("condition", ["kept", "replaced", "shifted"])
def test_evaluation_c7_photographs_change_after_every_so_many_steps(condition: str) -> None:
    cell, samples, chosen = PHOTOGRAPHS_CELL, photographs(5), np.arange(2)
    params, every = random_params(cell), 2
    curves = segmentation_evaluation.curves(cell, params, reference, samples, samples=2, steps=5, every=every)
    given_ = cell, params, reference, samples, chosen, condition
    start, *snapshots = segmentation_evaluation.take_snapshots(*given_, steps=5, every=every, shift=1)
    assert_same(start.image, samples.images(chosen), "The photographs at the start", condition)
    state, expected = init_state(cell, start.image, Streams(0)), np.array([0, 0, 1, 1, 2]) * (condition != "kept")
    for t, (snapshot, changes) in enumerate(zip(snapshots, expected, strict=True)):
        image, target = segmentation_evaluation.shown(samples, chosen, condition, int(changes), 1)
        state = reference.evolve(cell, params, image, state, Streams(0), 1, first_step=t)
        assert_same(snapshot.image, image, "The photographs", (condition, t))
        assert_same(snapshot.target, target, "The label maps", (condition, t))
        assert_same(snapshot.state, state, "The state", (condition, t))
    assert_same(curves[condition]["changes"], expected, "The number of changes", condition)
