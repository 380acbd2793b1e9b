"""A few digits while they classify themselves, become others, and do so again: frames for pictures.

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
from refca.definition.state import init_state, mutate
from refca.definition.step import alive, readout
from refca.digits.evaluation import others
from refca.digits.figures import digit_grid
from refca.drawing.animation import write_animation
from refca.drawing.palette import Palette, predicted_labels

STEPS = 60  # before the mutation, and after it
SHOWN = (0, 2, 5, 10, 20, 60, 62, 65, 70, 80, 120)  # steps in the still picture


class Rollout(NamedTuple):
    """Frame t is the state after t steps; the frame in which digits have changed shows their states kept."""

    said: np.ndarray  # (T, B, H, W), -1: nothing yet
    live: np.ndarray  # (T, B, H, W)
    image: np.ndarray  # (T, B, H, W, 1)


def rollout(cell: Cell, params: Params, backend: Any, digits: Split, numbers: Sequence[int], seed: int = 0) -> Rollout:
    """Frames of the digits with these numbers: STEPS steps, each becomes another digit, STEPS more."""
    chosen = np.asarray(numbers)
    params = {name: backend.asarray(x) for name, x in params.items()}
    image = backend.asarray(digits.images(chosen))
    state, streams, frames = init_state(cell, image), Streams(seed), []
    for t in range(2 * STEPS + 1):
        if t == STEPS + 1:
            image = backend.asarray(digits.images(others(chosen, len(digits))))
            state = mutate(cell, state, image)
        if t:
            state = backend.evolve(cell, params, image, state, streams, 1, first_step=t - 1)
        pixels, values = backend.asnumpy(image), backend.asnumpy(state)
        frames.append((predicted_labels(readout(cell, params, values)), alive(cell, pixels), pixels))
    return Rollout(*(np.stack(arrays) for arrays in zip(*frames, strict=True)))


def write_film(film: Rollout, out: Path, palette: Palette) -> None:
    """animation.gif of all digits, and digits.png of six of them at chosen steps."""
    write_animation(out / "animation.gif", film.said, film.live, film.image, palette=palette)
    shown = [t for t in SHOWN if t < len(film.said)]
    said, live, image = (array[shown, :6] for array in film)
    digit_grid(out / "digits.png", said, live, image, shown, palette=palette)
