"""Training on digits: one step of it.

Source: the article, experiment 1, and its training notebook; `spec/pool.md`, `spec/unroll.md`,
`spec/adam.md`.
"""

from __future__ import annotations

from typing import Any

from refca.adam import Adam, learning_rate
from refca.cell import init_state
from refca.checkpoint import Progress
from refca.data import Split, load
from refca.experiment import DigitsExperiment
from refca.metrics import cell_accuracy, total_agreement
from refca.pool import Pool, choose
from refca.programs import warm_up
from refca.randomness import Streams
from refca.seeds import POOL, generator
from refca.step import alive, readout
from refca.training import Trained, begin_params
from refca.unroll import last_steps, unroll_length

COLUMNS = ("accuracy", "agreement")
SHOWN = "accuracy"


def load_samples(experiment: DigitsExperiment, folder: str | None) -> Split:
    """The training digits. Raises Refused if they are not there or damaged."""
    return load(experiment.dataset, folder).train


def prepare(experiment: DigitsExperiment, backend: Any, digits: Split) -> None:
    """Have the backend compile or load what training steps use."""
    warm_up(backend, experiment.cell, experiment.batch, digits.pixels.shape[-1], experiment.loss)


def begin(experiment: DigitsExperiment, backend: Any, digits: Split) -> Progress:
    """Where training starts: initial weights, and a pool of digits whose cells have not moved."""
    first = generator(POOL, experiment.seed).integers(0, len(digits), experiment.pool)
    image = backend.asarray(digits.images(first))
    pool = Pool(image, digits.labels[first], init_state(experiment.cell, image))
    return Progress(0, 0, begin_params(experiment, backend), Adam(), pool, digits.fingerprint())


def train_step(experiment: DigitsExperiment, backend: Any, digits: Split, progress: Progress) -> Trained:
    """Do the next training step: unroll a batch of the pool, move the parameters, put the batch back."""
    cell, i, xp, pool = experiment.cell, progress.done, backend.xp, progress.kept
    assert isinstance(pool, Pool)
    settings = (experiment.regime, experiment.renewal, experiment.batch, experiment.pool)
    choices = choose(*settings, len(digits), experiment.seed, i)
    image, label = backend.asarray(digits.images(choices.digits)), digits.labels[choices.digits]
    batch = pool.take(cell, choices, image, label, xp)
    steps = unroll_length(experiment.unroll, experiment.unroll_most or experiment.unroll, experiment.seed, i)
    weights = last_steps(steps, experiment.batch, experiment.last)
    streams = Streams(experiment.seed).fold(i)
    loss, grads, state = backend.loss_and_grads(
        cell, experiment.loss, progress.params, batch.image, batch.state, batch.label, weights, streams
    )
    rate = learning_rate(experiment.rate, i, experiment.steps, experiment.schedule)
    progress.update(grads, rate, normalise=True, backend=backend)
    pool.put_back(choices, batch, state)
    progress.done += 1
    return Trained(loss, batch.image, batch.label, state)


def measure(
    experiment: DigitsExperiment, backend: Any, progress: Progress, trained: Trained
) -> dict[str, float]:
    """Cell accuracy and total agreement of the batch, in its last state, after the update."""
    said = readout(experiment.cell, progress.params, trained.state)
    live = alive(experiment.cell, trained.image)
    return {
        "accuracy": cell_accuracy(said, backend.asarray(trained.target), live),
        "agreement": total_agreement(said, live),
    }
