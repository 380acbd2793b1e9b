"""Rollouts of a few digits, before and after a mutation, for pictures.

Source: the article's figures.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.data import Split
from refca.definition.cell import Cell, Params
from refca.definition.randomness import Streams
from refca.definition.state import mutate
from refca.definition.step import alive, readout
from refca.digits.evaluation import others
from refca.digits.figures import digit_grid
from refca.drawing.animation import write_animation
from refca.drawing.palette import Palette, predicted_labels

STEPS = 60  # before the mutation, and as many after it
ROLLOUT = 2 * STEPS + 1  # states of a rollout
SHOWN = (0, 2, 5, 10, 20, 60, 62, 65, 70, 80, 120)  # steps in digits.png
ROWS = 8  # digits in digits.png


class Rollout(NamedTuple):
    """The states after t = 0 ... T - 1 steps, as predicted labels."""

    labels: np.ndarray  # (T, B, H, W), -1 for cells without a label yet
    live: np.ndarray  # (T, B, H, W)
    image: np.ndarray  # (T, B, H, W, 1)
    truth: np.ndarray  # (T, B), the true labels


def rollout(
    cell: Cell,
    params: Params,
    backend: Any,
    digits: Split,
    numbers: Sequence[int],
    seed: int = 0,
    on_step: Callable[[], object] = lambda: None,
) -> Rollout:
    """Return STEPS steps of these digits, then STEPS steps after each has mutated to a digit of another label."""
    chosen = np.asarray(numbers)
    params = {name: backend.asarray(x) for name, x in params.items()}
    image = backend.asarray(digits.images(chosen))
    streams, frames = Streams(seed), []
    state = backend.initial_state(cell, image, streams)
    for t in range(ROLLOUT):
        if t == STEPS + 1:
            chosen = of_other_labels(chosen, digits.labels)
            image = backend.asarray(digits.images(chosen))
            state = mutate(cell, state, image, backend.xp)
        if t:
            state = backend.evolve(cell, params, image, state, streams, 1, first_step=t - 1)
        pixels, values = backend.asnumpy(image), backend.asnumpy(state)
        labels = predicted_labels(readout(cell, params, values))
        frames.append((labels, alive(cell, pixels), pixels, digits.labels[chosen]))
        on_step()
    return Rollout(*(np.stack(arrays) for arrays in zip(*frames, strict=True)))


def of_other_labels(chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the digits that chosen digits mutate to in an evaluation or, if they have the same label, the next
    ones that have another; the same digits if all have one label."""
    found = others(chosen, len(labels))
    for _ in range(len(labels)):
        same = labels[found] == labels[chosen]
        if not same.any():
            break
        found = np.where(same, (found + 1) % len(labels), found)
    return found


def of_all_labels(truth: np.ndarray, count: int) -> list[int]:
    """Return `count` of the digits with these labels (B,): the first of each label, and then others."""
    firsts = [b for b in range(len(truth)) if truth[b] not in truth[:b]]
    rest = [b for b in range(len(truth)) if b not in firsts]
    return sorted([*firsts, *rest][:count])


def write_pictures(frames: Rollout, out: Path, palette: Palette) -> None:
    """Write animation.gif of all digits, and digits.png."""
    given = frames.labels, frames.live, frames.image
    write_animation(out / "animation.gif", *given, palette=palette, truth=frames.truth)
    write_grid(frames, out / "digits.png", palette)


def write_grid(frames: Rollout, path: Path, palette: Palette) -> None:
    """Write a PNG of a few digits, of as many labels as possible, at chosen steps."""
    shown = [t for t in SHOWN if t < len(frames.labels)]
    rows = of_all_labels(frames.truth[0], ROWS)
    labels, live, image, truth = (array[shown][:, rows] for array in frames)
    digit_grid(path, labels, live, image, shown, palette=palette, truth=truth)
