"""The elements of figures: axes, lines, legends and grids of tiles; and the loss curve.

Letters: S columns, B rows, h×w pixels of a tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from refca.atomic import atomic_write
from refca.drawing.canvas import (
    INK,
    QUIET,
    card,
    legend,
    legend_width,
    page,
    words_width,
    write,
)
from refca.drawing.palette import Palette
from refca.errors import InvalidInput

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Okabe, K. Ito, "Color Universal Design", 2008: distinct for colour-blind readers, on white.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")  # the next style after each round of colours
DARK, GRAY, GRID = "#1c1c1c", "#696966", "#e6e6e3"
LEAST_WIDTH = 62  # pixels of a column of digits, for its heading


def loss_curve(rows: Sequence[Mapping[str, Any]], path: Path | str, held_out: Sequence[Mapping[str, Any]] = ()) -> None:
    """Write a PNG of the training loss over steps on a logarithmic scale: points and their running median.

    Each row has a "step" and a "loss", numbers or their text. Losses that are not positive are left out. The rows
    `held_out` are of validation, and are drawn as a second line.
    Raises InvalidInput if no training loss is left, OSError from the disk.
    """
    step, loss = positive_losses(rows)
    if not len(loss):
        raise InvalidInput(f"{path}: there is no loss to draw, because no row has a positive loss")
    figure = new_figure(9, 5)
    axes = figure.add_subplot()
    dress(axes, "Training loss", f"{loss.size:,} points and their running median")
    axes.plot(step, loss, ".", color=LINES[0], alpha=0.25, markersize=4, markeredgewidth=0)
    median = running_median(loss, max(1, len(loss) // 50))
    axes.plot(step, median, color=LINES[0], linewidth=2.2)
    ends = [(float(median[-1]), f"{median[-1]:#.3g}", LINES[0])]
    step, loss = positive_losses(held_out)
    if len(loss):
        axes.plot(step, loss, "-o", color=LINES[1], linewidth=2.2, markersize=4, label="validation")
        ends.append((float(loss[-1]), f"{loss[-1]:#.3g} held out", LINES[1]))
    log_ticks(axes)
    axes.set_xlabel("training step", fontsize=13, color=GRAY)
    at_the_end(axes, ends)
    save(figure, path)


def positive_losses(rows: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and the losses of the rows whose loss is finite and positive."""
    step = np.array([float(row["step"]) for row in rows])
    loss = np.array([float(row["loss"]) for row in rows])
    shown = np.isfinite(loss) & (loss > 0)
    return step[shown], loss[shown]


def tile_grid(
    path: Path | str,
    tiles: np.ndarray,
    heads: Sequence[str],
    palette: Palette,
    key: str,
    divided: Mapping[int, str] = MappingProxyType({}),
    names: Sequence[str] = (),
    names_head: str = "",
) -> None:
    """Write a PNG of painted tiles (S, B, h, w, 3) uint8 in S columns with headings, and a legend titled `key`.

    `divided` maps columns to the text of a dividing line before them; `names` (B,) are the names of the rows, and
    `names_head` says what they are.
    """
    S, B, h, w, _ = tiles.shape
    margin, gap, extra = 14, 8, 18  # pixels; extra: additional gap before a dividing line
    head = 60 if divided else 36
    pitch, aside = max(w, LEAST_WIDTH) + gap, 9 * max(map(len, names), default=0)
    if names_head:
        aside = max(aside, int(words_width(names_head, 17)) + gap)
    left = [margin + aside + s * pitch + extra * sum(d <= s for d in divided) for s in range(S)]
    bottom = head + B * (h + gap)
    key_width = 9 * len(key) + 3
    width = max(left[-1] + pitch, legend_width(palette) + key_width + margin)
    picture = page(width + margin - gap, bottom + 40)
    write(picture, margin, head - 18, names_head, 17, QUIET)
    for b, name in enumerate(names):
        write(picture, margin, head + b * (h + gap) + h / 2, name, 17, INK)
    for s in range(S):
        write(picture, left[s] + w / 2, head - 18, heads[s], 17, INK, "mm")
        for b in range(B):
            card(picture, left[s], head + b * (h + gap), tiles[s, b])
        if s in divided:
            middle = left[s] - (gap + extra) // 2
            picture.paste(INK, (middle - 1, 28, middle + 1, bottom - gap + 1))
            write(picture, middle, 15, divided[s], 17, INK, "mm")
    write(picture, margin, bottom + 16, key, 17, QUIET)
    legend(picture, palette, margin + key_width, bottom + 16)
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of width×height inches, outside pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=110, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, quantity: str) -> None:
    """Give axes a title, the quantity shown below it, and a light grid."""
    axes.set_title(f"{title}\n", fontsize=16, fontweight="bold", color=DARK, loc="left")
    axes.text(0, 1.03, quantity, transform=axes.transAxes, fontsize=13, color=GRAY)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.margins(x=0)
    axes.tick_params(labelsize=13, colors=GRAY, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRAY)


def stroke(i: int) -> tuple[str, str]:
    """Return the colour and the dash style of line i of a figure."""
    return LINES[i % len(LINES)], DASHES[i // len(LINES) % len(DASHES)]


def name_lines(figure: Figure, columns: int) -> None:
    """Draw a legend of the lines of all panels above the figure, each name once; nothing without names."""
    found = [axes.get_legend_handles_labels() for axes in figure.axes]
    lines = {name: line for pair in found for line, name in zip(*pair, strict=True)}
    if lines:
        figure.legend(
            lines.values(),
            lines,
            loc="outside upper left",
            ncols=columns,
            frameon=False,
            fontsize=14,
            labelcolor=DARK,
        )


def log_ticks(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def at_the_end(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Write the label of each line, (last value, words, colour), beside the right edge without overlaps."""
    ends = sorted(end for end in ends if np.isfinite(end[0]))
    scale = axes.get_yaxis().get_transform()
    low, high = scale.transform(np.array(axes.get_ylim(), float))
    heights = [(float(scale.transform(np.array([value]))[0]) - low) / (high - low) for value, _, _ in ends]
    for height, (_, words, colour) in zip(apart(heights, 0.075), ends, strict=True):
        axes.annotate(
            words,
            (1, height),
            (7, 0),
            "axes fraction",
            "offset points",
            color=colour,
            fontsize=13,
            fontweight="bold",
            verticalalignment="center",
        )


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Return ascending heights moved up until they are `least` apart, then down to at most 1."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + least) if placed else height)
    for i, height in reversed(list(enumerate(placed))):
        placed[i] = min(height, placed[i + 1] - least if i + 1 < len(placed) else 1.0)
    return placed


def running_median(values: np.ndarray, reach: int) -> np.ndarray:
    """Return the median of each value and its `reach` neighbours on either side, (N,)."""
    return np.array([np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))])


def save(figure: Figure, path: Path | str) -> None:
    """Write the figure as a PNG, atomically."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")
