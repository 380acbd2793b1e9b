"""python tools/results/short_runs.py RUN ...: keep short trainings on photographs for comparison.

Each run must have been measured on held-out photographs: python -m refca.evaluate RUN --validation. The program
copies what the page shows into results/segmentation/short/NAME: settings.toml, metrics.csv, evaluation.json and
evaluation.csv, but no weights.

Source: the paper, Figures 11 and 15 to 17; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from keep import copy, rename_model, thin
from kept import FOLDER, Columns, read_columns, read_json
from words import aligned, percent

from refca.cli import exit_code
from refca.errors import InvalidInput
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import Curves
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import load_experiment
from refca.training.flags import shown

HERE = FOLDER / "segmentation" / "short"
BASE = "base"  # the run with which the others are compared
DIGITS = 4  # of the numbers in evaluation.csv
HEAD = ("run", "changed", "object at 40", "boundary at 40", "object at 400", "object replaced", "states", "gate")
PAPER = 32_000_000  # photographs seen in a training of the paper
INTRODUCTION = """\
## Short comparisons

Each run here has {steps:,} training steps of {batch} photographs at {size}x{size} from random weights: {seen:,}
photographs, of which the paper's runs see {times:,} times more. There is one run of each, with seed {seed}, so that
small differences are chance. IoU in per cent on {samples} training photographs that were held out; at {last} and
replaced: on {few} of them. *Replaced*: at step {last}, {every} steps after the last of several replacements. *States*:
their mean magnitude at step {last} over that at step 40. *Gate*: its mean in the first and the last rows of the
training log."""


@dataclass(frozen=True)
class Short:
    """One folder of `results/segmentation/short/`."""

    name: str
    experiment: SegmentationExperiment
    values: dict[str, Any]
    curves: dict[str, Curves]
    log: Columns


def main(arguments: list[str] | None = None) -> int:
    p = ArgumentParser("python tools/results/short_runs.py", description="Keep short trainings for comparison.")
    p.add_argument("runs", nargs="+", type=Path, help="run directories, measured on held-out photographs")
    p.add_argument("--into", metavar="DIR", type=Path, default=HERE, help="default: results/segmentation/short")
    return exit_code(lambda: keep(p.parse_args(arguments)))


def keep(flags: Namespace) -> int:
    """Copy the small files of measured runs."""
    for run in flags.runs:
        if not (run / "evaluation.json").exists() or read_json(run / "evaluation.json").get("split") != "validation":
            raise InvalidInput(
                f"{run} was not measured on held-out photographs; run this first: "
                f"python -m refca.evaluate {run} --validation"
            )
        into = flags.into / run.resolve().name
        into.mkdir(parents=True, exist_ok=True)
        copy(run / "settings.toml", into / "settings.toml")
        thin(run / "metrics.csv", into / "metrics.csv")
        copy(run / "evaluation.json", into / "evaluation.json")
        rename_model(into / "evaluation.json", into.name)
        write_curves(into / "evaluation.csv", rounded(read_curves(run / "evaluation.csv", run)))
        print(f"kept in {into}; write the page again with make results")
    return 0


def rounded(curves: dict[str, Curves]) -> dict[str, Curves]:
    """Return curves whose numbers have DIGITS digits."""
    cut = np.vectorize(lambda x: float(f"{x:.{DIGITS}g}"), otypes=[float])
    return {condition: {name: cut(x) for name, x in found.items()} for condition, found in curves.items()}


def read(folder: Path) -> Short:
    """Return what is kept of one run. Raises InvalidInput if a file is missing or holds something else."""
    experiment = load_experiment(folder / "settings.toml")
    assert isinstance(experiment, SegmentationExperiment)
    curves = read_curves(folder / "evaluation.csv", folder)
    return Short(
        folder.name,
        experiment,
        read_json(folder / "evaluation.json"),
        curves,
        read_columns(folder / "metrics.csv"),
    )


def section(folder: Path = HERE) -> str:
    """Return the introduction and the table; empty without the run BASE."""
    runs = {path.parent.name: read(path.parent) for path in sorted(folder.glob("*/settings.toml"))}
    if BASE not in runs:
        return ""
    base = runs.pop(BASE)
    e, seen = base.experiment, base.experiment.steps * base.experiment.batch
    counts = {"steps": e.steps, "batch": e.batch, "size": e.size, "seed": e.seed, "seen": seen, "times": PAPER // seen}
    measured = {"samples": base.values["samples"], "few": base.values["curve_samples"]}
    measured |= {"last": base.values["steps"], "every": base.values["every"]}
    introduction = INTRODUCTION.format(**counts, **measured)
    rows = [HEAD, *(row(run, base) for run in (base, *runs.values()))]
    begin = "--experiment results/segmentation/short/NAME/settings.toml"
    few = f"--validation --curve-samples {base.values['curve_samples']}"
    commands = (
        f"python -m refca.train {begin} --data DIR --out runs/NAME\npython -m refca.evaluate runs/NAME --data DIR {few}"
    )
    return f"{introduction}\n\n{aligned(rows, words=2)}\n\n```\n{commands}\n```"


def row(run: Short, base: Short) -> tuple[str, ...]:
    """Return the HEAD columns of a run."""
    kept, replaced = run.curves["kept"], run.curves["replaced"]
    state, gate = kept["state"], run.log.get("gate")
    has_gate = gate is not None and gate[-1] == gate[-1]
    return (
        f"[{run.name}](short/{run.name})",
        ", ".join(changes(run.experiment, base.experiment)) or "–",
        *(percent(run.values[f"iou_{label}_at_40"]) for label in ("object", "boundary")),
        *(percent(float(curve["iou_object"][-1])) for curve in (kept, replaced)),
        f"{state[-1] / state[39]:.2f}",
        f"{gate[0]:.3f}, {gate[-1]:.3f}" if gate is not None and has_gate else "–",
    )


def changes(experiment: SegmentationExperiment, base: SegmentationExperiment) -> Iterator[str]:
    """Yield the settings in which a run differs from the base."""
    for each in fields(base):
        value = getattr(experiment, each.name)
        if value != getattr(base, each.name):
            yield f"{each.name} {shown(value)}"


if __name__ == "__main__":
    sys.exit(main())
