"""One implementation against the reference: `refca.compare(my_evolve, cell)`, the first thing to try.

Source: `spec/check_your_own.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from refca.contract.checks import check_cell
from refca.contract.module_backend import accepts
from refca.contract.protocol import BaseBackend
from refca.contract.reference import reference
from refca.contract.registry import as_backend, get_backend
from refca.definition.cell import Array, Cell, Params
from refca.definition.errors import check_integer
from refca.definition.params import param_shapes
from refca.definition.randomness import Recorded
from refca.definition.step import alive
from refca.errors import InvalidInput

WITHIN = 1e-4  # a difference of correct float32 steps stays far below


@dataclass(frozen=True)
class Comparison:
    """The largest difference from the reference after each step, and where it is."""

    steps: tuple[float, ...]  # the largest difference after steps 1, 2, ...
    where: tuple[int, int, int, int]  # sample, row, column and state channel of the largest after the first wrong step
    got: float
    expected: float
    hints: tuple[str, ...]
    other: str = ""  # noise and threshold of a similar cell for which the implementation is wrong

    @property
    def same(self) -> bool:
        """True if all differences are rounding errors."""
        return not self.steps or bool(max(self.steps) <= WITHIN)

    def __str__(self) -> str:
        """The comparison in a sentence."""
        if self.same:
            sentence = f"the same as the reference: the largest difference in {len(self.steps)} steps is"
            more = f"; but not with {self.other}: read these numbers from cell, as the laws change them"
            return f"{sentence} {max(self.steps):.1e}{more if self.other else ''}"
        first = next(t for t, difference in enumerate(self.steps, 1) if not difference <= WITHIN)
        b, y, x, d = self.where
        place = f"sample {b}, row {y}, column {x}, channel {d}"
        sentence = f"differs from step {first} on, most at {place}: got {self.got:.6g}, expected {self.expected:.6g}"
        return "; ".join([sentence, *self.hints])


def compare(implementation: Any, cell: Cell, *, steps: int = 3, size: int = 7, seed: int = 0) -> Comparison:
    """Compare an implementation with the reference, on random parameters, images, states and draws.

    `implementation` is a function evolve(cell, params, image, state, randomness, steps) that returns the state after
    the steps, (B, H, W, D). It gets NumPy arrays in float32 and `Recorded(fire=..., noise=..., reset=...)`, whose
    arrays begin with the step. Or it is a backend, a module with such a function, or a name such as "torch",
    "mycells" or "exec:./program". Print the result: it is a sentence. Raise InvalidInput for a state of another shape.
    """
    check_cell(cell)
    evolve = implementation if isfunction(implementation) else through(backend_of(implementation, cell))
    for name, number in (("steps", steps), ("size", size), ("seed", seed)):
        least = 0 if name == "seed" else 1
        if check_integer(name, number) < least:
            raise InvalidInput(f"{name} must be at least {least}, got {number}")
    found = compared(evolve, cell, steps, size, seed)
    return replace(found, other=other_numbers(evolve, cell, size, seed)) if found.same else found


def compared(evolve: Callable[..., Any], cell: Cell, steps: int, size: int, seed: int) -> Comparison:
    """Compare a function with the reference after each step."""
    params, image, state, source = problem(cell, steps, size, seed)
    differences: list[float] = []
    where, got_there, expected_there = (0, 0, 0, 0), 0.0, 0.0
    hints: tuple[str, ...] = ()
    for t in range(1, steps + 1):
        expected = reference.evolve(cell, *doubled(params, image, state, source), t)
        given = cell, {name: x.copy() for name, x in params.items()}, image.copy(), state.copy(), source, t
        after = evolve(*given, first_step=0) if accepts(evolve, "first_step") else evolve(*given)
        got = numbers(after, expected.shape)
        difference: Any = np.nan_to_num(np.abs(got - expected), nan=np.inf)
        differences.append(float(difference.max()))
        if differences[-1] > WITHIN and (len(differences) == 1 or max(differences[:-1]) <= WITHIN):
            at = np.unravel_index(int(np.argmax(difference)), difference.shape)
            b, y, x, d = (int(k) for k in at)
            where, got_there, expected_there = (b, y, x, d), float(got[at]), float(expected[at])
            hints = tuple(hints_of(cell, difference > WITHIN, image, source, t))
    return Comparison(tuple(differences), where, got_there, expected_there, hints)


def other_numbers(evolve: Callable[..., Any], cell: Cell, size: int, seed: int) -> str:
    """Return another noise and threshold for which a function is wrong, in words; "" if it is right for them too."""
    numbers: dict[str, Any] = {name: x for name, x in (("noise", 0.25), ("alive_above", 0.3)) if getattr(cell, name)}
    try:
        right = not numbers or compared(evolve, replace(cell, **numbers), 1, size, seed).same
    except Exception:  # a function may refuse every cell but its own
        return ""
    return "" if right else " and ".join(f"{name} {x}" for name, x in numbers.items())


def isfunction(x: Any) -> bool:
    """Return whether an object is itself the function evolve, and not a class, a module or a backend."""
    return callable(x) and not isinstance(x, type) and not hasattr(x, "evolve")


def backend_of(found: Any, cell: Cell) -> BaseBackend:
    """Return the backend for a name, a module or a backend object. Raise InvalidInput if it does not offer the cell."""
    wanted = "a function evolve(cell, params, image, state, randomness, steps), a backend, a module or a name"
    offers = isinstance(found, str) or any(hasattr(found, name) for name in ("evolve", "step", "BACKEND"))
    if isinstance(found, type) or not offers:
        named = f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
        raise InvalidInput(f"implementation must be {wanted}, got {named}")
    backend = get_backend(found) if isinstance(found, str) else as_backend(found)
    if not backend.offers("evolve"):
        raise InvalidInput(f"the backend must offer evolve, which {type(backend).__name__} does not")
    if (reason := backend.supports(cell)) is not True:
        raise InvalidInput(f"the backend must support the cell, and does not: {reason}")
    return backend


def through(backend: BaseBackend) -> Callable[..., Array]:
    """Return a backend's evolve as a function of NumPy arrays."""

    def evolve(cell: Cell, params: Params, image: Array, state: Array, randomness: Recorded, steps: int) -> Array:
        dtype = "float32" if "float32" in backend.dtypes else backend.dtypes[0]

        def put(x: Array) -> Array:
            return backend.asarray(x if x.dtype == bool else x.astype(dtype))

        recorded = Recorded(*(None if x is None else put(x) for x in vars(randomness).values()))
        params = {name: put(x) for name, x in params.items()}
        return backend.asnumpy(backend.evolve(cell, params, put(image), put(state), recorded, steps))

    return evolve


