"""The training step for digits.

Source: the article, experiment 1, and its training notebook; `spec/chapters/pool.md`, `spec/chapters/unroll.md`,
`spec/chapters/adam.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from refca.cli import counting_bar, warn
from refca.data import Split, is_path
from refca.definition.cell import Array
from refca.definition.generators import POOL, generator
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.step import alive, readout
from refca.digits.augmentation import Ranges, augment, draw
from refca.digits.evaluation import rates
from refca.digits.pool import Pool, sample
from refca.digits.settings import DigitsExperiment
from refca.digits.shared_pool import commit_own, gather_own
from refca.digits.unroll_length import last_steps, unroll_length
from refca.distributed import current, total
from refca.doubts import LOOKED_AT, doubt
from refca.errors import InvalidInput
from refca.training.adam import Adam, learning_rate_at
from refca.training.class_weights import class_weights
from refca.training.parts import divide, loss_and_grads
from refca.training.train_state import StepResult, TrainState
from refca.training.transforms import draw_flips, draw_transforms, transform
from refca.training.warm_up import warm_up
from refca.weights.load import initial_params

BUFFER = Pool


def columns(experiment: DigitsExperiment) -> tuple[str, ...]:
    """Return the names of what `measure` measures."""
    return ("accuracy", "agreement")


def shown(experiment: DigitsExperiment) -> str:
    """Return the name of what the progress bar shows."""
    return "accuracy"


def useful(experiment: DigitsExperiment) -> tuple[float, str]:
    """Return the accuracy from which trained cells are of use, and what reaching it takes."""
    if is_path(experiment.dataset):
        return 0.8, "try more --steps first, then a smaller --size, where information crosses a picture in fewer steps"
    return 0.8, (
        "a useful run on MNIST takes some 10,000 steps (about 88 % of cells right), the article's takes 100,000 "
        "(95 %), --experiment digits-muon 16,000 (97 %); --experiment demo reaches 96 % on small digits in 10,000"
    )


def load_samples(experiment: DigitsExperiment, folder: str | None) -> Split:
    """Return the training digits without those held out. Raises InvalidInput if they are missing or damaged."""
    with counting_bar("pictures") as show:
        train: Split = experiment.load_data(folder, on_progress=show).train
    if warning := doubt(experiment.cell, train.images(slice(LOOKED_AT))):
        warn(f"{experiment.dataset}: {warning}")
    return train.part(0, len(train) - experiment.held_out(len(train)))


def prepare(experiment: DigitsExperiment, backend: Any, digits: Split) -> None:
    """Have the backend compile or load what training steps use."""
    warm_up(backend, experiment.cell, experiment.batch, grid_side(experiment, digits), experiment.loss)


def memory(experiment: DigitsExperiment, digits: Split) -> dict[str, int]:
    """Return about how many bytes training needs: for the states of the pool, and for an unrolled batch."""
    cell, sites = experiment.cell, grid_side(experiment, digits) ** 2
    state = 4 * sites * (cell.image_channels + cell.state_channels)
    unrolled = 4 * sites * (cell.state_channels + cell.hidden_width) * max(experiment.unroll, experiment.unroll_max)
    return {"pool": experiment.pool * state, "batch": experiment.batch * unrolled}


def begin(experiment: DigitsExperiment, backend: Any, digits: Split) -> TrainState:
    """Return the state before training: initial weights, and a pool of digits in their initial states."""
    first = generator(POOL, experiment.seed).integers(0, len(digits), experiment.pool)
    image = drawn(experiment, backend, digits, first, np.arange(len(first)), 0)
    pool = Pool(image, digits.labels[first], backend.initial_state(experiment.cell, image, Streams(experiment.seed)))
    return TrainState(0, 0, initial_params(experiment, backend), Adam(), pool, digits.fingerprint())


def grid_side(experiment: DigitsExperiment, digits: Split) -> int:
    """The side of the grid on which digits are trained, in pixels."""
    return experiment.grid or digits.side


def drawn(
    experiment: DigitsExperiment, backend: Any, digits: Split, numbers: np.ndarray, entering: np.ndarray, i: int
) -> Array:
    """Return digits by their numbers (B,), those entering the pool drawn as the experiment says, (B, G, G, 1).

    Where the experiment draws digits otherwise, samples that are not `entering`, which the pool ignores, are
    empty. i numbers the draws.
    """
    side = grid_side(experiment, digits)
    redrawn = experiment.ranges != Ranges() or side != digits.side
    if not (redrawn or experiment.flips or experiment.transforms):
        return backend.asarray(digits.images(numbers))
    images = np.zeros((len(numbers), side, side, experiment.channels), np.float32)
    new = backend.asnumpy(digits.images(numbers[entering]))
    if redrawn:
        new = augment(new, draw(experiment.ranges, len(numbers), experiment.seed, i).of(entering), side)
    flipped = draw_flips(experiment, len(numbers), i)[entering]
    new = np.where(flipped[:, None, None, None], new[:, :, ::-1], new)
    if experiment.transforms:
        paper = None if experiment.alive_above is None else 0.0
        new = transform(new, draw_transforms(experiment, len(numbers), i)[entering], beyond=paper)
    images[entering] = new
    return backend.asarray(images)


def train_step(experiment: DigitsExperiment, backend: Any, digits: Split, train_state: TrainState) -> StepResult:
    """Do one training step: unroll a batch of the pool, update the parameters, write the batch back."""
    cell, i, xp, pool = experiment.cell, train_state.done, backend.xp, train_state.buffer
    settings = (experiment.regime, experiment.fresh_fraction, experiment.batch, experiment.pool)
    plan = sample(*settings, len(digits), experiment.seed, i)
    entering = np.r_[: plan.fresh, experiment.batch - plan.mutated : experiment.batch]
    image, label = drawn(experiment, backend, digits, plan.digits, entering, i + 1), digits.labels[plan.digits]
    steps = unroll_length(experiment.unroll, experiment.unroll_max or experiment.unroll, experiment.seed, i)
    weights = last_steps(steps, experiment.batch, experiment.loss_steps)
    streams = Streams(experiment.seed).fold(i)
    initial = backend.initial_state(cell, image, streams) if cell.normal_start else None
    pictures, labels = pool.gather_digits(plan, image, label, xp)
    division = divide(backend, cell, pictures, experiment.logical_workers)
    if current().size == 1:
        batch = pool.gather(cell, plan, image, label, xp, initial)
    else:
        batch = gather_own(pool, cell, plan, division, pictures, labels, initial, backend)
    weights = weights * label_weights(experiment, digits)[batch.label]
    given = train_state.params, batch.image, batch.state, batch.label, weights, streams
    loss, grads, state = loss_and_grads(backend, division, cell, experiment.loss, *given)
    schedule = (experiment.steps, experiment.schedule, experiment.warmup_steps)
    rate = learning_rate_at(experiment.learning_rate, i, *schedule)
    train_state.update(experiment, grads, rate, normalise=True, backend=backend)
    if current().size == 1:
        pool.commit(plan, batch, state, backend)
    else:
        commit_own(pool, plan, division, batch, state, backend)
    train_state.done += 1
    return StepResult(loss, batch.image, batch.label, state, division)


def label_weights(experiment: DigitsExperiment, digits: Split) -> np.ndarray:
    """Return the weight of each label in the loss, (L,) float32, from the numbers of the training digits."""
    if experiment.class_weights == "none":
        return np.ones(experiment.labels, np.float32)
    counts = np.bincount(digits.labels, minlength=experiment.labels)
    return class_weights(counts, experiment.class_weights).astype(np.float32)


def measure(
    experiment: DigitsExperiment, backend: Any, train_state: TrainState, result: StepResult
) -> dict[str, float]:
    """Return cell accuracy and total agreement of the batch in its last state, read out after the update.

    Ranks count their own digits.
    """
    own = slice(None) if result.division is None else result.division.rows
    image, state = backend.asnumpy(result.image)[own], backend.asnumpy(result.state)
    params = {name: backend.asnumpy(x) for name, x in train_state.params.items()}
    live, predicted = alive(experiment.cell, image), predict(readout(experiment.cell, params, state))
    counts = [*count_correct_cells(predicted, result.target[own], live), *count_agreeing_digits(predicted, live)]
    return rates(total(np.array(counts, np.int64)))


def check_buffer(path: Path, experiment: DigitsExperiment, pool: Pool) -> None:
    """Raise InvalidInput, naming the file, unless a pool has the size and the cell of the experiment."""
    N, cell, sides = experiment.pool, experiment.cell, pool.image.shape[1:3]
    shapes = ((N, *sides, cell.image_channels), (N,), (N, *sides, cell.state_channels))
    dtypes, arrays = (np.float32, np.int64, np.float32), (pool.image, pool.label, pool.state)
    if pool.image.ndim != 4 or any(
        x.shape != shape or x.dtype != dtype for x, shape, dtype in zip(arrays, shapes, dtypes, strict=True)
    ):
        raise InvalidInput(f"{path}: its pool does not hold {N} digits and their states")
    if not 0 <= pool.label.min() <= pool.label.max() < cell.labels:
        raise InvalidInput(
            f"{path}: its pool has labels {pool.label.min()} to {pool.label.max()}; they go from 0 to {cell.labels - 1}"
        )


def check_samples(path: Path, experiment: DigitsExperiment, pool: Pool, digits: Split) -> None:
    """Raise InvalidInput, naming the file, unless the digits of a pool are on the grid of the training digits."""
    side = grid_side(experiment, digits)
    H, W = pool.image.shape[1:3]
    if (side, side) != (H, W):
        raise InvalidInput(f"{path}: its pool has digits of {H}x{W} pixels; training needs {side}x{side}")
