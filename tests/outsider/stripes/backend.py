"""A backend: the definition's step in a loop of its own, and the gradients of the reference."""

from __future__ import annotations

from typing import Any

from refca.contract.reference import BACKEND as REFERENCE
from refca.definition.state import grid
from refca.definition.step import step
from refca.definition.strided import encode

xp = REFERENCE.xp


def evolve(cell: Any, params: Any, image: Any, state: Any, randomness: Any, steps: int, *, first_step: int = 0) -> Any:
    environment, state = encode(cell, params, image), 1 * state
    for t in range(first_step, first_step + steps):
        state = step(cell, params, environment, state, *randomness.at(cell, t, *grid(cell, image)))
    return state


def unroll_grads(*arguments: Any, **named: Any) -> Any:
    return REFERENCE.unroll_grads(*arguments, **named)