def numbers(after: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return a state as a NumPy array. Raise InvalidInput for anything else, and for another shape."""
    wanted = f"evolve must return a NumPy array of shape {shape}, got a {type(after).__name__}"
    if not hasattr(after, "shape"):
        raise InvalidInput(wanted)
    try:
        got: np.ndarray = np.asarray(after)
    except (TypeError, RuntimeError) as error:  # a tensor on a GPU, or one that requires a gradient
        raise InvalidInput(f"{wanted}: {error}") from error
    if got.shape != shape:
        B, *grid, D = shape
        first = "; channels come last" if got.shape == (B, D, *grid) else ""
        raise InvalidInput(f"evolve must return a state {shape}, got {got.shape}{first}")
    if got.dtype.kind != "f":
        raise InvalidInput(f"evolve must return real numbers {shape}, got {got.dtype}")
    return got


def problem(cell: Cell, steps: int, size: int, seed: int) -> tuple[Params, Array, Array, Recorded]:
    """Return random parameters, an image, a state, and draws for some steps; float32."""
    rng, B, H, W = np.random.default_rng(seed), 2, size, size + 1

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype(np.float32)

    params = {
        name: (0.5 / prod(shape[:-1]) ** 0.5 * normal(*shape)).astype(np.float32)
        for name, shape in param_shapes(cell).items()
    }
    image = rng.random((B, H * cell.stride, W * cell.stride, cell.image_channels)).astype(np.float32)
    image *= rng.random((*image.shape[:3], 1)) < 0.7  # some cells are dead
    values = (steps, B, H, W, cell.state_channels)
    noise, reset = normal(*values) if cell.noise else None, normal(*values) if cell.resettable else None
    return params, image, normal(*values[1:]), Recorded(rng.random(values[:-1]) < cell.fire_rate, noise, reset)


def doubled(params: Params, image: Array, state: Array, source: Recorded) -> tuple[Params, Array, Array, Recorded]:
    """Return the same numbers as float64."""
    noise, reset = (None if x is None else x.astype(np.float64) for x in (source.noise, source.reset))
    params = {name: x.astype(np.float64) for name, x in params.items()}
    return params, image.astype(np.float64), state.astype(np.float64), Recorded(source.fire, noise, reset)


def hints_of(cell: Cell, wrong: Array, image: Array, source: Recorded, step: int) -> list[str]:
    """Return what the wrong numbers (B, H, W, D) have in common, in words."""
    cells = wrong.any(axis=-1)
    hints = [f"{int(cells.sum())} of {cells.size} cells are wrong"]
    inner = cells[:, 1:-1, 1:-1]
    if not inner.any():
        hints.append("all of them at the border: outside the grid everything is zero")
    if step == 1 and not (cells & source.fire[0]).any():
        hints.append("none of them fires: a cell that does not fire keeps its state")
    if cell.alive_above is not None and not (cells & alive(cell, image)).any():
        hints.append("none of them is alive: a dead cell keeps its state")
    return hints
