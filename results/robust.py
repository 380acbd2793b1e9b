"""Robustness of the runs that are kept: a table, and the curves that follow from their JSON and CSV files.

Source: the article, "Observed robustness and limitations"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from kept import Kept, read_columns, read_json
from words import aligned, percent, titled

from refca import robustness_figures
from refca.robustness_evaluation import PARTS, Row

PICTURES = (
    ("size", "Digits of other sizes"),
    ("drawn", "Of other sizes, drawn with the same pen"),
    ("strokes", "Thinner and thicker strokes"),
    ("shift", "Elsewhere on a larger grid"),
    ("source", "Digits from another source"),
    ("erased", "Lower halves are erased and drawn again"),
    ("chimeras", "Of each kind of chimera the most restless one"),
    ("chimeras-shares", "What the cells of these chimeras say over time"),
)


def found(run: Kept) -> dict[str, Any] | None:
    """What refca.robustness measured of a run; None if nothing."""
    path = run.folder / "robustness" / "robustness.json"
    return read_json(path) if path.exists() else None


def section(runs: Sequence[Kept]) -> str:
    """The tables of all runs, and the pictures of the last of them; empty if there is none."""
    measured = {titled(run): values for run in runs if (values := found(run)) is not None}
    if not measured:
        return ""
    numbers = [pairs(values) for values in measured.values()]
    steps = next(iter(measured.values()))["steps"]
    counted = [f"{name}, {values['samples']:,} digits" for name, values in measured.items()]
    rows = [(f"accuracy / agreement at {steps}, per cent", *counted)]
    rows += [(what, *(each.get(what, "–") for each in numbers)) for what in numbers[0]]
    restless = [restlessness(values) for values in measured.values()]
    kinds = [("oscillating, per cent / changes in 100 steps", *measured)]
    kinds += [(kind, *(each.get(kind, "–") for each in restless)) for kind in restless[0]]
    last = [run for run in runs if found(run) is not None][-1]
    folder = last.folder / "robustness"
    pictures = [
        f"![{words}]({last.name}/robustness/{name}.png)\n\n*{words}: {titled(last)}.*"
        for name, words in PICTURES
        if (folder / f"{name}.png").exists()
    ]
    return "\n\n".join((aligned(rows), aligned(kinds), *pictures))


def pairs(values: dict[str, Any]) -> dict[str, str]:
    """Accuracy / agreement under each disturbance, and whole, erased and drawn again."""
    rows = {f"{row['disturbance']} {row['amount']}": row for row in values["disturbances"]}
    of_rows = {what: (row["accuracy"], row["agreement"]) for what, row in rows.items()}
    names = {part: part.replace(" ", "_") for part in PARTS}
    erased = values["erased"]
    of_rows |= {
        part: (erased[f"accuracy_{name}"], erased[f"agreement_{name}"]) for part, name in names.items()
    }
    return {what: " / ".join(percent(value) for value in pair) for what, pair in of_rows.items()}


def restlessness(values: dict[str, Any]) -> dict[str, str]:
    """How restless each kind of chimera is, and digits."""
    return {
        kind: "–"
        if not of_kind["count"]
        else f"{percent(of_kind['oscillating'])} / {of_kind['changes_per_100_steps']:.1f}"
        for kind, of_kind in values["chimeras"].items()
    }


def draw(run: Kept) -> None:
    """The curves of one run, if its robustness was measured."""
    values = found(run)
    if values is None:
        return
    folder: Path = run.folder / "robustness"
    rows = [Row._make(np.nan if x is None else x for x in row.values()) for row in values["disturbances"]]
    robustness_figures.disturbances(folder / "disturbances.png", rows)
    columns = read_columns(folder / "erased.csv")
    curves = np.stack([columns["accuracy"], columns["agreement"]], axis=-1)
    robustness_figures.erased_curves(folder / "erased-curves.png", curves)
