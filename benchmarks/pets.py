"""Benchmark of training the segmentation automaton on a CPU: the cpu backend beside those in PyTorch and JAX.

    python benchmarks/pets.py [--quick] [--batch 16] [SETTING ...]

A mini-unroll is a forward and backward pass through 10 steps of 48×48 cells, 32 state channels and hidden
width 48, with reset gate, the cross-entropy of every step, and all gradients. A SETTING is a first layer and
a norm, such as full-none or depthwise-instance; without one all eight are timed. Masks and the gate's noise
are drawn beforehand and given to all contestants. Every contestant's loss, gradients and last state are
first compared with the reference in float64, on two samples.

The floor is the time that the unavoidable matrix products would take at the rate that one large
single-precision product reaches here on all threads. Half of the cells fire. Without a norm, and with the norm
channel, only these are computed, except for the 1×1 mix before a depthwise layer, which the neighbours of every
cell read. The norms instance and batch need the hidden layers of all cells, and update, gate and readout of those
that fire. The backward pass has two products for each one forward.

Images are random numbers, on which no product depends, and labels the thirds of their red. refca and PyTorch
use REFCA_THREADS threads, by default all processors, JAX all processors: nothing else should run beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from timing import agree, describe, header, paired, parse_flags, product_rate, report, threads

import refca
from refca.contract.reference import reference

STEPS, SIDE, STATE, HIDDEN, CHECKED = 10, 48, 32, 48, 2
FIRST_LAYERS = {"full": False, "depthwise": True}
BARS = {"none": 2.5, "channel": 2.5, "instance": 1.5, "batch": 1.5}  # times faster than PyTorch that are aimed at

Result = tuple[float, dict[str, np.ndarray], np.ndarray]  # loss, gradients, last state


@dataclass(frozen=True)
class Problem:
    """One setting of the cell, weights that have moved off zero, and a batch of B samples with its draws."""

    setting: str
    size: int
    side: int = SIDE
    steps: int = STEPS

    @cached_property
    def cell(self) -> refca.Cell:
        first, _, norm = self.setting.partition("-")
        return refca.segmentation_cell(STATE, HIDDEN, norm=norm, depthwise=FIRST_LAYERS[first])

    @cached_property
    def params(self) -> dict[str, np.ndarray]:
        rng, params = np.random.default_rng(0), refca.init_params(self.cell, 0)
        for name in ("update.weight", "gate.weight"):
            params[name] = rng.normal(0, 0.02, params[name].shape).astype(np.float32)
        return params

    @cached_property
    def image(self) -> np.ndarray:
        return np.random.default_rng(1).uniform(-1, 1, (self.size, self.side, self.side, 3)).astype(np.float32)

    @cached_property
    def label(self) -> np.ndarray:
        return ((self.image[..., 0] + 1) * 1.5).astype(int).clip(0, 2)

    @cached_property
    def state(self) -> np.ndarray:
        return refca.init_state(self.cell, self.image, refca.Streams(0))

    @cached_property
    def weights(self) -> np.ndarray:
        return np.full((self.steps, self.size), 1 / (self.steps * self.size), np.float32)

    @cached_property
    def draws(self) -> refca.Recorded:
        drawn = [refca.Streams(0).at(self.cell, t, self.size, self.side, self.side) for t in range(self.steps)]
        return refca.Recorded(
            np.stack([draw.fire_mask for draw in drawn]),
            reset=np.stack([np.asarray(draw.reset_noise, np.float32) for draw in drawn]),
        )

    def arguments(self, dtype: Any = np.float32) -> tuple[Any, ...]:
        """Return the arguments of `loss_and_grads` from the loss on, real arrays in this dtype."""
        params: dict[str, Any] = {name: x.astype(dtype) for name, x in self.params.items()}
        image, state = self.image.astype(dtype), self.state.astype(dtype)
        return self.cell, "ce", params, image, state, self.label, self.weights, self.draws


class Contestant:
    """A backend and its name in the table."""

    def __init__(
        self, name: str, backend: Any, reset: Callable[[], None] = lambda: None, ready: Any = lambda x: x
    ) -> None:
        self.name, self.backend, self.reset, self.ready = name, backend, reset, ready

    def unroll(self, problem: Problem) -> Callable[[], Any]:
        """Return a run of the mini-unroll, whose arrays are the backend's from the start."""
        self.reset()
        put = self.backend.asarray
        cell, loss, params, image, state, label, weights, draws = problem.arguments()
        params, source = (
            {name: put(x) for name, x in params.items()},
            refca.Recorded(put(draws.fire), None, put(draws.reset)),
        )
        given = cell, loss, params, put(image), put(state), label, weights, source
        return lambda: self.ready(self.backend.loss_and_grads(*given))

    def checked(self, problem: Problem) -> Result:
        loss, grads, last = self.unroll(problem)()
        asnumpy = self.backend.asnumpy
        return float(loss), {name: asnumpy(x) for name, x in grads.items()}, asnumpy(last)


