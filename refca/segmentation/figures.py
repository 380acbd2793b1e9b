"""Figures of segmentation: curves over steps of one or several runs.

Source: the paper, Figures 2 and 11 (IoU while photographs change), 15 (gate), 16 to 19 (norms).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refca.data.photographs import CLASSES, Photographs
from refca.drawing.palette import Palette, many
from refca.drawing.plots import GRAY, at_the_end, dress, name_lines, new_figure, save, stroke
from refca.segmentation.evaluation import CONDITIONS, MAGNITUDES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "iou_background": "Background",
    "iou_object": "Object",
    "iou_boundary": "Boundary",
    "gate": "Reset gate",
    "state": "State",
    "logits": "Logits",
    "state_change": "Change of state",
    "logits_change": "Change of logits",
}

MOST_PANELS = 6  # classes that have a panel
Run = Mapping[str, Mapping[str, np.ndarray]]  # {condition: {column: one value for each step}}


def iou_curves(runs: Mapping[str, Run], path: Path | str) -> None:
    """Write a PNG of IoU over steps: a column for each class, a row for each condition.

    `runs` maps names to results of `evaluation.curves`; a single name is not shown.
    Raises OSError from the disk.
    """
    first = next(iter(next(iter(runs.values())).values()))
    panels(runs, path, dict.fromkeys([key for key in first if key.startswith("iou_")][:MOST_PANELS], 1.0), "IoU")


def magnitude_curves(runs: Mapping[str, Run], path: Path | str) -> None:
    """Write a PNG like `iou_curves` of the mean gate and the mean absolute values of state, logits and changes."""
    tops = {key: highest(runs, key) for key in MAGNITUDES}
    known = {key: top for key, top in tops.items() if top is not None}
    panels(runs, path, known or dict.fromkeys(MAGNITUDES, 1.0), "mean")


def panels(runs: Mapping[str, Run], path: Path | str, tops: Mapping[str, float], quantity: str) -> None:
    """Write a PNG with a row of panels for each condition and a column for each key of `tops`, its upper limit."""
    figure = new_figure(4.4 * len(tops), 3.7 * len(CONDITIONS))
    for row, condition in enumerate(CONDITIONS):
        for column, (key, top) in enumerate(tops.items()):
            axes = figure.add_subplot(len(CONDITIONS), len(tops), row * len(tops) + column + 1)
            dress(axes, TITLES.get(key, key.removeprefix("iou_")), f"{quantity}, photograph {condition}")
            mark_changes(axes, [run[condition] for run in runs.values()])
            ends = []
            for i, (name, run) in enumerate(runs.items()):
                colour, dash = stroke(i)
                axes.plot(run[condition]["step"], run[condition][key], dash, color=colour, linewidth=2, label=name)
                ends.append((float(run[condition][key][-1]), f"{run[condition][key][-1]:.2f}", colour))
            axes.set_ylim(0, top)
            at_the_end(axes, ends)
            if row == len(CONDITIONS) - 1:
                axes.set_xlabel("step", fontsize=13, color=GRAY)
    if len(runs) > 1:
        name_lines(figure, columns=4)
    save(figure, path)


def highest(runs: Mapping[str, Run], key: str) -> float | None:
    """Return 1.08 times the highest finite value of all runs and conditions (1 if it is 0), or None without any."""
    values = np.concatenate([run[name][key] for run in runs.values() for name in CONDITIONS])
    finite = values[np.isfinite(values)]
    return 1.08 * float(finite.max()) or 1.0 if finite.size else None


def mark_changes(axes: Axes, curves: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Draw a thin line after each step at which photographs change."""
    for step in sorted({s for curve in curves for s in curve["step"][1:][np.diff(curve["changes"]) > 0]}):
        axes.axvline(step - 0.5, color=GRAY, linewidth=0.8, linestyle=(0, (4, 3)))


def palette_of(photographs: Photographs) -> Palette:
    """Return the colours of the classes: the data set's, the paper's, or default colours."""
    return class_palette(photographs.classes, photographs.colours)


def class_palette(classes: tuple[str, ...], colours: tuple[str, ...]) -> Palette:
    """Return the palette of classes with these colours, #rrggbb each, or of our choice if there are none."""
    if colours:
        return Palette(tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:7], 16)) for c in colours), names=classes)
    return SEGMENTATION if classes == CLASSES else many(classes)


# Found by a search: distinct over every gray tone of a photograph, for colour-blind readers too, and on white.
SEGMENTATION = Palette(((127, 0, 253), (255, 75, 0), (52, 210, 230)), names=CLASSES)
