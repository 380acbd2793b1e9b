"""The laws of `spec/chapters/training_step.md`."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from refca.contract.adam import NORM_EPSILON
from refca.contract.reference import reference
from refca.data import Photographs, Split
from refca.definition.cell import Array, Params
from refca.definition.randomness import Streams
from refca.digits import training as digits_training
from refca.digits.pool import sample
from refca.digits.settings import DigitsExperiment
from refca.digits.unroll_length import last_steps, unroll_length
from refca.segmentation import training as segmentation_training
from refca.segmentation.persistence import PersistentBatch, draw_resample, keep_probability, loss_weights, resample
from refca.segmentation.settings import SegmentationExperiment
from refca.training.muon import OPTIMISERS
from refca.training.train_state import TrainState
from refca_spec import formulas
from refca_spec.compare import assert_close, assert_same

SIZE = 6  # pixels of a side
MARGIN = 1e-3  # how far a first moment may be from the reference's, in its own unit
SEED, LATER = 3, 2  # of runs, and a training step other than the first
RATE = 0.01  # the learning rate where parameters are followed: far above the rounding errors of float32


def digits() -> Split:
    rng = np.random.default_rng(1)
    return Split(rng.integers(0, 17, (12, SIZE, SIZE)).astype(np.uint8), rng.integers(0, 10, 12), 16)


def photographs() -> Photographs:
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (7, SIZE, SIZE, 3)).astype(np.uint8)
    trimaps = rng.integers(0, 3, (7, SIZE, SIZE)).astype(np.uint8)
    return Photographs(pixels, trimaps, tuple("abcdefg"))


def digits_run(backend: Any, **settings: Any) -> tuple[DigitsExperiment, Split, TrainState]:
    """An experiment on digits, its samples, and its state before training with an update layer that acts."""
    experiment = DigitsExperiment(batch=8, pool=10, unroll=3, unroll_max=5, steps=9).with_(**settings)
    samples = digits()
    train_state = digits_training.begin(experiment, backend, samples)
    return experiment, samples.on(backend), awake(train_state, backend)


def segmentation_run(backend: Any, **settings: Any) -> tuple[SegmentationExperiment, Photographs, TrainState]:
    """The same for photographs."""
    sizes = {"size": SIZE, "state": 5, "hidden": 6, "batch": 4, "unroll": 2, "horizon": 4, "steps": 9}
    experiment = SegmentationExperiment().with_(**sizes).with_(**settings)
    samples = photographs()
    train_state = segmentation_training.begin(experiment, backend, samples)
    return experiment, samples.on(backend), awake(train_state, backend)


RUNS: dict[str, Any] = {
    "digits": (digits_run, digits_training),
    "segmentation": (segmentation_run, segmentation_training),
}


def awake(train_state: TrainState, backend: Any) -> TrainState:
    """The state with random numbers in the layers that begin at zero, without which an unroll does little."""
    rng = np.random.default_rng(3)
    for name, x in train_state.params.items():
        if name.startswith(("update.weight", "gate")):
            values = rng.normal(0, 0.1, x.shape).astype(np.float32)
            train_state.params[name] = backend.asarray(values)
    return train_state


def exact(params: Params, backend: Any) -> Params:
    """Parameters as float64 arrays of NumPy."""
    return {name: np.array(backend.asnumpy(x), np.float64) for name, x in params.items()}


def gradient(
    loss: str, cell: Any, params: Params, batch: tuple[Array, Array, Array], weights: Array, streams: Streams
) -> Params:
    """The reference's gradient in float64 of a batch (image, state, target)."""
    image, state, target = batch
    arguments = (params, image.astype(np.float64), state.astype(np.float64), target, weights.astype(np.float64))
    return reference.loss_and_grads(cell, loss, *arguments, streams)[1]


def assert_first_moments(moments: Params, grads: Params, backend: Any) -> None:
    """Raise AssertionError unless the moments are a tenth of these gradients, each in its own unit."""
    assert moments.keys() == grads.keys()
    for name, grad in grads.items():
        unit = max(1e-6, float(np.abs(grad).max()))
        error = np.abs(backend.asnumpy(moments[name]) - 0.1 * grad).max() / unit
        assert error < MARGIN, f"Adam's first moment of {name} is {error:.2g} of its largest value away"


