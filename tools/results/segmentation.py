"""python tools/results/segmentation.py keep RUN | floors | rebuild: the runs on photographs in `results/`.

`keep` takes what is worth keeping of a measured run directory, `floors` measures two predictions that look at
no photograph, and `rebuild` writes results/segmentation/README.md from the files beside it.

    results/segmentation/floors.json    IoU of the two predictions
    results/segmentation/NAME/
        run.json, settings.toml, metrics.csv, weights.safetensors, pictures
        evaluation.json, evaluation.csv
        long.json                       more steps, often on fewer photographs
        init.safetensors                weights that the run began with, if they do not come with refca
        adversarial.json, adversarial.png    an adversarial image, measured into RUN/adversarial

Source: the paper, Table 1; `spec/programs.md`.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paper_figures
import short_figures
import short_runs
from keep import INIT_FILE, check_measured, copy, initial_weights, keep_weights, machine, rename_model, source_of, thin
from kept import FOLDER, flags_of, read_json, shipped_as
from marks import write_between
from words import aligned, duration

from refca.atomic import write_text
from refca.cli import exit_code
from refca.data import CLASSES, load
from refca.errors import InvalidInput
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.floors import floors
from refca.segmentation.report import PICTURES
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import load_experiment
from refca.training.checkpoint import WEIGHTS_FILE
from refca.weights.load import load_weights

HERE = FOLDER / "segmentation"
STEPS = (40, 400)
SHOWN = ("boundary", "object", "background")
COLUMNS = tuple(f"{label} at {step}" for step in STEPS for label in SHOWN)
MEASURING: dict[str, Any] = {
    "at": "40",
    "samples": 3669,
    "curve_samples": 64,
    "steps": 400,
    "every": 40,
    "shift": 4,
    "seed": 0,
}
TABLE_1 = (  # norm, state, hidden; parameters, boundary, object of the depthwise cell; the same of the full one
    ("none", 32, 48, "8.4K", "42.7", "76", "21.4K", "44.5", "75"),
    ("batch", 32, 48, "8.4K", "42", "75", "21.4K", "43.7", "73"),
    ("instance", 32, 48, "8.4K", "39", "71", "21.4K", "39", "74"),
    ("none", 48, 72, "18.3K", "46", "79", "47K", "46", "77.2"),
    ("batch", 48, 72, "18.3K", "42.5", "78", "47K", "46.4", "76"),
    ("instance", 48, 72, "18.3K", "unstable", "unstable", "47K", "45", "78"),
    ("none", 64, 96, "32.3K", "48", "80", "82K", "47.4", "77.5"),
    ("batch", 64, 96, "32.3K", "46", "79", "82K", "48.5", "78"),
    ("instance", 64, 96, "32.3K", "unstable", "unstable", "82K", "48.6", "80.7"),
)
INTRODUCTION = """\
# Photographs

`make results` writes this page from the files beside it; `python tools/results/segmentation.py keep RUN` adds a
run.

