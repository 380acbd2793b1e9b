"""Measuring an automaton: curves over its steps, before and after every digit mutates.

Cells are counted where the backend has them: a device is waited for once in a slice of digits.

Source: the article, experiment 1; `spec/programs.md`: batches of 1,000 test digits, 200 steps, a
mutation to another test digit, 200 more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from refca.data import Split
from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.state import init_state, mutate
from refca.definition.step import alive, readout

BATCH = 1000  # digits over which cells are counted together
SLICE = 125  # of them moved at a time: their states fit in a processor's cache; a backend may say otherwise
CURVES = ("accuracy", "agreement", "state_magnitude", "update_magnitude")
MUTATIONS = ("carry", "restart", "both", "none")

Curves = dict[str, np.ndarray]  # of each of CURVES, one value a step; NaN where there is none


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
) -> dict[str, Curves]:
    """Curves of the first `samples` digits, "before", and of the steps after a mutation, under its name.

    mutation "carry": each digit becomes another, states are kept where it is alive; "restart": each digit
    becomes another and its states start from zero (what the article's released code measured); "both" has
    both, from the same digits; "none" neither. Each value is the mean over batches of 1,000 digits.
    `tick` is called with the number of digits that have been moved by one step.
    """
    branches = {"both": ("carry", "restart"), "none": ()}.get(mutation, (mutation,))
    params = {name: backend.asarray(x) for name, x in params.items()}
    counts = np.zeros((1 + len(branches), -(-samples // BATCH), steps, 6))
    for chosen in slices(samples, slice_of(backend)):
        move = partial(follow, cell, params, backend, Streams(seed, first_sample=int(chosen[0])), on_progress, steps)
        shown = digits_of(cell, backend, digits, chosen)
        settled, found = move(shown, init_state(cell, shown.image), 0)
        each = [found]
        shown = digits_of(cell, backend, digits, others(chosen, len(digits)))
        for part in branches:
            image = shown.image
            begun = mutate(cell, settled, image) if part == "carry" else init_state(cell, image)
            each.append(move(shown, begun, steps)[1])
        counts[:, chosen[0] // BATCH] += backend.asnumpy(backend.xp.stack(each))
    parts = ("before", *branches)
    return {part: ratios(cell, of_part) for part, of_part in zip(parts, counts, strict=True)}


def slice_of(backend: Any) -> int:
    """How many digits are moved at a time."""
    return int(getattr(backend, "sample_slice", SLICE))


def slices(samples: int, size: int) -> Iterator[np.ndarray]:
    """The numbers of the digits of each slice: `size` of them, or what is left of the samples or a batch."""
    for batch in range(0, samples, BATCH):
        end = min(batch + BATCH, samples)
        for first in range(batch, end, size):
            yield np.arange(first, min(first + size, end))


def follow(
    cell: Cell,
    params: Params,
    backend: Any,
    streams: Streams,
    on_progress: Callable[[int], object],
    steps: int,
    shown: Shown,
    state: Array,
    first_step: int,
) -> tuple[Array, Array]:
    """Move states by `steps` steps, counted from `start`: the last state, and what is counted, (steps, 6)."""
    counts = []
    rows = live_rows(state, shown.live_cells)
    for i in range(steps):
        before = rows
        state = backend.evolve(cell, params, shown.image, state, streams, 1, first_step=first_step + i)
        rows = live_rows(state, shown.live_cells)
        named = predict(readout(cell, params, rows))[shown.row]
        counts.append(backend.xp.stack(count(named, shown.labels, shown.live, rows, rows - before)))
        on_progress(len(shown.labels))
    return state, backend.xp.stack(counts)


class Shown(NamedTuple):
    """The digits of a slice, in arrays of the backend."""

    image: Array  # (B, H, W, 1)
    labels: Array  # (B,)
    live: Array  # (B, H, W) boolean
    live_cells: Array  # the numbers of live cells, of all B·H·W; 0 if none lives, for `row` to refer to
    row: Array  # (B, H, W): which of live_cells a live cell is; 0 for others, which are not counted


def digits_of(cell: Cell, backend: Any, digits: Split, chosen: np.ndarray) -> Shown:
    """These digits on the backend. Which cells live is worked out before: a device would be waited for."""
    image = digits.images(chosen)
    live = alive(cell, image)
    live_cells = np.flatnonzero(live) if live.any() else np.zeros(1, np.int64)
    row = np.where(live, np.cumsum(live).reshape(live.shape) - 1, 0)
    arrays = (image, digits.labels[chosen], live, live_cells, row)
    return Shown(*map(backend.asarray, arrays))


def others(chosen: np.ndarray, count: int) -> np.ndarray:
    """The digit that each chosen digit becomes: half the dataset further on, and so never itself."""
    return (chosen + count // 2) % count


def live_rows(state: Array, live_cells: Array) -> Array:
    """The states of live cells, (live cells, D)."""
    return state.reshape(-1, state.shape[-1])[live_cells]


def count(named: Array, labels: Array, live: Array, rows: Array, updates: Array) -> list[Array]:
    """Of one step: right cells, live cells, agreeing digits, digits, and summed |state| and |update|; float64
    numbers of the arrays' library."""
    counted = (*count_correct_cells(named, labels, live), *count_agreeing_digits(named, live))
    return [x.astype(np.float64) for x in (*counted, abs(rows).sum(), abs(updates).sum())]


def ratios(cell: Cell, counts: np.ndarray) -> Curves:
    """Curves from counts (batches, steps, 6): the mean of each batch's ratio, of those that have one."""
    right, cells, agreeing, digits, state, update = np.moveaxis(counts, -1, 0)
    numbers = cells * cell.state_channels
    pairs = ((right, cells), (agreeing, digits), (state, numbers), (update, numbers))
    return {key: mean_ratio(*pair) for key, pair in zip(CURVES, pairs, strict=True)}


def mean_ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The mean over batches (axis 0) of above / below where below is not 0; NaN where it always is."""
    known = below > 0
    ratio = np.divide(above, below, out=np.zeros_like(above), where=known)
    batches = known.sum(axis=0)
    return np.divide(ratio.sum(axis=0), batches, out=np.full(batches.shape, np.nan), where=batches > 0)


def summary(curves: dict[str, Curves]) -> dict[str, float | int | None]:
    """What evaluation.json holds: values at the last step and at the best, for each part.

    Keys as accuracy_at_200 and top_accuracy_step; after a mutation the same, prefixed after_mutation_ (and
    after_restart_ where both were measured), with steps counted from the mutation.
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


def prefixes(curves: dict[str, Curves]) -> dict[str, str]:
    """The parts that were measured, and how their names begin in the files."""
    after = [part for part in curves if part != "before"]
    names = {"before": ""}
    for part in after:
        names[part] = "after_restart_" if part == "restart" and len(after) > 1 else "after_mutation_"
    return names
