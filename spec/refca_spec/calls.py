"""Calls of a backend on a case: arrays go in through its `asarray` and come out through its `asnumpy`.

The same call on `refca.contract.reference` in float64 is what the results are compared with.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca.contract.reference import reference
from refca.definition.cell import Array, Params
from refca.definition.losses import LOSSES
from refca.definition.randomness import Randomness, Recorded
from refca.definition.step import alive, neighbourhood, normalise, perceive, readout, step
from refca.definition.strided import encode
from refca_spec.strategies import Case


class Result(NamedTuple):
    """The result of `loss_and_grads`, the loss as a float and the arrays as NumPy arrays."""

    loss: float
    grads: Params
    state: Array


def to_backend(backend: Any, x: Array, dtype: str) -> Array:
    """A NumPy array as one of the backend's, real numbers in `dtype`."""
    x = np.asarray(x)
    return backend.asarray(x.astype(dtype) if x.dtype.kind == "f" else x)


def inputs(backend: Any, dtype: str, case: Case, **instead: Any) -> tuple[Params, Array, Array]:
    """The backend's params, image and state of a case, or those given by name instead."""
    params, image, state = (
        instead[name] if name in instead else getattr(case, name) for name in ("params", "image", "state")
    )
    moved = {name: to_backend(backend, param, dtype) for name, param in params.items()}
    return moved, to_backend(backend, image, dtype), to_backend(backend, state, dtype)


def randomness(backend: Any, dtype: str, source: Randomness) -> Randomness:
    """A source that the backend can read: recorded arrays become its own, streams stay as they are."""
    if not isinstance(source, Recorded):
        return source
    noise, reset = (None if x is None else to_backend(backend, x, dtype) for x in (source.noise, source.reset))
    return Recorded(backend.asarray(source.fire), noise, reset)


def evolve(
    backend: Any,
    dtype: str,
    case: Case,
    source: Randomness | None = None,
    steps: int | None = None,
    first_step: int = 0,
    **instead: Any,
) -> Array:
    """The state after `steps` steps, by default all T of the case from its recorded randomness."""
    params, image, state = inputs(backend, dtype, case, **instead)
    draws = randomness(backend, dtype, source or case.recorded)
    steps = case.T if steps is None else steps
    return backend.asnumpy(backend.evolve(case.cell, params, image, state, draws, steps, first_step=first_step))


def loss_and_grads(
    backend: Any,
    dtype: str,
    case: Case,
    loss: Any = "l2",
    kind: str = "labels",
    source: Randomness | None = None,
    first_step: int = 0,
    image_grad: bool = False,
    **instead: Any,
) -> Result:
    """The loss, gradients and last state of the case's T steps; `target` and `weights` may be given."""
    params, image, state = inputs(backend, dtype, case, **instead)
    target = backend.asarray(instead.get("target", case.target(kind)))
    weights = to_backend(backend, instead.get("weights", case.weights), dtype)
    draws = randomness(backend, dtype, source or case.recorded)
    value, grads, last = backend.loss_and_grads(
        case.cell,
        loss,
        params,
        image,
        state,
        target,
        weights,
        draws,
        first_step=first_step,
        image_grad=image_grad,
    )
    named = {name: backend.asnumpy(grad) for name, grad in grads.items()}
    return Result(float(value), named, backend.asnumpy(last))


def reference_state(case: Case, **arguments: Any) -> Array:
    """`evolve` of the reference, in float64."""
    return evolve(reference, "float64", case, **arguments)


def reference_loss_and_grads(case: Case, **arguments: Any) -> Result:
    """`loss_and_grads` of the reference, in float64."""
    return loss_and_grads(reference, "float64", case, **arguments)


def reference_loss(case: Case, loss: Any = "l2", kind: str = "labels", **instead: Any) -> float:
    """The loss alone, in float64: steps and readouts one by one, from the case's recorded randomness."""
    cell, weights = case.cell, case.weights
    params, image = (instead.get(name, getattr(case, name)) for name in ("params", "image"))
    environment, state, total = encode(cell, params, image), case.state, 0.0
    for t in range(case.T):
        state = step(cell, params, environment, state, *case.recorded.at(cell, t, *case.grid))
        given = readout(cell, params, state), case.target(kind), alive(cell, image)
        each = loss(*given, np) if callable(loss) else LOSSES[loss](*given)
        total += float(np.sum(weights[t] * each))
    return total


def min_relu_margin(case: Case, source: Randomness | None = None, first_step: int = 0, **instead: Any) -> float:
    """The smallest magnitude of what goes into a relu in any cell, at any step of the case.

    Where it is below the rounding error, one dtype may pass a gradient that another stops. Zeros that are
    zero in any dtype don't count: sums that are zero together with all others in their mean, and what is left of a
    number less itself.
    """
    cell, params = case.cell, instead.get("params", case.params)
    environment, state = encode(cell, params, case.image), instead.get("state", case.state)
    alone = (cell.hidden_width if cell.norm == "channel" else case.normalised) == 1 and cell.norm != "none"
    least = np.inf
    for t in range(first_step, first_step + case.T):
        sums = perceive(cell, params, neighbourhood(environment, state))
        for i in range(cell.hidden_layers + 1):
            total = normalise(cell, sums)
            all_zero = (sums == 0) & (normalise(cell, np.abs(sums)) == 0)  # every other sum in the mean is zero too
            certain = (total == 0) & (all_zero | alone)
            least = min(least, np.min(np.abs(total), where=~certain, initial=np.inf))
            if i < cell.hidden_layers:
                name = f"hidden.{i}"
                sums = np.maximum(total, 0) @ params[f"{name}.weight"] + params.get(f"{name}.bias", 0)
        draw = (source or case.recorded).at(cell, t, *case.grid)
        state = step(cell, params, environment, state, *draw)
    return float(least)