def mirrored(x: Array, flipped: Array) -> Array:
    """Pictures or label maps (B, H, W, ...), mirrored left to right where flipped (B,)."""
    return np.stack([each[:, ::-1] if turned else each for each, turned in zip(x, flipped, strict=True)])


@pytest.mark.parametrize("loss", ["l2", "ce"])
@pytest.mark.parametrize("regime", ["naive", "mutating"])
def test_training_step_c1_the_gradient_of_a_batch_of_the_pool_is_normalised(
    backend: Any, regime: str, loss: str
) -> None:
    experiment, samples, train_state = digits_run(backend, regime=regime, loss=loss, loss_steps=2, seed=SEED)
    train_state.done = LATER
    params, pool = exact(train_state.params, backend), deepcopy(train_state.buffer.on(backend.asnumpy))
    plan = sample(regime, 0.25, 8, 10, len(samples), SEED, LATER)
    batch = pool.gather(experiment.cell, plan, digits().images(plan.digits), digits().labels[plan.digits])
    weights, streams = last_steps(unroll_length(3, 5, SEED, LATER), 8, 2), Streams(SEED).fold(LATER)
    digits_training.train_step(experiment, backend, samples, train_state)
    grads = gradient(loss, experiment.cell, params, (batch.image, batch.state, batch.label), weights, streams)
    normalised = {name: grad / (np.sqrt((grad**2).sum()) + NORM_EPSILON) for name, grad in grads.items()}
    assert_first_moments(train_state.adam.m, normalised, backend)


def test_training_step_c2_the_batch_goes_back_into_its_slots(backend: Any) -> None:
    experiment, samples, train_state = digits_run(backend, seed=SEED)
    train_state.done = LATER
    before = deepcopy(train_state.buffer.on(backend.asnumpy))
    plan = sample("mutating", 0.25, 8, 10, len(samples), SEED, LATER)
    batch = before.gather(experiment.cell, plan, digits().images(plan.digits), digits().labels[plan.digits])
    steps = unroll_length(3, 5, SEED, LATER)
    arrays = (backend.asarray(batch.image), backend.asarray(batch.state))
    last = backend.evolve(experiment.cell, train_state.params, *arrays, Streams(SEED).fold(LATER), steps)
    digits_training.train_step(experiment, backend, samples, train_state)
    after = train_state.buffer.on(backend.asnumpy)
    assert_same(after.image[plan.slots], batch.image, "The images of the slots", plan)
    assert_same(after.label[plan.slots], batch.label, "The labels of the slots", plan)
    assert_close(after.state[plan.slots], backend.asnumpy(last).astype(np.float64), 180, "The states", plan, steps)
    others = np.setdiff1d(np.arange(10), plan.slots)
    for name, x in vars(before).items():
        assert_same(vars(after)[name][others], x[others], f"The {name} of other slots", plan)


def test_training_step_c3_the_gradient_of_a_mini_unroll_is_that_of_its_counted_steps(backend: Any) -> None:
    """With T = 4 a step counts at an age above 4/3: a resampled sample's second step, and every step of a kept one."""
    experiment, samples, train_state = segmentation_run(backend, flips=True, batch=8, seed=SEED)
    train_state.done, params = LATER, exact(train_state.params, backend)
    rng, K, T = np.random.default_rng(4), experiment.unroll, experiment.horizon
    state = rng.standard_normal((8, SIZE, SIZE, 5)).astype(np.float32)
    before = PersistentBatch(rng.integers(0, 7, 8), state, np.full(8, 2 * K), rng.random(8) < 0.5)
    train_state.buffer = before.on(backend.asarray)
    keep = (keep_probability(experiment.keep_image, K, T), keep_probability(experiment.keep_state, K, T))
    draw, streams = draw_resample(8, 7, *keep, seed=SEED, i=LATER, flips=True), Streams(SEED).fold(LATER)
    batch = resample(experiment.cell, before, draw, streams, reference)
    assert set(batch.age) == {0, 2 * K}, "this training step must draw both kept and resampled samples"
    image, target = (
        mirrored(x, batch.flipped) for x in (photographs().images(batch.photo), photographs().labels(batch.photo))
    )
    segmentation_training.train_step(experiment, backend, samples, train_state)
    assert train_state.updates == 1
    weights = loss_weights(batch.age, K, T)
    grads = gradient("ce", experiment.cell, params, (image, batch.state, target), weights, streams)
    assert_first_moments(train_state.adam.m, grads, backend)


