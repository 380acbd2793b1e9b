"""The contestants on a GPU: refca's backend, and peers in PyTorch and JAX, each doing the whole work.

A contestant's work is one of WORK. `checked` does it once with recorded draws, for comparison; `prepared`
returns a function that puts it in the device's queue, drawing its own randomness, and `wait` waits for the
queue. So the losses of peers need not come back to the host at each step; refca's do, as its contract says.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import numpy as np
from peers import TorchDraws, jax_draws, jax_loss, torch_loss
from timing import agree

import refca
from gpu.problems import Problem, Truth
from refca.contract.adam import adam_step
from refca.training.adam import Adam

GRADIENTS, LEARN, EVOLVE = WORK = ("gradients", "learn", "evolve")
RATE, UPDATE = 1e-3, 1000  # of Adam's step: a rate, and the number of the update, on which no time depends
PART = 20  # steps of a long evolution that peers do at a time

Run = Callable[[], Any]


class Refca:
    """A backend of refca, by its name."""

    def __init__(self, backend: str, device: str) -> None:
        self.backend: Any = refca.get_backend(backend)
        self.on_gpu = device == "gpu"

    def loaded(self, problem: Problem, part: slice = slice(None)) -> tuple[Any, ...]:
        """Return the arguments of `loss_and_grads` but the last, for a part of the samples, as training gives them."""
        put = self.backend.asarray
        params = {name: put(x) for name, x in problem.params.items()}
        image, state = put(problem.image[part]), put(problem.state[part])
        return problem.cell, problem.loss, params, image, state, problem.label[part], problem.weights[:, part]

    def checked(self, problem: Problem) -> Truth:
        draws = problem.draws
        given = [None if x is None else self.backend.asarray(x) for x in (draws.fire, draws.noise, draws.reset)]
        return self.numbers(self.backend.loss_and_grads(*self.loaded(problem), refca.Recorded(*given)))

    def numbers(self, result: Any) -> Truth:
        loss, grads, last = result
        asnumpy = self.backend.asnumpy
        return float(loss), {name: asnumpy(x) for name, x in grads.items()}, asnumpy(last)

    def prepared(self, work: str, problem: Problem) -> Run:
        """Raise AssertionError unless a batch that is too large for the reference equals its two halves."""
        arguments, seeds = self.loaded(problem), count()
        if work == EVOLVE:
            self.compare_evolution(problem)
            cell, _, params, image, state, _, _ = arguments
            return lambda: self.backend.evolve(cell, params, image, state, refca.Streams(next(seeds)), problem.steps)
        if problem.cell.norm != "batch":
            self.compare_gradients(problem)

        def gradients() -> Any:
            return self.backend.loss_and_grads(*arguments, refca.Streams(next(seeds)))

        return partial(self.learn, Adam(), arguments[2], gradients) if work == LEARN else gradients

    def learn(self, adam: Adam, params: Any, gradients: Run) -> None:
        _, grads, _ = gradients()
        params.update(self.backend.adam_step(params, grads, adam.m, adam.v, UPDATE, RATE, True))

    def compare_gradients(self, problem: Problem) -> None:
        whole, *halves = (
            self.numbers(self.backend.loss_and_grads(*self.loaded(problem, part), refca.Streams(0, part.start)))
            for part in parts(problem.size)
        )
        (one, lower, _), (other, upper, _) = halves
        grads = {name: lower[name] + upper[name] for name in lower}
        agree("a batch and its halves", *whole[:2], one + other, grads, within=2e-3)

    def compare_evolution(self, problem: Problem) -> None:
        states = []
        for part in parts(problem.size):
            cell, _, params, image, state, _, _ = self.loaded(problem, part)
            source, steps = refca.Streams(0, part.start), min(PART, problem.steps)
            states.append(self.backend.asnumpy(self.backend.evolve(cell, params, image, state, source, steps)))
        np.testing.assert_allclose(states[0], np.concatenate(states[1:]), atol=1e-4)

    def wait(self) -> None:
        if self.on_gpu:
            self.backend.xp.cuda.Device().synchronize()


def parts(size: int) -> list[slice]:
    """A batch and its halves."""
    return [slice(0, size), slice(0, size // 2), slice(size // 2, size)]


class Torch:
    """refca's backend in PyTorch: eager; with a compiled step; or that, all of it replayed as one CUDA graph."""

    def __init__(self, mode: str, device: str, tf32: bool = False) -> None:
        import refca_torch
        import torch

        self.torch, self.mode, self.device = torch, mode, "cuda" if device == "gpu" else "cpu"
        self.backend = refca_torch.Torch(self.device, compiled=mode != "eager")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        torch.zeros(1, device=self.device)

    def loaded(self, problem: Problem) -> tuple[Any, ...]:
        """Parameters, image, state and label on the device."""
        put = self.backend.asarray
        params = {name: put(x) for name, x in problem.params.items()}
        return params, *(put(np.ascontiguousarray(x)) for x in (problem.image, problem.state, problem.label))

    def draws(self, problem: Problem) -> refca.Recorded:
        draws = problem.draws
        return refca.Recorded(
            *(None if x is None else self.backend.asarray(x) for x in (draws.fire, draws.noise, draws.reset))
        )

    def gradients(self, problem: Problem, loaded: tuple[Any, ...], draws: Any) -> Run:
        """A run that returns the loss, the gradients and the last state."""
        params, image, state, label = loaded
        in_loss = np.asarray(problem.weights.any(axis=1))
        leaves = {name: x.detach().requires_grad_() for name, x in params.items() if name.startswith("readout")}
        found: dict[str, Any] = {}

        def objective(states: Any, samples: slice) -> tuple[Any, Any]:
            states = states.detach().requires_grad_()
            total = torch_loss(problem.loss, states, leaves, image, label)
            gradient, *others = self.torch.autograd.grad(total, [states, *leaves.values()])
            found.update(zip(leaves, others, strict=True))
            return total.detach(), gradient

        def run() -> Any:
            given = problem.cell, params, image, state, draws, in_loss, objective
            total, grads, _, _, last = self.backend.unroll_grads(*given, inputs_grad=False)
            return total, grads | found, last

        return run

    def checked(self, problem: Problem) -> Truth:
        run = self.graphed(self.gradients(problem, self.loaded(problem), self.draws(problem)))
        loss, grads, last = run()
        asnumpy = self.backend.asnumpy
        return loss.item(), {name: asnumpy(x) for name, x in grads.items()}, asnumpy(last)

    def prepared(self, work: str, problem: Problem) -> Run:
        loaded = self.loaded(problem)
        if work == EVOLVE:
            return self.evolution(problem, *loaded[:3])
        gradients = self.gradients(problem, loaded, TorchDraws(self.device))
        return self.graphed(self.learning(loaded[0], gradients) if work == LEARN else gradients)

    def learning(self, params: Any, gradients: Run) -> Run:
        on_gpu = self.device == "cuda"
        adam = self.torch.optim.Adam(params.values(), RATE, eps=1e-7, fused=on_gpu, capturable=on_gpu)

        def run() -> None:
            _, grads, _ = gradients()
            for name, p in params.items():
                p.grad = grads[name] / (grads[name].norm() + 1e-8)
            adam.step()

        return run

    def evolution(self, problem: Problem, params: Any, image: Any, state: Any) -> Run:
        steps = min(PART, problem.steps)

        def part() -> None:
            source = TorchDraws(self.device)
            state.copy_(self.backend.evolve(problem.cell, params, image, state, source, steps))

        replayed = self.graphed(part)

        def run() -> None:
            state.zero_()
            for _ in range(problem.steps // steps):
                replayed()

        return run

    def graphed(self, run: Run) -> Run:
        """The run, or in that mode its CUDA graph, captured after a warm-up on another stream."""
        if self.mode != "graph":
            return run
        cuda = self.torch.cuda
        stream = cuda.Stream()
        stream.wait_stream(cuda.current_stream())
        with cuda.stream(stream):
            for _ in range(3):
                run()
        cuda.current_stream().wait_stream(stream)
        graph = cuda.CUDAGraph()
        with cuda.graph(graph):
            result = run()

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    def wait(self) -> None:
        if self.device == "cuda":
            self.torch.cuda.synchronize()


class Jax:
    """refca's backend in JAX, one jitted function for the whole work."""

    def __init__(self, device: str, tf32: bool = False) -> None:
        import jax
        import refca_jax.backend

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "highest")
        if jax.default_backend() != device:
            raise RuntimeError(f"JAX works on its {jax.default_backend()} backend here")
        self.jax, self.unrolls = jax, refca_jax.backend
        self.last: Any = None

    def loaded(self, problem: Problem) -> tuple[Any, ...]:
        """Parameters, image, state, label and the randomness on the device."""
        put = self.jax.numpy.asarray
        params = {name: put(x) for name, x in problem.params.items()}
        samples = [put(x) for x in (problem.image, problem.state, problem.label)]
        return params, *samples, jax_draws(0)

    def loss_and_grads(self, problem: Problem) -> Callable[..., Any]:
        """Return a function of parameters, image, state, label and randomness: loss, gradients, last state."""
        counted = np.flatnonzero(problem.weights.any(axis=1))

        def run(params: Any, image: Any, state: Any, label: Any, source: Any) -> Any:
            given = counted, params, image, state, source
            states, last, pullback = self.unrolls.forward(problem.cell, problem.steps, False, *given)
            loss = self.jax.value_and_grad(partial(jax_loss, problem.loss), argnums=(0, 1))
            total, (of_states, of_params) = loss(states, params, image, label)
            [grads] = self.unrolls.backward(pullback, of_states)
            return total, self.jax.tree.map(self.jax.numpy.add, grads, of_params), last

        return run

    def checked(self, problem: Problem) -> Truth:
        *loaded, _ = self.loaded(problem)
        source = source_of_draws(problem)
        loss, grads, last = self.jax.jit(self.loss_and_grads(problem))(*loaded, source)
        return float(loss), {name: np.asarray(x) for name, x in grads.items()}, np.asarray(last)

    def prepared(self, work: str, problem: Problem) -> Run:
        loaded = self.loaded(problem)
        if work == EVOLVE:
            return self.evolution(problem, loaded)
        gradients = self.loss_and_grads(problem)
        if work == LEARN:
            return self.learning(gradients, loaded)
        return partial(self.keep, partial(self.jax.jit(gradients), *loaded))

    def keep(self, run: Run) -> Any:
        """Return the array computed last: the queue is empty when it is ready."""
        self.last = run()
        return self.last

    def learning(self, gradients: Callable[..., Any], loaded: tuple[Any, ...]) -> Run:
        def update(params: Any, first: Any, second: Any, *samples: Any) -> Any:
            _, grads, _ = gradients(params, *samples)
            adam = Adam(dict(first), dict(second))
            return adam_step(params, grads, adam.m, adam.v, UPDATE, RATE, True), adam.m, adam.v

        zeros = {name: 0 * x for name, x in loaded[0].items()}
        jitted = self.jax.jit(update)
        learned: list[Any] = [loaded[0], zeros, zeros]

        def run() -> None:
            learned[:] = self.keep(lambda: jitted(*learned, *loaded[1:]))

        return run

    def evolution(self, problem: Problem, loaded: tuple[Any, ...]) -> Run:
        params, image, start, _, _ = loaded
        steps = min(PART, problem.steps)
        sources = [jax_draws(seed) for seed in range(problem.steps // steps)]

        def run() -> None:
            self.last = start
            for source in sources:
                self.last = self.unrolls.evolved(problem.cell, params, image, self.last, source, steps)

        return run

    def wait(self) -> None:
        self.jax.block_until_ready(self.last)


def source_of_draws(problem: Problem) -> Any:
    """Return the recorded draws of a problem as the JAX backend takes them."""
    from refca_jax.streams import source_of

    return source_of(problem.cell, problem.draws, 0, problem.steps, problem.state)


def contestant(name: str, backend: str, device: str) -> Any:
    """The contestant of this name, one of NAMES or of WITH_TF32."""
    if name == REFCA:
        return Refca(backend, device)
    tf32 = name in WITH_TF32
    if name.startswith("JAX"):
        return Jax(device, tf32)
    return Torch({"eager": "eager", "compiled": "compiled"}.get(name.split(", ")[-1], "graph"), device, tf32)


REFCA = "refca"
NAMES = (REFCA, "PyTorch, eager", "PyTorch, compiled", "PyTorch, compiled, CUDA graph", "JAX, jit")
FAST = (REFCA, *NAMES[-2:])  # refca, and the fastest way of each peer
WITH_TF32 = ("PyTorch, compiled, CUDA graph, TF32", "JAX, jit, TF32")
