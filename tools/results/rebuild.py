"""python tools/results/rebuild.py: every table and figure of `results/`, from its CSV and JSON files.

It writes README.md here, the tables between two marks of the project's README.md, and the figures
(`pictures.py`).

Source: the article's table and its figures of experiments 1 and 2; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import pictures
import robust
from kept import FOLDER, MEASURING, ROBUSTNESS, Evaluation, Kept, flags_of, read_all
from words import aligned, duration, percent, titled

from refca.atomic import write_text
from refca.cli import exit_code
from refca.digits.report import AFTER
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.training.checkpoint import WEIGHTS_FILE
from refca.training.experiment import Experiment
from refca.training.flags import shown
from refca.weights.load import load_weights, shipped, shipped_names

STEP, LATE = 200, 1000
DEFAULT = "digits-l2-noise"  # the article's best, which recipes change
BEGIN, END = "<!-- written by tools/results/rebuild.py: from here -->", "<!-- to here -->"
ARTICLE = {  # experiment: the name and the four figures of the article's table
    "digits-ce": ("CE", "96.2 at 80", "95.3", "77.9 at 80", "66.2"),
    "digits-l2": ("L2", "95.0 at 95", "94.7", "85.5 at 175", "85.2"),
    "digits-l2-noise": ("L2 + noise", "95.4 at 65", "95.3", "88.2 at 190", "88.1"),
}
FIGURES = (
    "![Accuracy, agreement and magnitudes of the article's models over 400 steps](curves.png)",
    "![After the mutation, states carried over beside restarted](after-mutation.png)",
)
BEYOND = "![Accuracy and agreement of L2 + noise and of each recipe, from near](beyond.png)"
HELD = "![The same for those that were measured for longer](held.png)"
AGAIN = """\
MNIST is in DIR or DIR/mnist; without `--data` it is downloaded once. model.json is `public/model.json` of the
article's [repository](https://github.com/distillpub/post--selforg-mnist). The weights of every other row are
in its folder here: `python -m refca.evaluate results/NAME --data DIR` measures them without training."""
HEAD = ("top accuracy", f"accuracy at {STEP}", "top agreement", f"agreement at {STEP}")
TERMS = """\
*Accuracy* is the share of live cells that say the right digit, *agreement* the share of digits whose cells
all say the same, right or wrong: in per cent, on the 10,000 test digits of MNIST. "95.9 at 78" is the highest
value and its step; a dash: not measured. *The article* is
[Self-classifying MNIST Digits](https://doi.org/10.23915/distill.00027.002)."""
PROTOCOLS = """\
After each digit became another, with steps counted from there. *Carried over*: cells keep their states, as
the article describes it; *restarted*: they begin again from zero, as its released code does."""


def main(folder: Path = FOLDER) -> int:
    return exit_code(lambda: rebuild(folder))


def rebuild(folder: Path) -> int:
    runs = read_all(folder)
    if not runs:
        raise InvalidInput(f"{folder} holds no run; keep one first: python tools/results/keep.py RUN")
    write_text(folder / "README.md", page(folder, runs))
    above = folder.parent / "README.md"
    if above.exists() and BEGIN in (text := above.read_text("utf-8")):
        write_text(above, between_marks(above, text, summary(runs)))
    draw(folder, runs)
    print(f"rebuilt tables and figures in {folder}, of {len(runs)} run{'s' * (len(runs) != 1)}")
    return 0


def page(folder: Path, runs: Sequence[Kept]) -> str:
    """README.md: tables, figures, commands, and what notes.md says of differences."""
    notes = folder / "notes.md"
    beyond, robustness = recipes(runs), robust.section(runs)
    of_article = [tables(runs), *FIGURES] if any(map(faithful, runs)) else []
    sections = [
        "# Results\n\n"
        "`make results` writes this page and its figures from the CSV and JSON files beside it, and\n"
        "`python tools/results/keep.py RUN` adds a run.",
        TERMS,
        *of_article,
        f"## Beyond the article\n\n{beyond}\n\n{BEYOND}" if beyond else "",
        HELD if any(run.long for run in compared(runs)) else "",
        f"## Robustness\n\n{robustness}" if robustness else "",
        f"## Every row again\n\n{AGAIN}\n\n{made(runs)}",
        notes.read_text("utf-8").strip() if notes.exists() else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def summary(runs: Sequence[Kept]) -> str:
    """What the project's README.md shows."""
    beyond = recipes(runs)
    sections = [TERMS, *([tables(runs)] if any(map(faithful, runs)) else [])]
    sections += ["Beyond the article, with as many parameters:", beyond] if beyond else []
    return "\n\n".join(sections)


def tables(runs: Sequence[Kept]) -> str:
    """The article's table with its models as we trained them, and the same after either kind of mutation."""
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
    """Best and at STEP, of accuracy and of agreement."""
    found = []
    for key in ("accuracy", "agreement"):
        best = evaluation.best(part, key)
        found += ["–" if best is None else f"{100 * best[0]:.1f} at {best[1]}"]
        found += [percent(evaluation.at(part, key, STEP))]
    return found[0], found[1], found[2], found[3]


def recipes(runs: Sequence[Kept]) -> str:
    """What each recipe changed of L2 + noise, and what that bought and kept; empty if there is no recipe."""
    rows = [("accuracy / agreement", "trained", f"at {STEP}", f"at {LATE:,}", f"{STEP} after mutation")]
    for run in compared(runs):
        long = run.long or run.evaluation
        late = pair(long, "before", LATE)
        rows.append(
            (
                titled(run),
                changes(run, runs),
                pair(run.evaluation, "before", STEP),
                late,
                pair(run.evaluation, "carry", STEP),
            )
        )
    return aligned(rows, words=2) if len(rows) > 1 else ""


def compared(runs: Sequence[Kept]) -> list[Kept]:
    """L2 + noise and every run that is not one of the article's; none if there is no such run."""
    if all(map(faithful, runs)):
        return []
    return [run for run in runs if not faithful(run) or model_of(run) == DEFAULT]


def changes(run: Kept, runs: Sequence[Kept]) -> str:
    """In words, the settings in which a run differs from the article's L2 + noise."""
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
        words[0] += f" more, from {next((each.name for each in runs if begun in shipped_as(each)), begun)}"
    if "unroll_max" in changed:
        least = changed.pop("unroll", default.unroll)
        words.append(f"unrolls of {least} to {changed.pop('unroll_max')}")
    if changed.get("schedule") == "cosine":
        del changed["schedule"]
        words.append(f"rate falling from {changed.pop('learning_rate', default.learning_rate):g} to 0")
    if "fresh_fraction" in changed:
        part = f"1/{round(1 / changed.pop('fresh_fraction'))}"
        words.append(f"{part} of a batch new and {part} mutated")
    return ", ".join([*words, *(f"{name} {shown(value)}" for name, value in changed.items())])


def steps_of(experiment: Experiment, done: int) -> str:
    """Training steps, and those of the weights that a run began with. Raises InvalidInput for unknown ones."""
    text = f"{done:,}"
    while experiment.init_from:
        _, before, done_before = load_weights(experiment.init_from)
        if before is None:
            raise InvalidInput(f"{experiment.init_from}, with which a run began, does not say how it was trained")
        text, experiment = f"{text} after {done_before:,}", before
    return text


def made(runs: Sequence[Kept]) -> str:
    """How each run was made, on what and in what time, and the lines that make it again."""
    rows = [("run", "training steps", "wall time", "machine", "test digits", "comes with refca as")]
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
        machine = run.about["machine"] or "–"
        counted = " and ".join(dict.fromkeys(f"{each.samples:,}" for each in (run.evaluation, run.long) if each))
        taken = duration(run.about["seconds"]) if steps else "–"
        trained = steps_of(run.experiment, steps) if run.experiment and steps else "–"
        known_as = ", ".join(f"`{name}`" for name in shipped_as(run)) or "–"
        rows.append((f"[{run.name}]({run.name})", trained, taken, machine, counted, known_as))
        lines.append("\n".join(again))
    return f"{aligned(rows)}\n\n```\n" + "\n\n".join(lines) + "\n```"


def shipped_as(run: Kept) -> list[str]:
    """The names under which these weights come with the package."""
    weights = run.folder / WEIGHTS_FILE
    mine = weights.read_bytes() if weights.exists() else None
    return [name for name in shipped_names() if (shipped() / f"{name}.safetensors").read_bytes() == mine]


def faithful(run: Kept) -> bool:
    """Whether a run is of one of the article's models, trained as long as they were."""
    return model_of(run) is not None and run.about["training_steps"] in (None, DigitsExperiment().steps)


def model_of(run: Kept) -> str | None:
    """Which of the article's models a run is of; None if of none."""
    if run.experiment is None:
        return DEFAULT
    return run.about["trained"] if run.about["trained"] in ARTICLE else None


def pair(evaluation: Evaluation, part: str, step: int) -> str:
    """Accuracy / agreement after this many steps; one dash if they were not measured."""
    both = [percent(evaluation.at(part, key, step)) for key in ("accuracy", "agreement")]
    return "–" if "–" in both else " / ".join(both)


def draw(folder: Path, runs: Sequence[Kept]) -> None:
    """Every figure that follows from the CSV files."""
    if of_article := {titled(run): run.evaluation for run in runs if faithful(run)}:
        pictures.over_each_other(of_article, folder / "curves.png")
        pictures.after_mutation(of_article, folder / "after-mutation.png")
    others = {titled(run): run for run in compared(runs)}
    if others:
        pictures.beyond({name: run.evaluation for name, run in others.items()}, folder / "beyond.png")
    if long := {name: run.long for name, run in others.items() if run.long is not None}:
        pictures.beyond(long, folder / "held.png")
    for run in runs:
        pictures.of_run(run)
    robust.draw(runs, folder / "robustness.png")


def between_marks(path: Path, text: str, tables: str) -> str:
    """A page with other tables between its two marks. Raises InvalidInput if the second is missing."""
    before, _, after = text.partition(BEGIN)
    if END not in after:
        raise InvalidInput(f"{path} has a mark where tables begin and none where they end: {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after.partition(END)[2]}"


if __name__ == "__main__":
    sys.exit(main())
