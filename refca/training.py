"""Training: what its two kinds share.

Each kind is a module with the same names, `digits_training` and `pets_training`:

    COLUMNS, SHOWN                                      what is measured of a batch; which of it the bar shows
    load_samples(experiment, folder)                    the training samples of its dataset
    prepare(experiment, backend)                        have the backend compile what will be used
    begin(experiment, backend, samples)                 where training starts: a Progress
    train_step(experiment, backend, samples, progress)  do the next training step: a Trained
    measure(experiment, backend, progress, trained)     a number for each of COLUMNS

Written once over the arrays of any backend. Source: `spec/programs.md`, `spec/adam.md`.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

from refca.cell import Array, Params, init_params
from refca.experiment import Experiment, PetsExperiment


class Trained(NamedTuple):
    """What a training step leaves: its loss, None if no step of it counted, and its batch: image
    (B, sH, sW, K), target (B,) or (B, sH, sW), and the last state (B, H, W, D)."""

    loss: float | None
    image: Array
    target: Array
    state: Array


def training_of(experiment: Experiment) -> ModuleType:
    """The module that trains this kind of experiment."""
    from refca import digits_training, pets_training

    return pets_training if isinstance(experiment, PetsExperiment) else digits_training


def begin_params(experiment: Experiment, backend: Any) -> Params:
    """The weights before training, in arrays of the backend."""
    return {name: backend.asarray(x) for name, x in init_params(experiment.cell, experiment.seed).items()}
