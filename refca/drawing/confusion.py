"""Confusion matrices as figures: the share of each true label that gets each predicted label.

Letters: L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from refca.drawing.plots import DARK, GRAY, new_figure, save

MOST = 40  # labels of a matrix that can be read
WITH_NUMBERS = 12  # labels of a matrix whose fields have numbers
LONGEST = 14  # letters of a label's name
COLOURS = ("#ffffff", "#cfe1f2", "#5b9bd0", "#08306b")  # from none to all: ever darker, one hue


def confusion_matrices(panels: Mapping[str, np.ndarray], names: Sequence[str], path: Path, what: str) -> bool:
    """Write a PNG with a matrix of counts (L, L) under each title; return whether the labels are few enough for one.

    Fields hold percentages of their row: of all `what`, a plural noun, with that true label. Colours show the
    square root of the share, so that rare mistakes are seen.
    """
    if len(names) > MOST:
        return False
    from matplotlib.colors import LinearSegmentedColormap

    columns, side = min(2, len(panels)), 4.2 + 0.12 * max(10, len(names))
    rows = -(-len(panels) // columns)
    figure = new_figure(side * columns, (side + 0.3) * rows)
    colours = LinearSegmentedColormap.from_list("shares", COLOURS)
    shown = [name if len(name) <= LONGEST else f"{name[: LONGEST - 7]}...{name[-4:]}" for name in names]
    places = range(len(names))
    for place, (title, counts) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        shares = share_of_rows(counts)
        axes.imshow(np.sqrt(np.nan_to_num(shares)), cmap=colours, vmin=0, vmax=1)
        axes.set_title(title, fontsize=14, fontweight="bold", color=DARK, loc="left")
        upright = max(map(len, shown)) * len(names) > 50
        axes.set_xticks(places, shown, rotation=90 if upright else 0)
        axes.set_yticks(places, shown)
        axes.tick_params(labelsize=12 if len(names) <= WITH_NUMBERS else 8, colors=GRAY, length=0)
        axes.set_xlabel("predicted label", fontsize=12, color=GRAY)
        axes.set_ylabel(f"true label; % of its {what}", fontsize=12, color=GRAY)
        axes.spines[:].set_color(GRAY)
        for (row, column), share in np.ndenumerate(shares) if len(names) <= WITH_NUMBERS else ():
            if share == share and share >= 0.0005:
                colour = "white" if share > 0.5 else DARK
                axes.text(column, row, percent(share), ha="center", va="center", fontsize=10, color=colour)
    save(figure, path)
    return True


def share_of_rows(counts: np.ndarray) -> np.ndarray:
    """Return counts divided by the sum of their row, (L, L); NaN in a row without any."""
    sums = counts.sum(axis=1, keepdims=True).astype(float)
    return np.divide(counts, sums, out=np.full(counts.shape, np.nan), where=sums > 0)


def percent(share: float) -> str:
    """Return a share in per cent with two digits, such as 97, 4.1 or 0.2."""
    return f"{100 * share:.0f}" if share >= 0.0995 else f"{100 * share:.1f}"
