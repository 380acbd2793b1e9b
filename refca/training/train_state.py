"""The state of a training run, and the result of a training step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from refca.definition.cell import Array, Params
from refca.errors import Diverged
from refca.training.adam import Adam
from refca.training.ema import ema_step
from refca.training.experiment import Experiment
from refca.training.muon import muon_step
from refca.training.parts import Division


class Buffer(Protocol):
    """Data that persists between training steps: a dataclass whose fields are arrays."""

    def on(self, asarray: Callable[[Any], Array]) -> Self:
        """Return a copy whose large arrays are a backend's; the others stay NumPy arrays."""


class Best(NamedTuple):
    """The best weights of a run so far: their training step, their score on held-out samples, and NumPy arrays."""

    step: int
    score: float
    params: Params


@dataclass
class TrainState:
    """Everything that training changes, and the fingerprint of its samples.

    Parameters and moments are arrays of the backend, as are the large arrays of the buffer.
    """

    done: int  # training steps so far
    updates: int  # parameter updates so far, at most one for each training step
    params: Params
    adam: Adam
    buffer: Any  # the task's Buffer
    data: str  # the fingerprint of the training samples
    log: str = ""  # the mark of the log at this step
    validation_log: str = ""  # the same of the log of validation
    best: Best | None = None  # of runs with validation, once a score was measured
    ema: Params = field(default_factory=dict)  # the average of the parameters; empty without one or before an update

    @property
    def evaluated(self) -> Params:
        """The parameters to measure and to save: their average, where the run has one."""
        return self.ema or self.params

    def update(
        self, experiment: Experiment, grads: Params, learning_rate: float, *, normalise: bool, backend: Any
    ) -> None:
        """Update the parameters once, by the optimiser of the experiment, and their average."""
        if experiment.optimiser == "muon":
            self.update_by_muon(grads, learning_rate, normalise, backend)
        else:
            moments = self.adam.m, self.adam.v
            self.params = backend.adam_step(self.params, grads, *moments, self.updates, learning_rate, normalise)
        if experiment.ema_decay:
            self.ema = ema_step(self.ema, self.params, self.updates, experiment.ema_decay)
        self.updates += 1

    def update_by_muon(self, grads: Params, learning_rate: float, normalise: bool, backend: Any) -> None:
        """Update the parameters by Muon, in NumPy."""
        params, grads, m, v = (
            {name: backend.asnumpy(x) for name, x in arrays.items()}
            for arrays in (self.params, grads, self.adam.m, self.adam.v)
        )
        updated = muon_step(params, grads, m, v, self.updates, learning_rate, normalise)
        self.params = {name: backend.asarray(x) for name, x in updated.items()}
        self.adam = Adam(m, v).on(backend.asarray)

    def on(self, asarray: Callable[[Any], Array]) -> TrainState:
        """Return a copy whose large arrays are arrays of a backend."""
        params, ema = ({name: asarray(x) for name, x in tensors.items()} for tensors in (self.params, self.ema))
        return replace(self, params=params, ema=ema, adam=self.adam.on(asarray), buffer=self.buffer.on(asarray))


class StepResult(NamedTuple):
    """The loss and the final batch of a training step."""

    loss: float | Array | None  # None if no step of the unroll counts in it
    image: Array  # (B, sH, sW, K)
    target: np.ndarray  # (B,) or (B, sH, sW)
    state: Array  # (B, H, W, D) after the last step; where ranks share the batch, this rank's samples
    division: Division | None = None  # the ranks of the samples


class Weights(NamedTuple):
    """Parameters, their experiment and number of training steps; None if unknown."""

    params: Params
    experiment: Experiment | None = None
    done: int | None = None


class LossMonitor:
    """A queue of losses that are not read yet, because reading one waits for the device."""

    def __init__(self) -> None:
        self.unread: dict[int, float | Array] = {}

    def add(self, step: int, loss: float | Array | None) -> None:
        """Add the loss of a training step; check it at once if it is a Python number."""
        if loss is not None:
            self.unread[step] = loss
        if isinstance(loss, float):
            self.read()

    def read(self) -> None:
        """Read the queued losses. Raises Diverged for the first that is NaN or infinite."""
        for step, loss in self.unread.items():
            if not isfinite(float(loss)):
                raise Diverged(f"the loss of training step {step} is {float(loss)}")
        self.unread.clear()
