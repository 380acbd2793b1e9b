"""python tools/results/short_runs.py RUN ...: keep short trainings on photographs for comparison.

Each run must have been measured on held-out photographs: python -m refca.evaluate RUN --validation. The program
copies what the page shows into results/segmentation/short/NAME, but no weights: settings.toml, metrics.csv,
evaluation.json and every fourth row of evaluation.csv. If RUN/long was measured over more steps, it is kept as
long.json and long.csv.
The name of a run ends in its seed, as in `base-0`; the name without it is the name of a setting.

results/segmentation/short/groups.toml lists the settings that the page compares, by figure of the paper; each group
has a sentence on the finding, which is written by hand.

Source: the paper, Figures 4 to 7, 10 to 14, and 18 to 21; `spec/programs.md`.
"""

from __future__ import annotations

import sys
import tomllib
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from keep import check_measured, copy, rename_model, thin
from kept import FOLDER, Columns, read_columns, read_json
from words import aligned

from refca.cli import exit_code
from refca.errors import InvalidInput
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import Curves
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import load_experiment
from refca.training.flags import shown

HERE = FOLDER / "segmentation" / "short"
BASE = "base"  # the setting with which the others are compared
GROUPS = "groups.toml"
DIGITS = 4  # of the numbers in evaluation.csv
EVERY = 4  # one row in so many of an evaluation.csv is kept
ROWS = 100  # at most, of a training log
HORIZON, LAST = 40, 400  # the step at which the paper measures, and ten times as many
HEAD = (
    *("setting", "what differs", "seeds", f"object at {HORIZON}", f"boundary at {HORIZON}"),
    *(f"few: object at {HORIZON}", f"few: at {LAST}", "few: replaced", "states", "gate"),
)
SECTION = """\
## Short comparisons

Trainings from random weights with a small budget: `base` makes {steps:,} training steps with {batch} photographs of
{size}x{size}, in unrolls of {unroll} steps of the automaton. A run of the paper makes a million training steps.
Every other run differs from `base` in the settings named in its row. Where unrolls have another length, the number
of training steps is such that the automaton makes the same number of steps: runs with longer unrolls see fewer
photographs. Cells with more channels or pixels take longer for the same number of steps. Times are not shown,
because the runs shared their machine with other work.

IoU in per cent on {samples} training photographs that were held out, at the size of training; *few*: on {few} of
them. *Replaced*: at step {last}, {every} steps after the last of nine replacements. *States*: their mean magnitude
at step {last} relative to step {horizon}. *Gate*: its mean at the beginning and at the end of training; at 1 noise
replaces a cell's state, at 0 none does. Where there
are several seeds: their mean, and their range in brackets; the pictures show the mean, and the range as a shade.
One seed does not tell a small difference from chance."""
LONG = """\
Over {steps:,} steps, on {few} held-out photographs; object IoU where photographs are {conditions}. Shifted
photographs go around a square: the mean over its four corners, each {every} steps after the shift."""
CORNERS = 4


@dataclass(frozen=True)
class Short:
    """One folder of `results/segmentation/short/`."""

    name: str
    experiment: SegmentationExperiment
    values: dict[str, Any]
    curves: dict[str, Curves]
    long: dict[str, Curves]  # the same over more steps; empty if not measured
    long_values: dict[str, Any]
    log: Columns

    @property
    def setting(self) -> str:
        """The name without the seed."""
        return self.name.removesuffix(f"-{self.experiment.seed}")


