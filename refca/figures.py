"""The figures of a run, each a function of plain data and of the name to write it to.

Letters: S chosen steps, B digits or other tiles, H×W grid, h×w pixels of a tile.

Source: the article's plots of accuracy, agreement and magnitudes over steps, and its rows of coloured digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from refca.files import replacing
from refca.palette import ARTICLE, Palette, paint
from refca.refused import Refused
from refca.tiles import INK, QUIET, card, changed, enlarge, fitting, legend, legend_width, page, write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# M. Okabe, K. Ito, "Color Universal Design", 2008: told apart by everyone, on white.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", "-.", ":")  # the next one each time that the colours are used up
DARK, GRAY, GRID = "#1c1c1c", "#696966", "#e6e6e3"
LEAST_WIDTH = 62  # pixels of a column of digits, for its head
PANELS = (  # key, title, what is seen, factor
    ("accuracy", "Average cell accuracy", "live cells that say the right digit, %", 100),
    ("agreement", "Total agreement", "digits whose cells all say the same, %", 100),
    ("state_magnitude", "State", "mean magnitude in live cells", 1),
    ("update_magnitude", "Residual update", "mean magnitude in live cells", 1),
)


def loss_curve(rows: Sequence[Mapping[str, Any]], path: Path | str) -> None:
    """A PNG of the training loss over steps, on a logarithmic scale: every point, and their running median.

    Each row has a "step" and a "loss", numbers or their text. Losses that are not positive numbers are left
    out. Raises Refused if that leaves none, OSError from the disk.
    """
    step = np.array([float(row["step"]) for row in rows])
    loss = np.array([float(row["loss"]) for row in rows])
    shown = np.isfinite(loss) & (loss > 0)
    step, loss = step[shown], loss[shown]
    if not len(loss):
        raise Refused(f"{path}: there is no loss to draw, no row has a positive number")
    figure = new_figure(9, 5)
    axes = figure.add_subplot()
    dress(axes, "Training loss", f"{loss.size:,} points and their running median")
    axes.plot(step, loss, ".", color=LINES[0], alpha=0.25, markersize=4, markeredgewidth=0)
    median = running_median(loss, max(1, len(loss) // 50))
    axes.plot(step, median, color=LINES[0], linewidth=2.2)
    log_ticks(axes)
    axes.set_xlabel("training step", fontsize=13, color=GRAY)
    at_the_end(axes, [(median[-1], f"{median[-1]:#.3g}", LINES[0])])
    save(figure, path)


def curves(evaluation: Mapping[str, Any], path: Path | str) -> None:
    """A PNG of four panels over steps: accuracy, agreement, magnitude of the state and of its updates.

    `evaluation` has arrays of one length (T,): "step", "accuracy" and "agreement" in [0, 1],
    "state_magnitude", "update_magnitude" (NaN where there is none), and "mutation", the step after which the
    digits change, or None. Or it is a mapping from names to such evaluations, drawn over each other,
    magnitudes that end more than ten times apart on a logarithmic scale.
    Raises Refused for no evaluation, arrays that are missing or of another length; OSError from the disk.
    """
    runs = {"": evaluation} if "step" in evaluation else dict(evaluation)
    if not runs:
        raise Refused(f"{path}: there is no evaluation to draw")
    for name, run in runs.items():
        check(run, f"{path}: the evaluation {name}".rstrip())
    figure = new_figure(12.5, 8.2)
    for place, (key, title, seen, factor) in enumerate(PANELS, 1):
        axes = figure.add_subplot(2, 2, place)
        dress(axes, title, seen)
        ends = []
        for i, (name, run) in enumerate(runs.items()):
            values = factor * np.asarray(run[key], float)
            colour, dash = stroke(i)
            axes.plot(run["step"], values, dash, color=colour, linewidth=2, label=name)
            ends.append((values[-1], f"{values[-1]:.1f}" if factor == 100 else f"{values[-1]:#.3g}", colour))
        last = [abs(value) for value, _, _ in ends if value]
        if factor == 1 and last and max(last) > 10 * min(last):
            log_ticks(axes)
        else:
            axes.set_ylim(*((0, 102) if factor == 100 else (0, None)))
        mark_mutations(axes, [run.get("mutation") for run in runs.values()], words=place == 1)
        at_the_end(axes, ends)
        if place > 2:
            axes.set_xlabel("step", fontsize=13, color=GRAY)
    name_lines(figure, columns=4)
    save(figure, path)


def digit_grid(
    path: Path | str,
    labels: np.ndarray,
    live: np.ndarray,
    image: np.ndarray,
    steps: Sequence[int | str],
    *,
    palette: Palette = ARTICLE,
    scale: int | None = None,
) -> None:
    """A PNG of digits, one a row, at chosen steps, one a column, in the colours of what their cells say.

    labels (S, B, H, W) integers, -1 for cells without a label yet; live (S, B, H, W) boolean; image
    (S, B, H, W, 1) from 0 to 1; `steps` (S,) heads the columns; `scale` is pixels per cell (None: about 84
    for a digit). Where digits change from one column to the next a line divides them.
    Raises Refused unless there is a digit and a head for each column, ValueError for shapes that differ,
    OSError from the disk.
    """
    if labels.ndim != 4 or not labels.size or len(steps) != len(labels):
        raise Refused(
            f"{path}: a grid needs labels (S, B, H, W) and S heads; got {labels.shape}, {len(steps)}"
        )
    tiles = enlarge(paint(palette, labels, live, image), fitting(scale, labels.shape[-1]))
    heads = [f"step {steps[0]}", *map(str, steps[1:])]
    divided = np.flatnonzero(changed(image).any(axis=1))
    new = "new digits" if labels.shape[1] > 1 else "new digit"
    tile_grid(path, tiles, heads, palette, "cells say", {int(s): new for s in divided})


def tile_grid(
    path: Path | str,
    tiles: np.ndarray,
    heads: Sequence[str],
    palette: Palette,
    key: str,
    divided: Mapping[int, str] = MappingProxyType({}),
    names: Sequence[str] = (),
) -> None:
    """A PNG of painted tiles (S, B, h, w, 3) uint8, S columns under their heads, over a legend called `key`.

    Before each column of `divided` is a line with these words over it; `names` (B,) stand before the rows.
    """
    S, B, h, w, _ = tiles.shape
    margin, gap, room = 14, 8, 18  # pixels; room: more before a dividing line
    head = 60 if divided else 36
    pitch, aside = max(w, LEAST_WIDTH) + gap, 9 * max(map(len, names), default=0)
    left = [margin + aside + s * pitch + room * sum(d <= s for d in divided) for s in range(S)]
    bottom = head + B * (h + gap)
    key_width = 9 * len(key) + 3
    width = max(left[-1] + pitch, legend_width(palette) + key_width + margin)
    picture = page(width + margin - gap, bottom + 40)
    for b, name in enumerate(names):
        write(picture, margin, head + b * (h + gap) + h / 2, name, 17, INK)
    for s in range(S):
        write(picture, left[s] + w / 2, head - 18, heads[s], 17, INK, "mm")
        for b in range(B):
            card(picture, left[s], head + b * (h + gap), tiles[s, b])
        if s in divided:
            middle = left[s] - (gap + room) // 2
            picture.paste(INK, (middle - 1, 28, middle + 1, bottom - gap + 1))
            write(picture, middle, 15, divided[s], 17, INK, "mm")
    write(picture, margin, bottom + 16, key, 17, QUIET)
    legend(picture, palette, margin + key_width, bottom + 16)
    with replacing(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of inches, which belongs to no window and no global list."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure((width, height), dpi=110, facecolor="white", layout="constrained")
    figure.get_layout_engine().set(w_pad=0.15, h_pad=0.12)  # type: ignore[union-attr, call-arg]
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, title: str, seen: str) -> None:
    """A title, what is seen under it, and no more lines than help."""
    axes.set_title(f"{title}\n", fontsize=16, fontweight="bold", color=DARK, loc="left")
    axes.text(0, 1.03, seen, transform=axes.transAxes, fontsize=13, color=GRAY)
    axes.grid(axis="y", color=GRID, linewidth=1)
    axes.set_axisbelow(True)
    axes.margins(x=0)
    axes.tick_params(labelsize=13, colors=GRAY, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GRAY)


def stroke(i: int) -> tuple[str, str]:
    """The colour and the dashes of line i of a figure."""
    return LINES[i % len(LINES)], DASHES[i // len(LINES) % len(DASHES)]


def name_lines(figure: Figure, columns: int) -> None:
    """The names of the lines of all panels, each once, in columns over the figure; nothing for none."""
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


def mark_mutations(axes: Axes, mutations: Sequence[int | None], words: bool) -> None:
    """A dashed line after each step at which digits change, with words beside it if asked."""
    for mutation in sorted({m for m in mutations if m is not None}):
        axes.axvline(mutation, color=DARK, linewidth=1.2, linestyle=(0, (4, 3)))
        if words:
            at = axes.get_xaxis_transform()
            axes.annotate(
                "new digits", (mutation, 0.06), (6, 0), at, "offset points", fontsize=13, color=DARK
            )


def log_ticks(axes: Axes) -> None:
    """A logarithmic height with plain numbers at 1, 2 and 5 of each decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def at_the_end(axes: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """The last value of each line, its words and its colour, beside the right edge; none over another."""
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
    """Ascending heights moved up until they are `least` apart, then down to at most 1."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + least) if placed else height)
    for i, height in reversed(list(enumerate(placed))):
        placed[i] = min(height, placed[i + 1] - least if i + 1 < len(placed) else 1.0)
    return placed


def running_median(values: np.ndarray, reach: int) -> np.ndarray:
    """The median of each value and its `reach` neighbours on either side, fewer at the ends; (N,)."""
    return np.array([np.median(values[max(0, i - reach) : i + reach + 1]) for i in range(len(values))])


def check(run: Mapping[str, Any], what: str) -> None:
    """Raises Refused unless an evaluation has every array, and all of one length."""
    for key in ("step", *(panel[0] for panel in PANELS)):
        if key not in run:
            raise Refused(f'{what} has no "{key}"')
        if len(run[key]) != len(run["step"]) or not len(run["step"]):
            raise Refused(f'{what} has {len(run[key])} values of "{key}" for {len(run["step"])} steps')


def save(figure: Figure, path: Path | str) -> None:
    """The figure as a PNG, written whole or not at all."""
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
