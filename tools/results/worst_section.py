"""The section of results/README.md on the worst test digits of a run, from the files that worst.py wrote.

Source: the article, experiment 1 and "A note on digit topology"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from kept import Columns, Kept, read_columns, read_json
from words import aligned, titled

INTRO = """\
The {count} test digits of {name} with the smallest fraction of correct cells after {steps} steps; among digits
without a correct cell, those come first whose cells prefer the wrong label by most
([numbers]({name}/worst/worst.csv)).
*Disconnected*: the live cells form several pieces, where diagonal neighbours are connected."""
LEGEND = """\
*Cells changing*: mean fraction of live cells whose label changes in a step. *Cells changed*: fraction whose label
changes at least once. The leading label changes as in the table of chimeras; more than one change is oscillation."""
KINDS = (
    "always the same wrong label; all cells agree after {steps} steps",
    "always the same wrong label; cells disagree after {steps} steps",
    "always the right label",
    "changes once",
    "changes more often",
)
OSCILLATING = KINDS.index("changes more often")


def found(run: Kept) -> dict[str, Any] | None:
    """Return the numbers of worst.json for a run, or None."""
    path = run.folder / "worst" / "worst.json"
    return read_json(path) if path.exists() else None


def section(runs: Sequence[Kept]) -> str:
    """Return the text for each run whose worst digits were measured; empty if there is none."""
    return "\n\n".join(of_run(run, values) for run in runs if (values := found(run)) is not None)


def of_run(run: Kept, values: dict[str, Any]) -> str:
    """Return the tables, the picture and the sentences about one run."""
    rows, others = (read_columns(run.folder / "worst" / f"{name}.csv") for name in ("worst", "disagree"))
    groups = values["groups"]
    count, (first, last) = len(rows["digit"]), values["followed"]
    counts = [(f"live cells of a digit after {values['steps']} steps", "digits", "disconnected")]
    counts += [(name, f"{each['digits']:,}", f"{each['disconnected']:,}") for name, each in groups.items()]
    head = (f"leading label, steps {first} to {last:,}", "digits", "cells changing", "cells changed")
    picture = f"{run.name}/worst/worst.png"
    return "\n\n".join(
        (
            INTRO.format(count=count, name=titled(run), steps=values["steps"]),
            f"![The worst test digits of {titled(run)}, and the predicted labels of their cells]({picture})",
            f"Of all {values['samples']:,} test digits:",
            aligned(counts),
            f"Of the {count} worst digits, which the picture shows:",
            aligned([head, *kinds(rows, values["steps"])]),
            f"And of the {len(others['digit'])} connected digits whose cells disagree:",
            aligned([head, *kinds(others, values["steps"])]),
            LEGEND,
            sentences(rows, others, values),
        )
    )


def kinds(rows: Columns, steps: int) -> Iterator[tuple[str, ...]]:
    """Yield a row for each kind of error: its digits, and how their cells change their labels, in per cent."""
    for i, name in enumerate(KINDS):
        mine = kind_of(rows) == i
        changes = (f"{100 * rows[key][mine].mean():.2f} %" if mine.any() else "–" for key in ("changing", "changed"))
        yield name.format(steps=steps), str(mine.sum()), *changes


def kind_of(rows: Columns) -> np.ndarray:
    """Return the index in KINDS of each digit."""
    wrong, agree, switches = rows["leading"] != rows["label"], rows["share"] == 1, rows["switches"]
    constant = np.where(wrong, np.where(agree, 0, 1), 2)
    return np.where(switches == 0, constant, np.where(switches == 1, 3, 4))


def disconnected(rows: Columns) -> np.ndarray:
    """Return which digits have live cells in more than one piece."""
    return rows["pieces"] > 1


def sentences(rows: Columns, others: Columns, values: dict[str, Any]) -> str:
    """Return the counts of disconnected digits, of constant wrong labels and of oscillation, in words."""
    count, (first, last), kind = len(rows["digit"]), values["followed"], kind_of(rows)
    disagree, agree = (sum_of(values, word) for word in ("disagree", "agree"))
    wrong, oscillating = np.isin(kind, (0, 1)).sum(), (kind == OSCILLATING).sum()
    return (
        f"Disconnected are {disagree[1]} of the {disagree[0]:,} digits whose cells disagree, {agree[1]} of the "
        f"{agree[0]:,} whose cells agree, and\n{disconnected(rows).sum()} of the worst {count}. From step {first} to "
        f"{last:,} the leading label of {wrong} of the worst {count} is always the\nsame wrong one, "
        f"and for {oscillating} of them it oscillates; of the {len(others['digit'])} connected digits whose "
        f"cells disagree, {(kind_of(others) == OSCILLATING).sum()} oscillate."
    )


def sum_of(values: dict[str, Any], word: str) -> tuple[int, int]:
    """Return the number of digits, and of disconnected ones, in the groups that begin with a word."""
    groups = [each for name, each in values["groups"].items() if name.startswith(word + ",")]
    return sum(each["digits"] for each in groups), sum(each["disconnected"] for each in groups)
