"""A model of training on many ranks: computation, and messages with their latency and bandwidth.

    python benchmarks/cluster_model.py

prints the tables of docs/cluster.md. Sizes and numbers of messages are those that the simulated ranks count;
the test of this file compares them. Times of computation were measured on the README's machine; times of networks and
GPUs are assumptions, stated below.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
BATCHES = (64, 256, 1024, 4096, 8192)
ENOUGH = 0.8  # efficiency


@dataclass(frozen=True)
class Network:
    """The time of a message: latency, and bytes divided by bandwidth."""

    name: str
    latency: float  # seconds
    bandwidth: float  # bytes a second

    def time(self, count: float) -> float:
        return self.latency + count / self.bandwidth


@dataclass(frozen=True)
class Workload:
    """A training step of a batch on one processor core or one GPU."""

    name: str
    sample: float  # seconds for forward and backward of a sample
    least: float  # seconds that a rank's work takes at least, however few its samples
    part: int  # samples of a part
    common: float  # seconds that every rank spends on the whole batch, for each sample: pictures, draws, labels
    update: float  # seconds of Adam and everything else that does not depend on the batch
    gradient: int  # bytes
    state: int  # bytes of a sample's state
    moving: float  # fraction of samples whose states may be on another rank
    measuring: float  # seconds in which a rank measures a sample, at every tenth step


NETWORKS = {
    "cpu": Network("25 Gbit/s Ethernet, 10 us", 10e-6, 3e9),
    "gpu": Network("100 Gbit/s InfiniBand through the host, 10 us", 10e-6, 10e9),
}
WORKLOADS = {
    "digits, CPU core": ("cpu", Workload("digits", 2.2e-3, 0.5e-3, 4, 4e-6, 0.4e-3, 90_012, 59_584, 0.75, 0.1e-3)),
    "photographs, CPU core": (
        "cpu",
        Workload("photographs", 29.6e-3, 0.5e-3, 1, 10e-6, 0.4e-3, 188_368, 442_368, 0.0, 0.5e-3),
    ),
    "digits, GPU": ("gpu", Workload("digits", 20e-6, 1.5e-3, 8, 4e-6, 0.4e-3, 90_012, 59_584, 0.75, 0.1e-3)),
}


def reduction(ranks: int, gradient: int, network: Network) -> float:
    """Return the seconds of the sum over the tree: the roots go up log2(ranks) levels, the sum comes down as many."""
    return 2 * ceil(log2(ranks)) * network.time(gradient + 16) if ranks > 1 else 0.0


def step_time(work: Workload, network: Network, batch: int, ranks: int) -> float:
    """Return the seconds of a training step."""
    parts = ceil(batch / work.part)
    own = ceil(parts / ranks) * work.part  # samples of the busiest rank
    others = (ranks - 1) / ranks
    compute = max(work.least, own * work.sample) + batch * work.common + work.update
    moved = own * work.moving * others
    moving = min(moved, ranks - 1) * network.latency + moved * work.state / network.bandwidth if ranks > 1 else 0.0
    stopping = 2 * ceil(log2(ranks)) * network.latency if ranks > 1 else 0.0
    measuring = own * work.measuring / 10
    return compute + reduction(ranks, work.gradient, network) + 2 * moving + stopping + measuring


def efficiency(work: Workload, network: Network, batch: int, ranks: int) -> float:
    """Return the speed on some ranks, divided by the ranks and by the speed of one."""
    return step_time(work, network, batch, 1) / (ranks * step_time(work, network, batch, ranks))


def table(name: str) -> str:
    """Return a table of efficiencies, and below it where they fall below 80 %."""
    kind, work = WORKLOADS[name]
    network = NETWORKS[kind]
    lines = [f"{name}; {network.name}", f"| batch | {' | '.join(map(str, RANKS))} | below 80 % from |"]
    lines.append("| ---: |" + " ---: |" * (len(RANKS) + 1))
    for batch in BATCHES:
        values = [efficiency(work, network, batch, ranks) for ranks in RANKS]
        below = next((str(ranks) for ranks, value in zip(RANKS, values, strict=True) if value < ENOUGH), "-")
        lines.append(f"| {batch:,} | {' | '.join(f'{value:.0%}' for value in values)} | {below} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print("\n\n".join(map(table, WORKLOADS)))
