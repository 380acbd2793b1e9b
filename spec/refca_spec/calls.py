"""Calls of a backend on a case: arrays go in through its `asarray` and come out through its `asnumpy`.

The same call on `refca.reference` in float64 is what the results are compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca import reference
from refca.cell import Array, Params
from refca.randomness import Randomness, Recorded
from refca.step import look
from refca_spec.strategies import Case


class Result(NamedTuple):
    """What `loss_and_grads` returned, the arrays as NumPy arrays."""

    loss: float
    grads: Params
    state: Array


def move(backend: Any, x: Array, dtype: str) -> Array:
    """A NumPy array as one of the backend's, real numbers in `dtype`."""
    x = np.asarray(x)
    return backend.asarray(x.astype(dtype) if x.dtype.kind == "f" else x)


def inputs(backend: Any, dtype: str, case: Case, **instead: Any) -> tuple[Params, Array, Array]:
    """The backend's params, image and state of a case, or those given by name instead."""
    params, image, state = (
        instead[name] if name in instead else getattr(case, name) for name in ("params", "image", "state")
    )
    moved = {name: move(backend, param, dtype) for name, param in params.items()}
    return moved, move(backend, image, dtype), move(backend, state, dtype)


def randomness(backend: Any, dtype: str, source: Randomness) -> Randomness:
    """A source that the backend can read: recorded arrays become its own, streams stay as they are."""
    if not isinstance(source, Recorded):
        return source
    noise = None if source.noise is None else move(backend, source.noise, dtype)
    return Recorded(backend.asarray(source.fire), noise)


def evolve(
    backend: Any,
    dtype: str,
    case: Case,
    source: Randomness | None = None,
    steps: int | None = None,
    start: int = 0,
    **instead: Any,
) -> Array:
    """The state after `steps` steps, by default all T of the case from its recorded randomness."""
    params, image, state = inputs(backend, dtype, case, **instead)
    draws = randomness(backend, dtype, source or case.recorded)
    steps = case.T if steps is None else steps
    return backend.asnumpy(backend.evolve(case.cell, params, image, state, draws, steps, start=start))


def loss_and_grads(
    backend: Any,
    dtype: str,
    case: Case,
    loss: str = "l2",
    kind: str = "labels",
    source: Randomness | None = None,
    start: int = 0,
    image_grad: bool = False,
    **instead: Any,
) -> Result:
    """The loss, gradients and last state of the case's T steps; `target` and `weights` may be given."""
    params, image, state = inputs(backend, dtype, case, **instead)
    target = backend.asarray(instead.get("target", case.target(kind)))
    weights = move(backend, instead.get("weights", case.weights), dtype)
    draws = randomness(backend, dtype, source or case.recorded)
    value, grads, last = backend.loss_and_grads(
        case.cell, loss, params, image, state, target, weights, draws, start=start, image_grad=image_grad
    )
    named = {name: backend.asnumpy(grad) for name, grad in grads.items()}
    return Result(value, named, backend.asnumpy(last))


def true_state(case: Case, **arguments: Any) -> Array:
    """`evolve` of the reference, in float64."""
    return evolve(reference, "float64", case, **arguments)


def true_loss_and_grads(case: Case, **arguments: Any) -> Result:
    """`loss_and_grads` of the reference, in float64."""
    return loss_and_grads(reference, "float64", case, **arguments)


def kink(case: Case, source: Randomness | None = None, start: int = 0, **instead: Any) -> float:
    """The smallest magnitude of a sum that goes into a relu in any cell, at any step of the case.

    Where it is below the rounding error, one dtype may pass a gradient that another stops.
    """
    params = instead.get("params", case.params)
    state, least = instead.get("state", case.state), np.inf
    for t in range(start, start + case.T):
        total = look(case.image, state) @ params["perceive.weight"].reshape(-1, case.cell.hidden_width)
        total = total + params["perceive.bias"]
        least = min(least, np.abs(total).min())
        for i in range(case.cell.hidden_layers):
            total = np.maximum(total, 0) @ params[f"hidden.{i}.weight"] + params[f"hidden.{i}.bias"]
            least = min(least, np.abs(total).min())
        state = true_state(case, source=source, steps=1, start=t, params=params, state=state)
    return float(least)
