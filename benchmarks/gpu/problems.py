"""The problems of the benchmark on a GPU, digits and photographs, and the least cost of each.

The floor of a problem is the larger of two times: the time of the products of all cells that must be computed, at
the rate of a large matrix product; and the time to read image, state and parameters once and to write state and
gradients once, at the rate of a large copy. Both rates are measured in the same run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import digits
import numpy as np
import pets

import refca
from refca.contract.reference import reference
from refca.definition.step import alive

Truth = tuple[float, dict[str, np.ndarray], np.ndarray]  # loss, gradients, last state


@dataclass(frozen=True)
class Digits:
    """A batch of digits of 28×28 with the L2 loss of the last step, and its draws."""

    size: int
    steps: int

    kind, loss, side = "digits", "l2", 28

    @cached_property
    def problem(self) -> digits.Problem:
        return digits.Problem()

    @property
    def cell(self) -> refca.Cell:
        return self.problem.cell

    @property
    def params(self) -> dict[str, np.ndarray]:
        return self.problem.params

    @cached_property
    def batch(self) -> digits.Digits:
        return self.problem.batch(self.size)

    @property
    def image(self) -> np.ndarray:
        return self.batch[0]

    @property
    def label(self) -> np.ndarray:
        return self.batch[1]

    @cached_property
    def state(self) -> np.ndarray:
        return refca.init_state(self.cell, self.image)

    @cached_property
    def weights(self) -> np.ndarray:
        return digits.weights(self.size, self.steps)

    @cached_property
    def draws(self) -> refca.Recorded:
        return refca.Recorded(*self.problem.draws(self.size, self.steps))


class Photographs(pets.Problem):
    """A mini-unroll of the segmentation automaton with the cross-entropy of every step, and its draws."""

    kind, loss = "photographs", "ce"


Problem = Digits | Photographs


def truth(problem: Problem) -> Truth:
    """Return the result of the reference in float64."""
    params: dict[str, Any] = {name: x.astype(np.float64) for name, x in problem.params.items()}
    image, state = (x.astype(np.float64) for x in (problem.image, problem.state))
    return reference.loss_and_grads(
        problem.cell, problem.loss, params, image, state, problem.label, problem.weights, problem.draws
    )


def updates(problem: Problem, steps: int) -> float:
    """Return the number of cells that are alive and fire."""
    return float(alive(problem.cell, problem.image).sum()) * problem.cell.fire_rate * steps


def operations(problem: Problem, steps: int, gradients: bool) -> float:
    """Operations in the products that have to be made."""
    if isinstance(problem, Photographs):
        return pets.operations(problem)
    return digits.operations(problem.problem, problem.size, steps, gradients)


def moved(problem: Problem, gradients: bool) -> float:
    """Bytes that have to be read or written."""
    params = sum(x.nbytes for x in problem.params.values())
    return problem.image.nbytes + 2 * problem.state.nbytes + params * (2 if gradients else 1)
