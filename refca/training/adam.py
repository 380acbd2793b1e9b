"""The state of the optimiser, and the schedules of the learning rate.

A backend's `adam_step` or `refca.training.muon` does the updates. Source: the article's training notebook;
`spec/chapters/adam.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

from refca.definition.cell import Array, Params
from refca.errors import InvalidInput

DROPS = (
    (0.3, 30_000, 0.7),
    (0.7, 70_000, 0.9),
)  # each drop: earliest as a fraction of the run, the article's step, latest

SCHEDULES = ("article", "constant", "cosine")


@dataclass
class Adam:
    """The first and second moments of each parameter's gradient; empty before the first update.

    Under Muon, `m` holds the momentum of matrices and the first moments of other parameters; `v` holds the second
    moments of the others alone.
    """

    m: Params = field(default_factory=dict)
    v: Params = field(default_factory=dict)

    def on(self, asarray: Callable[[Any], Array]) -> Adam:
        """Return a copy whose arrays are arrays of a backend."""
        m, v = ({name: asarray(x) for name, x in moments.items()} for moments in (self.m, self.v))
        return Adam(m, v)


def learning_rate_at(initial: float, i: int, steps: int, schedule: str = "article", warmup_steps: int = 0) -> float:
    """Return the learning rate of training step i of `steps`.

    The schedule "article" divides it by 10 twice (D14): at 30,000 and 70,000 of the article's 100,000 steps, at
    30 % and 70 % of a longer run, and in a shorter run at these steps, but no later than 70 % and 90 % of it.
    The schedule "cosine" follows half a cosine wave from `initial` to 0; "constant" stays at `initial`.
    In the first `warmup_steps` training steps the rate is (i + 1) / warmup_steps of the schedule's.
    Raises InvalidInput for an unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise InvalidInput(f'schedule must be one of {", ".join(SCHEDULES)}, got "{schedule}"')
    if i < warmup_steps:
        initial *= (i + 1) / warmup_steps
    if schedule == "constant":
        return initial
    if schedule == "cosine":
        return initial * (1 + cos(pi * i / steps)) / 2
    drops = (max(least * steps, min(step, most * steps)) for least, step, most in DROPS)
    return initial * 10.0 ** -sum(i >= drop for drop in drops)
