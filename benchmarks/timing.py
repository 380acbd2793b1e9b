"""The code that benchmarks share: fair turns, the rate of this CPU, agreement before timing, flags, and a table."""

from __future__ import annotations

import platform
import statistics
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def threads() -> int:
    """Return the number of threads of refca's cpu backend."""
    import refca_cpu  # here, as benchmarks of other backends do without

    return refca_cpu.threads()


def parse_flags(description: str | None, settings: list[str], default: list[str], batch: int) -> Namespace:
    """Return settings, batch and quick of a benchmark; exit with code 2 for an unknown setting."""
    parser = ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)
    names = "all of them" if default == settings else " and ".join(default)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"default: {names}")
    parser.add_argument("--batch", type=int, default=batch, help="samples")
    parser.add_argument("--quick", action="store_true", help="few rounds: to see that it works")
    flags = parser.parse_args()
    if unknown := set(flags.settings) - set(settings):
        parser.error(f"unknown setting {min(unknown)}; known are {', '.join(settings)}")
    flags.settings = flags.settings or default
    return flags


def paired(runs: list[Callable[[], Any]], rounds: int) -> list[float]:
    """The median seconds of each run, measured in turn, round after round.

    A turn is two runs. The first is not counted, because the threads of the previous contestant go on
    spinning for a while, and the caches hold its data.
    """
    for run in runs:
        run()
    seconds: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, seconds, strict=True):
            run()
            begun = time.perf_counter()
            run()
            taken.append(time.perf_counter() - begun)
    return [statistics.median(taken) for taken in seconds]


def product_rate(rounds: int) -> float:
    """Floating-point operations a second of a 2048² single-precision matrix product, on all threads."""
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(0).normal(size=(2048, 2048)).astype(np.float32)
    with threadpool_limits(threads()):
        return 2 * 2048**3 / paired([lambda: a @ a], rounds)[0]


def agree(
    name: str,
    loss: float,
    grads: Mapping[str, np.ndarray],
    reference_loss: float,
    true_grads: Mapping[str, np.ndarray],
    within: float = 1e-4,
) -> None:
    """Raise AssertionError, with the contestant's name, unless loss and gradients are correct.

    A gradient is if its difference has at most `within` of its norm.
    """
    np.testing.assert_allclose(loss, reference_loss, rtol=1e-5, err_msg=name)
    for key, grad in true_grads.items():
        error = np.linalg.norm(grads[key] - grad) / np.linalg.norm(grad)
        assert error <= within, f"{name}: the gradient of {key} is off by {error:.1e}"


def describe(rate: float) -> str:
    """The processor, and the rate of its products."""
    return f"{processor()}, {threads()} threads; a large matrix product runs at {rate / 1e9:.0f} GFLOP/s"


def header(names: list[str], *more: str) -> str:
    """A table's first lines: the contestants, refca first, the floor, and how much faster refca is."""
    columns = [*names, "floor", "times faster than the fastest peer", *more]
    return f"| | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}"


def report(what: str, seconds: list[float], floor: float, *more: str) -> None:
    """A row of the table: the contestants' seconds, refca's first."""
    mine, *peers = seconds
    cells = [f"{s * 1e3:,.1f} ms" if s < 1 else f"{s:,.1f} s" for s in (*seconds, floor)]
    print(f"| {' | '.join([what, *cells, f'{min(peers) / mine:.1f}', *more])} |", flush=True)


def processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
