"""What training changes from step to step, and what a step leaves behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from refca.definition.cell import Array, Params
from refca.errors import Diverged
from refca.training.adam import Adam
from refca.training.experiment import Experiment


class Buffer(Protocol):
    """What goes on from one training step to the next: a dataclass whose fields are arrays."""

    def on(self, asarray: Callable[[Any], Array]) -> Self:
        """Return a copy whose large arrays are arrays of a backend; the others stay NumPy's."""


@dataclass
class TrainState:
    """Everything that training changes, and the fingerprint of what it learns from.

    Parameters and moments are arrays of the backend, as are the large arrays of the buffer.
    """

    done: int  # training steps
    updates: int  # of the parameters: at most one in a training step
    params: Params
    adam: Adam
    buffer: Any  # the task's Buffer
    data: str  # the fingerprint of the training samples

    def update(self, grads: Params, learning_rate: float, *, normalise: bool, backend: Any) -> None:
        """Do one update of the parameters."""
        self.params = self.adam.step(
            self.params, grads, self.updates, learning_rate, normalise=normalise, backend=backend
        )
        self.updates += 1

    def on(self, asarray: Callable[[Any], Array]) -> TrainState:
        """Return a copy whose large arrays are arrays of a backend."""

        def moved(arrays: Params) -> Params:
            return {name: asarray(x) for name, x in arrays.items()}

        adam = Adam(moved(self.adam.m), moved(self.adam.v))
        return replace(self, params=moved(self.params), adam=adam, buffer=self.buffer.on(asarray))


class StepResult(NamedTuple):
    """What a training step leaves: its loss and the batch that it ended in."""

    loss: float | Array | None  # None if no step of the unroll counted
    image: Array  # (B, sH, sW, K)
    target: np.ndarray  # (B,) or (B, sH, sW)
    state: Array  # (B, H, W, D), the last one


class Weights(NamedTuple):
    """Parameters, the experiment that they come from, and its training steps; None where not known."""

    params: Params
    experiment: Experiment | None = None
    done: int | None = None


class LossMonitor:
    """Losses that have not been read yet: reading the loss of a device waits until the device has it."""

    def __init__(self) -> None:
        self.unread: dict[int, float | Array] = {}

    def add(self, step: int, loss: float | Array | None) -> None:
        """Add the loss of a training step. A Python number is read at once."""
        if loss is not None:
            self.unread[step] = loss
        if isinstance(loss, float):
            self.read()

    def read(self) -> None:
        """Read the losses added. Raises Diverged for the first that is not finite."""
        for step, loss in self.unread.items():
            if not isfinite(float(loss)):
                raise Diverged(f"the loss of training step {step} is {float(loss)}")
        self.unread.clear()
