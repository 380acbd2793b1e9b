"""Measuring segmentation: IoU at chosen steps, and curves over steps while the photograph stays or changes.

States move on the backend and are measured there, those of strided cells on NumPy arrays; labels are counted
on NumPy arrays. So a step of the curves fetches labels and a few numbers. Photographs are moved in slices
of 32, the paper's batch, over which a cell with batch norm takes its statistics: the last slice is smaller
unless 32 divides the number of photographs. From the step after which a state is not finite nothing is
measured: the argmax of NaN would pass for a label.

Source: the paper, section 5 (IoU), Figures 2 and 11 (changing photographs), 15 (gate), 16 to 19 (norms);
`spec/programs.md`.

Letters: N photographs, B of them in a slice, s stride, H×W grid, D state channels, L labels, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from refca.data import Photographs
from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_overlaps, predict, ratio
from refca.definition.randomness import Streams
from refca.definition.state import init_state
from refca.definition.step import readout
from refca.segmentation.gate import IOUS, gating

SLICE = 32  # photographs moved at a time
LEAP = 1009  # photographs from one to that which replaces it
WAYS = ("kept", "replaced", "shifted")  # what happens to the photographs
MAGNITUDES = ("gate", "state", "logits", "state_change", "logits_change")
COLUMNS = ("step", "changes", *IOUS, *MAGNITUDES)

Curves = dict[str, np.ndarray]  # of each of COLUMNS, one value a step; NaN where there is none


class Snapshot(NamedTuple):
    """Of one slice, after one step; gate, state and logits on the backend, but NumPy's of a strided cell."""

    gate: Array | None  # (B, H, W), of the step that led here; None: before the first, or no gate
    state: Array  # (B, H, W, D)
    logits: Array  # (B, sH, sW, L)
    image: np.ndarray  # (B, sH, sW, 3)
    target: np.ndarray  # (B, sH, sW); -1 where nothing is known


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
    """IoU of each class after each of the steps `at`, ascending; (len(at), L) float64, NaN for none, and for
    all classes once a state is not finite.

    Accumulated over all pixels of the first `samples` photographs, each from its own initial state.
    `tick` is called with the number of photographs times steps that have been moved.
    """
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    weights, fetched = measured_on(cell, params, on_device, backend)
    counts = np.zeros((len(at), 2, cell.labels), np.int64)  # intersection, union
    measured = len(at)  # of them, those before a state was not finite
    for chosen in slices(samples):
        streams, target = Streams(seed, first_sample=int(chosen[0])), photographs.labels(chosen)
        image = photographs.images(chosen)
        state, done = backend.asarray(init_state(cell, image, streams, backend=backend)), 0
        image = backend.asarray(image)
        for i, step in enumerate(at):
            state = backend.evolve(cell, on_device, image, state, streams, step - done, first_step=done)
            values = fetched(state)
            on_progress(len(chosen) * (step - done))
            done = step
            if i < measured and not np.isfinite(values).all():
                measured = i
            if i < measured:
                named = backend.asnumpy(predict(readout(cell, weights, values)))
                counts[i] += count_overlaps(named, target, cell.labels)
    ious = ratio(counts[:, 0], counts[:, 1])
    ious[measured:] = np.nan
    return ious


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
    """Curves over `steps` steps of the first `samples` photographs, for each of WAYS of showing them.

    "kept" all the time; "replaced" by another, or "shifted" by `shift` pixels, after every `every` steps,
    while states go on; IoU is of the trimap of what is shown, accumulated over the photographs. "gate" is
    the mean over all cells of the gate in that step, NaN for a cell without one. "state" and "logits" are the
    mean absolute values after it, "state_change" and "logits_change" of what it changed: the paper's L1
    norms, divided by the number of values. "changes" is how often photographs have changed. All but "step"
    and "changes" are NaN once a state is not finite.
    """
    found = {}
    for way in WAYS:
        counts = np.zeros((steps, 2, cell.labels), np.int64)
        sums = np.zeros((steps, len(MAGNITUDES)))
        measured = steps  # of them, those before a state was not finite
        for chosen in slices(samples):
            snapshots = follow(
                cell,
                params,
                backend,
                photographs,
                chosen,
                way,
                steps=steps,
                every=every,
                shift=shift,
                seed=seed,
            )
            before = next(snapshots)
            for t, after in enumerate(snapshots):
                finite, *means = backend.asnumpy(magnitudes(before, after))
                if t == measured or not finite:
                    measured = t
                    on_progress(len(chosen) * (steps - t))
                    break
                known, named = after.target >= 0, backend.asnumpy(predict(after.logits))
                counts[t] += count_overlaps(named[known], after.target[known], cell.labels)
                sums[t] += len(chosen) * np.array(means)
                before = after
                on_progress(len(chosen))
        values = np.concatenate([ratio(counts[:, 0], counts[:, 1]), sums / samples], axis=1)
        values[measured:] = np.nan
        step = np.arange(1, steps + 1)
        changes = (step - 1) // every * (way != "kept")
        found[way] = dict(zip(COLUMNS, (step, changes, *values.T), strict=True))
    return found


