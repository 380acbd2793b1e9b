"""How many steps of the automaton a training step on digits has, and which of them count in its loss.

The article: always as many, and the last one alone. Every length is a function of (seed, training step), so a
resumed run has the same ones.

Source: the article, experiment 1, and its training notebook; `spec/chapters/unroll.md`.
"""

from __future__ import annotations

import numpy as np

from refca.definition.generators import UNROLL, generator
from refca.errors import InvalidInput


def unroll_length(least: int, most: int, seed: int, i: int) -> int:
    """The steps of training step i: from least to most, each number as likely.

    Raises InvalidInput if there is no such number, or least is below 1.
    """
    if not 1 <= least <= most:
        raise InvalidInput(f"an unroll has at least 1 step and at most as many as it may, got {least} to {most}")
    return int(generator(UNROLL, seed, i).integers(least, most, endpoint=True)) if least < most else least


def last_steps(steps: int, batch: int, last: int) -> np.ndarray:
    """How much each step's readout counts for each sample, (steps, batch) float32: the last `last` of them
    share a weight of 1, and so do the samples.

    Raises InvalidInput unless last is from 1 to steps.
    """
    if not 1 <= last <= steps:
        raise InvalidInput(f"of an unroll of {steps} steps from 1 to {steps} can count, got {last}")
    weights = np.zeros((steps, batch), np.float32)
    weights[-last:] = 1 / (batch * last)
    return weights
