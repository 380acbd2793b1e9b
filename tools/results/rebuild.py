"""python tools/results/rebuild.py: rebuild every table and figure of `results/` from its CSV and JSON files.

The program writes README.md of `results/`, the table between two marks of the project's README.md, and the figures
(`pictures.py`).

Source: the article's table and its figures of experiments 1 and 2; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import drawn_section
import pictures
import robust
import worst_section
from keep import INIT_FILE
from kept import FOLDER, MEASURING, ROBUSTNESS, Evaluation, Kept, flags_of, read_all, shipped_as
from marks import write_between
from words import PUBLISHED, aligned, duration, percent, titled

from refca.atomic import write_text
from refca.cli import exit_code
from refca.digits.report import AFTER
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.training.experiment import Experiment
from refca.training.flags import shown
from refca.weights.load import load_weights

STEP, LATE = 200, 1000
DEFAULT = "digits-l2-noise"  # the article's best model, with which recipes start
ARTICLE = {  # experiment: the name and the four figures of the article's table
    "digits-ce": ("CE", "96.2 at 80", "95.3", "77.9 at 80", "66.2"),
    "digits-l2": ("L2", "95.0 at 95", "94.7", "85.5 at 175", "85.2"),
    "digits-l2-noise": ("L2 + noise", "95.4 at 65", "95.3", "88.2 at 190", "88.1"),
}
FIGURES = (
    "![Accuracy, agreement and magnitudes of the article's models over 400 steps](curves.png)",
    "![After the mutation, states carried over beside restarted](after-mutation.png)",
)
BEYOND = "![Accuracy and agreement of L2 + noise and of each recipe, enlarged](beyond.png)"
HELD = "![The same for models measured over more steps](held.png)"
AGAIN = """\
MNIST is in DIR or DIR/mnist; without `--data` it is downloaded once. model.json is `public/model.json` of the
article's [repository](https://github.com/distillpub/post--selforg-mnist). Every run's folder but `published` holds its
weights: `python -m refca.evaluate results/NAME --data DIR` measures them without training. "60,000 after 155,000":
the run had 60,000 training steps, and its initial weights had 155,000. drawn.py and worst.py measure the weights in
results/NAME; to measure your own run, add it first with `python tools/results/keep.py RUN`."""
HEAD = ("top accuracy", f"accuracy at {STEP}", "top agreement", f"agreement at {STEP}")
TERMS = """\
*Accuracy* is the fraction of live cells that predict the correct digit, *agreement* the fraction of digits whose
cells all predict one label, correct or not: in per cent, on the 10,000 test digits of MNIST. "95.9 at 78" is the
highest value and its step. A dash means not measured. *The article* is
[Self-classifying MNIST Digits](https://doi.org/10.23915/distill.00027.002)."""
PROTOCOLS = """\
After a mutation, with steps counted from the mutation. *Carried over*: cells keep their states, as the article
describes; *restarted*: they start again from zero, as in its released code."""


def main(folder: Path = FOLDER) -> int:
    return exit_code(lambda: rebuild(folder))


def rebuild(folder: Path) -> int:
    runs = read_all(folder)
    if not runs:
        raise InvalidInput(f"{folder} holds no run; add one first: python tools/results/keep.py RUN")
    write_text(folder / "README.md", page(folder, runs))
    write_between(folder.parent / "README.md", "rebuild.py", summary(runs))
    draw(folder, runs)
    print(f"rebuilt tables and figures of {len(runs)} run{'s' * (len(runs) != 1)} in {folder}")
    return 0


def page(folder: Path, runs: Sequence[Kept]) -> str:
    """Return README.md: tables, figures, commands, and the notes of notes.md."""
    notes = folder / "notes.md"
    beyond, robustness, worst = recipes(runs), robust.section(runs), worst_section.section(runs)
    of_article = [tables(runs), *FIGURES] if any(map(faithful, runs)) else []
    sections = [
        "# Results\n\n"
        "`make results` writes this page and its figures from the CSV and JSON files beside it, and\n"
        "`python tools/results/keep.py RUN` adds a run. These runs are on digits; those on photographs are in\n"
        "[segmentation](segmentation/README.md).",
        TERMS,
        *of_article,
        f"## Beyond the article\n\n{beyond}\n\n{BEYOND}" if beyond else "",
        HELD if any(run.long for run in compared(runs)) else "",
        f"## Robustness\n\n{robustness}" if robustness else "",
        f"## Digits as people draw them\n\n{drawn}" if (drawn := drawn_section.section(runs)) else "",
        f"## Where cells still err\n\n{worst}" if worst else "",
        f"## Commands\n\n{AGAIN}\n\n{made(runs)}",
        notes.read_text("utf-8").strip() if notes.exists() else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def summary(runs: Sequence[Kept]) -> str:
    """Return the table of the project's README.md: the article's models, its weights, and the best other run."""
    rows = [("accuracy / agreement, per cent", "article, at 200", "here, at 200", "at 1,000", "200 after mutation")]
    for source, (title, *published) in ARTICLE.items():
        theirs, mine = f"{published[1]} / {published[3]}", [run for run in runs if model_of(run) == source]
        trained = [run for run in mine if faithful(run) and run.experiment is not None]
        seeds = [f", seed {run.experiment.seed}" if len(trained) > 1 else "" for run in trained if run.experiment]
        rows += [(title + seed, theirs, *measured(run)) for run, seed in zip(trained, seeds, strict=True)]
        rows += [(f"{title}, {PUBLISHED}", theirs, *measured(run)) for run in mine if run.experiment is None]
    others = [run for run in runs if not faithful(run)]
    if others:
        best = max(others, key=lambda run: run.evaluation.at("before", "accuracy", STEP) or 0)
        rows.append((titled(best), "–", *measured(best)))
    return aligned(rows)


def measured(run: Kept) -> tuple[str, str, str]:
    """Return accuracy and agreement at STEP, at LATE, and at STEP after a mutation, and the number of fewer digits."""
    longer = run.long or run.evaluation
    late = pair(longer, "before", LATE)
    if late != "–" and longer.samples < run.evaluation.samples:
        late += f" ({longer.samples})"
    return pair(run.evaluation, "before", STEP), late, pair(run.evaluation, "carry", STEP)


def tables(runs: Sequence[Kept]) -> str:
    """Return the article's table beside our runs of its models, and our runs after either kind of mutation."""
    first: list[tuple[str, ...]] = [("model", *HEAD)]
    for source, (title, *published) in ARTICLE.items():
        mine = [run for run in runs if model_of(run) == source and faithful(run)]
        if mine:
            first.append((f"**{title}**, the article", *published))
            first += [(f"… {titled(run)}", *cells(run.evaluation, "before")) for run in mine]
    after = [("model", *HEAD)]
    for run in filter(faithful, runs):
        parts = [part for part in AFTER if run.evaluation.curve(part, "accuracy") is not None]
        after += [(f"{titled(run)}, {AFTER[part]}", *cells(run.evaluation, part)) for part in parts]
    return f"{aligned(first)}\n\n{PROTOCOLS}\n\n{aligned(after)}"


def cells(evaluation: Evaluation, part: str) -> tuple[str, str, str, str]:
    """Return the best value and the value at STEP of accuracy and agreement."""
    found = []
    for key in ("accuracy", "agreement"):
        best = evaluation.best(part, key)
        found += ["–" if best is None else f"{100 * best[0]:.1f} at {best[1]}"]
        found += [percent(evaluation.at(part, key, STEP))]
    return found[0], found[1], found[2], found[3]


def recipes(runs: Sequence[Kept]) -> str:
    """Return the table of recipes: training, and results at STEP, at LATE and after a mutation; empty without any."""
    rows = [("accuracy / agreement", "trained", f"at {STEP}", f"at {LATE:,}", f"{STEP} after mutation")]
    for run in compared(runs):
        rows.append((titled(run), changes(run, runs), *measured(run)))
    return aligned(rows, words=2) if len(rows) > 1 else ""


def compared(runs: Sequence[Kept]) -> list[Kept]:
    """Return the runs of L2 + noise and all recipes; empty without a recipe."""
    if all(map(faithful, runs)):
        return []
    return [run for run in runs if not faithful(run) or model_of(run) == DEFAULT]


def redrawn(run: Kept) -> bool:
    """Return whether a run was trained on digits of other sizes, on which it is measured apart."""
    return isinstance(run.experiment, DigitsExperiment) and run.experiment.grid > 0


def changes(run: Kept, runs: Sequence[Kept]) -> str:
    """Return a description of the settings in which a run differs from the article's L2 + noise."""
    if run.experiment is None:
        return "by the article's authors"
    default = DigitsExperiment(seed=run.experiment.seed)
    names = [f.name for f in fields(default)]
    changed = {name: value for name in names if (value := getattr(run.experiment, name)) != getattr(default, name)}
    if not changed:
        return "as the article says"
    words = [f"{changed.pop('steps', default.steps):,} steps"]
    if "init_from" in changed:
        begun = changed.pop("init_from")
        own = begun.endswith(INIT_FILE)
        begun = next((each.name for each in runs if begun in shipped_as(each.folder)), begun)
        words[0] += f" more, from {f'[weights beside it]({run.name}/{INIT_FILE})' if own else begun}"
    if "unroll_max" in changed:
        least = changed.pop("unroll", default.unroll)
        words.append(f"unrolls of {least} to {changed.pop('unroll_max')}")
    if changed.get("schedule") == "cosine":
        del changed["schedule"]
        words.append(f"rate falling from {changed.pop('learning_rate', default.learning_rate):g} to 0")
    if "fresh_fraction" in changed:
        fraction = changed.pop("fresh_fraction")
        whole = abs(1 / fraction - round(1 / fraction)) < 1e-9 if fraction else False
        part = f"1/{round(1 / fraction)}" if whole else f"{fraction:g}"
        mutated = f" and {part} mutated" if getattr(run.experiment, "regime", "") == "mutating" else ""
        words.append(f"{part} of a batch new{mutated}")
    return ", ".join([*words, *(f"{name} {shown(value)}" for name, value in changed.items())])


def steps_of(experiment: Experiment, done: int, beside: Path | None = None) -> str:
    """Return the training steps of a run and of its initial weights, which are in the file `beside` if that exists.

    Raises InvalidInput if they are unknown.
    """
    earlier = 0
    while experiment.init_from:
        own = beside is not None and beside.exists()
        _, before, done_before = load_weights(beside if own and beside else experiment.init_from)
        beside = None
        if before is None or done_before is None:
            raise InvalidInput(
                f"the weights {experiment.init_from} must hold their training settings, because a run started from them"
            )
        earlier, experiment = earlier + done_before, before
    return f"{done:,} after {earlier:,}" if earlier else f"{done:,}"


def made(runs: Sequence[Kept]) -> str:
    """Return a table of the training of each run, and the commands that reproduce it."""
    rows = [("run", "training steps", "wall time", "machine", "test digits", "shipped as")]
    lines = []
    for run in runs:
        steps, again = run.about["training_steps"], list(run.about["commands"])
        model = "model.json" if run.experiment is None else f"runs/{run.name}"
        if run.long is not None:
            flags = f"{flags_of(run.long.values, MEASURING)} --out runs/{run.name}/long"
            again.append(f"python -m refca.evaluate {model} --data DIR{flags}")
        if (values := robust.found(run)) is not None:
            asked = values | {"chimeras": values["chimeras"]["digits"]["count"]}
            flags = f" --out runs/{run.name}/robustness{flags_of(asked, ROBUSTNESS)}"
            again.append(f"python -m refca.robustness {model} --data DIR{flags}")
        if (values := drawn_section.found(run)) is not None:
            again.append(f"python tools/results/drawn.py {run.name} --data DIR --samples {values['samples']}")
        if worst_section.found(run) is not None:
            again.append(f"python tools/results/worst.py {run.name} --data DIR")
        machine = run.about["machine"] or "–"
        counted = " and ".join(dict.fromkeys(f"{each.samples:,}" for each in (run.evaluation, run.long) if each))
        taken = duration(run.about["seconds"]) if steps else "–"
        trained = steps_of(run.experiment, steps, run.folder / INIT_FILE) if run.experiment and steps else "–"
        known_as = ", ".join(f"`{name}`" for name in shipped_as(run.folder)) or "–"
        rows.append((f"[{run.name}]({run.name})", trained, taken, machine, counted, known_as))
        lines.append("\n".join(again))
    return f"{aligned(rows)}\n\n```\n" + "\n\n".join(lines) + "\n```"


def faithful(run: Kept) -> bool:
    """Return whether a run is one of the article's models, trained for the same number of steps."""
    return model_of(run) is not None and run.about["training_steps"] in (None, DigitsExperiment().steps)


def model_of(run: Kept) -> str | None:
    """Return the experiment of the article to which a run belongs, or None."""
    if run.experiment is None:
        return DEFAULT
    return run.about["trained"] if run.about["trained"] in ARTICLE else None


def pair(evaluation: Evaluation, part: str, step: int) -> str:
    """Return accuracy / agreement after a number of steps, or a dash if they were not measured."""
    both = [percent(evaluation.at(part, key, step)) for key in ("accuracy", "agreement")]
    return "–" if "–" in both else " / ".join(both)


def draw(folder: Path, runs: Sequence[Kept]) -> None:
    """Draw every figure that depends on CSV files alone; a model has one colour in all figures of the page."""
    strokes = pictures.strokes_of(map(titled, runs))
    if of_article := {titled(run): run.evaluation for run in runs if faithful(run)}:
        pictures.overlaid(of_article, folder / "curves.png", strokes)
        pictures.after_mutation(of_article, folder / "after-mutation.png", strokes)
    others = {titled(run): run for run in compared(runs)}
    if others:
        near = {name: run.evaluation for name, run in others.items() if not redrawn(run)}
        pictures.beyond(near, folder / "beyond.png", strokes)
    if long := {name: run.long for name, run in others.items() if run.long is not None}:
        pictures.beyond(long, folder / "held.png", strokes, most=LATE)
    for run in runs:
        pictures.draw_run(run)
    robust.draw(runs, folder / "robustness.png", strokes)
    drawn_section.draw(runs, folder / "drawn.png", strokes)


if __name__ == "__main__":
    sys.exit(main())
