"""Check that the kernels compute on this GPU what the reference computes, and the same bits twice.

    python3 -m gpu.smoke [--tiny] [--emulated]
    --tiny: small problems, without CuPy's pool of memory, for compute-sanitizer
    --emulated: tiny problems on the emulator, to try this program

Exit code 1 if anything is wrong.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from refca_cupy.unroll import DeviceBackend

import refca
from refca.contract.reference import reference
from refca.definition.cell import NORMS, Cell

Problem = tuple[Any, ...]  # parameters, image, state, target, weights
Result = tuple[float, dict[str, np.ndarray], np.ndarray]
NEAR = 3e-3  # float32 against float64, of gradients relative to the largest in a tensor
WAYS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "clusters": {"least_cells": 1},
    "phases": {"least_cells": 1, "clusters": False},
    "layers computed again": {"keeps_layers": False},
    "no shared states": {"shared_states": False},
}
EMULATED_WAYS: dict[str, dict[str, Any]] = {"as it comes": {"shared_states": True}, "phases": {"clusters": False}}


class Smoke:
    """The checks, and what failed."""

    def __init__(self, tiny: bool, emulated: bool) -> None:
        self.tiny, self.emulated, self.failed = tiny, emulated, list[str]()
        self.backend: Callable[..., DeviceBackend]
        if emulated:
            from refca_cupy.emulated import Emulated

            self.backend = Emulated
        else:
            import cupy
            from refca_cupy.gpu import Cupy

            if tiny:
                cupy.cuda.set_allocator(None)
            self.backend = Cupy
        backend = self.backend()
        self.put, self.get = backend.asarray, backend.asnumpy

    def check(self, what: str, good: bool, more: str = "") -> None:
        """Print a result, and remember it if it is bad."""
        print("ok    " if good else "WRONG ", what, more, flush=True)
        if not good:
            self.failed.append(what)

    def call(self, backend: DeviceBackend, cell: Cell, problem: Problem, streams: refca.Streams) -> Result:
        """Loss, gradients and last state, on the host."""
        params, image, state, target, weights = problem
        given = {name: self.put(x) for name, x in params.items()}, self.put(image), self.put(state)
        loss, grads, last = backend.loss_and_grads(cell, "ce", *given, target, weights, streams)
        return float(loss), {name: self.get(grad) for name, grad in grads.items()}, self.get(last)

    def small_problems(self) -> None:
        """All kinds of cells in all ways, against the reference, and again."""
        B, side, T = (2, 6, 2) if self.emulated else (3, 12, 3)
        for name, cell in cells(self.tiny or self.emulated).items():
            params, image, state, target, weights = problem(cell, B, side, T, "float64")
            given = params, image, state, target, weights, refca.Streams(1)
            expected = reference.loss_and_grads(cell, "ce", *given)
            single = problem(cell, B, side, T, "float32")
            for way, how in (EMULATED_WAYS if self.emulated else WAYS).items():
                try:
                    backend = self.backend(**how)
                    got = self.call(backend, cell, single, refca.Streams(1))
                    again = [self.call(backend, cell, single, refca.Streams(1)) for _ in range(1 if self.tiny else 5)]
                except Exception as error:  # whatever it is, the other checks go on
                    self.check(f"{name}, {way}", False, f"{type(error).__name__}: {error}"[:300])
                    continue
                self.check(f"{name}, {way}: as the reference", *near(got, expected))
                self.check(f"{name}, {way}: the same bits again", all(equal(got, other) for other in again))

    def clusters(self) -> None:
        """States in clusters of 8 against blocks alone, to the bit, at full size.

        A difference that is small and always the same is contraction; one that changes is a race.
        """
        cell, rng, backend = refca.digits_cell(), np.random.default_rng(1), self.backend()
        params = {name: self.put(x) for name, x in params_of(cell, 0.05, "float32").items()}
        image = (rng.random((300, 28, 28, 1)) * (rng.random((300, 28, 28, 1)) < 0.3)).astype("float32")
        state = np.zeros((300, 28, 28, 19), "float32")

        def run(n: int) -> np.ndarray:
            given = self.put(image[:n]), self.put(state[:n])
            return self.get(backend.evolve(cell, params, *given, refca.Streams(7), 60))

        alone = run(300)
        for n in (4, 16, 64, 128):
            apart = [float(np.abs(run(n) - alone[:n]).max()) for _ in range(20)]
            what = f"digits, 60 steps, {n} samples in clusters as in blocks alone, 20 times"
            self.check(what, max(apart) == 0, f"{min(apart):.1e} to {max(apart):.1e}")

    def photographs(self) -> None:
        """A mini-unroll at full size, in clusters against phases, and five times."""
        cell = refca.segmentation_cell(32, 48, depthwise=True)
        full = problem(cell, 32, 48, 10, "float32")
        one, other = (self.call(self.backend(**how), cell, full, refca.Streams(3)) for how in ({}, {"clusters": False}))
        self.check("photographs 48x48, batch 32, clusters as phases", *near(one, other))
        backend = self.backend()
        same = all(equal(one, self.call(backend, cell, full, refca.Streams(3))) for _ in range(5))
        self.check("photographs 48x48, five times the same", same)

    def times(self) -> None:
        """Print the times of the benchmark's problems, of the device and of the host alone."""
        import cupy

        digits, photographs = refca.digits_cell(), refca.segmentation_cell(32, 48, depthwise=True)
        sizes: dict[str, tuple[Any, ...]] = {"photographs B=32": (photographs, 32, 48, 10, True)}
        for states in (True, False):
            more = "" if states else ", no shared states"
            sizes |= {f"digits B={B}{more}": (digits, B, 28, 20, states) for B in (16, 256)}
        for name, (cell, B, side, T, states) in sizes.items():
            params, image, state, target, weights = problem(cell, B, side, T, "float32")
            arrays = {key: self.put(x) for key, x in params.items()}, self.put(image), self.put(state)
            backend, seconds = self.backend(shared_states=states), []
            for n in (1, 20):
                cupy.cuda.Device().synchronize()
                begun = time.perf_counter()
                for i in range(n):
                    backend.loss_and_grads(cell, "ce", *arrays, target, weights, refca.Streams(i))
                host = (time.perf_counter() - begun) / n
                cupy.cuda.Device().synchronize()
                seconds = [(time.perf_counter() - begun) / n, host]
            print(f"time   {name}: {seconds[0] * 1e3:.2f} ms, host alone {seconds[1] * 1e3:.2f} ms", flush=True)


