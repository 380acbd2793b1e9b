"""Profile of a training step of the cpu backend: milliseconds of each phase on one thread, beside two floors.

    python benchmarks/phases.py [--quick] [--batch 4] [SETTING ...]

A SETTING is digits, or a first layer and a norm of the segmentation automaton, such as depthwise-instance or
full-none; digits take 20 steps on 28x28, photographs 10 steps on 48x48. The norm over the batch is left out: its
phases are the same as under the instance norm, but all threads wait for each other after each phase.

The first floor of a phase is the time that its products would take at the rate of one large single-precision
product. The second is the time to read and write each of its arrays once, at the rate of a copy of 64 MB. A phase
can be faster than its second floor, because blocks and shards stay in the caches.

The times are processor times of one thread, medians over rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import digits
import numpy as np
import pets
from refca_cpu import kernels, readout
from refca_cpu.batch import Batch
from refca_cpu.blas import single_threaded
from refca_cpu.layout import TOGETHER, Packed, Shard
from refca_cpu.unroll import TAPED_SHARD
from timing import parse_flags, processor

import refca

PHASES = (
    "draws and layout",
    "perceive",
    "hidden layers",
    "update",
    "loss",
    "update, gradient",
    "hidden layers, gradient",
    "perceive, gradient",
)


class Profile:
    """The phases of one setting: their times in each round, their operations and their bytes."""

    def __init__(self, setting: str, size: int) -> None:
        if setting == "digits":
            problem = digits.Problem()
            self.cell, self.params, self.loss = problem.cell, problem.params, "l2"
            self.image, self.label = problem.batch(size)
            self.state = refca.init_state(self.cell, self.image)
            self.weights = digits.weights(size)
        else:
            photographs = pets.Problem(setting, size)
            self.cell, self.params, self.loss = photographs.cell, photographs.params, "ce"
            self.image, self.label, self.state = photographs.image, photographs.label, photographs.state
            self.weights = photographs.weights
        self.seconds: dict[str, list[float]] = {name: [] for name in PHASES}
        self.operations = dict.fromkeys(PHASES, 0.0)
        self.bytes = dict.fromkeys(PHASES, 0.0)

    def round(self) -> list[Packed]:
        """Do one training step, shard by shard, as the backend does on one thread; return the shards' gradients."""
        for phase in PHASES:
            self.seconds[phase].append(0.0)
            self.operations[phase] = self.bytes[phase] = 0.0
        batch = Batch.of(self.cell, self.image, self.state, refca.Streams(0), 0, len(self.weights), taped=True)
        packed = Packed.of(self.cell, self.params)
        in_loss = self.weights.any(axis=1)
        return [self.shard(batch, packed, samples, in_loss) for samples in batch.split(TAPED_SHARD)]

    def shard(self, batch: Batch, packed: Packed, samples: Any, in_loss: Any) -> Packed:
        """Time the phases of one shard, and return its gradients."""
        shard = self.timed("draws and layout", batch.shard, samples, 0, in_loss)
        self.count(shard)
        grads, layers = Packed.zeros(self.cell, self.state.dtype), range(len(packed.hidden))
        moments, sums, cells = shard.moments, shard.grad_sums, shard.cells
        for i in range(len(in_loss)):
            self.timed("perceive", kernels.perceive, shard, packed, i)
            for j in layers:
                self.timed("hidden layers", kernels.hidden_layer, shard, packed, i, j, moments, cells)
            self.timed("update", kernels.update_states, shard, packed, i, moments, cells)
        self.timed("loss", self.add_loss, shard, samples, in_loss)
        for i in reversed(range(len(in_loss))):
            self.timed("update, gradient", kernels.update_states_grad, shard, packed, grads, i)
            for j in reversed(layers):
                given = shard, packed, grads, i, j + 1, sums, cells
                self.timed("hidden layers, gradient", kernels.hidden_layer_grad, *given)
            self.timed("perceive, gradient", kernels.perceive_grad, shard, packed, grads, i, sums, cells, False)
        return grads

    def timed(self, phase: str, work: Callable[..., Any], *given: Any) -> Any:
        """Return work(*given), whose time goes to a phase."""
        begun = time.thread_time()
        result = work(*given)
        self.seconds[phase][-1] += time.thread_time() - begun
        return result

    def add_loss(self, shard: Shard, samples: Any, in_loss: Any) -> None:
        """Replace the states that the loss counts by the gradient of the loss."""
        states, label = shard.in_loss.states, self.label[samples]
        image, weights = self.image[samples], self.weights[in_loss][:, samples]
        _, states[...], _ = readout.loss_of_states(self.cell, self.loss, self.params, image, label, weights, states)

    def count(self, shard: Shard) -> None:
        """Add the operations of a shard's products to each phase, and the numbers that it reads and writes."""
        C, D, P = shard.pixels.shape[1], self.cell.state_channels, self.cell.hidden_width
        steps, n, updates = len(self.weights), self.cell.hidden_layers, len(shard.updates.corner)
        rows = steps * shard.cells if shard.form.norm == TOGETHER else updates
        counted = shard.in_loss.states.size // D
        if self.cell.depthwise:
            pixels = steps * len(shard.pixels)
            perceive, seen = 2 * C * P * pixels + 2 * 9 * P * rows, (C + 2 * P) * pixels
        else:
            perceive, seen = 2 * 9 * C * P * rows, C * rows
        hidden, update = 2 * P * P * n * rows, 2 * P * (D + self.cell.resettable) * updates
        linear = 3 * 2 * D * self.cell.labels * counted * self.cell.linear_readout
        drawn = D * updates * (bool(self.cell.noise) + self.cell.resettable)
        operations = 0, perceive, hidden, update, linear, 2 * update, 2 * hidden, 2 * perceive
        numbers = (
            drawn + shard.pixels.size,
            seen + P * rows,
            2 * P * n * rows,
            P * rows + 2 * D * updates + drawn + 3 * D * updates,
            2 * D * counted,
            2 * P * updates + P * rows + 5 * D * updates + drawn,
            3 * P * n * rows,
            2 * seen + P * rows,
        )
        for phase, some, others in zip(PHASES, operations, numbers, strict=True):
            self.operations[phase] += some
            self.bytes[phase] += others * self.state.itemsize

    def report(self, setting: str, size: int, rate: float, bandwidth: float) -> None:
        """Print the table of one setting."""
        print(f"\n{setting}, batch {size}, {len(self.weights)} steps\n")
        print("| phase | ms | floor: products | floor: memory |\n|---|---:|---:|---:|")
        rows = [
            (phase, float(np.median(self.seconds[phase])), self.operations[phase] / rate, self.bytes[phase] / bandwidth)
            for phase in PHASES
        ]
        total = np.sum([times for _, *times in rows], axis=0)
        for name, *times in (*rows, ("all", *total)):
            print(f"| {name} | {' | '.join(f'{1e3 * x:.1f}' for x in times)} |", flush=True)


def rates() -> tuple[float, float]:
    """Operations a second of a large product, and bytes a second of a copy, on one thread."""
    a, source = np.ones((2048, 2048), np.float32), np.ones(1 << 24, np.float32)
    target = source.copy()
    product = min(elapsed(lambda: a @ a) for _ in range(3))
    copy = min(elapsed(lambda: np.copyto(target, source)) for _ in range(5))
    return 2 * 2048**3 / product, 2 * source.nbytes / copy


def elapsed(work: Callable[[], Any]) -> float:
    """The processor time of one call."""
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def main() -> None:
    settings = ["digits", *(f"{first}-{norm}" for norm in pets.BARS for first in pets.FIRST_LAYERS if norm != "batch")]
    flags = parse_flags(__doc__, settings, default=["digits", "depthwise-instance"], batch=4)
    with single_threaded():
        rate, bandwidth = rates()
        print(f"{processor()}, one thread: products {rate / 1e9:.0f} GFLOP/s, copies {bandwidth / 1e9:.0f} GB/s")
        for setting in flags.settings:
            profile = Profile(setting, flags.batch)
            for _ in range(3 if flags.quick else 15):
                profile.round()
            profile.report(setting, flags.batch, rate, bandwidth)


if __name__ == "__main__":
    main()
