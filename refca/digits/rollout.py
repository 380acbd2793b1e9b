"""Rollouts of a few digits, before and after a mutation, for pictures.

Source: the article's figures.
"""

from __future__ import annotations

from collections.abc import Sequence
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
SHOWN = (0, 2, 5, 10, 20, 60, 62, 65, 70, 80, 120)  # steps in digits.png


class Rollout(NamedTuple):
    """The states after t = 0 ... T - 1 steps, as predicted labels."""

    labels: np.ndarray  # (T, B, H, W), -1 for cells without a label yet
    live: np.ndarray  # (T, B, H, W)
    image: np.ndarray  # (T, B, H, W, 1)


def rollout(cell: Cell, params: Params, backend: Any, digits: Split, numbers: Sequence[int], seed: int = 0) -> Rollout:
    """Return STEPS steps of these digits, then STEPS steps after each has mutated to another digit."""
    chosen = np.asarray(numbers)
    params = {name: backend.asarray(x) for name, x in params.items()}
    image = backend.asarray(digits.images(chosen))
    streams, frames = Streams(seed), []
    state = backend.initial_state(cell, image, streams)
    for t in range(2 * STEPS + 1):
        if t == STEPS + 1:
            image = backend.asarray(digits.images(others(chosen, len(digits))))
            state = mutate(cell, state, image, backend.xp)
        if t:
            state = backend.evolve(cell, params, image, state, streams, 1, first_step=t - 1)
        pixels, values = backend.asnumpy(image), backend.asnumpy(state)
        frames.append((predicted_labels(readout(cell, params, values)), alive(cell, pixels), pixels))
    return Rollout(*(np.stack(arrays) for arrays in zip(*frames, strict=True)))


def write_pictures(frames: Rollout, out: Path, palette: Palette) -> None:
    """Write animation.gif of all digits, and digits.png of six digits at chosen steps."""
    write_animation(out / "animation.gif", frames.labels, frames.live, frames.image, palette=palette)
    shown = [t for t in SHOWN if t < len(frames.labels)]
    labels, live, image = (array[shown, :6] for array in frames)
    digit_grid(out / "digits.png", labels, live, image, shown, palette=palette)
