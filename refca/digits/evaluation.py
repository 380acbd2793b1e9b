"""Evaluation of digits: curves over the steps of the automaton, before and after a mutation.

Batches of 1,000 test digits are evaluated for 200 steps; then each digit mutates to another one, and its cells go on
for 200 steps. Cells are counted on the backend, so that a device is waited for once for each slice of digits.

Source: the article, experiments 1 and 2, and its training notebook; `spec/chapters/evaluation.md`.

Letters: B digits of a slice, H×W grid, D state channels, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from math import prod
from typing import Any, NamedTuple

import numpy as np

from refca.data import Split
from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.state import mutate
from refca.definition.step import alive, readout
from refca.distributed import shared_map

BATCH = 1000  # digits whose cells are counted together
BATCH_NORM_SLICE = 125  # digits evolved at a time under batch norm, whose results depend on this number
CURVES = ("accuracy", "agreement", "state_magnitude", "update_magnitude")
FINITE = "finite"  # beside the curves: whether states have been finite up to each step
MUTATIONS = ("carry", "restart", "both", "none")

Curves = dict[str, np.ndarray]  # for each of CURVES and FINITE, one value for each step; NaN if undefined


def evaluate(
    cell: Cell,
    params: Params,
    backend: Any,
    digits: Split,
    *,
    samples: int,
    steps: int = 200,
    mutation: str = "carry",
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
    on_votes: Callable[[str, np.ndarray, np.ndarray], object] = lambda part, numbers, votes: None,
) -> dict[str, Curves]:
    """Return curves of the first `samples` digits: "before" the mutation, and after it under its name.

    With mutation "carry" each digit becomes another one and keeps its state where the new digit is alive; with
    "restart" the initial states come again, as in the article's released code; "both" measures both, "none"
    neither. Each value is the mean over batches of 1,000 digits. `on_progress` is called with the number of
    digits after each step, `on_votes` after the last step of a part with the part, the numbers of some digits, and
    how many live cells of each predict each label, (B, L). Ranks share the digits, and rank 0 has the result.
    """
    branches = {"both": ("carry", "restart"), "none": ()}.get(mutation, (mutation,))
    parts = ("before", *branches)
    params = {name: backend.asarray(x) for name, x in params.items()}
    counts = np.zeros((1 + len(branches), -(-samples // BATCH), steps, 6))

    def measured(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return counts and votes of a slice of digits for each part."""
        streams = Streams(seed, first_sample=int(chosen[0]))
        run = partial(evolve_and_count, cell, params, backend, streams, on_progress, steps)
        shown = digits_of(cell, backend, digits, chosen)
        state, part_counts, part_votes = run(shown, backend.initial_state(cell, shown.image, streams), 0)
        slice_counts, slice_votes = [part_counts], [part_votes]
        shown = digits_of(cell, backend, digits, others(chosen, len(digits)))
        for branch in branches:
            image = shown.image
            carried = branch == "carry"
            start = mutate(cell, state, image, backend.xp) if carried else backend.initial_state(cell, image, streams)
            _, part_counts, part_votes = run(shown, start, steps)
            slice_counts.append(part_counts)
            slice_votes.append(part_votes)
        found = to_numpy(backend, backend.xp.stack(slice_counts), 1.0 * backend.xp.stack(slice_votes))
        return found[0], found[1]

    all_slices = list(slices(cell, backend, samples))
    for chosen, (slice_counts, slice_votes) in zip(all_slices, shared_map(measured, all_slices), strict=False):
        counts[:, chosen[0] // BATCH] += slice_counts
        for part, votes in zip(parts, slice_votes, strict=True):
            on_votes(part, chosen if part == "before" else others(chosen, len(digits)), votes)
    return {part: ratios(cell, part_counts) for part, part_counts in zip(parts, counts, strict=True)}


def to_numpy(backend: Any, *arrays: Array) -> tuple[np.ndarray, ...]:
    """Return real arrays of a backend as NumPy arrays, for which a device waits once."""
    flat = backend.asnumpy(backend.xp.concatenate([x.reshape(-1) for x in arrays]))
    ends = np.cumsum([prod(x.shape) for x in arrays])[:-1]
    return tuple(part.reshape(x.shape) for part, x in zip(np.split(flat, ends), arrays, strict=True))


def slice_size(cell: Cell, backend: Any) -> int:
    """Return the number of digits to evolve at a time: the backend's choice, except under batch norm."""
    return BATCH_NORM_SLICE if cell.norm == "batch" else int(backend.sample_slice)


def slices(cell: Cell, backend: Any, samples: int) -> Iterator[np.ndarray]:
    """Yield the indices of the digits of each slice, which are evolved together; no batch of 1,000 shares one."""
    size = slice_size(cell, backend)
    for batch in range(0, samples, BATCH):
        end = min(batch + BATCH, samples)
        for first in range(batch, end, size):
            yield np.arange(first, min(first + size, end))


def evolve_and_count(
    cell: Cell,
    params: Params,
    backend: Any,
    streams: Streams,
    on_progress: Callable[[int], object],
    steps: int,
    shown: Shown,
    state: Array,
    first_step: int,
) -> tuple[Array, Array, Array]:
    """Evolve states for `steps` steps; return the last state, the counts of each step, (steps, 6), and its votes."""
    xp = backend.xp
    counts = []
    rows = live_rows(state, shown.live_cells)
    for i in range(steps):
        before = rows
        state = backend.evolve(cell, params, shown.image, state, streams, 1, first_step=first_step + i)
        rows = live_rows(state, shown.live_cells)
        predicted = predict(readout(cell, params, rows), xp)
        finite = (rows - rows).sum(-1) == 0
        predicted = xp.where(finite, predicted, 0 * predicted - 1)[shown.row]  # (B, H, W); -1: no label
        counts.append(xp.stack(count(predicted, shown.labels, shown.live, rows, rows - before, xp)))
        on_progress(len(shown.labels))
    return state, xp.stack(counts), count_votes(predicted, shown.live, cell.labels, xp)


class Shown(NamedTuple):
    """The digits of a slice, as arrays of the backend."""

    image: Array  # (B, H, W, 1)
    labels: Array  # (B,)
    live: Array  # (B, H, W) boolean
    live_cells: Array  # flat indices of live cells among B·H·W; a single 0 if none is alive
    row: Array  # (B, H, W): index of a live cell in live_cells; 0 for dead cells, which do not count


def digits_of(cell: Cell, backend: Any, digits: Split, chosen: np.ndarray) -> Shown:
    """Return these digits on the backend. Live cells are found in NumPy, which does not wait for a device."""
    image = digits.images(chosen)
    live = alive(cell, image)
    live_cells = np.flatnonzero(live) if live.any() else np.zeros(1, np.int64)
    row = np.where(live, np.cumsum(live).reshape(live.shape) - 1, 0)
    arrays = (image, digits.labels[chosen], live, live_cells, row)
    return Shown(*map(backend.asarray, arrays))


def others(chosen: np.ndarray, count: int) -> np.ndarray:
    """Return the digit that each chosen digit mutates to: half the data set further on; a lone digit is itself."""
    return (chosen + count // 2) % count


def live_rows(state: Array, live_cells: Array) -> Array:
    """Return the states of live cells, (live cells, D)."""
    return state.reshape(-1, state.shape[-1])[live_cells]


def count(predicted: Array, labels: Array, live: Array, rows: Array, updates: Array, xp: Any) -> list[Array]:
    """Return counts of one step: correct and live cells, agreeing and all digits, sums of |state| and |update|.

    They are 0-dimensional real arrays of `xp`, the library of the arguments.
    """
    counted = (*count_correct_cells(predicted, labels, live, xp), *count_agreeing_digits(predicted, live, xp))
    return [1.0 * x for x in (*counted, abs(rows).sum(), abs(updates).sum())]


def rates(counts: Iterable[float]) -> dict[str, float]:
    """Return accuracy and agreement from the numbers of correct cells, live cells, agreeing digits and digits.

    Each is NaN where there is nothing to count.
    """
    correct, cells, agreeing, digits = map(float, counts)
    nan = float("nan")
    return {"accuracy": correct / cells if cells else nan, "agreement": agreeing / digits if digits else nan}


def count_votes(predicted: Array, live: Array, labels: int, xp: Any) -> Array:
    """Return how many live cells of each digit predict each label, (B, L)."""
    return xp.stack([xp.sum((predicted == label) & live, axis=(1, 2)) for label in range(labels)]).T


def ratios(cell: Cell, counts: np.ndarray) -> Curves:
    """Return curves from counts (batches, steps, 6): the mean over batches of each ratio, NaN batches left out.

    All are NaN from the first step on at which a state is NaN or infinite.
    """
    measured = np.logical_and.accumulate(np.isfinite(counts).all(axis=(0, 2)))
    counts = np.where(measured[:, None], counts, np.nan)
    correct, cells, agreeing, digits, state, update = np.moveaxis(counts, -1, 0)
    numbers = cells * cell.state_channels
    pairs = ((correct, cells), (agreeing, digits), (state, numbers), (update, numbers))
    curves = {key: mean_ratio(*pair) for key, pair in zip(CURVES, pairs, strict=True)}
    return curves | {FINITE: measured}


def mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return the mean over batches (axis 0) of above / below, without batches where below is 0; NaN if none is left."""
    known = below > 0
    ratio = np.divide(above, below, out=np.zeros_like(above), where=known)
    batches = known.sum(axis=0)
    return np.divide(ratio.sum(axis=0), batches, out=np.full(batches.shape, np.nan), where=batches > 0)


def summary(curves: dict[str, Curves]) -> dict[str, float | int | None]:
    """Return the numbers of evaluation.json: values at the last step and at the best step of each part.

    Keys look like accuracy_at_200 and top_accuracy_step. Keys after a mutation begin with after_mutation_, or
    after_restart_ if both kinds were measured; their steps count from the mutation.
    """
    found: dict[str, float | int | None] = {}
    for part, prefix in prefixes(curves).items():
        for key in ("accuracy", "agreement"):
            values = [None if value != value else float(value) for value in curves[part][key]]
            top = max((value for value in values if value is not None), default=None)
            found[f"{prefix}{key}_at_{len(values)}"] = values[-1]
            found[f"{prefix}top_{key}"] = top
            found[f"{prefix}top_{key}_step"] = None if top is None else values.index(top) + 1
    return found


def unmeasured(curves: dict[str, Curves]) -> str | None:
    """Return a sentence on the steps that could not be measured, or None if there are none."""
    for part, prefix in prefixes(curves).items():
        lost = np.flatnonzero(~curves[part][FINITE])
        if len(lost):
            when = f"by step {lost[0] + 1}" + (f" {prefix.removesuffix('_').replace('_', ' a ')}" if prefix else "")
            return f"states became NaN or infinite {when}; later steps are not measured"
    return None


def prefixes(curves: dict[str, Curves]) -> dict[str, str]:
    """Return the measured parts, each with the prefix of its keys in the files."""
    after = [part for part in curves if part != "before"]
    names = {"before": ""}
    for part in after:
        names[part] = "after_restart_" if part == "restart" and len(after) > 1 else "after_mutation_"
    return names
