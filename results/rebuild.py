"""python results/rebuild.py: every table and figure of `results/`, from its CSV and JSON files.

It writes README.md here, the tables between two marks of the project's README.md, curves.png and
after-mutation.png of all runs, and curves.png and loss.png of each.

Source: the article's table and its figures of experiments 1 and 2; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import robust
from kept import FOLDER, Evaluation, Kept, read_all, read_columns

from refca.checkpoint import load_weights, shipped, shipped_names
from refca.evaluation import CURVES
from refca.experiment import DigitsExperiment, Experiment
from refca.figures import LINES, at_the_end, curves, dress, loss_curve, new_figure, save
from refca.files import replacing
from refca.programs import exit_code
from refca.refused import Refused

STEP, LATE = 200, 1000
DEFAULT = "digits-l2-noise"  # the article's best, which recipes change
BEGIN, END = "<!-- written by results/rebuild.py: from here -->", "<!-- to here -->"
ARTICLE = {  # experiment: the name and the four figures of the article's table
    "digits-ce": ("CE", "96.2 at 80", "95.3", "77.9 at 80", "66.2"),
    "digits-l2": ("L2", "95.0 at 95", "94.7", "85.5 at 175", "85.2"),
    "digits-l2-noise": ("L2 + noise", "95.4 at 65", "95.3", "88.2 at 190", "88.1"),
}
AGAIN = """\
MNIST is in DIR or DIR/mnist; without `--data` it is downloaded once. model.json is `public/model.json` of the
article's [repository](https://github.com/distillpub/post--selforg-mnist). The weights of every other row are
in its folder here: `python -m refca.evaluate results/NAME --data DIR` measures them without training."""
WORDS = {"carry": "states carried over", "restart": "restarted from zero"}
HEAD = ("top accuracy", f"at {STEP}", "top agreement", f"at {STEP}")


def main(folder: Path = FOLDER) -> int:
    return exit_code(lambda: rebuild(folder))


def rebuild(folder: Path) -> int:
    runs = read_all(folder)
    if not runs:
        raise Refused(f"{folder} holds no run; keep one first: python results/keep.py RUN")
    write(folder / "README.md", page(folder, runs))
    above = folder.parent / "README.md"
    if above.exists() and BEGIN in (text := above.read_text("utf-8")):
        write(above, between_marks(above, text, summary(runs)))
    draw(folder, runs)
    print(f"rebuilt tables and figures in {folder}, of {len(runs)} run{'s' * (len(runs) != 1)}")
    return 0


def page(folder: Path, runs: Sequence[Kept]) -> str:
    """README.md: tables, figures, commands, and what notes.md says of differences."""
    notes = folder / "notes.md"
    beyond, robustness = recipes(runs), robust.section(runs, titled, aligned)
    sections = [
        "# Results\n\n"
        "`make results` writes this page and its figures from the CSV and JSON files beside it, and\n"
        "`python results/keep.py RUN` adds a run.",
        tables(runs),
        "![Accuracy, agreement and magnitudes of all models over 400 steps](curves.png)",
        "![After the mutation, states carried over beside restarted](after-mutation.png)",
        f"## Beyond the article\n\n{beyond}" if beyond else "",
        f"## Robustness\n\n{robustness}" if robustness else "",
        f"## Every row again\n\n{AGAIN}\n\n{made(runs)}",
        notes.read_text("utf-8").strip() if notes.exists() else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def summary(runs: Sequence[Kept]) -> str:
    """What the project's README.md shows."""
    beyond = recipes(runs)
    return tables(runs) + (f"\n\nBeyond the article, with as many parameters:\n\n{beyond}" if beyond else "")