def cells(few: bool) -> dict[str, Cell]:
    """Cells of both texts, with all norms."""
    found = {"digits": refca.digits_cell()}
    for norm in NORMS:
        for depthwise in (False, True):
            name = f"photographs, {norm}, {'depthwise' if depthwise else 'full'}"
            found[name] = refca.segmentation_cell(17, 22, norm=norm, depthwise=depthwise)
    chosen = ("digits", "photographs, instance, depthwise", "photographs, batch, full")
    return {name: found[name] for name in chosen} if few else found


def params_of(cell: Cell, scale: float, dtype: str) -> dict[str, np.ndarray]:
    """Random parameters."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(0, scale, x.shape).astype(dtype) for name, x in refca.init_params(cell, 0).items()}


def problem(cell: Cell, B: int, side: int, T: int, dtype: str) -> Problem:
    """Parameters, images with a blank margin, states, targets, and weights that count every step."""
    rng = np.random.default_rng(0)
    image = rng.random((B, side, side, cell.image_channels)).astype(dtype)
    image[:, : side // 4] = 0
    state = rng.normal(0, 0.5, (B, side, side, cell.state_channels)).astype(dtype)
    target = rng.integers(0, cell.labels, (B, side, side) if cell.linear_readout else B)
    return params_of(cell, 0.1, dtype), image, state, target, np.ones((T, B), dtype) / B


def near(got: Result, expected: Result) -> tuple[bool, str]:
    """Return whether two results agree as far as float32 allows, and how far they are apart."""
    off = [abs(got[0] - expected[0]) / (1 + abs(expected[0])), float(np.abs(got[2] - expected[2]).max())]
    off += [
        float(np.abs(got[1][name] - grad).max() / max(1e-3, np.abs(grad).max())) for name, grad in expected[1].items()
    ]
    return bool(max(off) <= NEAR and np.isfinite(off).all()), f"{max(off):.1e}"


def equal(one: Result, other: Result) -> bool:
    """Return whether two results have the same bits."""
    same = one[0] == other[0] and np.array_equal(one[2], other[2])
    return same and all(np.array_equal(grad, other[1][name]) for name, grad in one[1].items())


def main() -> int:
    smoke = Smoke("--tiny" in sys.argv, "--emulated" in sys.argv)
    smoke.small_problems()
    if not smoke.tiny and not smoke.emulated:
        smoke.clusters()
        smoke.photographs()
        smoke.times()
    print("failed: " + "; ".join(smoke.failed) if smoke.failed else "all well", flush=True)
    return int(bool(smoke.failed))


if __name__ == "__main__":
    sys.exit(main())
