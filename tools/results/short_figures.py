"""The pictures of the short comparisons on photographs: a curve for each setting of a group.

Source: the paper, Figures 4 to 7, 10 to 14, and 18 to 21; `spec/programs.md`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from short_runs import BASE, Settings, read_groups, read_settings

from refca.drawing.plots import GRAY, at_the_end, dress, log_ticks, name_lines, new_figure, save, stroke
from refca.segmentation.evaluation import Curves
from refca.segmentation.figures import TITLES

CURVES = ("kept iou_object", "replaced iou_object")  # condition and quantity of each panel, unless a group names others
WORDS = {
    "kept": "the photograph stays",
    "replaced": "replaced every {every} steps",
    "shifted": "shifted every {every} steps",
}


def draw(folder: Path) -> None:
    """Write a picture for each group of a folder of short runs."""
    settings = read_settings(folder)
    if BASE in settings:
        for group in read_groups(folder, settings):
            shown = {name: settings[name] for name in (BASE, *group["settings"])}
            picture(folder / f"{group['name']}.png", shown, group.get("curves", CURVES), group.get("log", False))


def picture(path: Path, shown: Settings, curves: tuple[str, ...], log: bool) -> None:
    """Write a PNG with a panel for each of `curves`: the mean over the runs of each setting, and their range.

    Over more steps, if a run of each setting was measured over more.
    """
    figure = new_figure(5.6 * len(curves), 4.1)
    every = next(iter(shown.values()))[0].values["every"]
    long = all(any(run.long for run in runs) for runs in shown.values())
    for place, curve in enumerate(curves, 1):
        condition, quantity = curve.split()
        axes = figure.add_subplot(1, len(curves), place)
        iou = quantity.startswith("iou")
        dress(axes, TITLES[quantity] + (" IoU, %" if iou else ""), WORDS[condition].format(every=every))
        ends = []
        for i, (name, runs) in enumerate(shown.items()):
            colour, dash = stroke(i)
            curves_of = [run.long for run in runs if run.long] if long else [run.curves for run in runs]
            step, values = over_steps([found[condition] for found in curves_of], quantity)
            values = 100 * values if iou else values
            axes.plot(step, values.mean(axis=0), dash, color=colour, linewidth=1.8, label=name)
            if len(values) > 1:
                axes.fill_between(step, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.2, linewidth=0)
            end = float(values[:, -1].mean())
            ends.append((end, f"{end:.0f}" if iou else f"{end:.3g}", colour))
        if log:
            log_ticks(axes)
        else:
            axes.set_ylim(0)
        at_the_end(axes, ends)
        axes.set_xlabel("step", fontsize=13, color=GRAY)
    name_lines(figure, columns=4)
    save(figure, path)


def over_steps(curves: list[Curves], quantity: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps that all curves have, (T,), and a quantity of each at them, (R, T)."""
    last = min(len(curve["step"]) for curve in curves)
    return curves[0]["step"][:last], np.stack([curve[quantity][:last] for curve in curves])
