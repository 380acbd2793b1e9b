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
from timing import agree

import refca
from gpu.problems import Digits, Problem, Truth
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
    """PyTorch: eager; with a compiled step; or that, all of it replayed as one CUDA graph."""

    def __init__(self, mode: str, device: str, tf32: bool = False) -> None:
        import torch
        import torch_peer
        import torch_segmentation

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
        torch.backends.cudnn.benchmark = True
        self.torch, self.peer, self.segmentation = torch, torch_peer, torch_segmentation
        self.mode, self.device = mode, "cuda" if device == "gpu" else "cpu"
        torch.zeros(1, device=self.device)

    def step_of(self, problem: Problem) -> Any:
        step = self.peer.step if isinstance(problem, Digits) else self.segmentation.step
        return step if self.mode == "eager" else self.torch.compile(step, fullgraph=True, dynamic=False)

    def loaded(self, problem: Problem) -> tuple[Any, ...]:
        """Parameters, image, state and label on the device."""
        image, state = (self.peer.from_reference(x, self.device) for x in (problem.image, problem.state))
        label = self.torch.from_numpy(problem.label).to(self.device)
        return self.peer.load_params(problem.params, self.device), image, state, label

    def draws(self, problem: Problem) -> list[Any]:
        fire = self.torch.from_numpy(problem.draws.fire[:, :, None]).to(self.device)
        normal: Any = problem.draws.noise if isinstance(problem, Digits) else problem.draws.reset
        masks = fire.float() if isinstance(problem, Digits) else fire
        return list(zip(masks, (self.peer.from_reference(x, self.device) for x in normal), strict=True))

    def gradients(self, problem: Problem, loaded: tuple[Any, ...], draws: Any) -> Run:
        """A run that leaves gradients in the parameters and returns the loss and the last state."""
        params, step = loaded[0], self.step_of(problem)
        peer: Any = self.peer
        segmentation: Any = self.segmentation
        if isinstance(problem, Digits):
            loss: Any = partial(peer.loss, *loaded, problem.steps, draws, step)
        else:
            draws = draws or [None] * problem.steps
            loss = partial(segmentation.loss, problem.cell.norm, *loaded, draws, step)

        def run() -> Any:
            for p in params.values():
                p.grad = None
            total, last = loss()
            total.backward()
            return total.detach(), last.detach()

        return run

    def checked(self, problem: Problem) -> Truth:
        loaded = self.loaded(problem)
        replayed = self.graphed(self.gradients(problem, loaded, self.draws(problem)))
        loss, last = replayed()
        grads = self.peer.grads_to_reference(loaded[0], problem.params)
        return loss.item(), grads, self.peer.to_reference(last)

    def prepared(self, work: str, problem: Problem) -> Run:
        loaded = self.loaded(problem)
        if work == EVOLVE:
            return self.evolution(problem, *loaded[:3])
        gradients = self.gradients(problem, loaded, None)
        return self.graphed(self.learning(loaded[0], gradients) if work == LEARN else gradients)

    def learning(self, params: Any, gradients: Run) -> Run:
        on_gpu = self.device == "cuda"
        adam = self.torch.optim.Adam(params.values(), RATE, eps=1e-7, fused=on_gpu, capturable=on_gpu)

        def run() -> None:
            gradients()
            for p in params.values():
                p.grad /= p.grad.norm() + 1e-8
            adam.step()

        return run

    def evolution(self, problem: Problem, params: Any, image: Any, state: Any) -> Run:
        step, steps = self.step_of(problem), min(PART, problem.steps)

        def part() -> None:
            with self.torch.no_grad():
                state.copy_(self.peer.unroll(params, image, state, steps, None, step))

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
    """JAX, one jitted function for the whole work."""

    def __init__(self, device: str, tf32: bool = False) -> None:
        import jax
        import jax_peer
        import jax_segmentation

        jax.config.update("jax_default_matmul_precision", "tensorfloat32" if tf32 else "highest")
        if jax.default_backend() != device:
            raise RuntimeError(f"JAX works on its {jax.default_backend()} backend here")
        self.jax, self.peer, self.segmentation = jax, jax_peer, jax_segmentation
        self.last: Any = None

    def loaded(self, problem: Problem) -> tuple[Any, ...]:
        """Parameters, image, state, label and a key on the device."""
        put = self.jax.numpy.asarray
        params = {name: put(x) for name, x in problem.params.items()}
        samples = [put(x) for x in (problem.image, problem.state, problem.label)]
        return params, *samples, self.jax.random.key(0)

    def loss_and_grads(self, problem: Problem) -> Callable[..., Any]:
        """Return the loss and its gradients from parameters, image, state, label, key and draws."""
        if isinstance(problem, Digits):
            loss = partial(self.peer.loss, steps=problem.steps)
        else:
            loss = partial(self.segmentation.loss, problem.cell.norm)
        return self.jax.value_and_grad(loss, has_aux=True)

    def checked(self, problem: Problem) -> Truth:
        draws = problem.draws
        normal = draws.noise if isinstance(problem, Digits) else draws.reset
        given = list(zip(draws.fire, np.asarray(normal), strict=True))
        run = self.jax.jit(self.loss_and_grads(problem))
        (loss, last), grads = run(*self.loaded(problem), draws=given)
        return float(loss), {name: np.asarray(x) for name, x in grads.items()}, np.asarray(last)

    def prepared(self, work: str, problem: Problem) -> Run:
        loaded = self.loaded(problem)
        if work == EVOLVE:
            return self.evolution(problem, loaded)
        draws = None if isinstance(problem, Digits) else [None] * problem.steps
        gradients = partial(self.loss_and_grads(problem), draws=draws)
        if work == LEARN:
            return self.learning(gradients, loaded)
        return partial(self.keep, partial(self.jax.jit(gradients), *loaded))

    def keep(self, run: Run) -> Any:
        """Return the array computed last: the queue is empty when it is ready."""
        self.last = run()
        return self.last

    def learning(self, gradients: Callable[..., Any], loaded: tuple[Any, ...]) -> Run:
        def update(params: Any, first: Any, second: Any, *samples: Any) -> Any:
            _, grads = gradients(params, *samples)
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
        part = self.jax.jit(partial(self.peer.unroll, steps=steps))
        keys = self.jax.random.split(self.jax.random.key(0), problem.steps // steps)

        def run() -> None:
            self.last = start
            for key in keys:
                self.last = part(params, image, self.last, key)

        return run

    def wait(self) -> None:
        self.jax.block_until_ready(self.last)


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
