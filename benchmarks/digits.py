"""Benchmark of the digits automaton on a CPU: refca's cpu backend beside its backends in PyTorch and JAX.

    python benchmarks/digits.py [--quick]

A training step is a forward and backward pass through 20 steps and all gradients, with masks and noise drawn
inside; refca draws from Philox streams, the peers from their own generators. Evaluation is 200 steps of 1,000
digits without gradients; peers are timed on fewer steps and scaled up. Every contestant's loss, gradients and
state are first compared with the reference in float64, on the same weights, digits and recorded draws.

The floor is the time that the matrix products of the cells that update would take at the rate that one
large single-precision product reaches here on all threads. Digits are 28×28 images made from scikit-learn's, which
need no download and have about as many live pixels as MNIST's.

refca and PyTorch use REFCA_THREADS threads, by default all processors, JAX all processors: nothing else
should run beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
from peers import TorchDraws, jax_draws
from timing import agree, describe, header, paired, product_rate, report, threads

import refca
from refca.contract.reference import reference
from refca.data import load
from refca.definition.step import alive

STEPS, EVALUATED, EVALUATION_STEPS = 20, 1000, 200

Digits = tuple[np.ndarray, np.ndarray]


class Problem:
    """Weights that have moved off zero, and the digits: one problem for all contestants."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.cell = refca.digits_cell()
        params = refca.init_params(self.cell, 0)
        params["update.weight"] = rng.normal(0, 0.02, params["update.weight"].shape).astype(np.float32)
        self.params = params
        self.digits = load("optdigits-28").train

    def batch(self, size: int) -> Digits:
        """Return a number of digits, starting over after the last."""
        chosen = np.arange(size) % len(self.digits)
        return self.digits.images(chosen), self.digits.labels[chosen]

    def draws(self, size: int, steps: int = STEPS) -> tuple[np.ndarray, np.ndarray]:
        """Recorded fires and noise of all steps."""
        drawn = [refca.Streams(0).at(self.cell, t, size, 28, 28) for t in range(steps)]
        fire_mask, noise, _ = zip(*drawn, strict=True)
        return np.stack(fire_mask), np.stack(noise).astype(np.float32)


def weights(size: int, steps: int = STEPS) -> np.ndarray:
    """The last step counts, each digit for its share."""
    rows = np.zeros((steps, size), np.float32)
    rows[-1] = 1 / size
    return rows


class Contestant:
    """A backend, and the source of its random numbers for a seed."""

    def __init__(
        self, name: str, problem: Problem, backend: Any, source: Callable[[int], Any], ready: Any = lambda x: x
    ) -> None:
        self.name, self.problem, self.backend, self.source, self.ready = name, problem, backend, source, ready
        self.params = {name: backend.asarray(x) for name, x in problem.params.items()}

    def tensors(self, size: int) -> tuple[Any, Any, np.ndarray]:
        """Return images and first states as arrays of the backend, and labels."""
        image, label = self.problem.batch(size)
        state = refca.init_state(self.problem.cell, image)
        return self.backend.asarray(image), self.backend.asarray(state), label

    def gradients(self, size: int, source: Any, given: Any = None) -> tuple[Any, dict[str, Any]]:
        image, state, label = given or self.tensors(size)
        arguments = self.problem.cell, "l2", self.params, image, state, label, weights(size), source
        loss, grads, _ = self.ready(self.backend.loss_and_grads(*arguments))
        return loss, grads

    def recorded(self, size: int) -> refca.Recorded:
        return refca.Recorded(*map(self.backend.asarray, self.problem.draws(size)))

    def checked(self, size: int) -> tuple[float, dict[str, np.ndarray]]:
        loss, grads = self.gradients(size, self.recorded(size))
        return float(loss), {name: self.backend.asnumpy(x) for name, x in grads.items()}

    def evolved(self, given: Any, source: Any, steps: int) -> Any:
        image, state, _ = given
        return self.ready(self.backend.evolve(self.problem.cell, self.params, image, state, source, steps))

    def unrolled(self, size: int) -> np.ndarray:
        found: np.ndarray = self.backend.asnumpy(self.evolved(self.tensors(size), self.recorded(size), STEPS))
        return found

    def training(self, size: int) -> Callable[[], Any]:
        given = self.tensors(size)
        return lambda: self.gradients(size, self.source(1), given)

    def evaluation(self, steps: int) -> Callable[[], Any]:
        given = self.tensors(EVALUATED)
        return lambda: self.evolved(given, self.source(1), steps)


