"""Training on photographs: one step of it, a mini-unroll.

Source: the paper, section 3; `spec/persistence.md`, `spec/adam.md`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.adam import Adam
from refca.checkpoint import Progress
from refca.data import Photographs, load
from refca.experiment import PetsExperiment
from refca.metrics import iou, said
from refca.persistence import Colony, counted, decide, keep_probability, loss_weights, renew
from refca.pets_evaluation import IOUS, gates
from refca.programs import warm_up
from refca.randomness import Streams
from refca.step import readout
from refca.training import Trained, begin_params

COLUMNS = (*IOUS, "gate")
SHOWN = "iou_object"


def load_samples(experiment: PetsExperiment, folder: str | None) -> Photographs:
    """The training photographs. Raises Refused if they are not there, damaged, or not of this size."""
    return load("pets", folder, size=experiment.size, splits=("train",)).train


def prepare(experiment: PetsExperiment, backend: Any, photographs: Photographs) -> None:
    """Have the backend compile or load what training steps use."""
    warm_up(backend, experiment.cell, experiment.batch, experiment.size, "ce", label_map=True)


def begin(experiment: PetsExperiment, backend: Any, photographs: Photographs) -> Progress:
    """Where training starts: initial weights, and a colony that the first training step renews."""
    B, side = experiment.batch, experiment.size // experiment.stride
    state = backend.asarray(np.zeros((B, side, side, experiment.state), np.float32))
    colony = Colony(np.zeros(B, np.int64), state, np.zeros(B, np.int64))
    return Progress(0, 0, begin_params(experiment, backend), Adam(), colony, photographs.fingerprint())


def train_step(
    experiment: PetsExperiment, backend: Any, photographs: Photographs, progress: Progress
) -> Trained:
    """Do the next training step: renew the colony, unroll it, and move the parameters if a step counts."""
    cell, i, K, T = experiment.cell, progress.done, experiment.unroll, experiment.target
    streams, colony = Streams(experiment.seed).fold(i), progress.kept
    assert isinstance(colony, Colony)
    keep = keep_probabilities(experiment)
    renewal = decide(experiment.batch, len(photographs), *keep, seed=experiment.seed, i=i)
    colony = renew(colony, renewal, streams, backend)
    image = backend.asarray(photographs.images(colony.photo))
    target = photographs.labels(colony.photo)
    weights = loss_weights(colony.age, K, T)
    if weights.any():
        loss, grads, state = backend.loss_and_grads(
            cell,
            "ce",
            progress.params,
            image,
            colony.state,
            target,
            weights,
            streams,
        )
        progress.update(grads, experiment.rate, normalise=False, backend=backend)
    else:
        loss, state = None, backend.evolve(cell, progress.params, image, colony.state, streams, K)
    progress.kept = Colony(colony.photo, state, colony.age + K)
    progress.done += 1
    return Trained(loss, image, target, state)


def keep_probabilities(experiment: PetsExperiment) -> tuple[float, float]:
    """The probabilities to keep a photograph and a state at a training step; 0 without persistence."""
    if not experiment.persistence:
        return 0.0, 0.0
    K, T = experiment.unroll, experiment.target
    return keep_probability(experiment.keep_image, K, T), keep_probability(experiment.keep_state, K, T)


def measure(
    experiment: PetsExperiment, backend: Any, progress: Progress, trained: Trained
) -> dict[str, float]:
    """IoU of each class in the batch's last state, after the update, over the samples whose last step counts;
    and the mean gate of all cells in a step from it. NaN where there is none."""
    cell, gate = experiment.cell, np.array(np.nan)
    if cell.resettable:
        gate = backend.asnumpy(gates(cell, progress.params, backend, trained.image, trained.state))
    params = {name: backend.asnumpy(x) for name, x in progress.params.items()}
    target, state = trained.target, backend.asnumpy(trained.state)
    assert isinstance(progress.kept, Colony)
    old = counted(progress.kept.age - 1, 1, experiment.target)[0]
    predicted = said(readout(cell, params, state))
    ious = iou(predicted[old], target[old], cell.labels)
    return dict(zip(COLUMNS, map(float, (*ious, gate.mean())), strict=True))
