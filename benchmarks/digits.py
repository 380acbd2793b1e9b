"""Benchmark of the digits automaton on a CPU, beside PyTorch and JAX doing the same work.

    python benchmarks/digits.py [--quick]

A training step is a forward and backward pass through 20 steps and all gradients, with masks and noise drawn
inside; refca draws from Philox streams, the peers from their own generators. Evaluation is 200 steps of 1,000
digits without gradients; peers are timed on fewer steps and scaled up. Every contestant's loss, gradients and
state are first compared with the reference in float64, on the same weights, digits and recorded draws.

The floor is the time that the matrix products of the cells that update would take at the rate that one
large single-precision product reaches here on all threads. Digits are 28×28 images made from scikit-learn's,
of which about as many pixels live as of MNIST's, so that no download is needed.

refca and PyTorch use REFCA_THREADS threads, by default all processors, JAX all processors: nothing else
should run beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
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


class Refca:
    name = "refca, cpu backend"

    def __init__(self, problem: Problem) -> None:
        self.problem, self.backend = problem, refca.get_backend("cpu")

    def gradients(self, size: int, source: Any) -> tuple[float, dict[str, np.ndarray]]:
        image, label = self.problem.batch(size)
        state = refca.init_state(self.problem.cell, image)
        loss, grads, _ = self.backend.loss_and_grads(
            self.problem.cell, "l2", self.problem.params, image, state, label, weights(size), source
        )
        return loss, grads

    def checked(self, size: int) -> tuple[float, dict[str, np.ndarray]]:
        return self.gradients(size, refca.Recorded(*self.problem.draws(size)))

    def unrolled(self, size: int) -> np.ndarray:
        image, _ = self.problem.batch(size)
        state, draws = refca.init_state(self.problem.cell, image), self.problem.draws(size)
        return self.backend.evolve(self.problem.cell, self.problem.params, image, state, refca.Recorded(*draws), STEPS)

    def training(self, size: int) -> Callable[[], Any]:
        return lambda: self.gradients(size, refca.Streams(1))

    def evaluation(self, steps: int) -> Callable[[], Any]:
        image, _ = self.problem.batch(EVALUATED)
        state = refca.init_state(self.problem.cell, image)
        return lambda: self.backend.evolve(
            self.problem.cell, self.problem.params, image, state, refca.Streams(1), steps
        )


class Torch:
    def __init__(self, problem: Problem, compiled: bool) -> None:
        import torch
        import torch_peer as peer

        torch.set_num_threads(threads())
        self.name = "PyTorch, compiled" if compiled else "PyTorch, eager"
        self.problem, self.torch, self.peer = problem, torch, peer
        self.params = peer.load_params(problem.params)
        self.loss, self.unroll = peer.loss, peer.unroll
        if compiled:
            self.loss = torch.compile(peer.loss, fullgraph=True, dynamic=False)
            self.unroll = torch.compile(peer.unroll, fullgraph=True, dynamic=False)

    def step(self, image: Any, label: Any, draws: Any) -> float:
        for p in self.params.values():
            p.grad = None
        state = self.torch.zeros(len(image), 19, 28, 28)
        loss, _ = self.loss(self.params, image, state, label, STEPS, draws)
        loss.backward()
        return loss.item()

    def tensors(self, size: int) -> tuple[Any, Any]:
        image, label = self.problem.batch(size)
        return self.peer.from_reference(image), self.torch.from_numpy(label)

    def draws(self, size: int) -> list[Any]:
        fire_mask, noise = self.problem.draws(size)
        masks = self.torch.from_numpy(fire_mask[:, :, None].astype(np.float32))
        return list(zip(masks, map(self.peer.from_reference, noise), strict=True))

    def checked(self, size: int) -> tuple[float, dict[str, np.ndarray]]:
        loss = self.step(*self.tensors(size), self.draws(size))
        return loss, self.peer.grads_to_reference(self.params, self.problem.params)

    def unrolled(self, size: int) -> np.ndarray:
        image, _ = self.tensors(size)
        with self.torch.no_grad():
            state = self.torch.zeros(size, 19, 28, 28)
            return self.peer.to_reference(self.unroll(self.params, image, state, STEPS, self.draws(size)))

    def training(self, size: int) -> Callable[[], Any]:
        image, label = self.tensors(size)
        return lambda: self.step(image, label, None)

    def evaluation(self, steps: int) -> Callable[[], Any]:
        image, _ = self.tensors(EVALUATED)
        state = self.torch.zeros(EVALUATED, 19, 28, 28)

        def run() -> Any:
            with self.torch.no_grad():
                return self.unroll(self.params, image, state, steps)

        return run


class Jax:
    name = "JAX, jit"

    def __init__(self, problem: Problem) -> None:
        import jax
        import jax_peer as peer

        self.problem, self.jax, self.peer = problem, jax, peer
        self.params = {name: jax.numpy.asarray(x) for name, x in problem.params.items()}
        self.unroll = jax.jit(peer.unroll, static_argnames="steps")

    def run(self, size: int, draws: Any) -> Any:
        image, label = (self.jax.numpy.asarray(x) for x in self.problem.batch(size))
        state = self.jax.numpy.zeros((size, 28, 28, 19))
        key = self.jax.random.key(0)
        return lambda: self.jax.block_until_ready(
            self.peer.loss_and_grads(self.params, image, state, label, key, STEPS, draws)
        )

    def checked(self, size: int) -> tuple[float, dict[str, np.ndarray]]:
        (loss, _), grads = self.run(size, list(zip(*self.problem.draws(size), strict=True)))()
        return float(loss), {name: np.asarray(x) for name, x in grads.items()}

    def unrolled(self, size: int) -> np.ndarray:
        image = self.jax.numpy.asarray(self.problem.batch(size)[0])
        state, key = self.jax.numpy.zeros((size, 28, 28, 19)), self.jax.random.key(0)
        draws = list(zip(*self.problem.draws(size), strict=True))
        return np.asarray(self.unroll(self.params, image, state, key, STEPS, draws))

    def training(self, size: int) -> Callable[[], Any]:
        return self.run(size, None)

    def evaluation(self, steps: int) -> Callable[[], Any]:
        image = self.jax.numpy.asarray(self.problem.batch(EVALUATED)[0])
        state, key = self.jax.numpy.zeros((EVALUATED, 28, 28, 19)), self.jax.random.key(0)
        return lambda: self.jax.block_until_ready(self.unroll(self.params, image, state, key, steps))


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

    The way back has two products for each one forward, but for the first step, which needs no gradient with
    respect to what its cells saw.
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
    contestants: list[Any] = [Refca(problem), Torch(problem, False), Torch(problem, True), Jax(problem)]
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