def test_training_step_c4_an_unroll_that_does_not_count_only_moves_states(backend: Any) -> None:
    experiment, samples, train_state = segmentation_run(backend, horizon=12)  # counted from age 4 on
    params, state = dict(train_state.params), backend.asnumpy(train_state.buffer.state).copy()
    result = segmentation_training.train_step(experiment, backend, samples, train_state)
    assert result.loss is None
    assert (train_state.done, train_state.updates, train_state.adam.m) == (1, 0, {})
    for name, x in params.items():
        assert_same(backend.asnumpy(train_state.params[name]), backend.asnumpy(x), f"The parameter {name}", experiment)
    assert not np.array_equal(backend.asnumpy(train_state.buffer.state), state)


def test_training_step_c5_ages_grow_by_the_length_of_the_unroll(backend: Any) -> None:
    experiment, samples, train_state = segmentation_run(backend)
    K, T = experiment.unroll, experiment.horizon
    keep = (keep_probability(experiment.keep_image, K, T), keep_probability(experiment.keep_state, K, T))
    for i in range(4):
        age = train_state.buffer.age
        draw = draw_resample(experiment.batch, len(samples), *keep, seed=0, i=i)
        segmentation_training.train_step(experiment, backend, samples, train_state)
        expected = np.where(draw.new_photo | draw.new_state, 0, age) + K
        assert_same(train_state.buffer.age, expected, "The ages", (experiment, i))


@pytest.mark.parametrize("run", [digits_run, segmentation_run], ids=["digits", "segmentation"])
def test_training_step_c6_it_depends_on_the_seed_its_number_and_the_state_alone(backend: Any, run: Any) -> None:
    training = digits_training if run is digits_run else segmentation_training
    ends = []
    for _ in range(2):
        experiment, samples, train_state = run(backend)
        for _ in range(3):
            training.train_step(experiment, backend, samples, train_state)
            train_state = train_state.on(lambda x: backend.asarray(np.array(backend.asnumpy(x))))
        ends.append(exact(train_state.params, backend))
    for name in ends[0]:
        assert_same(ends[1][name], ends[0][name], f"The parameter {name} after three training steps", experiment)
    experiment, samples, train_state = run(backend, seed=1)
    training.train_step(experiment, backend, samples, train_state)
    assert any(not np.array_equal(exact(train_state.params, backend)[name], ends[0][name]) for name in ends[0])


@pytest.mark.parametrize("task", RUNS)
def test_training_step_c7_parameters_move_at_the_rate_of_the_training_step(backend: Any, task: str) -> None:
    """Training steps 4 and 5 of 9 make updates 0 and 1, at rates on half a cosine wave."""
    run, training = RUNS[task]
    experiment, samples, train_state = run(backend, learning_rate=RATE, schedule="cosine")
    train_state.done = 4
    params = exact(train_state.params, backend)
    m = v = {name: np.zeros_like(x) for name, x in params.items()}
    for update, i in enumerate((4, 5)):
        training.train_step(experiment, backend, samples, train_state)
        adam, rate = train_state.adam, RATE * (1 + np.cos(np.pi * i / 9)) / 2
        moved, first, second = (exact(x, backend) for x in (train_state.params, adam.m, adam.v))
        for name, x in params.items():
            grad = (first[name] - 0.9 * m[name]) / 0.1
            squares = 0.999 * v[name] + 0.001 * grad**2
            unit = max(1e-30, float(squares.max()))
            assert np.abs(second[name] - squares).max() < MARGIN * unit, f"the second moment of {name}, update {update}"
            correction = np.sqrt(1 - 0.999 ** (update + 1)) / (1 - 0.9 ** (update + 1))
            expected = x - rate * correction * first[name] / (np.sqrt(second[name]) + 1e-7)
            error = np.abs(moved[name] - expected).max() / rate
            assert error < MARGIN, f"{name} is {error:.2g} learning rates away from Adam's after update {update}"
        params, m, v = moved, first, second


