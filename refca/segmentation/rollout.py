"""A few photographs while cells segment them: still pictures of labels and hidden states, and an animation.

Source: the paper, Figures 2, 3, 8, 9 and 11.

Letters: T moments, N photographs one after the other, B of them at once, S pixels of a side, H×W grid.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.data import Photographs
from refca.definition.cell import Cell, Params
from refca.definition.metrics import predict
from refca.drawing.animation import animate
from refca.drawing.canvas import enlarge, fitting
from refca.drawing.palette import SIGNED, in_colour, in_few_colours, lay_over, signed
from refca.drawing.plots import tile_grid
from refca.segmentation.evaluation import SLICE, follow
from refca.segmentation.figures import SEGMENTATION

SHOWN = (0, 1, 2, 5, 10, 20, 40, 100, 200, 400)  # steps in the still pictures
SINCE = (1, 5, 10, 40)  # steps since a photograph was replaced, in the picture of that
ROWS, FILMED = 6, 8  # photographs in the still pictures, and in the animation
SEGMENTS = 3  # photographs one after the other
CHANNELS = 6  # of the hidden state
MOST = 2.0  # a hidden value of this size, or more, has the full colour
TILE = 96  # pixels of a picture's side, about
COLOURS = 150  # of all photographs of an animation together


class Rollout(NamedTuple):
    """Moment t is the one after step[t] steps."""

    step: np.ndarray  # (T,)
    said: np.ndarray  # (T, B, S, S) int8, the label of each pixel; -1 where its cell's logits are not finite
    which: np.ndarray  # (T,) the number, below N, of what is shown
    image: np.ndarray  # (N, B, S, S, 3)
    target: np.ndarray  # (N, B, S, S)
    gate: np.ndarray | None  # (T, H, W), of the first sample; zero at first
    state: np.ndarray  # (T, H, W, channels), of the first sample, a few; if photographs are replaced none


def record(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    way: str,
    *,
    steps: int,
    every: int = 40,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Rollout:
    """The first photographs of the set over `steps` steps, kept or replaced: of those kept, the steps SHOWN.

    With batch norm a whole slice is moved, of which the first are filmed. `tick` is called with 1 a moment.
    """
    moved = min(SLICE if cell.norm == "batch" else FILMED, len(photographs))
    snapshots = follow(cell, params, backend, photographs, np.arange(moved), way, steps=steps, every=every, seed=seed)
    images: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    frames = []
    channels = CHANNELS if way == "kept" else 0
    for t, m in enumerate(snapshots):
        on_progress(1)
        if way == "kept" and t not in SHOWN:
            continue
        if not images or m.image is not images[-1]:
            images.append(m.image)
            targets.append(m.target)
        gate = np.zeros(m.state.shape[1:3]) if m.gate is None else backend.asnumpy(m.gate[0])
        labels = said_if_finite(backend.asnumpy(m.logits[:FILMED]))
        state = backend.asnumpy(m.state[0, ..., :channels])
        frames.append((t, labels, len(images) - 1, np.nan_to_num(gate), np.nan_to_num(state)))
    step, labels, which, gates, state = (np.stack(arrays) for arrays in zip(*frames, strict=True))
    image, target = (np.stack(arrays)[:, :FILMED] for arrays in (images, targets))
    return Rollout(step, labels, which, image, target, gates if cell.resettable else None, state)


def said_if_finite(logits: np.ndarray) -> np.ndarray:
    """The label that each pixel's cell says, int8; -1 where its logits are not finite."""
    return np.where(np.isfinite(logits).all(axis=-1), predict(logits), -1).astype(np.int8)


def segmentation_grid(film: Rollout, path: Path) -> None:
    """Rows of photographs that stay; columns: photograph, trimap, what cells say after SHOWN steps."""
    image = film.image[0, :ROWS]
    columns = [in_colour(image), lay_over(SEGMENTATION, film.target[0, :ROWS], image)]
    columns += [lay_over(SEGMENTATION, labels[:ROWS], image) for labels in film.said]
    heads = ["image", "truth", f"step {film.step[0]}", *map(str, film.step[1:])]
    tile_grid(path, sized(np.stack(columns)), heads, SEGMENTATION, "cells say")


def replaced_grid(film: Rollout, path: Path, every: int) -> None:
    """Rows of photographs that are replaced; columns: photograph, what cells say, trimap, the next one, …"""
    columns: list[np.ndarray] = []
    heads: list[str] = []
    divided: dict[int, str] = {}
    for start in range(0, min(len(film.said) - 1, SEGMENTS * every), every):
        steps = [start + since for since in SINCE if since <= every and start + since < len(film.said)]
        shown = film.which[steps[0]]
        image, target = film.image[shown, :ROWS], film.target[shown, :ROWS]
        if start:
            divided[len(heads)] = "new images"
        columns += [in_colour(image), *(lay_over(SEGMENTATION, film.said[t, :ROWS], image) for t in steps)]
        columns.append(lay_over(SEGMENTATION, target, image))
        heads += ["image", f"step {steps[0]}", *map(str, steps[1:]), "truth"]
    tile_grid(path, sized(np.stack(columns)), heads, SEGMENTATION, "cells say", divided)


def hidden_grid(film: Rollout, path: Path) -> None:
    """What the cells of one photograph say, their gate and some of their state, after SHOWN steps."""
    stride = film.said.shape[-1] // film.state.shape[1]
    labels = lay_over(SEGMENTATION, film.said[:, 0], film.image[film.which, 0])
    rows = {}
    if film.gate is not None:
        rows["gate"] = signed(MOST * film.gate, MOST)
    for channel in range(film.state.shape[-1]):
        rows[f"state {channel}"] = signed(film.state[..., channel], MOST)
    tiles = np.stack([labels, *(enlarge(row, stride) for row in rows.values())], axis=1)
    heads = [f"step {film.step[0]}", *map(str, film.step[1:])]
    key = "state; of the gate, 1 is full" if film.gate is not None else "state"
    tile_grid(path, sized(tiles), heads, SIGNED, key, names=["labels", *rows])


def write_animation(film: Rollout, path: Path) -> None:
    """Photographs that are replaced, what cells say of each below it; steps pass at about ten a second."""
    photographs = sized(in_few_colours(in_colour(film.image), COLOURS))  # (N, B, h, w, 3)
    painted = [
        sized(lay_over(SEGMENTATION, labels, film.image[shown])[None])[0]
        for labels, shown in zip(film.said, film.which, strict=True)
    ]
    tiles = np.concatenate([photographs[film.which], painted], axis=2)  # (T, B, 2h, w, 3)
    new = np.zeros(film.said.shape[:2], bool)
    new[1:] = (film.which[1:] != film.which[:-1])[:, None]
    animate(path, tiles, new, palette=SEGMENTATION, scale=1, columns=len(tiles[0]), what="image", frame_ms=100)


def sized(tiles: np.ndarray) -> np.ndarray:
    """Tiles (columns, rows, h, w, 3) enlarged to about TILE pixels, or thinned to about twice that."""
    every = max(1, tiles.shape[-2] // (2 * TILE))
    return enlarge(tiles[:, :, ::every, ::every], fitting(None, tiles.shape[-2], TILE))
