"""The training of stripes: batches of random pictures from zero states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refca.data.dataset import Split
from refca.definition.generators import BATCH, generator
from refca.definition.metrics import predict
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.training.adam import Adam
from refca.training.train_state import StepResult, TrainState
from refca.weights.load import initial_params


@dataclass
class Seen:
    """The number of batches that each training picture has been in, (N,) int64."""

    count: np.ndarray

    def on(self, asarray: Callable[[Any], Any]) -> Seen:
        return self


BUFFER = Seen


def columns(experiment: Any) -> tuple[str, ...]:
    return ("accuracy",)


def shown(experiment: Any) -> str:
    return "accuracy"


def useful(experiment: Any) -> tuple[float, str]:
    return 0.9, "a useful run takes some 100 steps"


def memory(experiment: Any, samples: Split) -> dict[str, int]:
    return {"batch": 4 * 36 * experiment.batch * experiment.unroll * (experiment.state + experiment.hidden)}


def load_samples(experiment: Any, folder: str | None) -> Split:
    train: Split = experiment.load_data(folder).train
    return train


def prepare(experiment: Any, backend: Any, samples: Split) -> None:
    pass


def begin(experiment: Any, backend: Any, samples: Split) -> TrainState:
    params = initial_params(experiment, backend)
    return TrainState(0, 0, params, Adam(), Seen(np.zeros(len(samples), np.int64)), samples.fingerprint())


def train_step(experiment: Any, backend: Any, samples: Split, train_state: TrainState) -> StepResult:
    cell, i, B, T = experiment.cell, train_state.done, experiment.batch, experiment.unroll
    chosen = generator(BATCH, experiment.seed, i).integers(0, len(samples), B)
    image, target = backend.asarray(samples.images(chosen)), samples.labels[chosen]
    weights = np.full((T, B), 1 / (T * B), np.float32)
    state, streams = backend.initial_state(cell, image), Streams(experiment.seed).fold(i)
    arguments = (cell, "ce", train_state.params, image, state, target, weights, streams)
    loss, grads, state = backend.loss_and_grads(*arguments)
    train_state.update(experiment, grads, experiment.learning_rate, normalise=True, backend=backend)
    np.add.at(train_state.buffer.count, chosen, 1)
    train_state.done += 1
    return StepResult(loss, image, target, state)


def measure(experiment: Any, backend: Any, train_state: TrainState, result: StepResult) -> dict[str, float]:
    predicted = backend.asnumpy(predict(readout(experiment.cell, train_state.params, result.state)))
    return {"accuracy": float((predicted == result.target[:, None, None]).mean())}


def check_buffer(path: Path, experiment: Any, buffer: Seen) -> None:
    pass


def check_samples(path: Path, experiment: Any, buffer: Seen, samples: Split) -> None:
    pass
