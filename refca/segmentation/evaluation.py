"""Evaluation of segmentation: IoU at chosen steps, and curves while photographs stay or change.

States are evolved and measured on the backend (for strided cells, measured in NumPy); labels are counted in
NumPy. Photographs are evolved in slices of 32, the paper's batch size, over which batch norm takes its
statistics; the last slice may be smaller. Nothing is measured after a state became NaN or infinite, because the
argmax of NaN would pass for a label.

Source: the paper, section 5 (IoU), Figures 2 and 11 (changing photographs), 15 (gate), 16 to 19 (norms);
`spec/programs.md`.

Letters: N photographs, B of them in a slice, s stride, H×W grid, D state channels, L labels, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refca.confusion import accuracy_of, confusion, iou_of, mean_iou, written
from refca.data import CLASSES, Photographs
from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_overlaps, predict, ratio
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.distributed import shared_map
from refca.segmentation.columns import iou_names
from refca.segmentation.gate import gate_function

SLICE = 32  # photographs evolved at a time
LEAP = 1009  # distance in the test set from a photograph to its replacement
CONDITIONS = ("kept", "replaced", "shifted")  # what happens to the photographs during a curve
MAGNITUDES = ("gate", "state", "logits", "state_change", "logits_change")

Curves = dict[str, np.ndarray]  # for each of `columns`, one value for each step; NaN if undefined


class Snapshot(NamedTuple):
    """A slice of photographs after one step; gate, state and logits are the backend's, NumPy's for strided cells."""

    gate: Array | None  # (B, H, W), in the last step; None before the first step, or without a gate
    state: Array  # (B, H, W, D)
    logits: Array  # (B, sH, sW, L)
    image: np.ndarray  # (B, sH, sW, 3)
    target: np.ndarray  # (B, sH, sW); -1 where the label is unknown


def iou_at(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    *,
    samples: int,
    at: Sequence[int],
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """Return the IoU of each class after each of the ascending steps `at`, (len(at), L) float64.

    It is accumulated over all pixels of the first `samples` photographs, each from its own initial state. It is
    NaN for a class that occurs nowhere, and for all classes after a state became NaN or infinite.
    `on_progress` is called with numbers of photographs times steps.
    """
    counts = confusion_at(
        cell, params, backend, photographs, samples=samples, at=at, seed=seed, on_progress=on_progress
    )
    return iou_of(counts)


def confusion_at(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    *,
    samples: int,
    at: Sequence[int],
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> np.ndarray:
    """Return how many pixels of each class are predicted as each class, as `iou_at`: (len(at), L, L) float64.

    Rows are true classes; they are NaN after a state became NaN or infinite. Ranks share the photographs, and
    rank 0 has the result.
    """
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    weights, fetched = measured_on(cell, params, on_device, backend)
    counts = np.zeros((len(at), cell.labels, cell.labels))
    measured = len(at)  # steps of `at` before a state became NaN or infinite

    def of_slice(chosen: np.ndarray) -> tuple[int, np.ndarray]:
        """Return the number of steps that can be measured and the counts of a slice of photographs."""
        nonlocal measured
        own = np.zeros_like(counts)
        streams, target = Streams(seed, first_sample=int(chosen[0])), photographs.labels(chosen)
        image = photographs.images(chosen)
        state, done = backend.initial_state(cell, image, streams), 0
        image = backend.asarray(image)
        for i, step in enumerate(at):
            state = backend.evolve(cell, on_device, image, state, streams, step - done, first_step=done)
            values = fetched(state)
            on_progress(len(chosen) * (step - done))
            done = step
            if i < measured and not np.isfinite(values).all():
                measured = i
            if i < measured:
                predicted = backend.asnumpy(predict(readout(cell, weights, values)))
                known = target >= 0
                own[i] = confusion(predicted[known], target[known], cell.labels)
        return measured, own

    for steps_measured, own in shared_map(of_slice, slices(samples)):
        measured = min(measured, steps_measured)
        counts += own
    counts[measured:] = np.nan
    return counts


def curves(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    *,
    samples: int,
    steps: int,
    every: int = 40,
    shift: int = 4,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> dict[str, Curves]:
    """Return curves over `steps` steps of the first `samples` photographs, under each of CONDITIONS.

    Photographs are "kept", or every `every` steps "replaced" by others or "shifted" by `shift` pixels, while
    states continue. "changes" is the number of changes so far. IoU is accumulated over the photographs and refers
    to the trimap shown at that step. "gate" is the mean reset gate of all cells in that step, NaN for a cell
    without a gate. "state" and "logits" are mean absolute values after the step, "state_change" and
    "logits_change" mean absolute changes in it: the paper's L1 norms divided by the number of values. All columns
    but "step" and "changes" are NaN after a state became NaN or infinite. Ranks share the photographs, and rank 0
    has the result.
    """
    found = {}
    for condition in CONDITIONS:
        counts = np.zeros((steps, 2, cell.labels), np.int64)
        sums = np.zeros((steps, len(MAGNITUDES)))
        measured = steps  # steps before a state became NaN or infinite
        of_slice = partial(
            measure_slice, cell, params, backend, photographs, condition, steps, every, shift, seed, on_progress
        )
        for steps_measured, slice_counts, slice_sums in shared_map(of_slice, slices(samples)):
            measured = min(measured, steps_measured)
            counts += slice_counts
            sums += slice_sums
        values = np.concatenate([ratio(counts[:, 0], counts[:, 1]), sums / samples], axis=1)
        values[measured:] = np.nan
        step = np.arange(1, steps + 1)
        changes = (step - 1) // every * (condition != "kept")
        found[condition] = dict(zip(columns(photographs.classes), (step, changes, *values.T), strict=True))
    return found


def measure_slice(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    condition: str,
    steps: int,
    every: int,
    shift: int,
    seed: int,
    on_progress: Callable[[int], object],
    chosen: np.ndarray,
) -> tuple[int, np.ndarray, np.ndarray]:
    """Return for a slice of photographs the number of steps before a state became NaN or infinite, and for each step
    intersections and unions, (steps, 2, L), and the sums over the photographs of MAGNITUDES, (steps, 5)."""
    counts, sums = np.zeros((steps, 2, cell.labels), np.int64), np.zeros((steps, len(MAGNITUDES)))
    given = cell, params, backend, photographs, chosen, condition
    snapshots = take_snapshots(*given, steps=steps, every=every, shift=shift, seed=seed)
    before = next(snapshots)
    for t, after in enumerate(snapshots):
        finite, *means = backend.asnumpy(magnitudes(before, after))
        if not finite:
            on_progress(len(chosen) * (steps - t))
            return t, counts, sums
        known, predicted = after.target >= 0, backend.asnumpy(predict(after.logits))
        counts[t] = count_overlaps(predicted[known], after.target[known], cell.labels)
        sums[t] = len(chosen) * np.array(means)
        before = after
        on_progress(len(chosen))
    return steps, counts, sums


def take_snapshots(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    chosen: np.ndarray,
    condition: str,
    *,
    steps: int,
    every: int = 40,
    shift: int = 4,
    seed: int = 0,
) -> Iterator[Snapshot]:
    """Yield a snapshot of these photographs before the first step and after each step, under a condition.

    `image` and `target` are the same array objects as in the snapshot before unless photographs have changed.
    """
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    weights, fetched = measured_on(cell, params, on_device, backend)
    image, target = shown(photographs, chosen, condition, 0, shift)
    streams = Streams(seed, first_sample=int(chosen[0]))
    state = backend.initial_state(cell, image, streams)
    on_backend, values = backend.asarray(image), fetched(state)
    yield Snapshot(None, values, readout(cell, weights, values), image, target)
    gate_of = gate_function(cell, on_device, backend) if cell.resettable else None
    for t in range(steps):
        if t and t % every == 0 and condition != "kept":
            image, target = shown(photographs, chosen, condition, t // every, shift)
            on_backend = backend.asarray(image)
        gate = fetched(gate_of(on_backend, state)) if gate_of else None
        state = backend.evolve(cell, on_device, on_backend, state, streams, 1, first_step=t)
        values = fetched(state)
        with np.errstate(over="ignore", invalid="ignore"):
            logits = readout(cell, weights, values)
        yield Snapshot(gate, values, logits, image, target)


def measured_on(cell: Cell, params: Params, on_device: Params, backend: Any) -> tuple[Params, Callable[[Array], Array]]:
    """Return the parameters for reading out states, and the function that fetches arrays for them.

    A strided cell is read out in NumPy, because its decoder needs NumPy arrays, and so are cells whose arrays
    NumPy's functions do not work on; other cells on the backend.
    """
    numpy_like = all(hasattr(x, "__array_function__") for x in on_device.values())
    return (on_device, lambda x: x) if cell.stride == 1 and numpy_like else (params, backend.asnumpy)


def shown(
    photographs: Photographs, chosen: np.ndarray, condition: str, changes: int, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return photographs (B, sH, sW, 3) and trimaps (B, sH, sW) after a number of changes.

    "replaced" turns photograph n into n + 1009·changes, modulo their number. "shifted" moves it around a square,
    by `shift` pixels to the right, down, left and up again; pixels that come in are zero, like those outside the
    grid, and their labels are unknown (-1).
    """
    if condition == "replaced":
        chosen = (chosen + LEAP * changes) % len(photographs)
    image, target = photographs.images(chosen), photographs.labels(chosen)
    if condition != "shifted":
        return image, target
    down, right = ((0, 0), (0, shift), (shift, shift), (shift, 0))[changes % 4]
    return shifted(image, down, right, 0), shifted(target, down, right, -1)