Settings = dict[str, list[Short]]  # the runs of each setting


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
        experiment = load_experiment(run / "settings.toml")
        mine = {"training_steps": experiment.steps, "split": "validation"}
        for part in ("", "long"):
            if (run / part / "evaluation.json").exists():
                check_measured(run / part / "evaluation.json", mine)
        into = flags.into / run.resolve().name
        into.mkdir(parents=True, exist_ok=True)
        copy(run / "settings.toml", into / "settings.toml")
        thin(run / "metrics.csv", into / "metrics.csv", ROWS)
        copy(run / "evaluation.json", into / "evaluation.json")
        rename_model(into / "evaluation.json", into.name)
        write_curves(into / "evaluation.csv", rounded(read_curves(run / "evaluation.csv", run), EVERY))
        copy(run / "long" / "evaluation.json", into / "long.json")
        (into / "long.csv").unlink(missing_ok=True)
        if (into / "long.json").exists():
            rename_model(into / "long.json", into.name)
            write_curves(into / "long.csv", rounded(read_curves(run / "long" / "evaluation.csv", run), EVERY))
        print(f"kept in {into}; write the page again with make results")
    return 0


def rounded(curves: dict[str, Curves], every: int = 1) -> dict[str, Curves]:
    """Return every nth step of curves, whose numbers have DIGITS digits."""
    cut = np.vectorize(lambda x: float(f"{x:.{DIGITS}g}"), otypes=[float])
    return {
        condition: {name: cut(x[every - 1 :: every]) for name, x in found.items()}
        for condition, found in curves.items()
    }


def read_settings(folder: Path) -> Settings:
    """Return the runs in a folder, by setting."""
    found: Settings = {}
    for path in sorted(folder.glob("*/settings.toml")):
        run = read(path.parent)
        found.setdefault(run.setting, []).append(run)
    return found


def read(folder: Path) -> Short:
    """Return what is kept of one run. Raises InvalidInput if a file is missing or holds something else."""
    experiment = load_experiment(folder / "settings.toml")
    assert isinstance(experiment, SegmentationExperiment)
    return Short(
        folder.name,
        experiment,
        read_json(folder / "evaluation.json"),
        read_curves(folder / "evaluation.csv", folder),
        read_curves(folder / "long.csv", folder) if (folder / "long.csv").exists() else {},
        read_json(folder / "long.json") if (folder / "long.json").exists() else {},
        read_columns(folder / "metrics.csv"),
    )


