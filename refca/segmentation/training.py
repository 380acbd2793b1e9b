"""The training step for photographs, a mini-unroll.

Source: the paper, section 3; `spec/chapters/persistence.md`, `spec/chapters/adam.md`.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from refca.cli import counting_bar
from refca.data import Photographs, is_path
from refca.data.photographs import picture_of
from refca.definition.metrics import count_overlaps, predict, ratio
from refca.definition.params import param_shapes
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.distributed import current, gathered, total
from refca.errors import InvalidInput
from refca.segmentation.columns import iou_names
from refca.segmentation.gate import gate_function
from refca.segmentation.loss import loss_of
from refca.segmentation.persistence import (
    PersistentBatch,
    counted,
    draw_resample,
    keep_probability,
    loss_weights,
    resample,
    resampled,
)
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.shared_batch import resample_own
from refca.training.adam import Adam, learning_rate_at
from refca.training.parts import divide, evolve, loss_and_grads, undivided
from refca.training.train_state import StepResult, TrainState
from refca.training.transforms import draw_transforms, transform, transform_labels
from refca.training.warm_up import warm_up
from refca.weights.load import initial_params

BUFFER = PersistentBatch


def columns(experiment: SegmentationExperiment) -> tuple[str, ...]:
    """Return the names of what `measure` measures."""
    return (*iou_names(experiment.names), "gate")


def shown(experiment: SegmentationExperiment) -> str:
    """Return the name of what the progress bar shows: the IoU of the second class, which is the object."""
    return columns(experiment)[min(1, experiment.labels - 1)]


def useful(experiment: SegmentationExperiment) -> tuple[float, str]:
    """Return the IoU from which trained cells are of use, and what reaching it takes."""
    if is_path(experiment.dataset):
        return 0.3, "try more --steps first, then --tiles for small things, --class-weights balanced for rare ones"
    return (
        0.3,
        "a useful run takes some 10,000 steps, as --experiment pets-48-small does, and the paper's takes a million",
    )


def load_samples(experiment: SegmentationExperiment, folder: str | None) -> Photographs:
    """Return the training photographs without those held out for validation.

    Raises InvalidInput if they are missing, damaged, of another size, or all held out.
    """
    with counting_bar("photographs") as show:
        photographs = experiment.load_data(folder, ("train",), show).train
    return split_validation(experiment, photographs)[0]


def split_validation(experiment: SegmentationExperiment, photographs: Photographs) -> tuple[Photographs, Photographs]:
    """Split training photographs into those to train on, and the last ones, which are held out.

    All tiles of a picture stay together, so that more may be held out. Raises InvalidInput if all are held out.
    """
    count = experiment.held_out(len(photographs))
    if not experiment.tiles:
        first = len(photographs) - count
        return photographs.part(0, first), photographs.part(first, len(photographs))
    whole = np.array(list(map(picture_of, photographs.names)))
    held = np.zeros(len(whole), bool)
    for name in dict.fromkeys(whole[::-1].tolist()):
        if held.sum() >= count:
            break
        held |= whole == name
    if held.all():
        raise InvalidInput(f"validation leaves no picture to train on, got {count} of {len(whole)} tiles")
    return photographs.chosen(~held), photographs.chosen(held)


def prepare(experiment: SegmentationExperiment, backend: Any, photographs: Photographs) -> None:
    """Have the backend compile or load what training steps use."""
    warm_up(backend, experiment.cell, experiment.batch, experiment.size, "ce", label_map=True)


def memory(experiment: SegmentationExperiment, photographs: Photographs) -> dict[str, int]:
    """About how many bytes training needs: the layers of an unrolled batch; parameters, gradients and moments."""
    cell, sites = experiment.cell, (experiment.size // experiment.stride) ** 2
    layers = cell.state_channels + (1 + cell.hidden_layers) * cell.hidden_width
    params = sum(prod(shape) for shape in param_shapes(cell).values())
    largest = "hidden" if experiment.hidden >= experiment.state else "state"
    return {"batch": experiment.batch * 4 * sites * layers * experiment.unroll, largest: 16 * params}


def begin(experiment: SegmentationExperiment, backend: Any, photographs: Photographs) -> TrainState:
    """Return the state before the first training step: initial weights, and a batch that this step resamples."""
    B, side = experiment.batch, experiment.size // experiment.stride
    state = backend.asarray(np.zeros((B, side, side, experiment.state), np.float32))
    batch = PersistentBatch(np.zeros(B, np.int64), state, np.zeros(B, np.int64), np.zeros(B, bool))
    return TrainState(0, 0, initial_params(experiment, backend), Adam(), batch, photographs.fingerprint())


def train_step(
    experiment: SegmentationExperiment, backend: Any, photographs: Photographs, train_state: TrainState
) -> StepResult:
    """Do one training step: resample the batch, unroll it, and update the parameters if a step counts."""
    cell, i, K, T = experiment.cell, train_state.done, experiment.unroll, experiment.horizon
    streams, batch = Streams(experiment.seed).fold(i), train_state.buffer
    keep = keep_probabilities(experiment)
    resampling = draw_resample(
        experiment.batch, len(photographs), *keep, seed=experiment.seed, i=i, flips=experiment.flips
    )
    if experiment.transforms:
        resampling = replace(resampling, transforms=draw_transforms(experiment, experiment.batch, i))
    upcoming = resampled(batch, resampling, batch.state)  # the states follow once their ranks are known
    image = photographs.images(upcoming.photo, upcoming.flipped)
    target = photographs.labels(upcoming.photo, upcoming.flipped)
    if experiment.transforms:
        image = transform(backend.asnumpy(image), upcoming.transforms)
        target = transform_labels(target, upcoming.transforms)
    image = backend.asarray(image)
    division = divide(backend, cell, image, experiment.logical_workers)
    if current().size == 1:
        batch = resample(cell, batch, resampling, streams, backend)
        initial = batch.state
    else:
        batch, initial = resample_own(cell, batch, division, resampling, streams, backend)
    weights = loss_weights(batch.age, K, T)
    if weights.any():
        loss_function, params = loss_of(experiment, photographs), train_state.params
        loss, grads, state = loss_and_grads(
            backend, division, cell, loss_function, params, image, initial, target, weights, streams
        )
        schedule = (experiment.steps, experiment.schedule, experiment.warmup_steps)
        rate = learning_rate_at(experiment.learning_rate, i, *schedule)
        train_state.update(experiment, grads, rate, normalise=False, backend=backend)
    else:
        loss, state = None, evolve(backend, division, cell, train_state.params, image, initial, streams, K)
    if current().size == 1:
        train_state.buffer = replace(batch, state=state, age=batch.age + K)
    else:
        batch.state.store(np.arange(experiment.batch), division.ranks, state)
        train_state.buffer = replace(batch, age=batch.age + K)
    train_state.done += 1
    return StepResult(loss, image, target, state, division)


def keep_probabilities(experiment: SegmentationExperiment) -> tuple[float, float]:
    """Return the probabilities of keeping photograph and state at a training step; 0 without persistence."""
    if not experiment.persistence:
        return 0.0, 0.0
    K, T = experiment.unroll, experiment.horizon
    return keep_probability(experiment.keep_image, K, T), keep_probability(experiment.keep_state, K, T)


def measure(
    experiment: SegmentationExperiment, backend: Any, train_state: TrainState, result: StepResult
) -> dict[str, float]:
    """Return the IoU of each class and the mean gate for the last state of the batch, after the update.

    IoU covers the samples whose last step counts in the loss, the gate all cells in the following step. Undefined
    values are NaN. Ranks measure their own parts of the batch; the mean gate is on rank 0.
    """
    cell, target, division = experiment.cell, result.target, result.division or undivided(experiment.batch)
    params = {name: backend.asnumpy(x) for name, x in train_state.params.items()}
    old = counted(train_state.buffer.age - 1, 1, experiment.horizon)[0]
    gate_of = gate_function(cell, train_state.params, backend) if cell.resettable else None
    own = division.rows

    def measure_part(part: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return intersections and unions of a part, (2, L), and its gates, (len(part), H, W)."""
        state = result.state[np.searchsorted(own, part)]
        gate = backend.asnumpy(gate_of(result.image[part], state)) if gate_of else None
        predicted, known = predict(readout(cell, params, backend.asnumpy(state))), (target[part] >= 0)
        known &= old[part, None, None]
        return np.array(count_overlaps(predicted[known], target[part][known], cell.labels)), gate

    parts = list(division.own.values())
    measured = backend.map_parts(measure_part, parts)
    overlaps = total(sum((counts for counts, _ in measured), np.zeros((2, cell.labels), np.int64)))
    mean_gate = np.nan
    if gate_of:
        samples = [int(b) for part in parts for b in part]
        gates = dict(zip(samples, (x for _, gate in measured for x in np.asarray(gate)), strict=True))
        whole = gathered(gates, division.ranks, tuple(result.state.shape[1:3]), np.float32)
        mean_gate = np.nan if whole is None else float(whole.mean())
    return dict(zip(columns(experiment), map(float, (*ratio(*overlaps), mean_gate)), strict=True))


def check_buffer(path: Path, experiment: SegmentationExperiment, batch: PersistentBatch) -> None:
    """Raise InvalidInput, naming the file, unless a batch has the size and the cell of the experiment."""
    B, side = experiment.batch, experiment.size // experiment.stride
    photo, age, flipped, transforms = batch.photo, batch.age, batch.flipped, batch.transforms
    numbers = all(x.shape == (B,) and x.dtype == np.int64 and x.min() >= 0 for x in (photo, age))
    numbers = numbers and flipped.shape == (B,) and flipped.dtype == bool
    numbers = numbers and transforms.shape == (B, 4) and transforms.dtype == np.float64
    states = batch.state.shape == (B, side, side, experiment.state) and batch.state.dtype == np.float32
    if not numbers or not states:
        raise InvalidInput(f"{path}: its batch does not hold {B} photographs, float32 states and ages")


def check_samples(
    path: Path, experiment: SegmentationExperiment, batch: PersistentBatch, photographs: Photographs
) -> None:
    """Raise InvalidInput, naming the file, unless a batch's photographs are among the training samples."""
    if batch.photo.max() >= len(photographs):
        raise InvalidInput(
            f"{path}: photographs of its batch must be below {len(photographs)}, got {batch.photo.max()}"
        )
