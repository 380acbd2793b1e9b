"""Training: what its two kinds share.

Each kind is a module with the same names, `digits_training` and `pets_training`:

    COLUMNS, SHOWN                                      what is measured of a batch; which of it the bar shows
    load_samples(experiment, folder)                    the training samples of its dataset
    prepare(experiment, backend, samples)               have the backend compile what will be used
    begin(experiment, backend, samples)                 where training starts: a Progress
    train_step(experiment, backend, samples, progress)  do the next training step: a Trained
    measure(experiment, backend, progress, trained)     a number for each of COLUMNS

Written once over the arrays of any backend. `train_step` waits for no device: it gives the backend work, and
reads nothing; `measure` reads. Source: `spec/programs.md`, `spec/adam.md`.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from refca.cell import Array, Params, init_params
from refca.checkpoint import check_weights, load_weights
from refca.experiment import Experiment, PetsExperiment
from refca.refused import Refused


class Trained(NamedTuple):
    """What a training step leaves: its loss, None if no step of it counted, and its batch: image
    (B, sH, sW, K), target (B,) or (B, sH, sW), which is NumPy's, and the last state (B, H, W, D)."""

    loss: float | Array | None
    image: Array
    target: np.ndarray
    state: Array


class Losses:
    """The losses of training steps that have not been looked at: those of a device are there when the device
    comes to them, and looking waits for that."""

    def __init__(self) -> None:
        self.unread: dict[int, float | Array] = {}

    def add(self, step: int, loss: float | Array | None) -> None:
        """Keep a loss for later; one that is there already is looked at."""
        if loss is not None:
            self.unread[step] = loss
        if isinstance(loss, float):
            self.read()

    def read(self) -> None:
        """Look at those kept. Raises Diverged for the first that is not finite."""
        for step, loss in self.unread.items():
            if not isfinite(float(loss)):
                raise Diverged(f"the loss of training step {step} is {float(loss)}")
        self.unread.clear()


class Diverged(Refused):
    """Training left the finite numbers."""


def training_of(experiment: Experiment) -> ModuleType:
    """The module that trains this kind of experiment."""
    from refca import digits_training, pets_training

    return pets_training if isinstance(experiment, PetsExperiment) else digits_training


def begin_params(experiment: Experiment, backend: Any) -> Params:
    """The weights before training, in arrays of the backend: random, or those that `start` names.

    Raises Refused for weights that cannot be read, or belong to another cell.
    """
    if experiment.start:
        params = load_weights(experiment.start).params
        remedy = "; start with weights of this experiment's cell, or with random ones"
        check_weights(Path(experiment.start), experiment.cell, params, remedy)
    else:
        params = init_params(experiment.cell, experiment.seed)
    return {name: backend.asarray(x) for name, x in params.items()}
