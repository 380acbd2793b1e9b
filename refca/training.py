"""Training: one step of it, written once over the arrays of any backend.

Source: the article, experiment 1, and its training notebook; `spec/pool.md`, `spec/adam.md`.
"""

from __future__ import annotations

from typing import Any

from refca.adam import Adam, learning_rate, normalised
from refca.cell import Array, init_params, init_state
from refca.checkpoint import Progress
from refca.data import Split
from refca.experiment import Experiment
from refca.pool import Pool, choose
from refca.randomness import Streams
from refca.seeds import POOL, generator


def begin(experiment: Experiment, backend: Any, digits: Split) -> Progress:
    """Where training starts: initial weights, and a pool of digits whose cells have not moved."""
    cell = experiment.cell
    first = generator(POOL, experiment.seed).integers(0, len(digits), experiment.pool)
    image = backend.asarray(digits.images(first))
    pool = Pool(image, backend.asarray(digits.labels[first]), init_state(cell, image))
    params = {name: backend.asarray(x) for name, x in init_params(cell, experiment.seed).items()}
    return Progress(0, params, Adam(), pool, digits.fingerprint())


def train_step(
    experiment: Experiment, backend: Any, digits: Split, progress: Progress
) -> tuple[float, Array, Array, Array]:
    """Do the next training step; return its loss, and the image, label and last state of its batch."""
    cell, i, xp = experiment.cell, progress.done, backend.xp
    choices = choose(
        experiment.regime, experiment.batch, experiment.pool, len(digits), seed=experiment.seed, i=i
    )
    image, label = digits.images(choices.digits), digits.labels[choices.digits]
    batch = progress.pool.take(cell, choices, backend.asarray(image), backend.asarray(label), xp)
    weights = xp.zeros((experiment.unroll, experiment.batch), batch.image.dtype)
    weights[-1] = 1 / experiment.batch
    streams = Streams(experiment.seed).fold(i)
    loss, grads, state = backend.loss_and_grads(
        cell, experiment.loss, progress.params, batch.image, batch.state, batch.label, weights, streams
    )
    rate = learning_rate(experiment.rate, i, experiment.steps)
    progress.params = progress.adam.step(progress.params, normalised(grads), i, rate)
    progress.pool.put_back(choices, batch, state)
    progress.done += 1
    return loss, batch.image, batch.label, state