def shifted(pixels: np.ndarray, down: int, right: int, beyond: int) -> np.ndarray:
    """Return pixels (B, H, W, ...) moved down and to the right; new pixels have the value `beyond`."""
    out = np.full_like(pixels, beyond)
    out[:, down:, right:] = pixels[:, : pixels.shape[1] - down, : pixels.shape[2] - right]
    return out


def magnitudes(before: Snapshot, after: Snapshot) -> Array:
    """Return 1 if the state is finite, else 0, then a number for each of MAGNITUDES: (6,) float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = (after.state, after.logits, after.state - before.state, after.logits - before.logits)
        means = [np.abs(array).mean(dtype=float) for array in arrays]
    finite = np.isfinite(after.state).all().astype(float)
    gate = np.nan * finite if after.gate is None else after.gate.mean().astype(float)
    return np.stack([finite, gate, *means])


def slices(samples: int) -> Iterator[np.ndarray]:
    """Yield the indices of the photographs of each slice."""
    for first in range(0, samples, SLICE):
        yield np.arange(first, min(first + SLICE, samples))


def unmeasured(at: Sequence[int], ious: np.ndarray, found: dict[str, Curves]) -> str | None:
    """Return a sentence on the steps that could not be measured, or None if there are none."""
    lost = {"of all samples": np.array(at)[np.isnan(ious).all(axis=1)]}
    lost |= {f"of photographs {name}": curve["step"][np.isnan(curve["state"])] for name, curve in found.items()}
    when = [f"{photographs} by step {steps[0]}" for photographs, steps in lost.items() if len(steps)]
    if not when:
        return None
    return f"states became NaN or infinite: {', '.join(when)}; later steps are not measured"


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the values of a step, with the IoU of these classes."""
    return ("step", "changes", *iou_names(classes), *MAGNITUDES)


def summary(at: Sequence[int], ious: np.ndarray, classes: Sequence[str] = CLASSES) -> dict[str, float | None]:
    """Return the numbers of evaluation.json, such as iou_background_at_40; None if undefined."""
    return {
        f"{name}_at_{step}": None if value != value else float(value)
        for step, row in zip(at, ious, strict=True)
        for name, value in zip(iou_names(classes), row, strict=True)
    }


def totals(at: Sequence[int], counts: np.ndarray) -> dict[str, Any]:
    """Return mean_iou_at_40, pixel_accuracy_at_40 and confusion_at_40 for evaluation.json, for each step."""
    found: dict[str, Any] = {}
    for step, each in zip(at, counts, strict=True):
        for name, value in (("mean_iou", mean_iou(each)), ("pixel_accuracy", accuracy_of(each))):
            found[f"{name}_at_{step}"] = None if value != value else float(value)
        found[f"confusion_at_{step}"] = written(each)
    return found
