"""Animations of digits, or of other tiles, in the colours of their predicted labels.

Letters: T frames, B digits or other tiles, H×W grid, h×w pixels of a tile.

Source: the article's figures, "Self-classifying MNIST Digits".
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refca.atomic import atomic_write
from refca.drawing.canvas import (
    EDGE,
    INK,
    QUIET,
    card,
    changed,
    enlarge,
    fitting,
    legend,
    legend_width,
    page,
    words_width,
    write,
)
from refca.drawing.palette import DEFAULT, Palette, paint
from refca.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = {".gif": "GIF", ".png": "PNG", ".apng": "PNG", ".webp": "WEBP"}
MARKED = 10  # number of frames for which a new digit is marked
MARGIN, GAP, HEADER = 14, 10, 54  # pixels
CAPTION = 18  # pixels below a tile for its caption
COUNTER = 210  # pixels for the step and the text beside it


def write_animation(
    path: Path | str,
    labels: np.ndarray,
    live: np.ndarray,
    image: np.ndarray,
    *,
    palette: Palette = DEFAULT,
    scale: int | None = None,
    columns: int | None = None,
    steps: Sequence[int] | None = None,
    truth: np.ndarray | None = None,
    frame_ms: int = 60,
    hold_ms: int = 2500,
) -> None:
    """Write an animation that repeats forever; the suffix gives its format: .gif, .png, .apng or .webp.

    labels (T, B, H, W) integers, -1 for cells without a label yet; live (T, B, H, W) boolean; image
    (T, B, H, W, 1) from 0 to 1. A digit whose image changes from one frame to the next is marked for ten frames.
    `scale` is pixels per cell (None: a digit is about 84 pixels wide), `columns` digits per row, `steps` the
    number shown with each frame (default: 0, 1, ...), `truth` (T, B) the true labels, written below the digits. A
    frame lasts `frame_ms` milliseconds, the last one
    `hold_ms`. Raises InvalidInput for another suffix or no frames, ValueError for shapes that differ, OSError
    from the disk.
    """
    file_format(Path(path))
    if labels.ndim != 4 or not labels.size:
        raise InvalidInput(f"{path}: labels must be (T, B, H, W) with at least one digit, got {labels.shape}")
    animate(
        path,
        paint(palette, labels, live, image),
        changed(image),
        palette=palette,
        scale=fitting(scale, labels.shape[-1]),
        columns=columns,
        steps=steps,
        captions=None if truth is None else [[f"true label {palette.names[i]}" for i in row] for row in truth],
        frame_ms=frame_ms,
        hold_ms=hold_ms,
    )


def animate(
    path: Path | str,
    painted: np.ndarray,
    new: np.ndarray,
    *,
    palette: Palette,
    scale: int,
    columns: int | None = None,
    steps: Sequence[int] | None = None,
    what: str = "digit",
    captions: Sequence[Sequence[str]] | None = None,
    frame_ms: int = 60,
    hold_ms: int = 2500,
) -> None:
    """Write an animation of painted tiles (T, B, h, w, 3) uint8; `new` (T, B) marks tiles.

    `what` is the singular noun for a tile; `captions` (T, B) are written below the tiles. A GIF has at most 256
    colours: of more, similar ones become one.
    """
    path = Path(path)
    marks, ticks = recently(new, MARKED), np.flatnonzero(new.any(axis=1))
    steps = range(len(painted)) if steps is None else steps
    captions = captions or [()] * len(painted)
    frames = [
        frame(enlarge(painted[t], scale), palette, columns, t, steps, marks[t], ticks, what, captions[t])
        for t in range(len(painted))
    ]
    durations = [frame_ms] * (len(frames) - 1) + [hold_ms]
    save(path, file_format(path), frames, durations)


def file_format(path: Path) -> str:
    """Return the file format for this name. Raises InvalidInput for an unknown suffix."""
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput(f"{path}: the name of an animation must end in one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def recently(new: np.ndarray, frames: int) -> np.ndarray:
    """Return which digits were new within the last `frames` frames, (T, B) boolean."""
    recent = new.copy()
    for ago in range(1, min(frames, len(new))):
        recent[ago:] |= new[:-ago]
    return recent


def frame(
    tiles: np.ndarray,
    palette: Palette,
    columns: int | None,
    t: int,
    steps: Sequence[int],
    marks: np.ndarray,
    ticks: np.ndarray,
    what: str,
    captions: Sequence[str] = (),
) -> Image:
    """Return frame t: header, time line, and tiles (B, h, w, 3) in rows with captions; marks (B,) marks new tiles."""
    count, height, width, _ = tiles.shape
    columns = min(columns or near_square(count), count)
    rows = -(-count // columns)
    needed = columns * (width + GAP) - GAP
    inner = max(needed, COUNTER + legend_width(palette))
    pitch = height + GAP + (CAPTION if captions else 0)
    picture = page(inner + 2 * MARGIN, HEADER + MARGIN + rows * pitch)
    header(picture, palette, t, steps, marks, ticks, what)
    left = MARGIN + (inner - needed) // 2
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        x, y = left + column * (width + GAP), HEADER + MARGIN // 2 + row * pitch
        card(picture, x, y, tile, bool(marks[i]))
        if captions:
            write(picture, x + width / 2, y + height + 12, captions[i], 14, INK if marks[i] else QUIET, "mm")
    return picture


def header(
    picture: Image,
    palette: Palette,
    t: int,
    steps: Sequence[int],
    marks: np.ndarray,
    ticks: np.ndarray,
    what: str,
) -> None:
    """Draw the step, the event, the legend, and a time line with a tick at each frame of `ticks`."""
    from PIL import ImageDraw

    right = picture.width - MARGIN
    write(picture, MARGIN, 22, f"step {steps[t]}", 20, INK)
    if marks.any():
        words = f"new {what}s" if marks.sum() > 1 else f"new {what}"
        write(picture, MARGIN + 100, 22, words, 20, INK)
        ImageDraw.Draw(picture).rectangle((MARGIN + 100, 34, MARGIN + 100 + words_width(words, 20), 36), fill=INK)
    legend(picture, palette, right - legend_width(palette), 21)
    draw = ImageDraw.Draw(picture)
    draw.rectangle((MARGIN, 43, right - 1, 45), fill=EDGE)
    length = len(steps) - 1 or 1
    draw.rectangle((MARGIN, 43, MARGIN + (right - 1 - MARGIN) * t // length, 45), fill=QUIET)
    for tick in ticks:
        x = MARGIN + (right - 1 - MARGIN) * int(tick) // length
        draw.rectangle((x - 1, 40, x + 1, 48), fill=INK)


def near_square(count: int) -> int:
    """Return the number of columns of a picture about three times as wide as high."""
    return max(1, min(count, round((3 * count) ** 0.5)))


def save(path: Path, format: str, frames: list[Image], durations: list[int]) -> None:
    """Write the frames to one file atomically. Colours are exact, except in a GIF that would need more than 256."""
    if format == "GIF":
        frames = indexed(frames)
    first, *rest = frames
    exact: dict[str, Any] = {"lossless": True} if format == "WEBP" else {}
    with atomic_write(path) as temporary:
        first.save(temporary, format, save_all=True, append_images=rest, duration=durations, loop=0, **exact)


def indexed(frames: list[Image]) -> list[Image]:
    """Return the frames with one common table of at most 256 colours.

    Of more, the most frequent half of the table stays exact, and of the others similar ones become one.
    """
    from PIL import Image

    powers = np.array([1 << 16, 1 << 8, 1])
    packed = [np.asarray(picture).astype(np.int64) @ powers for picture in frames]
    table = np.unique(np.concatenate([np.unique(pixels) for pixels in packed]))
    colours = np.stack([table >> 16, table >> 8, table], axis=-1).astype(np.uint8)
    numbers = np.arange(len(table))  # in the common table, of each colour
    found = [np.searchsorted(table, pixels) for pixels in packed]
    if len(table) > 256:
        counts = np.sum([np.bincount(x.ravel(), minlength=len(table)) for x in found], axis=0)
        frequent, rare = np.split(np.argsort(-counts, kind="stable"), [128])
        common = Image.fromarray(colours[rare][None]).quantize(128)
        numbers[frequent], numbers[rare] = np.arange(128), 128 + np.asarray(common)[0]
        colours = np.concatenate([colours[frequent], np.reshape(common.getpalette() or [], (-1, 3))]).astype(np.uint8)
    pictures = []
    for x in found:
        picture = Image.fromarray(numbers[x].astype(np.uint8), "L")
        picture.putpalette(colours.tobytes())
        pictures.append(picture)
    return pictures