def contestants_of(problem: Problem) -> list[Contestant]:
    """Return refca's cpu backend and the peers."""
    import jax
    import torch
    from refca_jax import Jax
    from refca_torch import Torch

    torch.set_num_threads(threads())

    def own(seed: int) -> TorchDraws:
        return TorchDraws()

    layout = torch.channels_last  # the faster one
    return [
        Contestant("refca, cpu backend", problem, refca.get_backend("cpu"), refca.Streams),
        Contestant("PyTorch, eager", problem, Torch(layout=layout), own),
        Contestant("PyTorch, compiled", problem, Torch(compiled=True, layout=layout), own),
        Contestant("JAX, jit", problem, Jax(), jax_draws, jax.block_until_ready),
    ]


def check(contestant: Any, problem: Problem, size: int = 4) -> None:
    """Raise AssertionError unless loss, gradients and state equal the reference's to float32 rounding."""
    image, label = problem.batch(size)
    image64 = image.astype(np.float64)
    params = {name: x.astype(np.float64) for name, x in problem.params.items()}
    state = refca.init_state(problem.cell, image64)
    loss, grads, last = reference.loss_and_grads(
        problem.cell, "l2", params, image64, state, label, weights(size), refca.Recorded(*problem.draws(size))
    )
    np.testing.assert_allclose(contestant.unrolled(size), last, atol=1e-4, err_msg=contestant.name)
    got, got_grads = contestant.checked(size)
    agree(contestant.name, got, got_grads, loss, grads)


def operations(problem: Problem, size: int, steps: int, gradients: bool) -> float:
    """Operations in the matrix products of the cells that update, in `steps` steps of `size` digits.

    The backward pass has two products for each one forward, except in the first step, which needs no gradient with
    respect to its input.
    """
    image, _ = problem.batch(size)
    live = float(alive(problem.cell, image).sum()) * problem.cell.fire_rate
    perceive, hidden, update = (2 * problem.params[n].size for n in PRODUCTS)
    forward = live * steps * (perceive + hidden + update)
    return forward * 3 - live * perceive if gradients else forward


PRODUCTS = ("perceive.weight", "hidden.0.weight", "update.weight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    quick = parser.parse_args().quick
    rounds = 3 if quick else 15
    problem = Problem()
    contestants = contestants_of(problem)
    for contestant in contestants:
        check(contestant, problem)
    print("all compute the same loss, gradients and states, to float32 rounding")

    rate = product_rate(rounds)
    print(describe(rate), header([c.name for c in contestants]), sep="\n\n")
    for size in (16, 64):
        times = paired([c.training(size) for c in contestants], rounds if size == 16 else max(3, rounds // 3))
        floor = operations(problem, size, STEPS, gradients=True) / rate
        report(f"training step, batch {size}", times, floor)
    few = 4
    peers = paired([c.evaluation(few) for c in contestants[1:]], 3)
    [mine] = paired([contestants[0].evaluation(EVALUATION_STEPS)], 3)
    floor = operations(problem, EVALUATED, EVALUATION_STEPS, gradients=False) / rate
    report(
        f"{EVALUATED:,} digits x {EVALUATION_STEPS} steps",
        [mine, *(seconds * EVALUATION_STEPS / few for seconds in peers)],
        floor,
    )


if __name__ == "__main__":
    main()
