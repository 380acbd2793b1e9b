"""The optimiser: normalised gradients, Adam, and a decreasing learning rate.

The code uses operators alone and so works on the arrays of any backend; a backend may have its own
`adam_step`. Source: the article's training notebook (the article only names Adam); `spec/chapters/adam.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

from refca.definition.cell import Params
from refca.errors import InvalidInput

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
NORM_EPSILON = 1e-8  # added to the norm by which a gradient is divided
DROPS = (
    (0.3, 30_000, 0.7),
    (0.7, 70_000, 0.9),
)  # each drop: earliest as a fraction of the run, the article's step, latest

SCHEDULES = ("article", "constant", "cosine")


@dataclass
class Adam:
    """The first and second moments of each parameter's gradient; empty before the first update."""

    m: Params = field(default_factory=dict)
    v: Params = field(default_factory=dict)

    def step(
        self,
        params: Params,
        grads: Params,
        i: int,
        learning_rate: float,
        *,
        normalise: bool = False,
        backend: Any = None,
    ) -> Params:
        """Return the parameters after update i (from 0), new arrays, and update the moments.

        A backend with a function `adam_step` computes them itself.
        """
        own = getattr(backend, "adam_step", adam_step)
        return own(params, grads, self.m, self.v, i, learning_rate, normalise)


def adam_step(
    params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
) -> Params:
    """Return the parameters after update i (from 0), new arrays, and update the moments `m` and `v`.

    i counts updates, not training steps, so that a training step without an update leaves the bias correction
    alone. As in Keras, the learning rate carries the bias correction and epsilon is added afterwards.
    """
    learning_rate *= (1 - BETA_2 ** (i + 1)) ** 0.5 / (1 - BETA_1 ** (i + 1))
    grads = normalised(grads) if normalise else grads
    updated = {}
    for name, param in params.items():
        grad = grads[name]
        m_t = m[name] = BETA_1 * m.get(name, 0 * grad) + (1 - BETA_1) * grad
        v_t = v[name] = BETA_2 * v.get(name, 0 * grad) + (1 - BETA_2) * grad**2
        updated[name] = param - learning_rate * m_t / (v_t**0.5 + EPSILON)
    return updated


def normalised(grads: Params) -> Params:
    """Return the gradient of each parameter divided by (its L2 norm + 1e-8)."""
    return {name: grad / ((grad**2).sum() ** 0.5 + NORM_EPSILON) for name, grad in grads.items()}


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