def tables(runs: Sequence[Kept]) -> str:
    """The article's table with its models as we trained them, and the same after either kind of mutation."""
    first: list[tuple[str, ...]] = [("per cent, at step", *HEAD)]
    for source, (title, *published) in ARTICLE.items():
        mine = [run for run in runs if model_of(run) == source and faithful(run)]
        if mine:
            first.append((f"**{title}**, the article", *published))
            first += [(f"… {titled(run)}", *cells(run.evaluation, "before")) for run in mine]
    after = [("steps counted from the mutation", *HEAD)]
    for run in filter(faithful, runs):
        parts = [part for part in WORDS if run.evaluation.curve(part, "accuracy") is not None]
        after += [(f"{titled(run)}, {WORDS[part]}", *cells(run.evaluation, part)) for part in parts]
    return f"{aligned(first)}\n\nAfter each digit became another:\n\n{aligned(after)}"


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
    rows = [
        ("per cent: accuracy / agreement", "changed", f"at {STEP}", f"at {LATE:,}", f"{STEP} after mutation")
    ]
    for run in runs:
        if faithful(run) and model_of(run) != DEFAULT:
            continue
        long = run.long or run.evaluation
        late = pair(long, "before", LATE)
        rows.append(
            (
                titled(run),
                changes(run),
                pair(run.evaluation, "before", STEP),
                late,
                pair(run.evaluation, "carry", STEP),
            )
        )
    return aligned(rows, words=2) if any(not faithful(run) for run in runs) else ""


def changes(run: Kept) -> str:
    """The settings in which a run differs from the article's L2 + noise."""
    if run.experiment is None:
        return "trained by the article's authors"
    default = DigitsExperiment(seed=run.experiment.seed)
    names = [f.name for f in fields(default)]
    pairs = [(name, getattr(run.experiment, name)) for name in names]
    changed = [f"{name} {shown(value)}" for name, value in pairs if value != getattr(default, name)]
    return ", ".join(changed) or "nothing"


def shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def steps_of(experiment: Experiment, done: int) -> str:
    """Training steps, and those of the weights that a run began with."""
    text = f"{done:,}"
    while experiment.start:
        _, before, done_before = load_weights(experiment.start)
        assert before is not None
        text, experiment = f"{text} after {done_before:,}", before
    return text


def made(runs: Sequence[Kept]) -> str:
    """How each run was made, on what and in what time, and the lines that make it again."""
    rows = [("run", "training steps", "wall time", "machine", "test digits", "comes with refca as")]
    lines = []
    for run in runs:
        steps, again = run.about["training_steps"], list(run.about["commands"])
        if run.long is not None:
            longer = f"--steps {run.long.steps} --mutation {run.long.values['mutation']}"
            again.append(f"{again[-1].split(' --mutation')[0]} {longer} --out runs/{run.name}/long")
        if (values := robust.found(run)) is not None:
            again.append(f"{robustly(again[-1], run)} --samples {values['samples']}")
        machine = run.about["machine"] or "–"
        counted = f"{run.evaluation.values['samples']:,}"
        taken = duration(run.about["seconds"]) if steps else "–"
        trained = steps_of(run.experiment, steps) if run.experiment and steps else "–"
        rows.append((f"[{run.name}]({run.name})", trained, taken, machine, counted, shipped_as(run)))
        lines.append("\n".join(again))
    return f"{aligned(rows)}\n\n```\n" + "\n\n".join(lines) + "\n```"


def shipped_as(run: Kept) -> str:
    """The name under which these weights come with the package; a dash if they do not."""
    weights = run.folder / "weights.safetensors"
    mine = weights.read_bytes() if weights.exists() else None
    names = [name for name in shipped_names() if (shipped() / f"{name}.safetensors").read_bytes() == mine]
    return ", ".join(f"`{name}`" for name in names) or "–"


def robustly(measure: str, run: Kept) -> str:
    """The line that measures robustness, from one that measures the model."""
    model = measure.split(" --")[0].replace("refca.evaluate", "refca.robustness")
    return f"{model} --data DIR --out runs/{run.name}/robustness"


def faithful(run: Kept) -> bool:
    """Whether a run is of one of the article's models, trained as long as they were."""
    return model_of(run) is not None and run.about["training_steps"] in (None, DigitsExperiment().steps)


def model_of(run: Kept) -> str | None:
    """Which of the article's models a run is of; None if of none."""
    if run.experiment is None:
        return DEFAULT
    return run.about["trained"] if run.about["trained"] in ARTICLE else None


def titled(run: Kept) -> str:
    """A run's name for a table."""
    return "the article's published weights" if run.experiment is None else run.name