@pytest.mark.parametrize("task", RUNS)
def test_training_step_c9_with_muon_matrices_move_by_their_orthogonal_momentum(backend: Any, task: str) -> None:
    run, training = RUNS[task]
    experiment, samples, train_state = run(backend, learning_rate=RATE, schedule="cosine", optimiser="muon")
    params = exact(train_state.params, backend)
    m = {name: np.zeros_like(x) for name, x in params.items()}
    for i in range(2):
        training.train_step(experiment, backend, samples, train_state)
        rate = RATE * (1 + np.cos(np.pi * i / 9)) / 2
        moved, first = (exact(x, backend) for x in (train_state.params, train_state.adam.m))
        for name, x in params.items():
            if not formulas.updated_as_matrix(x.shape):
                continue  # by Adam
            ahead = (0.95 * first[name] + first[name] - 0.95 * m[name]).reshape(-1, x.shape[-1])
            size = 0.2 * np.sqrt(max(ahead.shape))
            expected = x - rate * size * formulas.orthogonal(ahead).reshape(x.shape)
            error = np.abs(moved[name] - expected).max() / rate
            assert error < MARGIN, f"{name} is {error:.2g} learning rates away from Muon's after update {i}"
        params, m = moved, first
    assert train_state.adam.v.keys() == {name for name, x in params.items() if not formulas.updated_as_matrix(x.shape)}


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("task", RUNS)
def test_training_step_c10_an_average_follows_the_parameters_and_changes_nothing_else(
    backend: Any, task: str, optimiser: str
) -> None:
    run, training = RUNS[task]
    plain, averaged = (run(backend, learning_rate=RATE, optimiser=optimiser, ema_decay=d) for d in (0.0, 0.75))
    history: list[Params] = []
    for i in range(4):
        for experiment, samples, train_state in (plain, averaged):
            training.train_step(experiment, backend, samples, train_state)
        alone, followed = plain[2], averaged[2]
        for what, without, with_average in (
            ("The parameter", alone.params, followed.params),
            ("The first moment of", alone.adam.m, followed.adam.m),
            ("The second moment of", alone.adam.v, followed.adam.v),
            ("The buffer's", vars(alone.buffer), vars(followed.buffer)),
        ):
            for name, x in without.items():
                given = backend.asnumpy(with_average[name])
                assert_same(given, backend.asnumpy(x), f"{what} {name} after step {i}", averaged[0])
        if followed.updates > len(history):
            history.append(exact(followed.params, backend))
        for name, x in followed.ema.items():
            expected = formulas.moving_average([params[name] for params in history], 0.75)
            assert_close(backend.asnumpy(x), expected, len(history), f"The average of {name} after step {i}", history)
        assert followed.ema.keys() == (followed.params.keys() if history else set())
        assert not alone.ema, "an average that the settings do not ask for"
    assert len(history) > 1


def test_training_step_c8_photographs_and_label_maps_are_mirrored_together(backend: Any) -> None:
    experiment, samples, train_state = segmentation_run(backend, batch=8, flips=True)
    K, T = experiment.unroll, experiment.horizon
    keep = (keep_probability(experiment.keep_image, K, T), keep_probability(experiment.keep_state, K, T))
    photo, flipped = np.zeros(8, int), np.zeros(8, bool)
    for i in range(3):
        draw = draw_resample(8, len(samples), *keep, seed=0, i=i, flips=True)
        photo, flipped = (np.where(draw.new_photo, *x) for x in ((draw.photo, photo), (draw.flipped, flipped)))
        result = segmentation_training.train_step(experiment, backend, samples, train_state)
        image = mirrored(photographs().images(photo), flipped).astype(np.float64)
        assert_close(backend.asnumpy(result.image), image, 1, "The photographs", (experiment, i))
        assert_same(result.target, mirrored(photographs().labels(photo), flipped), "The label maps", (experiment, i))
        assert 0 < flipped.sum() < 8, f"the draws of training step {i} do not try the law"
