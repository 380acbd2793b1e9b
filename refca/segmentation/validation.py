"""Validation of photographs during training: loss and IoU of photographs that were held out, after the horizon.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from refca.cli import counting_bar
from refca.data import Photographs
from refca.definition.cell import Params
from refca.definition.metrics import count_overlaps, predict, ratio
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.distributed import shared_map
from refca.segmentation.columns import iou_names
from refca.segmentation.evaluation import slices
from refca.segmentation.loss import loss_of
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.training import split_validation


def columns(experiment: SegmentationExperiment) -> tuple[str, ...]:
    """Return the names of the metrics of `measure`."""
    return iou_names(experiment.names)


def score(experiment: SegmentationExperiment, measured: Mapping[str, float]) -> float:
    """Return the mean IoU of the classes that occur; NaN without any."""
    ious = [measured[name] for name in columns(experiment) if measured[name] == measured[name]]
    return sum(ious) / len(ious) if ious else float("nan")


def load_samples(experiment: SegmentationExperiment, folder: str | None) -> Photographs:
    """Return the held-out photographs."""
    with counting_bar("photographs") as show:
        photographs = experiment.load_data(folder, ("train",), show).train
    return split_validation(experiment, photographs)[1]


def measure(
    experiment: SegmentationExperiment, backend: Any, held_out: Photographs, params: Params, samples: Photographs
) -> dict[str, float]:
    """Return the mean loss of the photographs after the last step of the horizon, and the IoU over all pixels.

    Ranks share the photographs, and rank 0 has the result.
    """
    cell, loss = experiment.cell, loss_of(experiment, samples)
    weights = {name: backend.asnumpy(x) for name, x in params.items()}

    def of_slice(chosen: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the share of a slice of photographs in the loss, and its intersections and unions, (2, L)."""
        streams, target = Streams(experiment.seed, first_sample=int(chosen[0])), held_out.labels(chosen)
        image = backend.asarray(held_out.images(chosen))
        state = backend.initial_state(cell, image, streams)
        state = backend.evolve(cell, params, image, state, streams, experiment.horizon)
        mean = np.full((1, len(chosen)), 1 / len(held_out), np.float32)
        own = float(backend.loss_of_states(cell, loss, params, image, target, mean, state[None])[0])
        predicted, known = predict(readout(cell, weights, backend.asnumpy(state))), target >= 0
        return own, np.array(count_overlaps(predicted[known], target[known], cell.labels))

    total, counts = 0.0, np.zeros((2, cell.labels), np.int64)
    for slice_loss, slice_counts in shared_map(of_slice, slices(len(held_out))):
        total += slice_loss
        counts += slice_counts
    return {"loss": total, **dict(zip(columns(experiment), map(float, ratio(*counts)), strict=True))}
