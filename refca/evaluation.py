"""Measuring an automaton: curves over its steps, before and after every digit mutates.

Source: the article, "Evaluation"; section 5 of the design: batches of 1,000 test digits, 200 steps, a
mutation to another test digit, 200 more; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refca.cell import Array, Cell, Params, init_state
from refca.data import Split
from refca.metrics import cell_accuracy, total_agreement
from refca.mutate import mutate
from refca.randomness import Streams
from refca.step import alive, readout

BATCH = 1000
CURVES = ("accuracy", "agreement", "state_magnitude", "update_magnitude")
MUTATIONS = ("carry", "restart", "both", "none")

Curves = dict[str, np.ndarray]  # of each of CURVES, one value a step


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
    tick: Callable[[], object] = lambda: None,
) -> dict[str, Curves]:
    """Curves of `samples` digits, under "before", and of the steps after a mutation, under its name.

    mutation "carry": each digit becomes another, states are kept where it is alive; "restart": each digit
    becomes another and its states start from zero (what the article's released code measured); "both" has
    both, from the same digits; "none" neither. Each value is the mean over batches of 1,000 digits.
    `tick` is called after each step of each batch.
    """
    branches = {"both": ("carry", "restart"), "none": ()}.get(mutation, (mutation,))
    batches: dict[str, list[Curves]] = {"before": [], **{branch: [] for branch in branches}}
    params = {name: backend.asarray(x) for name, x in params.items()}
    for first in range(0, samples, BATCH):
        chosen = np.arange(first, min(first + BATCH, samples))
        streams = Streams(seed, first_sample=first)
        image, labels = prepare(backend, digits, chosen)
        run = measured(cell, params, backend, streams, tick)
        state, curves = run(image, labels, init_state(cell, image), 0, steps)
        batches["before"].append(curves)
        image, labels = prepare(backend, digits, others(chosen, len(digits)))
        for branch in branches:
            begun = mutate(cell, state, image) if branch == "carry" else init_state(cell, image)
            batches[branch].append(run(image, labels, begun, steps, steps)[1])
    return {
        name: {key: mean([curves[key] for curves in measured]) for key in CURVES}
        for name, measured in batches.items()
    }


def others(chosen: np.ndarray, count: int) -> np.ndarray:
    """The digit that each chosen digit becomes: half the dataset further on, and so never itself."""
    return (chosen + count // 2) % count


def prepare(backend: Any, digits: Split, chosen: np.ndarray) -> tuple[Array, Array]:
    return backend.asarray(digits.images(chosen)), backend.asarray(digits.labels[chosen])


def measured(cell: Cell, params: Params, backend: Any, streams: Streams, tick: Callable[[], object]) -> Any:
    """A function that moves states by some steps and returns them with the curves of those steps."""

    def run(image: Array, labels: Array, state: Array, start: int, steps: int) -> tuple[Array, Curves]:
        live = alive(cell, image)
        curves = {key: np.full(steps, np.nan) for key in CURVES}
        where = np.flatnonzero(live)
        rows = state.reshape(-1, cell.state_channels)[where]
        for i in range(steps):
            before = rows
            state = backend.evolve(cell, params, image, state, streams, 1, start=start + i)
            rows = state.reshape(-1, cell.state_channels)[where]
            curves["accuracy"][i] = cell_accuracy(readout(cell, state), labels, live)
            curves["agreement"][i] = total_agreement(readout(cell, state), live)
            if len(rows):
                curves["state_magnitude"][i] = float(abs(rows).mean())
                curves["update_magnitude"][i] = float(abs(rows - before).mean())
            tick()
        return state, curves

    return run


def mean(batches: list[np.ndarray]) -> np.ndarray:
    """The mean over batches at each step, of those that have a value; NaN where none has."""
    values = np.stack(batches)
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


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