def contestants_of() -> list[Contestant]:
    """Return refca's cpu backend, PyTorch eager and compiled, each in its faster layout of memory, and JAX."""
    import jax
    import torch
    from refca_jax import Jax
    from refca_torch import Torch

    torch.set_num_threads(threads())
    compiled = Torch(compiled=True, layout=torch.channels_last)
    return [
        Contestant("refca, cpu backend", refca.get_backend("cpu")),
        Contestant("PyTorch, eager", Torch()),
        # a function is compiled for a limited number of different uses; one more is an error
        Contestant("PyTorch, compiled", compiled, torch.compiler.reset),
        Contestant("JAX, jit", Jax(), ready=jax.block_until_ready),
    ]


def check(contestants: list[Any], setting: str) -> None:
    """Raise AssertionError unless loss, gradients and state equal the reference's to float32 rounding."""
    problem = Problem(setting, CHECKED)
    loss, grads, last = reference.loss_and_grads(*problem.arguments(np.float64))
    for contestant in contestants:
        got_loss, got_grads, got_last = contestant.checked(problem)
        name = f"{contestant.name}, {setting}"
        np.testing.assert_allclose(got_last, last, atol=1e-4, err_msg=name)
        # of 7 million sums before a relu rounding moves one or two across zero, and their derivatives
        agree(name, got_loss, got_grads, loss, grads, within=2e-3)


def operations(problem: Problem) -> float:
    """Operations in the products that have to be made, forward and backward."""
    sizes = {name: 2 * x.size for name, x in problem.params.items()}  # of each for one cell
    everywhere = {"perceive.mix"}
    if problem.cell.norm in ("instance", "batch"):
        everywhere |= {name for name in sizes if name.startswith(("perceive", "hidden"))}
    cell = sum(n if name in everywhere else n * problem.cell.fire_rate for name, n in sizes.items())
    return 3 * problem.steps * problem.size * problem.side**2 * cell


def main() -> None:
    settings = [f"{first}-{norm}" for norm in BARS for first in FIRST_LAYERS]
    flags = parse_flags(__doc__, settings, default=settings, batch=16)
    rounds = 3 if flags.quick else 15
    contestants = contestants_of()
    for setting in flags.settings:
        check(contestants, setting)
    print("all compute the same loss, gradients and states, to float32 rounding")

    rate = product_rate(rounds)
    print(describe(rate), header([c.name for c in contestants], "asked"), sep="\n\n")
    for setting in flags.settings:
        problem = Problem(setting, flags.batch)
        times = paired([c.unroll(problem) for c in contestants], rounds)
        what = f"mini-unroll, batch {flags.batch}, {setting.replace('-', ', norm ')}"
        report(what, times, operations(problem) / rate, f"{BARS[problem.cell.norm]}")


if __name__ == "__main__":
    main()
