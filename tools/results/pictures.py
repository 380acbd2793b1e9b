"""The figures of `results/`.

Source: the article's figures of experiments 1 and 2; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from kept import Evaluation, Kept, read_columns
from words import PUBLISHED

from refca.digits.figures import curves
from refca.digits.report import AFTER, draw, line
from refca.drawing.palette import many
from refca.drawing.plots import DASHES, GRAY, at_the_end, dress, loss_curve, name_lines, new_figure, save

TITLES = {"accuracy": "Average cell accuracy", "agreement": "Total agreement"}

Evaluations = Mapping[str, Evaluation]  # by the name in the legend
Strokes = Mapping[str, tuple[str, str]]  # colour and dashes of each name, the same in all figures of a page


def draw_run(run: Kept) -> None:
    """Draw curves.png and loss.png of one run, and curves.png of its long evaluation."""
    draw(run.folder, run.evaluation.curves())
    if (log := run.folder / "metrics.csv").exists():
        columns = read_columns(log)
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        loss_curve(rows, run.folder / "loss.png")
    if run.long is not None:
        draw(run.folder / "long", run.long.curves())


def overlaid(evaluations: Evaluations, path: Path, strokes: Strokes) -> None:
    """Draw the article's four panels with a line for each run, with states carried over if that was measured."""
    measured = {name: each.curves() for name, each in evaluations.items()}
    curves(
        {name: line(each, "carry" if "carry" in each else "before") for name, each in measured.items()}, path, strokes
    )


def after_mutation(evaluations: Evaluations, path: Path, strokes: Strokes) -> None:
    """Draw accuracy and agreement over the steps after a mutation, carried over and restarted side by side.

    A model measured under one of the two appears in that column only.
    """
    panels(path, [(key, part, AFTER[part]) for key in TITLES for part in AFTER], evaluations, strokes)


def beyond(evaluations: Evaluations, path: Path, strokes: Strokes, most: int | None = None) -> None:
    """Draw accuracy and agreement from zero state over at most `most` steps, with a narrow vertical range."""
    panels(path, [(key, "before", "steps from zero") for key in TITLES], evaluations, strokes, most)


def panels(
    path: Path,
    places: list[tuple[str, str, str]],
    evaluations: Evaluations,
    strokes: Strokes,
    most: int | None = None,
) -> None:
    """Write a PNG with a panel for each (curve, part, words), two in a row, in per cent, with a narrow range.

    Curves are cut after `most` steps.
    """
    parts = {part for _, part, _ in places}
    near = {key: limits(evaluations, key, parts) for key, _, _ in places}
    figure = new_figure(12.5, 1.6 + 3.4 * ((len(places) + 1) // 2))
    for place, (key, part, words) in enumerate(places, 1):
        axes = figure.add_subplot((len(places) + 1) // 2, 2, place)
        dress(axes, TITLES[key], f"{words}, %")
        ends = []
        for name, evaluation in evaluations.items():
            curve = evaluation.curve(part, key)
            colour, dash = strokes[name]
            if curve is not None:
                curve = curve[:most]
                steps = np.arange(1, len(curve) + 1)
                axes.plot(steps, 100 * curve, dash, color=colour, linewidth=2, label=name)
                ends.append((100 * float(curve[-1]), f"{100 * curve[-1]:.1f}", colour))
        axes.set_ylim(*near[key])
        at_the_end(axes, ends)
        if place > len(places) - 2:
            axes.set_xlabel("steps after the mutation" if part in AFTER else "step", fontsize=13)
    name_lines(figure, columns=3)
    save(figure, path)


def strokes_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the colour and the dashes of each model of a page: gray for the published weights."""
    ours = [name for name in names if name != PUBLISHED]
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in many(tuple(ours)).labels]
    dashes = (DASHES[i % 2] for i in range(len(ours)))
    return {PUBLISHED: (GRAY, ":"), **dict(zip(reversed(ours), zip(colours, dashes, strict=True), strict=True))}


def limits(evaluations: Evaluations, key: str, parts: Iterable[str]) -> tuple[float, float]:
    """Return the range, in per cent, in which curves lie after they have risen, with a margin."""
    curves = [each.curve(part, key) for each in evaluations.values() for part in parts]
    found = [100 * curve for curve in curves if curve is not None and np.isfinite(curve[-1])]
    if not found:
        return 0, 102
    lowest, highest = min(curve[-1] for curve in found), max(np.nanmax(curve) for curve in found)
    return max(0.0, float(lowest - max(2, (highest - lowest) / 2))), min(102.0, float(highest + 0.5))