def read_groups(folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Return the groups of groups.toml that have a run beside BASE: name, title, settings, finding, quantities."""
    groups = tomllib.loads((folder / GROUPS).read_text("utf-8"))["group"]
    for group in groups:
        group["settings"] = [name for name in group["settings"] if name in settings]
    return [group for group in groups if group["settings"]]


def section(folder: Path = HERE) -> str:
    """Return the introduction, and a table, a picture and a sentence for each group; empty without the setting BASE."""
    settings = read_settings(folder)
    if BASE not in settings:
        return ""
    e, values = settings[BASE][0].experiment, settings[BASE][0].values
    counts = {"steps": e.steps, "batch": e.batch, "size": e.size, "unroll": e.unroll, "samples": values["samples"]}
    counts |= {"few": values["curve_samples"], "every": values["every"], "horizon": HORIZON, "last": LAST}
    groups = (part for group in read_groups(folder, settings) for part in of_group(group, settings))
    train = (
        "python -m refca.train --experiment results/segmentation/short/NAME/settings.toml --data DIR --out runs/NAME"
    )
    measure = f"python -m refca.evaluate runs/NAME --data DIR --validation --curve-samples {values['curve_samples']}"
    commands = [train, measure]
    if long := longest(settings):
        few, steps = long["curve_samples"], long["steps"]
        again = f"--validation --samples {long['samples']} --curve-samples {few} --steps {steps}"
        commands.append(f"python -m refca.evaluate runs/NAME --data DIR {again} --out runs/NAME/long")
    return "\n\n".join([SECTION.format(**counts), *groups, "```\n" + "\n".join(commands) + "\n```"])


def of_group(group: dict[str, Any], settings: Settings) -> Iterator[str]:
    """Yield the parts of the page about one group."""
    base = settings[BASE]
    shown = {name: settings[name] for name in (BASE, *group["settings"])}
    yield f"### {group['title']}"
    yield aligned([HEAD, *(row(name, runs, base[0].experiment) for name, runs in shown.items())], words=2)
    yield f"![{group['title']}](short/{group['name']}.png)"
    longs = {run.name: run.long for runs in shown.values() for run in runs if run.long}
    if len(longs) > 1:
        yield from long_table(longs, longest(shown))
    yield group["finding"]


def row(name: str, runs: Sequence[Short], base: SegmentationExperiment) -> tuple[str, ...]:
    """Return the HEAD columns of a setting."""
    ends = [(run.curves["kept"], run.curves["replaced"]) for run in runs]
    logs = [run.log["gate"] for run in runs if "gate" in run.log]
    gates = np.array([[log[0], log[-1]] for log in logs])
    return (
        name,
        ", ".join(changes(runs[0].experiment, base)) or "–",
        ", ".join(f"[{run.experiment.seed}](short/{run.name})" for run in runs),
        *(
            mean_and_range([100 * number(run.values[f"iou_{label}_at_{HORIZON}"]) for run in runs])
            for label in ("object", "boundary")
        ),
        *(mean_and_range([100 * at(kept, "iou_object", step) for kept, _ in ends]) for step in (HORIZON, LAST)),
        mean_and_range([100 * at(replaced, "iou_object", LAST) for _, replaced in ends]),
        mean_and_range([at(kept, "state", LAST) / at(kept, "state", HORIZON) for kept, _ in ends], places=2),
        "–" if not gates.size or np.isnan(gates).all() else "{:.2f}, {:.2f}".format(*np.nanmean(gates, axis=0)),
    )


def at(curve: Curves, name: str, step: int) -> float:
    """Return the value of a curve after a number of steps; NaN if it was not measured."""
    found = curve[name][curve["step"] == step]
    return float(found[0]) if len(found) else np.nan


def number(value: float | None) -> float:
    """Return a number of a JSON file, NaN for null."""
    return np.nan if value is None else value


def mean_and_range(values: Sequence[float], places: int = 1) -> str:
    """Return the mean of numbers, and their range if there are several; a dash if one is NaN."""
    if any(value != value for value in values):
        return "–"
    mean = f"{sum(values) / len(values):.{places}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{places}f} to {max(values):.{places}f})"


def long_table(longs: dict[str, dict[str, Curves]], about: dict[str, Any]) -> Iterator[str]:
    """Yield object IoU over more steps for runs by name; `about` says how they were measured."""
    conditions, every = tuple(next(iter(longs.values()))), about["every"]
    last = int(min(long["kept"]["step"][-1] for long in longs.values()))
    steps = [HORIZON, LAST, last]
    named = ", ".join(conditions[:-1]) + f" or {conditions[-1]}"
    yield LONG.format(steps=last, few=about["curve_samples"], conditions=named, every=every)

    def iou(curves: Curves, condition: str, step: int) -> str:
        corners = CORNERS if condition == "shifted" and step >= CORNERS * every else 1
        found = [100 * at(curves, "iou_object", step - corner * every) for corner in range(corners)]
        return mean_and_range([float(np.mean(found))])

    head = ("run", *(f"{condition}, step {step:,}" for condition in conditions for step in steps))
    rows = [(name, *(iou(long[c], c, step) for c in conditions for step in steps)) for name, long in longs.items()]
    yield aligned([head, *rows])


def longest(settings: Settings) -> dict[str, Any]:
    """Return the numbers of the first measurement over more steps; empty if there is none."""
    return next((run.long_values for runs in settings.values() for run in runs if run.long), {})


def changes(experiment: SegmentationExperiment, base: SegmentationExperiment) -> Iterator[str]:
    """Yield the settings in which a run differs from the base, its seed and measurements aside."""
    for each in fields(base):
        value = getattr(experiment, each.name)
        if value != getattr(base, each.name) and each.name not in ("seed", "validate_every"):
            yield f"{each.name} {shown(value)}"


if __name__ == "__main__":
    sys.exit(main())
