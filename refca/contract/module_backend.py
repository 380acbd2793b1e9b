"""A backend made of a user's functions, with the defaults of `BaseBackend` for missing ones.

Source: `spec/chapters/backends.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any, Literal

import numpy as np

from refca.contract.checks import check_unroll, dtype_name
from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Draw, Randomness, Recorded
from refca.errors import InvalidInput

FUNCTIONS = (
    *("asarray", "asnumpy", "put", "supports", "step", "unroll_grads", "loss_of_states", "vjp", "initial_state"),
    *("adam_step", "batch_parts", "map_parts", "use_device", "description"),
)
CONSTANTS = ("xp", "dtypes", "devices", "sample_slice")


class ModuleBackend(BaseBackend):
    """A backend made of the functions and constants of a module, or of any other object.

    It needs `evolve(cell, params, image, state, randomness, steps)`, with an optional keyword `first_step`, or
    `step(cell, params, environment, state, fire_mask, noise, reset_noise)`. An optional tuple `cells` lists the
    supported cells, whose fire rate, noise, threshold, first state and frozen filters may differ. Raises
    InvalidInput if it has neither function.
    """

    def __init__(self, module: Any, name: str) -> None:
        if not (hasattr(module, "evolve") or hasattr(module, "step")):
            raise InvalidInput(f'"{name}" is not a backend: it has neither evolve nor step')
        self.module, self.cells = module, getattr(module, "cells", None)
        self.named_losses = getattr(module, "loss_and_grads", None)
        for attribute in (*FUNCTIONS, *CONSTANTS):
            if hasattr(module, attribute):
                setattr(self, attribute, getattr(module, attribute))
        if hasattr(module, "evolve"):
            self.evolve_ = module.evolve
        if hasattr(module, "unroll_grads") and not accepts(module.unroll_grads, "inputs_grad"):
            setattr(self, "unroll_grads", lambda *args, inputs_grad=True, **named: module.unroll_grads(*args, **named))  # noqa: B010

    def overrides(self, name: str) -> bool:
        return hasattr(self.module, name) or (name == "supports" and self.cells is not None)

    def supports(self, cell: Cell) -> Literal[True] | str:
        if self.cells is None or any(alike(cell, other) for other in self.cells):
            return True
        return "the cell is not like one in its `cells`"

    def evolve(
        self,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        steps: int,
        *,
        first_step: int = 0,
    ) -> Array:
        """Check the arguments, then call the module's `evolve`, or its `step` for every step.

        NumPy arrays are contiguous, as PyTorch needs them. An `evolve` without `first_step` gets a copy of the
        state, and normal numbers in its dtype.
        """
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        if isinstance(randomness, Recorded):
            randomness = Recorded(*map(contiguous, vars(randomness).values()))
        params, image = {name: contiguous(x) for name, x in params.items()}, contiguous(image)
        given = cell, params, image, state, randomness
        if not self.overrides("evolve"):
            return super().evolve(*given, steps, first_step=first_step)
        if accepts(self.evolve_, "first_step"):
            return self.evolve_(*given, steps, first_step=first_step)
        if first_step or not isinstance(randomness, Recorded):
            randomness = Drawn(randomness, first_step, dtype_name(state))
        state = state.copy() if isinstance(state, np.ndarray) else state  # so that it may be returned, and written to
        return self.evolve_(*given[:3], state, randomness, steps)

    def loss_and_grads(self, cell: Cell, loss: Any, *args: Any, **named: Any) -> Any:
        """Call the module's `loss_and_grads` for a loss that has a name; a function needs its `unroll_grads`."""
        if self.named_losses and not callable(loss):
            return self.named_losses(cell, loss, *args, **named)
        return super().loss_and_grads(cell, loss, *args, **named)


def alike(cell: Cell, other: Cell) -> bool:
    """Return whether two cells differ at most in their fire rate, and in noise and threshold where both have them."""
    both = bool(cell.noise) == bool(other.noise) and (cell.alive_above is None) == (other.alive_above is None)
    names = ("noise", "fire_rate", "alive_above", "normal_start", "frozen_filters")
    values: dict[str, Any] = {name: getattr(other, name) for name in names}
    return both and replace(cell, **values) == other


@dataclass(frozen=True)
class Drawn:
    """Randomness whose step 0 is step `first_step` of another source, and whose normal numbers have a state's dtype."""

    randomness: Randomness
    first_step: int
    dtype: str

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        fire_mask, *normal = self.randomness.at(cell, self.first_step + t, B, H, W)
        return Draw(fire_mask, *(x.astype(self.dtype) if isinstance(x, np.ndarray) else x for x in normal))


def contiguous(x: Any) -> Any:
    """Return a NumPy array in the order of its rows; anything else as it is."""
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x


def accepts(function: Any, keyword: str) -> bool:
    """Return whether a function can be called with this keyword."""
    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):  # compiled functions have none
        return True
    return keyword in parameters or any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
