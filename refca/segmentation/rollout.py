"""Rollouts of a few photographs: still pictures of labels and states, and an animation.

Source: the paper, Figures 2, 3, 8, 9 and 11.

Letters: T frames, N photographs one after another, B at a time, S pixels of a side, H×W grid.
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
from refca.drawing.palette import SIGNED, Palette, in_colour, in_few_colours, lay_over, signed
from refca.drawing.plots import tile_grid
from refca.segmentation.evaluation import SLICE, take_snapshots
from refca.segmentation.figures import SEGMENTATION, palette_of

SHOWN = (0, 1, 2, 5, 10, 20, 40, 100, 200, 400)  # steps in the still pictures
SINCE = (1, 5, 10, 40)  # steps since a photograph was replaced, in replaced.png
ROWS, ANIMATED = 6, 8  # photographs in the still pictures, and in the animation
SEGMENTS = 3  # photographs one after another
CHANNELS = 6  # state channels that are drawn
FULL = 2.0  # magnitude of a state value that has the full colour
TILE = 96  # approximate side of a picture in pixels
COLOURS = 150  # colours of all photographs of an animation together


class Rollout(NamedTuple):
    """Frames after chosen steps; frame t is after step[t] steps."""

    step: np.ndarray  # (T,)
    labels: np.ndarray  # (T, B, S, S) int8, the predicted label; -1 where logits are NaN or infinite
    photo: np.ndarray  # (T,), the index below N of the photographs shown
    image: np.ndarray  # (N, B, S, S, 3)
    target: np.ndarray  # (N, B, S, S)
    gate: np.ndarray | None  # (T, H, W), of the first sample; zero before the first step
    state: np.ndarray  # (T, H, W, channels), some channels of the first sample; none if photographs are replaced
    palette: Palette = SEGMENTATION


def rollout(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    condition: str,
    *,
    steps: int,
    every: int = 40,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Rollout:
    """Return `steps` steps of the first photographs, "kept" (the steps SHOWN alone) or "replaced" (every step).

    With batch norm a whole slice is evolved, whose first photographs are returned. `on_progress` is called with 1
    for each step.
    """
    count = min(SLICE if cell.norm == "batch" else ANIMATED, len(photographs))
    snapshots = take_snapshots(
        cell, params, backend, photographs, np.arange(count), condition, steps=steps, every=every, seed=seed
    )
    images: list[np.ndarray] = []
    targets: list[np.ndarray] = []
    frames = []
    channels = CHANNELS if condition == "kept" else 0
    for t, snapshot in enumerate(snapshots):
        on_progress(1)
        if condition == "kept" and t not in SHOWN:
            continue
        if not images or snapshot.image is not images[-1]:
            images.append(snapshot.image)
            targets.append(snapshot.target)
        gate = np.zeros(snapshot.state.shape[1:3]) if snapshot.gate is None else backend.asnumpy(snapshot.gate[0])
        labels = predict_if_finite(backend.asnumpy(snapshot.logits[:ANIMATED]))
        state = backend.asnumpy(snapshot.state[0, ..., :channels])
        frames.append((t, labels, len(images) - 1, np.nan_to_num(gate), np.nan_to_num(state)))
    step, labels, photo, gates, state = (np.stack(arrays) for arrays in zip(*frames, strict=True))
    image, target = (np.stack(arrays)[:, :ANIMATED] for arrays in (images, targets))
    return Rollout(
        step, labels, photo, image, target, gates if cell.resettable else None, state, palette_of(photographs)
    )


def predict_if_finite(logits: np.ndarray) -> np.ndarray:
    """Return the predicted label of each pixel, int8; -1 where logits are NaN or infinite."""
    return np.where(np.isfinite(logits).all(axis=-1), predict(logits), -1).astype(np.int8)


def segmentation_grid(frames: Rollout, path: Path) -> None:
    """Write a PNG of kept photographs, one in each row: photograph, trimap, predicted labels after SHOWN steps."""
    image = frames.image[0, :ROWS]
    columns = [in_colour(image), lay_over(frames.palette, frames.target[0, :ROWS], image)]
    columns += [lay_over(frames.palette, labels[:ROWS], image) for labels in frames.labels]
    heads = ["image", "truth", f"step {frames.step[0]}", *map(str, frames.step[1:])]
    tile_grid(path, sized(np.stack(columns)), heads, frames.palette, "predicted label")


def replaced_grid(frames: Rollout, path: Path, every: int) -> None:
    """Write a PNG of replaced photographs, one sample in each row: photograph, labels, trimap, next photograph ..."""
    columns: list[np.ndarray] = []
    heads: list[str] = []
    divided: dict[int, str] = {}
    for start in range(0, min(len(frames.labels) - 1, SEGMENTS * every), every):
        steps = [start + since for since in SINCE if since <= every and start + since < len(frames.labels)]
        shown = frames.photo[steps[0]]
        image, target = frames.image[shown, :ROWS], frames.target[shown, :ROWS]
        if start:
            divided[len(heads)] = "new images"
        columns += [in_colour(image), *(lay_over(frames.palette, frames.labels[t, :ROWS], image) for t in steps)]
        columns.append(lay_over(frames.palette, target, image))
        heads += ["image", f"step {steps[0]}", *map(str, steps[1:]), "truth"]
    tile_grid(path, sized(np.stack(columns)), heads, frames.palette, "predicted label", divided)


def hidden_grid(frames: Rollout, path: Path) -> None:
    """Write a PNG of the labels, the gate and some state channels of one photograph after SHOWN steps."""
    stride = frames.labels.shape[-1] // frames.state.shape[1]
    labels = lay_over(frames.palette, frames.labels[:, 0], frames.image[frames.photo, 0])
    rows = {}
    if frames.gate is not None:
        rows["gate"] = signed(FULL * frames.gate, FULL)
    for channel in range(frames.state.shape[-1]):
        rows[f"state {channel}"] = signed(frames.state[..., channel], FULL)
    tiles = np.stack([labels, *(enlarge(row, stride) for row in rows.values())], axis=1)
    heads = [f"step {frames.step[0]}", *map(str, frames.step[1:])]
    key = "state; a gate of 1 has the full colour" if frames.gate is not None else "state"
    tile_grid(path, sized(tiles), heads, SIGNED, key, names=["labels", *rows])


def write_animation(frames: Rollout, path: Path) -> None:
    """Write an animation of replaced photographs above their predicted labels, at about ten steps a second."""
    photographs = sized(in_few_colours(in_colour(frames.image), COLOURS))  # (N, B, h, w, 3)
    painted = [
        sized(lay_over(frames.palette, labels, frames.image[shown])[None])[0]
        for labels, shown in zip(frames.labels, frames.photo, strict=True)
    ]
    tiles = np.concatenate([photographs[frames.photo], painted], axis=2)  # (T, B, 2h, w, 3)
    new = np.zeros(frames.labels.shape[:2], bool)
    new[1:] = (frames.photo[1:] != frames.photo[:-1])[:, None]
    animate(path, tiles, new, palette=frames.palette, scale=1, columns=len(tiles[0]), what="image", frame_ms=100)


def sized(tiles: np.ndarray) -> np.ndarray:
    """Return tiles (columns, rows, h, w, 3) enlarged to about TILE pixels, or subsampled to about twice that."""
    every = max(1, tiles.shape[-2] // (2 * TILE))
    return enlarge(tiles[:, :, ::every, ::every], fitting(None, tiles.shape[-2], TILE))