def follow(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    chosen: np.ndarray,
    way: str,
    *,
    steps: int,
    every: int = 40,
    shift: int = 4,
    seed: int = 0,
) -> Iterator[Snapshot]:
    """The moments of these photographs, shown in one of WAYS: the initial one, and one after each step.

    `image` and `target` of a moment are the same arrays as before it unless photographs have changed.
    """
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    weights, fetched = measured_on(cell, params, on_device, backend)
    image, target = shown(photographs, chosen, way, 0, shift)
    streams = Streams(seed, first_sample=int(chosen[0]))
    state = backend.asarray(init_state(cell, image, streams, backend=backend))
    seen, values = backend.asarray(image), fetched(state)
    yield Snapshot(None, values, readout(cell, weights, values), image, target)
    gate_of = gating(cell, on_device, backend) if cell.resettable else None
    for t in range(steps):
        if t and t % every == 0 and way != "kept":
            image, target = shown(photographs, chosen, way, t // every, shift)
            seen = backend.asarray(image)
        gate = fetched(gate_of(seen, state)) if gate_of else None
        state = backend.evolve(cell, on_device, seen, state, streams, 1, first_step=t)
        values = fetched(state)
        with np.errstate(over="ignore", invalid="ignore"):
            logits = readout(cell, weights, values)
        yield Snapshot(gate, values, logits, image, target)


def measured_on(cell: Cell, params: Params, on_device: Params, backend: Any) -> tuple[Params, Callable[[Array], Array]]:
    """The parameters to read states out with, and what brings an array of the backend to them.

    Decoders of strided cells are for NumPy arrays; any other readout is for those of any library.
    """
    return (on_device, lambda x: x) if cell.stride == 1 else (params, backend.asnumpy)


def shown(
    photographs: Photographs, chosen: np.ndarray, way: str, changes: int, shift: int
) -> tuple[np.ndarray, np.ndarray]:
    """Photographs (B, sH, sW, 3) and trimaps (B, sH, sW), -1 where not known, after so many changes.

    "replaced": photograph n has become n + 1009·changes, counted round. "shifted": it goes round a square,
    to the right, down, left and up again by `shift` pixels; what comes in is zero, like the outside of the
    grid, and not known.
    """
    if way == "replaced":
        chosen = (chosen + LEAP * changes) % len(photographs)
    image, target = photographs.images(chosen), photographs.labels(chosen)
    if way != "shifted":
        return image, target
    down, right = ((0, 0), (0, shift), (shift, shift), (shift, 0))[changes % 4]
    return shifted(image, down, right, 0), shifted(target, down, right, -1)


def shifted(pixels: np.ndarray, down: int, right: int, beyond: int) -> np.ndarray:
    """Pixels (B, H, W, …) moved down and to the right; `beyond` comes in."""
    moved = np.full_like(pixels, beyond)
    moved[:, down:, right:] = pixels[:, : pixels.shape[1] - down, : pixels.shape[2] - right]
    return moved


def magnitudes(before: Snapshot, after: Snapshot) -> Array:
    """Whether the state is finite, 1 or 0, and a number for each of MAGNITUDES: (6,) float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        arrays = (after.state, after.logits, after.state - before.state, after.logits - before.logits)
        means = [np.abs(array).mean(dtype=float) for array in arrays]
    finite = np.isfinite(after.state).all().astype(float)
    gate = np.nan * finite if after.gate is None else after.gate.mean().astype(float)
    return np.stack([finite, gate, *means])


def slices(samples: int) -> Iterator[np.ndarray]:
    """The numbers of the photographs of each slice."""
    for first in range(0, samples, SLICE):
        yield np.arange(first, min(first + SLICE, samples))


def unmeasured(at: Sequence[int], ious: np.ndarray, found: dict[str, Curves]) -> str | None:
    """A sentence on the steps from which nothing is measured, since states were not finite; None: all was."""
    lost = {"of all samples": np.array(at)[np.isnan(ious).all(axis=1)]}
    lost |= {f"of those {way}": curve["step"][np.isnan(curve["state"])] for way, curve in found.items()}
    when = [f"{photographs} by step {steps[0]}" for photographs, steps in lost.items() if len(steps)]
    if not when:
        return None
    return f"states stopped being finite, {', '.join(when)}; nothing is measured from there on"


def summary(at: Sequence[int], ious: np.ndarray) -> dict[str, float | None]:
    """What evaluation.json holds: iou_background_at_40 and so on; None where there is none."""
    return {
        f"{name}_at_{step}": None if value != value else float(value)
        for step, row in zip(at, ious, strict=True)
        for name, value in zip(IOUS, row, strict=True)
    }
