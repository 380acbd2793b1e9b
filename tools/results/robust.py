"""Robustness of the runs that are kept: a table, and the curves that follow from their JSON and CSV files.

Source: the article, "Observed robustness and limitations"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kept import Columns, Kept, read_columns, read_json
from pictures import strokes_of
from words import aligned, percent, titled

from refca.digits import robustness_figures
from refca.digits.figures import mark_mutations
from refca.digits.robustness import PARTS, Row
from refca.digits.robustness_report import LONGER
from refca.drawing.plots import GRAY, dress, name_lines, new_figure, save

INTRO = """\
Test digits, changed as the rows say ([how](../spec/programs.md#robustness)). Size: times as large. Drawn: the
same, with strokes made about as wide as before. Strokes: pixels of ink wider. Shift: pixels to the right and
down, on a grid twice as large. Source: scikit-learn's digits, enlarged. Then the lower half is erased, and
drawn again. A cell lives where there is more than 0.1 of ink, so a blurred edge has cells too; the first
column of numbers says how many a digit has."""
CHIMERAS = """\
Chimeras, "3 over 5" the upper half of a 3 on the lower half of a 5: of how many, per cent, the leading digit
changes in the second half of {steps} steps, and how often in 100 steps. A digit leads until another is said
by a tenth of the cells more."""
CURVES = "![Accuracy of all models under each disturbance, and while digits are erased](robustness.png)"
PICTURES = (
    ("size", "Digits of other sizes"),
    ("drawn", "Of other sizes, drawn with the same pen"),
    ("strokes", "Thinner and thicker strokes"),
    ("shift", "Elsewhere on a larger grid"),
    ("source", "Digits from another source"),
    ("erased", "Lower halves are erased and drawn again"),
    ("chimeras", "Of each kind of chimera the one whose leading digit changes most, if any does"),
    ("chimeras-shares", "What the cells of these chimeras say over time"),
)


def found(run: Kept) -> dict[str, Any] | None:
    """What refca.robustness measured of a run; None if nothing."""
    path = run.folder / "robustness" / "robustness.json"
    return read_json(path) if path.exists() else None


def section(runs: Sequence[Kept]) -> str:
    """The tables of all runs, their curves, and the pictures of the last of them; empty if there is none."""
    measured = {titled(run): values for run in runs if (values := found(run)) is not None}
    if not measured:
        return ""
    numbers = [pairs(values) for values in measured.values()]
    steps = next(iter(measured.values()))["steps"]
    counted = [f"{name}, {values['samples']:,} digits" for name, values in measured.items()]
    cells = {key(row): f"{row['cells']:.0f}" for row in next(iter(measured.values()))["disturbances"]}
    rows = [(f"accuracy / agreement at {steps}, per cent", "live cells", *counted)]
    rows += [(what, cells.get(what, "–"), *(each.get(what, "–") for each in numbers)) for what in numbers[0]]
    restless = [oscillation(values) for values in measured.values()]
    chimeras = CHIMERAS.format(steps=LONGER * steps)
    kinds = [("oscillating / changes", *measured)]
    kinds += [(kind, *(each.get(kind, "–") for each in restless)) for kind in restless[0]]
    last = [run for run in runs if found(run) is not None][-1]
    folder = last.folder / "robustness"
    pictures = [
        f"![{words}]({last.name}/robustness/{name}.png)\n\n*{words}: {titled(last)}.*"
        for name, words in PICTURES
        if (folder / f"{name}.png").exists()
    ]
    others = [f"[{titled(run)}]({run.name}/robustness)" for run in runs if found(run) and run is not last]
    more = [f"The same pictures of {', '.join(others)}."] if others else []
    return "\n\n".join((INTRO, aligned(rows), CURVES, chimeras, aligned(kinds), *pictures, *more))


def key(row: dict[str, Any]) -> str:
    """What was changed, and how much."""
    return f"{row['disturbance']} {row['amount']}"


def pairs(values: dict[str, Any]) -> dict[str, str]:
    """Accuracy / agreement under each disturbance, and whole, erased and drawn again."""
    rows = {key(row): row for row in values["disturbances"]}
    of_rows = {what: (row["accuracy"], row["agreement"]) for what, row in rows.items()}
    names = {part: part.replace(" ", "_") for part in PARTS}
    erased = values["erased"]
    of_rows |= {part: (erased[f"accuracy_{name}"], erased[f"agreement_{name}"]) for part, name in names.items()}
    return {what: " / ".join(percent(value) for value in pair) for what, pair in of_rows.items()}


def oscillation(values: dict[str, Any]) -> dict[str, str]:
    """How restless each kind of chimera is, and digits."""
    return {
        kind: "–"
        if not of_kind["count"]
        else f"{percent(of_kind['oscillating'])} / {of_kind['changes_per_100_steps']:.2f}"
        for kind, of_kind in values["chimeras"].items()
    }


def draw(runs: Sequence[Kept], path: Path) -> None:
    """The curves of each run whose robustness was measured, and of all of them over each other."""
    measured = {titled(run): run for run in runs if found(run) is not None}
    if not measured:
        return
    rows = {name: rows_of(run) for name, run in measured.items()}
    erased = {name: read_columns(run.folder / "robustness" / "erased.csv") for name, run in measured.items()}
    for name, run in measured.items():
        robustness_figures.perturbations(run.folder / "robustness" / "disturbances.png", rows[name])
        curves = np.stack([erased[name]["accuracy"], erased[name]["agreement"]], axis=-1)
        robustness_figures.erased_curves(run.folder / "robustness" / "erased-curves.png", curves)
    over_each_other(rows, erased, path)


def over_each_other(rows: Mapping[str, list[Row]], erased: Mapping[str, Columns], path: Path) -> None:
    """A PNG of accuracy under each disturbance that has more than one amount, and while digits are erased."""
    figure, strokes = new_figure(15, 9), strokes_of(rows)
    for place, (kind, (title, unit)) in enumerate(robustness_figures.AXES.items(), 1):
        axes = figure.add_subplot(2, 3, place)
        dress(axes, title, "live cells that say the right digit, %")
        for name, of_model in rows.items():
            mine = [row for row in of_model if row.disturbance == kind]
            colour, dash = strokes[name]
            values = [100 * row.accuracy for row in mine]
            axes.plot([float(row.amount) for row in mine], values, "o" + dash, color=colour, label=name)
            axes.set_xticks([float(row.amount) for row in mine], [row.amount for row in mine])
        axes.set_ylim(0, 102)
        axes.set_xmargin(0.05)
        axes.set_xlabel(unit, fontsize=13, color=GRAY)
    axes = figure.add_subplot(2, 3, (5, 6))
    dress(axes, "Lower half erased, and drawn again", "live cells that say the right digit, %")
    for name, columns in erased.items():
        axes.plot(columns["step"], 100 * columns["accuracy"], strokes[name][1], color=strokes[name][0])
    steps = len(columns["step"]) // len(PARTS)
    mark_mutations(axes, [steps * part for part in range(1, len(PARTS))], words=False)
    axes.set_ylim(0, 102)
    axes.set_xlabel("step", fontsize=13, color=GRAY)
    name_lines(figure, columns=3)
    save(figure, path)


def rows_of(run: Kept) -> list[Row]:
    """The row of each disturbance."""
    values = found(run)
    assert values is not None
    return [Row._make(np.nan if x is None else x for x in row.values()) for row in values["disturbances"]]
