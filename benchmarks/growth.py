"""Benchmark of how the cost of the cpu backend grows: side of the grid, batch, share of live cells, threads.

    python benchmarks/growth.py [--quick] [--out DIR]

The cost is nanoseconds for each cell that updates and each step, so that a flat line is linear growth. A training
step is forward and backward passes with all gradients, an evolution the forward pass alone; both draw their own
randomness. Digits are the article's cell, photographs the paper's with (32, 48) channels, a depthwise first layer and
instance norm. Writes growth.csv and growth.png to DIR, by default the working folder. Nothing else should run beside
it.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from timing import paired, processor, threads

import refca
from refca.threads import thread_limit

SIDES, BATCHES, SHARES = (28, 48, 96, 192, 384, 512), (1, 4, 16, 64, 256), (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
CELLS = {
    "digits": refca.digits_cell(),
    "photographs": refca.segmentation_cell(32, 48, norm="instance", depthwise=True),
}
AXES = {"side": "side of the grid, one picture", "batch": "pictures", "share": "share of live cells, 16 digits"}


@dataclass(frozen=True)
class Case:
    """One measurement: a cell, what it does, and the shape of the batch."""

    axis: str  # along which the cases of a curve differ
    cell: str
    work: str  # training or evolution
    batch: int
    side: int
    share: float  # of cells that are alive

    @property
    def value(self) -> float:
        return float(getattr(self, self.axis))

    @property
    def steps(self) -> int:
        """Enough steps to time, and few enough that the tape of a large grid fits in memory."""
        return 2 if self.batch * self.side**2 > 100_000 else 10


def cases(quick: bool) -> list[Case]:
    """All measurements, curve by curve."""
    sides, batches, shares = (SIDES[:2], BATCHES[:2], SHARES[-2:]) if quick else (SIDES, BATCHES, SHARES)
    found = []
    for work in ("training", "evolution"):
        for cell, side in (("digits", 28), ("photographs", 48)):
            found += [Case("side", cell, work, 1, s, 1.0) for s in sides]
            found += [Case("batch", cell, work, b, side, 0.2 if cell == "digits" else 1.0) for b in batches]
        found += [Case("share", "digits", work, 16, 28, s) for s in shares]
    return found


def nanoseconds(case: Case, rounds: int) -> float:
    """The median time for each cell that updates and each step."""
    cell, backend, rng = CELLS[case.cell], refca.get_backend("cpu"), np.random.default_rng(0)
    params = refca.init_params(cell, 0)
    params["update.weight"] = rng.normal(0, 0.02, params["update.weight"].shape).astype(np.float32)
    shape = (case.batch, case.side, case.side)
    image = rng.uniform(0.2, 1, (*shape, cell.image_channels)).astype(np.float32)
    live = np.full(shape, True)
    if cell.alive_above is not None:
        live = rng.random(shape) < case.share
        image *= live[..., None]
    state = rng.standard_normal((*shape, cell.state_channels)).astype(np.float32)
    state *= live[..., None]
    weights = np.zeros((case.steps, case.batch), np.float32)
    weights[-1] = 1 / case.batch
    digits = case.cell == "digits"
    target: Any = np.zeros(case.batch if digits else shape, np.int64)

    def run() -> None:
        if case.work == "evolution":
            backend.evolve(cell, params, image, state, refca.Streams(0), case.steps)
        else:
            loss = "l2" if digits else "ce"
            backend.loss_and_grads(cell, loss, params, image, state, target, weights, refca.Streams(0))

    return paired([run], rounds)[0] * 1e9 / (live.sum() * cell.fire_rate * case.steps)


def draw(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Draw a panel for each axis, with a curve for each cell, kind of work and number of threads."""
    from matplotlib.figure import Figure

    rows = list(rows)
    figure = Figure(figsize=(13, 4), layout="constrained")
    for axes, (axis, words) in zip(figure.subplots(1, 3, sharey=True), AXES.items(), strict=True):
        of_axis = [row for row in rows if row["axis"] == axis]
        curves = sorted({(row["cell"], row["work"], row["threads"]) for row in of_axis})
        for cell, work, count in curves:
            points = [row for row in of_axis if (row["cell"], row["work"], row["threads"]) == (cell, work, count)]
            axes.plot(
                [row["value"] for row in points],
                [row["nanoseconds"] for row in points],
                color={"digits": "#0072b2", "photographs": "#d55e00"}[cell],
                linestyle="-" if work == "training" else "--",
                marker="o" if count == 1 else "s",
                markerfacecolor="white" if count == 1 else None,
                label=f"{cell}, {work}, {count} thread{'s' if count > 1 else ''}",
            )
        axes.set(xscale="log", yscale="log", xlabel=words)
        values = sorted({row["value"] for row in of_axis})
        axes.set_xticks(values, [f"{value:g}" for value in values])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("ns for each update of a cell")
    curves_of = (dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True)) for axes in figure.axes)
    labelled = {label: line for curves in curves_of for label, line in curves.items()}
    figure.legend(labelled.values(), labelled, loc="outside right upper", fontsize=8)
    figure.suptitle(f"Cost of the cpu backend, {processor()}")
    figure.savefig(path, dpi=120)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--quick", action="store_true", help="two points a curve, one round")
    flags.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="folder for growth.csv and growth.png")
    chosen = flags.parse_args()
    rows = []
    for count in sorted({1, threads()}):
        with thread_limit(count):
            for case in cases(chosen.quick):
                cost = nanoseconds(case, 1 if chosen.quick else 3)
                rows.append({**vars(case), "value": case.value, "threads": count, "nanoseconds": round(cost, 1)})
                print(*(f"{key} {value}" for key, value in rows[-1].items()), sep=", ", flush=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    with open(chosen.out / "growth.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    draw(rows, chosen.out / "growth.png")


if __name__ == "__main__":
    main()