IoU in per cent on the 3,669 test photographs of the Oxford-IIIT Pets at 48x48, accumulated over all their pixels,
after 40 and 400 steps of the automaton. *The paper* is
[Image segmentation via Cellular Automata](https://arxiv.org/abs/2008.04965), whose Table 1 has one million
training steps of 32 photographs, 32 million in all; a dash: not reported or not measured. The first two rows look at
no photograph: one calls every pixel background, the other gives each pixel the class that is most frequent there
in the training photographs. A number in brackets: measured on the first photographs of the test set alone."""

PAPERS_FIGURES = """\
## Figures of the paper

Magnitudes are mean absolute values over the first test photographs, which stay the same; *change* is the change in
one step."""


@dataclass(frozen=True)
class Kept:
    """One folder of `results/segmentation/`."""

    folder: Path
    about: dict[str, Any]
    values: dict[str, Any]
    long: dict[str, Any]  # more steps, often on fewer photographs; empty if nothing was measured
    experiment: SegmentationExperiment

    @property
    def name(self) -> str:
        return self.folder.name

    def iou(self, label: str, step: int) -> str:
        """IoU of a class after a number of steps, in per cent; a dash if it was not measured.

        With the number of photographs in brackets if it was measured on fewer.
        """
        name = f"iou_{label}_at_{step}"
        for values in (self.values, self.long):
            if values.get(name) is not None:
                fewer = values["samples"] < MEASURING["samples"]
                return f"{100 * values[name]:.1f}" + (f" ({values['samples']:,})" if fewer else "")
        return "–"


def main(arguments: list[str] | None = None) -> int:
    flags = parser().parse_args(arguments)
    return exit_code(lambda: int(flags.run_command(flags)))


def parser() -> ArgumentParser:
    p = ArgumentParser("python tools/results/segmentation.py", description="Keep and show runs on photographs.")
    p.add_argument("--into", metavar="DIR", type=Path, default=HERE, help="default: results/segmentation/")
    commands = p.add_subparsers(required=True)
    kept = commands.add_parser("keep", help="keep a run that refca.evaluate has measured")
    kept.add_argument("run", type=Path, help="a run directory")
    kept.add_argument("--name", help="of the folder; default: the name of the run directory")
    kept.add_argument("--seconds", metavar="N", type=float, help="wall time of the training; default: not measured")
    kept.add_argument("--machine", metavar="WORDS", help="that it was trained on; default: this one")
    kept.set_defaults(run_command=keep)
    fixed = commands.add_parser("floors", help="measure the two predictions that look at no photograph")
    fixed.add_argument("--data", metavar="DIR", help="where data files are; else REFCA_DATA")
    fixed.set_defaults(run_command=measure_floors)
    commands.add_parser("rebuild", help="write the page").set_defaults(run_command=rebuild)
    return p


def keep(flags: Namespace) -> int:
    """Copy a measured run into a folder of `results/segmentation/`."""
    run: Path = flags.run
    if not (run / "evaluation.json").exists():
        raise InvalidInput(f"{run} has not been measured; do that first: python -m refca.evaluate {run}")
    if not (run / WEIGHTS_FILE).exists():
        raise InvalidInput(f"{run} is not trained to its end: it has no {WEIGHTS_FILE}")
    experiment, values = load_experiment(run / "settings.toml"), read_json(run / "evaluation.json")
    if not isinstance(experiment, SegmentationExperiment):
        raise InvalidInput(f"{run} is a run on {experiment.samples}; keep it with python tools/results/keep.py")
    params, _, trained = load_weights(run / WEIGHTS_FILE)
    mine = {"training_steps": trained, "dataset": experiment.dataset, "size": experiment.size}
    for part in ("", "long", "adversarial"):
        if (measured := run / part / "evaluation.json").exists():
            check_measured(measured, mine)
            if (split := read_json(measured)["split"]) != "test":
                raise InvalidInput(f"{measured} measured {split} photographs; results show test photographs")
    name = flags.name or run.resolve().name
    into: Path = flags.into / name
    init, experiment = initial_weights(experiment, f"results/segmentation/{name}")
    into.mkdir(parents=True, exist_ok=True)

    setting = f"--experiment {source_of(experiment) or f'results/segmentation/{name}/settings.toml'}"
    write_text(into / "settings.toml", experiment.toml())
    thin(run / "metrics.csv", into / "metrics.csv")
    copy(run / "evaluation.json", into / "evaluation.json")
    rename_model(into / "evaluation.json", name)
    long = run / "long" / "evaluation.json"
    copy(long, into / "long.json")
    if long.exists():
        rename_model(into / "long.json", name)
    keep_adversarial(run / "adversarial", into)
    write_curves(into / "evaluation.csv", short_runs.rounded(read_curves(run / "evaluation.csv", run)))
    keep_weights(run, into, experiment, init)
    for file in ("loss.png", *(picture for picture in PICTURES if picture.endswith(".png"))):
        copy(run / file, into / file)
    about = {
        "commands": [
            f"python -m refca.train {setting} --seed {experiment.seed} --data DIR --out runs/{name}",
            f"python -m refca.evaluate runs/{name} --data DIR{measuring(values)}",
            *(
                [f"python -m refca.evaluate runs/{name} --data DIR{measuring(read_json(long))} --out runs/{name}/long"]
                if long.exists()
                else []
            ),
            *([adversarial_command(into)] if (into / "adversarial.json").exists() else []),
        ],
        "training_steps": trained,
        "seconds": None if flags.seconds is None else round(flags.seconds),
        "machine": flags.machine or machine(),
        "parameters": sum(int(x.size) for x in params.values()),
    }
    write_text(into / "run.json", json.dumps(about, indent=2) + "\n")
    print(f"kept in {into}; write the page again with make results")
    return 0


def keep_adversarial(measured: Path, into: Path) -> None:
    """Copy the adversarial image of an evaluation in a folder, and its numbers; remove older ones if there is none."""
    copy(measured / "adversarial.png", into / "adversarial.png")
    if not (into / "adversarial.png").exists():
        (into / "adversarial.json").unlink(missing_ok=True)
    else:
        values = read_json(measured / "evaluation.json")
        about = ("dataset", "size", "seed", "backend", "training_steps")
        found = {key: value for key, value in values.items() if key.startswith("adversarial_") or key in about}
        write_text(into / "adversarial.json", json.dumps({"model": into.name} | found, indent=2) + "\n")


def adversarial_command(folder: Path) -> str:
    """Return the command that measures the adversarial image in a folder of results."""
    values, name = read_json(folder / "adversarial.json"), folder.name
    flags = f"--adversarial {values['adversarial_label']} --adversarial-region {values['adversarial_region']}"
    few = f"--samples {values['adversarial_samples']} --curve-samples 1 --steps 40"
    return f"python -m refca.evaluate runs/{name} --data DIR {few} {flags} --out runs/{name}/adversarial"


def measuring(values: dict[str, Any]) -> str:
    """The flags of a measurement that are not the defaults."""
    at = ",".join(map(str, values["at"]))
    return flags_of(values | {"at": at}, MEASURING).replace("_", "-")


def measure_floors(flags: Namespace) -> int:
    """Write the IoU of predictions that look at no photograph."""
    pets = load("pets", flags.data, size=48)
    measured = floors(pets.train, pets.test, len(CLASSES))
    found = {name: dict(zip(CLASSES, map(float, ious), strict=True)) for name, ious in measured.items()}
    flags.into.mkdir(parents=True, exist_ok=True)
    write_text(flags.into / "floors.json", json.dumps({"samples": len(pets.test), "iou": found}, indent=2) + "\n")
    print(f"wrote {flags.into / 'floors.json'}")
    return 0


def rebuild(flags: Namespace) -> int:
    """Write the page, and the pictures of the short comparisons."""
    short_figures.draw(flags.into / "short")
    write_text(flags.into / "README.md", page(flags.into))
    write_between(flags.into.parents[1] / "README.md", "segmentation.py", summary(flags.into))
    print(f"wrote {flags.into / 'README.md'}")
    return 0


def page(folder: Path) -> str:
    """README.md: floors and runs, Table 1, and how each run was made."""
    runs = read_all(folder)
    notes = folder / "notes.md"
    sections = [
        INTRODUCTION,
        aligned([("model", "parameters", *COLUMNS), *floor_rows(folder), *map(row, runs)]),
        "The paper's Table 1, IoU at step 40 (unstable: a run that the paper marks so):",
        aligned([("norm, state, hidden", *2 * ("parameters", "boundary", "object")), *papers()]),
        "Its first three columns of numbers are of depthwise cells, the others of cells with a full 3x3 layer.",
        *(
            f"![Photographs, and the labels that the cells of {run.name} predict]({run.name}/segmentation.png)"
            for run in runs
        ),
        PAPERS_FIGURES,
        *(paper_figures.section(run.folder, run.experiment.horizon) for run in runs),
        short_runs.section(folder / "short"),
        f"## Every row again\n\n{made(runs)}",
        notes.read_text("utf-8").strip() if notes.exists() else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def summary(folder: Path) -> str:
    """Return the table of the project's README.md.

    It has the floors, the run with the best mean IoU, and cells of its size in the paper.
    """
    at, best = STEPS[0], max(read_all(folder), key=mean_iou)
    _, parameters, *ious = row(best)
    rows = [
        *floor_rows(folder),
        (", ".join(f"`{name}`" for name in shipped_as(best.folder)) or best.name, parameters, *ious),
    ]
    for norm, *size, parameters, boundary, object_, _, _, _ in TABLE_1:
        if norm in (best.experiment.norm, "none") and size == [best.experiment.state, best.experiment.hidden]:
            rows.append((f"the paper, norm {norm}", parameters, boundary, object_, "–"))
    head = ("IoU in per cent", "parameters", *(f"{label} at {at}" for label in SHOWN))
    return aligned([head, *(cells[: len(head)] for cells in rows)])


def read_all(folder: Path) -> list[Kept]:
    """Return the runs that are kept, by size and then by mean IoU. Raises InvalidInput if there is none."""
    runs = [read(path.parent) for path in folder.glob("*/run.json")]
    if not runs:
        raise InvalidInput(f"{folder} holds no run; keep one first: python tools/results/segmentation.py keep RUN")
    return sorted(runs, key=lambda run: (run.about["parameters"], mean_iou(run), run.name))


def read(folder: Path) -> Kept:
    """Return what is kept of one run. Raises InvalidInput if a file is missing or holds something else."""
    experiment = load_experiment(folder / "settings.toml")
    if not isinstance(experiment, SegmentationExperiment):
        raise InvalidInput(f"{folder} holds a run on {experiment.samples}, not on photographs")
    long = read_json(folder / "long.json") if (folder / "long.json").exists() else {}
    return Kept(folder, read_json(folder / "run.json"), read_json(folder / "evaluation.json"), long, experiment)


def mean_iou(run: Kept) -> float:
    return float(run.values[f"mean_iou_at_{STEPS[0]}"])


def floor_rows(folder: Path) -> Iterator[tuple[str, ...]]:
    """The rows of the predictions that look at no photograph, which are the same after any number of steps."""
    if not (folder / "floors.json").exists():
        return
    names = {"everywhere": "background everywhere", "each pixel": "the most frequent class of each pixel"}
    for name, ious in read_json(folder / "floors.json")["iou"].items():
        yield names[name], "–", *2 * tuple(f"{100 * ious[label]:.1f}" for label in SHOWN)


def row(run: Kept) -> tuple[str, ...]:
    measured = (run.iou(label, step) for step in STEPS for label in SHOWN)
    return f"[{run.name}]({run.name})", f"{run.about['parameters']:,}", *measured


def papers() -> Iterator[tuple[str, ...]]:
    for norm, state, hidden, *numbers in TABLE_1:
        yield f"{norm}, {state}, {hidden}", *map(str, numbers)


def made(runs: Sequence[Kept]) -> str:
    """Return a table of how each run was made, where and in what time, and the commands that make it again."""
    rows = [("run", "began with", "training steps", "batch", "wall time", "machine", "photographs", "ships as")]
    for run in runs:
        began = run.experiment.init_from or "random weights"
        began = f"[weights beside it]({run.name}/{INIT_FILE})" if began.endswith(INIT_FILE) else began
        steps, batch = (
            f"{run.about['training_steps']:,}",
            f"{run.experiment.batch} at {run.experiment.size}x{run.experiment.size}",
        )
        known_as = ", ".join(f"`{name}`" for name in shipped_as(run.folder)) or "–"
        time, measured = duration(run.about["seconds"]), f"{run.values['samples']:,}"
        rows.append((run.name, began, steps, batch, time, run.about["machine"], measured, known_as))
    commands = "\n\n".join("\n".join(run.about["commands"]) for run in runs)
    return f"{aligned(rows)}\n\n```\n{commands}\n```"


if __name__ == "__main__":
    sys.exit(main())
