"""The robustness of the runs in `results/`: tables and curves from their JSON and CSV files.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from kept import Columns, Kept, read_columns, read_json
from pictures import Strokes
from words import aligned, percent, titled

from refca.digits import robustness_figures
from refca.digits.figures import mark_mutations
from refca.digits.robustness import PARTS, Row
from refca.digits.robustness_report import CHIMERA_FACTOR
from refca.drawing.plots import GRAY, dress, name_lines, new_figure, save

INTRO = """\
Perturbed test digits ([definitions](../spec/programs.md#robustness)):

| row | perturbation |
| --- | --- |
| size | scaled by this factor |
| drawn | scaled by this factor, but with strokes about as wide as before |
| strokes | strokes wider by this number of pixels |
| shift | shifted to the right and down by this number of pixels, on a grid twice as large |
| source | scikit-learn's digits, enlarged |
| whole, erased, drawn again | before, with the lower half erased, and with it drawn again |

A cell is alive where ink exceeds 0.1, so that a blurred edge has live cells too; "live cells" is their mean number."""
CHIMERAS = """\
Chimeras: "3 over 5" is the upper half of a 3 on the lower half of a 5. *Oscillating* is the percentage of chimeras
whose leading label changes in the second half of {steps} steps, *changes* the number of changes in 100 steps. The
leading label changes when another label is predicted by a tenth of the cells more."""
CURVES = "![Accuracy of all models under each perturbation, and while digits are erased](robustness.png)"
PICTURES = (
    ("size", "Digits of other sizes"),
    ("drawn", "Digits of other sizes with the same stroke width"),
    ("strokes", "Thinner and thicker strokes"),
    ("shift", "Digits shifted on a larger grid"),
    ("source", "Digits from another source"),
    ("erased", "Digits whose lower half is erased and drawn again"),
    ("chimeras", "The chimera of each kind whose leading label changes most"),
    ("chimeras-shares", "Predicted labels of the cells of these chimeras over time"),
)


def found(run: Kept) -> dict[str, Any] | None:
    """Return the numbers of refca.robustness for a run, or None."""
    path = run.folder / "robustness" / "robustness.json"
    return read_json(path) if path.exists() else None


def section(runs: Sequence[Kept]) -> str:
    """Return the tables and curves of all runs and the pictures of the last; empty if nothing was measured."""
    measured = {titled(run): values for run in runs if (values := found(run)) is not None}
    if not measured:
        return ""
    numbers = [pairs(values) for values in measured.values()]
    steps = next(iter(measured.values()))["steps"]
    counted = [f"{name}, {values['samples']:,} digits" for name, values in measured.items()]
    cells = {key(row): f"{row['cells']:.0f}" for values in measured.values() for row in values["perturbations"]}
    rows = [(f"accuracy / agreement at {steps}, per cent", "live cells", *counted)]
    rows += [
        (what, cells.get(what, "–"), *(each.get(what, "–") for each in numbers))
        for what in dict.fromkeys(chain(*numbers))
    ]
    oscillations = [oscillation(values) for values in measured.values()]
    chimeras = CHIMERAS.format(steps=CHIMERA_FACTOR * steps)
    kinds = [("oscillating / changes", *measured)]
    kinds += [(kind, *(each.get(kind, "–") for each in oscillations)) for kind in dict.fromkeys(chain(*oscillations))]
    last = [run for run in runs if found(run) is not None][-1]
    folder = last.folder / "robustness"
    pictures = [
        f"![{words}]({last.name}/robustness/{name}.png)\n\n*{words}: {titled(last)}.*"
        for name, words in PICTURES
        if (folder / f"{name}.png").exists()
    ]
    others = [f"[{titled(run)}]({run.name}/robustness)" for run in runs if found(run) and run is not last]
    more = [f"The same pictures for {', '.join(others)}."] if others else []
    return "\n\n".join((INTRO, aligned(rows), CURVES, chimeras, aligned(kinds), *pictures, *more))


def key(row: dict[str, Any]) -> str:
    """Return the name of a row: perturbation and amount."""
    return f"{row['perturbation']} {row['amount']}"


def pairs(values: dict[str, Any]) -> dict[str, str]:
    """Return accuracy / agreement under each perturbation, and whole, erased and drawn again."""
    rows = {key(row): row for row in values["perturbations"]}
    of_rows = {what: (row["accuracy"], row["agreement"]) for what, row in rows.items()}
    names = {part: part.replace(" ", "_") for part in PARTS}
    erased = values["erased"]
    of_rows |= {part: (erased[f"accuracy_{name}"], erased[f"agreement_{name}"]) for part, name in names.items()}
    return {what: " / ".join(percent(value) for value in pair) for what, pair in of_rows.items()}


def oscillation(values: dict[str, Any]) -> dict[str, str]:
    """Return oscillating / changes for each kind of chimera, and for digits."""
    return {
        kind: "–"
        if not of_kind["count"]
        else f"{percent(of_kind['oscillating'])} / {of_kind['changes_per_100_steps']:.2f}"
        for kind, of_kind in values["chimeras"].items()
    }


def draw(runs: Sequence[Kept], path: Path, strokes: Strokes) -> None:
    """Draw the curves of each run with robustness, and of all of them together."""
    measured = {titled(run): run for run in runs if found(run) is not None}
    if not measured:
        return
    rows = {name: rows_of(run) for name, run in measured.items()}
    erased = {name: read_columns(run.folder / "robustness" / "erased.csv") for name, run in measured.items()}
    for name, run in measured.items():
        robustness_figures.perturbations(run.folder / "robustness" / "perturbations.png", rows[name])
        curves = np.stack([erased[name]["accuracy"], erased[name]["agreement"]], axis=-1)
        robustness_figures.erased_curves(run.folder / "robustness" / "erased-curves.png", curves)
    overlaid(rows, erased, path, strokes)


def overlaid(rows: Mapping[str, list[Row]], erased: Mapping[str, Columns], path: Path, strokes: Strokes) -> None:
    """Write a PNG of accuracy under each perturbation with several amounts, and while digits are erased."""
    figure = new_figure(15, 9)
    for place, (kind, (title, unit)) in enumerate(robustness_figures.AXES.items(), 1):
        axes = figure.add_subplot(2, 3, place)
        dress(axes, title, "live cells with the correct label, %")
        for name, of_model in rows.items():
            mine = [row for row in of_model if row.perturbation == kind]
            colour, dash = strokes[name]
            values = [100 * row.accuracy for row in mine]
            axes.plot([float(row.amount) for row in mine], values, "o" + dash, color=colour, label=name)
            axes.set_xticks([float(row.amount) for row in mine], [row.amount for row in mine])
        axes.set_ylim(0, 102)
        axes.set_xmargin(0.05)
        axes.set_xlabel(unit, fontsize=13, color=GRAY)
    axes = figure.add_subplot(2, 3, (5, 6))
    dress(axes, "Lower half erased, and drawn again", "live cells with the correct label, %")
    for name, columns in erased.items():
        axes.plot(columns["step"], 100 * columns["accuracy"], strokes[name][1], color=strokes[name][0])
    steps = len(columns["step"]) // len(PARTS)
    mark_mutations(axes, [steps * part for part in range(1, len(PARTS))], words=False)
    axes.set_ylim(0, 102)
    axes.set_xlabel("step", fontsize=13, color=GRAY)
    name_lines(figure, columns=3)
    save(figure, path)


def rows_of(run: Kept) -> list[Row]:
    """Return the row of each perturbation."""
    values = found(run)
    assert values is not None
    return [Row._make(np.nan if x is None else x for x in row.values()) for row in values["perturbations"]]
