"""Figures of digits: curves over steps, and grids of digits in the colours of their predicted labels.

Letters: S chosen steps, B digits, H×W grid.

Source: the article's plots of accuracy, agreement and magnitudes, and its coloured digits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refca.definition.errors import InvalidInput
from refca.drawing.canvas import changed, enlarge, fitting
from refca.drawing.palette import DEFAULT, SMALL, Palette, paint
from refca.drawing.plots import (
    DARK,
    GRAY,
    at_the_end,
    dress,
    log_ticks,
    name_lines,
    new_figure,
    save,
    stroke,
    tile_grid,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


PANELS = (  # key, title, quantity, factor
    ("accuracy", "Average cell accuracy", "live cells with the correct label, %", 100),
    ("agreement", "Total agreement", "digits whose cells all predict one label, %", 100),
    ("state_magnitude", "State", "mean magnitude in live cells", 1),
    ("update_magnitude", "Residual update", "mean magnitude in live cells", 1),
)


def curves(
    evaluation: Mapping[str, Any], path: Path | str, strokes: Mapping[str, tuple[str, str]] | None = None
) -> None:
    """Write a PNG of four panels over steps: accuracy, agreement, magnitudes of the state and of its updates.

    `evaluation` has arrays of one length (T,): "step", "accuracy" and "agreement" in [0, 1],
    "state_magnitude", "update_magnitude" (NaN if undefined), and "mutation", the step after which the digits
    change, or None. It may also be a mapping from names to such evaluations, which are drawn together;
    magnitudes that end more than ten times apart get a logarithmic scale. `strokes` maps names to the colour and
    dashes of their lines, for figures that share a page.
    Raises InvalidInput without an evaluation and for missing arrays or other lengths; OSError from the disk.
    """
    runs = {"": evaluation} if "step" in evaluation else dict(evaluation)
    if not runs:
        raise InvalidInput(f"{path}: evaluation must hold at least one evaluation, got none")
    for name, run in runs.items():
        check(run, f"{path}: the evaluation {name}".rstrip())
    figure = new_figure(12.5, 8.2)
    for place, (key, title, quantity, factor) in enumerate(PANELS, 1):
        axes = figure.add_subplot(2, 2, place)
        dress(axes, title, quantity)
        ends = []
        for i, (name, run) in enumerate(runs.items()):
            values = factor * np.asarray(run[key], float)
            colour, dash = strokes[name] if strokes else stroke(i)
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
    palette: Palette = DEFAULT,
    scale: int | None = None,
    truth: np.ndarray | None = None,
) -> None:
    """Write a PNG with one digit in each row and one step in each column, coloured by predicted label.

    labels (S, B, H, W) integers, -1 for cells without a label yet; live (S, B, H, W) boolean; image
    (S, B, H, W, 1) from 0 to 1; `steps` (S,) are the headings of the columns; `scale` is pixels per cell (None:
    a digit is about 84 pixels wide). A line marks where digits change from one column to the next. With `truth`
    (S, B), the true labels, rows have them as names, and the digits are shown as they are drawn too.
    Raises InvalidInput without a digit or with another number of headings, ValueError for shapes that differ,
    OSError from the disk.
    """
    if labels.ndim != 4 or not labels.size or len(steps) != len(labels):
        raise InvalidInput(
            f"{path}: labels must be (S, B, H, W) with S steps, got {labels.shape} and {len(steps)} steps"
        )
    scale = fitting(scale, labels.shape[-1])
    tiles = enlarge(paint(palette, labels, live, image), scale)
    heads = [f"step {steps[0]}", *map(str, steps[1:])]
    divided = [int(s) for s in np.flatnonzero(changed(image).any(axis=1))]
    names: list[str] = []
    if truth is not None:
        begins = [0, *divided]
        names = [" -> ".join(palette.names[truth[s, b]] for s in begins) for b in range(labels.shape[1])]
        for s in reversed(begins):
            tiles = np.insert(tiles, s, drawn(image[s], scale, palette), axis=0)
            heads.insert(s, "digit")
        divided = [s + i for i, s in enumerate(divided, 1)]
    new = "new digits" if labels.shape[1] > 1 else "new digit"
    head = "true label" if names else ""
    tile_grid(path, tiles, heads, palette, "predicted label", dict.fromkeys(divided, new), names, head)


def drawn(image: np.ndarray, scale: int, palette: Palette) -> np.ndarray:
    """Return digits (B, H, W, K) in their ink, (B, scale·H, scale·W, 3) uint8; small ones are enlarged smoothly."""
    from PIL import Image

    _, H, W, _ = image.shape
    method = Image.Resampling.BICUBIC if W < SMALL else Image.Resampling.NEAREST
    planes = [Image.fromarray(np.ascontiguousarray(plane)) for plane in image[..., 0].astype(np.float32)]
    ink = np.stack([np.asarray(plane.resize((W * scale, H * scale), method)) for plane in planes])
    paper, full = np.array(palette.background), np.array(palette.undecided)
    painted: np.ndarray = np.round(paper + (full - paper) * np.clip(ink, 0, 1)[..., None]).astype(np.uint8)
    return painted


def mark_mutations(axes: Axes, mutations: Sequence[int | None], words: bool) -> None:
    """Draw a dashed line at each step after which digits change, labelled if `words` is true."""
    for mutation in sorted({m for m in mutations if m is not None}):
        axes.axvline(mutation, color=DARK, linewidth=1.2, linestyle=(0, (4, 3)))
        if words:
            at = axes.get_xaxis_transform()
            axes.annotate("new digits", (mutation, 0.06), (6, 0), at, "offset points", fontsize=13, color=DARK)


def check(run: Mapping[str, Any], what: str) -> None:
    """Raise InvalidInput unless an evaluation has every array, all of one length."""
    for key in ("step", *(panel[0] for panel in PANELS)):
        if key not in run:
            raise InvalidInput(f'{what} has no "{key}"')
        if len(run[key]) != len(run["step"]) or not len(run["step"]):
            raise InvalidInput(f'{what} has {len(run[key])} values of "{key}" for {len(run["step"])} steps')
