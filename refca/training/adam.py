"""How parameters move: normalised gradients, Adam, and a learning rate that falls.

Operators only, so that any backend's arrays will do; a backend may have its own `adam_step`. Source: the
article's training notebook (the article names Adam alone); `spec/chapters/adam.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import cos, pi
from typing import Any

from refca.definition.cell import Params
from refca.errors import InvalidInput

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
NORM_EPSILON = 1e-8  # added to the norm that a gradient is divided by
DROPS = ((0.3, 30_000, 0.7), (0.7, 70_000, 0.9))  # least share of a run, the article's step, most share

SCHEDULES = ("article", "cosine")


@dataclass
class Adam:
    """First and second moments of each parameter's gradient; empty before the first update."""

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
        """The parameters after update i (from 0), new arrays; the moments move too.

        By the backend's own `adam_step`, if it has one.
        """
        own = getattr(backend, "adam_step", adam_step)
        return own(params, grads, self.m, self.v, i, learning_rate, normalise)


def adam_step(
    params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
) -> Params:
    """The parameters after update i (from 0), new arrays; the moments in `m` and `v` move too.

    i counts the updates made: a training step that makes none does not weaken the correction of bias.
    The rate is corrected for the moments' bias and epsilon is added after that, as in Keras.
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
    """Each parameter tensor's gradient divided by (its L2 norm + 1e-8)."""
    return {name: grad / ((grad**2).sum() ** 0.5 + NORM_EPSILON) for name, grad in grads.items()}


def learning_rate_at(initial: float, i: int, steps: int, schedule: str = "article") -> float:
    """The rate of training step i of `steps`: divided by 10 twice (D14), or down half a wave of a cosine.

    In the article's 100,000 steps that is at 30,000 and 70,000; a longer run keeps their shares, 30 % and
    70 %, and a shorter one their steps, but no later than 70 % and 90 %.
    Raises InvalidInput for an unknown schedule.
    """
    if schedule not in SCHEDULES:
        raise InvalidInput(f'unknown schedule "{schedule}"; known are {", ".join(SCHEDULES)}')
    if schedule == "cosine":
        return initial * (1 + cos(pi * i / steps)) / 2
    drops = (max(least * steps, min(step, most * steps)) for least, step, most in DROPS)
    return initial * 10.0 ** -sum(i >= drop for drop in drops)