def percent(value: float | None) -> str:
    return "–" if value is None or value != value else f"{100 * value:.1f}"


def pair(evaluation: Evaluation, part: str, step: int) -> str:
    """Accuracy / agreement after this many steps; one dash if they were not measured."""
    both = [percent(evaluation.at(part, key, step)) for key in ("accuracy", "agreement")]
    return "–" if "–" in both else " / ".join(both)


def duration(seconds: float | None) -> str:
    if seconds is None:
        return "not measured"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02} min" if minutes >= 60 else f"{minutes} min"


def aligned(rows: Sequence[Sequence[str]], words: int = 1) -> str:
    """A Markdown table whose first row is its head: its first columns, `words`, are words, others numbers."""
    head, *body = rows
    rule = ["---"] * words + ["---:"] * (len(head) - words)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def draw(folder: Path, runs: Sequence[Kept]) -> None:
    """Every figure that follows from the CSV files."""
    standard = {titled(run): run.evaluation for run in runs}
    shown = {name: line(e, "carry" if has(e, "carry") else "before") for name, e in standard.items()}
    curves(shown, folder / "curves.png")
    protocols(standard, folder / "after-mutation.png")
    for run in runs:
        parts = {WORDS[part]: line(run.evaluation, part) for part in WORDS if has(run.evaluation, part)}
        alone = parts if len(parts) > 1 else next(iter([*parts.values(), line(run.evaluation, "before")]))
        curves(alone, run.folder / "curves.png")
        if (log := run.folder / "metrics.csv").exists():
            columns = read_columns(log)
            rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
            loss_curve(rows, run.folder / "loss.png")
        robust.draw(run)
        if run.long is not None:
            curves(line(run.long, "before"), run.folder / "long" / "curves.png")


def has(evaluation: Evaluation, part: str) -> bool:
    return evaluation.curve(part, "accuracy") is not None


def line(evaluation: Evaluation, part: str) -> dict[str, Any]:
    """What `figures.curves` draws: the steps before a mutation, and those of one kind after it."""
    parts = ["before"] if part == "before" else ["before", part]
    found: dict[str, Any] = {}
    for key in CURVES:
        of_parts = [evaluation.curve(each, key) for each in parts]
        found[key] = np.concatenate([curve for curve in of_parts if curve is not None])
    found["step"] = np.arange(1, len(found["accuracy"]) + 1)
    return found | {"mutation": evaluation.steps if len(parts) > 1 else None}


def protocols(evaluations: dict[str, Evaluation], path: Path) -> None:
    """A PNG of accuracy and agreement over the steps after a mutation: carried over, beside restarted.

    A model that was measured under one of the two alone is in that column alone.
    """
    figure = new_figure(12.5, 8.2)
    titles = {"accuracy": "Average cell accuracy", "agreement": "Total agreement"}
    for place, (key, part) in enumerate([(key, part) for key in titles for part in WORDS], 1):
        axes = figure.add_subplot(2, 2, place)
        dress(axes, titles[key], f"{WORDS[part]}, %")
        ends = []
        for i, (name, evaluation) in enumerate(evaluations.items()):
            curve, colour = evaluation.curve(part, key), LINES[i % len(LINES)]
            if curve is not None:
                axes.plot(np.arange(1, len(curve) + 1), 100 * curve, color=colour, linewidth=2, label=name)
                ends.append((100 * float(curve[-1]), f"{100 * curve[-1]:.1f}", colour))
        axes.set_ylim(0, 102)
        at_the_end(axes, ends)
        if place > 2:
            axes.set_xlabel("steps after the mutation", fontsize=13)
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    handles = {name: handle for pair in found for handle, name in zip(*pair, strict=True)}
    if handles:
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside upper left",
            ncols=3,
            frameon=False,
            fontsize=14,
        )
    save(figure, path)


def between_marks(path: Path, text: str, tables: str) -> str:
    """A page with other tables between its two marks. Raises Refused if the second is missing."""
    before, _, after = text.partition(BEGIN)
    if END not in after:
        raise Refused(f"{path} has a mark where tables begin and none where they end: {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after.partition(END)[2]}"


def write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
