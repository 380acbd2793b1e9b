"""Validation of digits during training: loss, cell accuracy and total agreement of digits that were held out.

Cells start from their initial states and run five times as many steps as in training, 100 for the article's settings.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refca.cli import counting_bar
from refca.data import Split
from refca.definition.cell import Params
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.step import alive, readout
from refca.digits.evaluation import rates, slices
from refca.digits.settings import DigitsExperiment
from refca.digits.training import label_weights
from refca.distributed import shared_map

UNROLLS = 5  # lengths of an unroll that cells run


def columns(experiment: DigitsExperiment) -> tuple[str, ...]:
    """Return the names of the metrics of `measure`."""
    return ("accuracy", "agreement")


def score(experiment: DigitsExperiment, measured: Mapping[str, float]) -> float:
    """Return the cell accuracy."""
    return measured["accuracy"]


def load_samples(experiment: DigitsExperiment, folder: str | None) -> Split:
    """Return the held-out digits, drawn as the grid of the training digits needs them."""
    with counting_bar("pictures") as show:
        train: Split = experiment.load_data(folder, on_progress=show).train
    held_out = train.part(len(train) - experiment.held_out(len(train)), len(train))
    return held_out.centred(experiment.grid) if experiment.grid > held_out.side else held_out


def measure(
    experiment: DigitsExperiment, backend: Any, held_out: Split, params: Params, samples: Split
) -> dict[str, float]:
    """Return the mean loss of the digits after the last step, and the metrics over all of them.

    Ranks share the digits, and rank 0 has the result.
    """
    cell, steps = experiment.cell, UNROLLS * max(experiment.unroll, experiment.unroll_max)
    weights = {name: backend.asnumpy(x) for name, x in params.items()}
    of_label = label_weights(experiment, samples)

    def of_slice(chosen: np.ndarray) -> tuple[float, tuple[int, ...]]:
        """Return the share of a slice of digits in the loss, and its counts."""
        label, image = held_out.labels[chosen], held_out.images(chosen)
        streams, live = Streams(experiment.seed, first_sample=int(chosen[0])), alive(cell, image)
        state, image = backend.initial_state(cell, image, streams), backend.asarray(image)
        state = backend.evolve(cell, params, image, state, streams, steps)
        mean = of_label[label][None] / len(held_out)
        loss = float(backend.loss_of_states(cell, experiment.loss, params, image, label, mean, state[None])[0])
        predicted = predict(readout(cell, weights, backend.asnumpy(state)))
        return loss, (*count_correct_cells(predicted, label, live), *count_agreeing_digits(predicted, live))

    loss, counts = 0.0, np.zeros(4)
    for slice_loss, slice_counts in shared_map(of_slice, slices(cell, backend, len(held_out))):
        loss += slice_loss
        counts += slice_counts
    return {"loss": loss, **rates(counts)}
