"""The length of an unroll in a training step on digits, and the steps that count in its loss.

In the article the length is always 20 and the last step alone counts. A random length is a function of (seed,
training step); a resumed run repeats it.

Source: the article, experiment 1, and its training notebook; `spec/chapters/unroll.md`.
"""

from __future__ import annotations

import numpy as np

from refca.definition.generators import UNROLL, generator
from refca.errors import InvalidInput


def unroll_length(shortest: int, longest: int, seed: int, i: int) -> int:
    """Return the number of steps of training step i, uniform from shortest to longest.

    Raises InvalidInput unless 1 <= shortest <= longest.
    """
    if not 1 <= shortest <= longest:
        raise InvalidInput(f"unroll lengths must satisfy 1 <= min <= max, got min={shortest}, max={longest}")
    if shortest == longest:
        return shortest
    return int(generator(UNROLL, seed, i).integers(shortest, longest, endpoint=True))


def last_steps(steps: int, batch: int, loss_steps: int) -> np.ndarray:
    """Return the loss weight of each step and sample, (steps, batch) float32.

    The last `loss_steps` steps have equal weights whose sum over steps and samples is 1; earlier steps have
    weight 0. Raises InvalidInput unless 1 <= loss_steps <= steps.
    """
    if not 1 <= loss_steps <= steps:
        raise InvalidInput(f"loss_steps must be from 1 to {steps}, the length of the unroll, got {loss_steps}")
    weights = np.zeros((steps, batch), np.float32)
    weights[-loss_steps:] = 1 / (batch * loss_steps)
    return weights
