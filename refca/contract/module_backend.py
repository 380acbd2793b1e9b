"""A backend made of a user's functions, with the defaults of `BaseBackend` for missing ones.

Source: `spec/chapters/backends.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import Parameter, signature
from typing import Any, Literal

from refca.contract.checks import check_unroll
from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Draw, Randomness
from refca.errors import InvalidInput

FUNCTIONS = (
    *("asarray", "asnumpy", "put", "supports", "step", "unroll_grads", "vjp", "initial_state"),
    *("adam_step", "batch_parts", "map_parts", "use_device", "description"),
)
CONSTANTS = ("xp", "dtypes", "devices", "sample_slice")


class ModuleBackend(BaseBackend):
    """A backend made of the functions and constants of a module, or of any other object.

    It needs `evolve(cell, params, image, state, randomness, steps)`, with an optional keyword `first_step`, or
    `step(cell, params, environment, state, fire, noise, reset_noise)`. An optional tuple `cells` lists the
    supported cells, whose fire rate, noise and threshold may differ. Raises InvalidInput if it has neither function.
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
        """Check the arguments, then call the module's `evolve`, or its `step` for every step."""
        given = cell, params, image, state, randomness
        if not self.overrides("evolve"):
            return super().evolve(*given, steps, first_step=first_step)
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        if accepts(self.evolve_, "first_step"):
            return self.evolve_(*given, steps, first_step=first_step)
        later = Later(randomness, first_step) if first_step else randomness
        return self.evolve_(*given[:4], later, steps)

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
class Later:
    """Randomness whose step 0 is step `first_step` of another source."""

    randomness: Randomness
    first_step: int

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        return self.randomness.at(cell, self.first_step + t, B, H, W)


def accepts(function: Any, keyword: str) -> bool:
    """Return whether a function can be called with this keyword."""
    try:
        parameters = signature(function).parameters
    except (TypeError, ValueError):  # compiled functions have none
        return True
    return keyword in parameters or any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
