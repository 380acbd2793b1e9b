"""The section of results/README.md on digits as people draw them, from the files that drawn.py wrote.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drawn import FILE, OWN, SIDE
from kept import Kept, read_json
from pictures import Strokes
from words import aligned, percent, titled

from refca.drawing.plots import GRAY, dress, name_lines, new_figure, save
from refca.errors import InvalidInput

INTRO = """\
The first {samples} test digits at other sizes and with other strokes, optdigits enlarged to 28x28, and the pictures
of people's own digits that [the playground's page](../spec/playground.md) describes. Each entry: per cent of live
cells with the correct label / of digits whose commonest label is correct, after {first} steps; drawn.json in
each model's folder also has them after {last}. *Target*: the number that the experiment `digits-drawn` is to reach,
of cells; for people's own pictures, of pictures. *Only inverted*: with their own pixels, inverted if they are dark
on light. Folders with pictures of more than {side} pixels are left out there: these are photographs, on whose paper
all cells live, and a canvas with digits 14 times as large as MNIST's."""
KINDS = {"size": "scaled by", "strokes": "strokes wider by", "source": "source"}
CURVES = "![Correct cells at other sizes and with other strokes](drawn.png)"
AXES = {"size": ("Digits of other sizes", "times as large"), "strokes": ("Thinner and thicker strokes", "pixels wider")}

Rows = Mapping[tuple[str, str], dict[str, Any]]  # the rows of a run by kind and amount


def target(kind: str, amount: str) -> int | None:
    """Return the target of a row in per cent, or None."""
    if kind in OWN:
        return 90
    if kind == "size":
        return 97 if amount == "1" else 90 if 0.6 <= float(amount) <= 2 else None
    return {"strokes": 90, "source": 95}[kind]


def found(run: Kept) -> dict[str, Any] | None:
    """Return the numbers of drawn.json for a run, or None."""
    return read_json(run.folder / FILE) if (run.folder / FILE).exists() else None


def measured(runs: Sequence[Kept]) -> dict[str, dict[str, Any]]:
    """Return the numbers of all runs that have any, by the name in tables."""
    return {titled(run): values for run in runs if (values := found(run)) is not None}


def by_key(values: dict[str, Any]) -> Rows:
    return {(row["kind"], row["amount"]): row for row in values["rows"]}


def section(runs: Sequence[Kept]) -> str:
    """Return the text, the table and the curves; empty if nothing was measured."""
    models = measured(runs)
    if not models:
        return ""
    (first, last), samples = next(iter(models.values()))["at"], {values["samples"] for values in models.values()}
    if len(samples) > 1:
        raise InvalidInput(
            f"all models must be measured on the same number of digits, got {', '.join(map(str, sorted(samples)))}"
        )
    tables = [by_key(values) for values in models.values()]
    rows = [("correct cells / digits, per cent", "target", "live cells", *models)]
    for key in dict.fromkeys(key for table in tables for key in table):
        kind, amount = key
        least, one = target(kind, amount), next(table[key] for table in tables if key in table)
        name = f"{KINDS[kind]} {amount}" if kind in KINDS else f"{amount} ({one['digits']}), {kind}"
        entries = (pair(table.get(key)) for table in tables)
        rows.append((name, "–" if least is None else str(least), f"{one['cells']:.0f}", *entries))
    text = INTRO.format(samples=f"{samples.pop():,}", first=first, last=last, side=SIDE)
    return "\n\n".join((text, aligned(rows), CURVES))


def pair(row: dict[str, Any] | None) -> str:
    """Return correct cells / correct digits in per cent after the first of the steps, or a dash."""
    return "–" if row is None else f"{percent(row['accuracy'][0])} / {percent(row['named'][0])}"


def draw(runs: Sequence[Kept], path: Path, strokes: Strokes) -> None:
    """Write a PNG of the correct cells of each run over sizes and strokes, after the last of the steps."""
    models = {name: by_key(values) for name, values in measured(runs).items()}
    if not models:
        return
    figure = new_figure(12.5, 4.6)
    for place, (kind, (title, unit)) in enumerate(AXES.items(), 1):
        axes = figure.add_subplot(1, 2, place)
        dress(axes, title, "live cells with the correct label, %")
        for name, rows in models.items():
            mine = {float(amount): 100 * row["accuracy"][-1] for (of, amount), row in rows.items() if of == kind}
            if kind == "strokes" and ("size", "1") in rows:
                mine[0.0] = 100 * rows["size", "1"]["accuracy"][-1]
            x = sorted(mine)
            colour, dash = strokes[name]
            axes.plot(x, [mine[amount] for amount in x], "o" + dash, color=colour, label=name)
            if kind == "size":
                axes.set_xscale("log")
                axes.minorticks_off()
            axes.set_xticks(x, [f"{amount:g}" for amount in x])
        axes.set_ylim(0, 102)
        axes.set_xmargin(0.05)
        axes.set_xlabel(unit, fontsize=13, color=GRAY)
    name_lines(figure, columns=3)
    save(figure, path)
