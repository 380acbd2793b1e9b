"""Figures of robustness: perturbed digits in the colours of their predicted labels, and curves.

Letters: N digits, T steps, L labels.

Source: the article, "Robustness to out-of-distribution shapes".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from refca.digits.figures import mark_mutations
from refca.digits.robustness import PARTS, LabelShares, Row
from refca.drawing.canvas import enlarge, fitting
from refca.drawing.palette import Palette, paint
from refca.drawing.plots import DARK, GRAY, LINES, at_the_end, dress, name_lines, new_figure, save, tile_grid

AXES = {  # for each perturbation: title, and unit of its amounts
    "size": ("Size", "scale factor"),
    "drawn": ("Size, same stroke width", "scale factor"),
    "strokes": ("Strokes", "pixels wider"),
    "shift": ("Shift", "pixels to the right and down"),
}
CHIMERA_STEPS = (1, 5, 10, 20, 40, 80, 160, 240, 320, 400, 480, 560, 600)  # in chimeras.png


class Panel(NamedTuple):
    """Digits after one step: labels (N, H, W), -1 for cells without a label yet; live (N, H, W); image (N, H, W, 1)."""

    labels: np.ndarray
    live: np.ndarray
    image: np.ndarray


def panels(
    path: Path,
    columns: Mapping[str, Panel],
    palette: Palette,
    divided: Mapping[int, str] | None = None,
    names: Sequence[str] = (),
    names_head: str = "",
) -> None:
    """Write a PNG with a panel in each column under its heading, centred on grids of one size."""
    side = max(panel.image.shape[1] for panel in columns.values())
    tiles = [centred(paint(palette, *panel), side, palette) for panel in columns.values()]
    large = enlarge(np.stack(tiles), fitting(None, side, 84))
    tile_grid(path, large, list(columns), palette, "predicted label", divided or {}, names, names_head)


def centred(tiles: np.ndarray, side: int, palette: Palette) -> np.ndarray:
    """Return tiles (N, h, w, 3) centred on paper, (N, side, side, 3)."""
    N, h, w, _ = tiles.shape
    page = np.full((N, side, side, 3), palette.background, np.uint8)
    top, left = (side - h) // 2, (side - w) // 2
    page[:, top : top + h, left : left + w] = tiles
    return page


def perturbations(path: Path, rows: Sequence[Row]) -> None:
    """Write a PNG of accuracy and agreement over the amounts of each perturbation."""
    figure = new_figure(15, 4.8)
    kinds = [kind for kind in AXES if any(row.perturbation == kind for row in rows)]
    for place, kind in enumerate(kinds, 1):
        kind_rows = [row for row in rows if row.perturbation == kind]
        amounts = [float(row.amount) for row in kind_rows]
        axes = figure.add_subplot(1, len(kinds), place)
        title, unit = AXES[kind]
        dress(axes, title, "per cent")
        for key, colour in (("accuracy", LINES[0]), ("agreement", LINES[1])):
            values = [100 * getattr(row, key) for row in kind_rows]
            axes.plot(amounts, values, "o-", color=colour, linewidth=2, label=key)
        axes.set_ylim(0, 102)
        axes.set_xmargin(0.05)
        axes.set_xticks(amounts, [row.amount for row in kind_rows])
        axes.set_xlabel(unit, fontsize=13, color=GRAY)
    name_lines(figure, columns=2)
    save(figure, path)


def erased_curves(path: Path, curves: np.ndarray) -> None:
    """Write a PNG of accuracy and agreement, (T, 2), with lines where digits are erased and drawn again."""
    figure = new_figure(9, 4.8)
    axes = figure.add_subplot()
    dress(axes, "Erasing and drawing again", "correct live cells; digits whose cells agree, %")
    ends = []
    for values, name, colour in zip(100 * curves.T, ("accuracy", "agreement"), LINES[:2], strict=True):
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, linewidth=2, label=name)
        ends.append((float(values[-1]), f"{name} {values[-1]:.1f}", colour))
    axes.set_ylim(0, 112)
    begins = {part: i * len(curves) // len(PARTS) for i, part in enumerate(PARTS)}
    mark_mutations(axes, list(begins.values())[1:], words=False)
    for part, step in begins.items():
        at = axes.get_xaxis_transform()
        axes.annotate(part, (step, 0.95), (6, 0), at, "offset points", fontsize=13, color=DARK)
    axes.set_xlabel("step", fontsize=13, color=GRAY)
    at_the_end(axes, ends)
    save(figure, path)


def chimera_panels(path: Path, chosen: Mapping[str, tuple[LabelShares, int]], palette: Palette) -> None:
    """Write a PNG with one chimera in each row, given by its label shares and index, at chosen steps."""
    steps = [t for t in CHIMERA_STEPS if all(t <= len(label_shares.labels) for label_shares, _ in chosen.values())]
    image = np.stack([label_shares.image[n] for label_shares, n in chosen.values()])
    columns = {}
    for t in steps:
        labels = np.stack([label_shares.labels[t - 1, n] for label_shares, n in chosen.values()]).astype(int)
        live = np.stack([label_shares.live[n] for label_shares, n in chosen.values()])
        columns[f"step {t}" if t == steps[0] else str(t)] = Panel(labels, live, image)
    panels(path, columns, palette, names=list(chosen))


def chimera_shares(path: Path, chosen: Mapping[str, tuple[LabelShares, int]], palette: Palette) -> None:
    """Write a PNG of the label shares of these chimeras over time, as stacked bands."""
    rows = -(-len(chosen) // 2)
    figure = new_figure(12.5, 3 * rows)
    colours = [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in palette.labels]
    for place, (name, (label_shares, n)) in enumerate(chosen.items(), 1):
        axes = figure.add_subplot(rows, 2, place)
        shares = 100 * label_shares.shares[:, n]  # (T, L)
        dress(axes, name, "cells that predict each digit, %")
        axes.stackplot(np.arange(1, len(shares) + 1), shares.T, colors=colours, labels=palette.names)
        axes.set_ylim(0, 100)
        if place > len(chosen) - 2:
            axes.set_xlabel("step", fontsize=13, color=GRAY)
    name_lines(figure, columns=10)
    save(figure, path)
