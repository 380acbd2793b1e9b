"""The label of each pixel of a picture, as the cells of an automaton predict it.

The cells work on a grid of their own size; what they predict is resampled to the picture.

Letters: B pictures at once, h×w pixels of a picture, S×S pixels that cells work on, K image channels, L labels.
"""

from __future__ import annotations

import json
import time
from argparse import Namespace, _ArgumentGroup
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refca.atomic import atomic_write, write_text
from refca.data import Photographs
from refca.data.batches import batched
from refca.data.decode import Picture, adjusted, as_unit, pixels_of, resized, with_channels
from refca.drawing.palette import Palette, lay_over, veiled
from refca.errors import InvalidInput
from refca.outputs import check_outputs, result_or_error
from refca.segmentation.figures import class_palette
from refca.training.experiment import Experiment

if TYPE_CHECKING:
    from refca.automaton import Automaton

LOWEST = -1  # an image holds numbers from this to 1
BATCH = 16  # pictures moved at a time
AT_ONCE = 8_000_000  # pixels of pictures that wait to be moved together
FILMS = True  # the state goes on from frame to frame
FRAME_STEPS = 5  # steps for each frame of a film
BAND = 128  # rows of a picture that are painted at a time
OVERLAP = 0.25  # of a tile, on each side, that is worked on and left to the tile beside it

DEFAULTS: Mapping[str, Any] = {"tile": None}


class Prepared(NamedTuple):
    """The pixels of a picture as the cells are to see them, (h, w, K) from 0 to 1."""

    pixels: np.ndarray


@dataclass(frozen=True)
class Segmentation:
    """The label of each pixel of a picture: labels (h, w) uint8, indices of `names`."""

    labels: np.ndarray = field(repr=False)
    names: tuple[str, ...]
    palette: Palette = field(repr=False)
    pixels: np.ndarray = field(repr=False)  # (h, w, K), the picture, from 0 to 1; of a film bytes

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the pixels that have each label."""
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names))
        return dict(zip(self.names, map(float, counts / max(1, self.labels.size)), strict=True))

    @property
    def label(self) -> str:
        """The name of the label that most pixels have."""
        return max(self.shares, key=self.shares.__getitem__)

    def overlay(self) -> np.ndarray:
        """Return the picture in gray with the colours of the labels over it, (h, w, 3) uint8."""
        return overlay(self.palette, self.labels, self.pixels)

    def _repr_png_(self) -> bytes:
        from PIL import Image

        file = BytesIO()
        Image.fromarray(self.overlay()).save(file, "PNG")
        return file.getvalue()

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        height, width = self.labels.shape
        return {"width": width, "height": height, "shares": {k: round(v, 6) for k, v in self.shares.items()}}

    def __str__(self) -> str:
        """The result in a line."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())


def overlay(palette: Palette, labels: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, K) in gray with the colours of their labels over them, (h, w, 3) uint8."""
    table = veiled(palette)  # (L, 256, 3)
    painted = np.empty((*labels.shape, 3), np.uint8)
    for top in range(0, len(labels), BAND):  # a picture of any size in little memory
        part = slice(top, top + BAND)
        painted[part] = table[labels[part], gray_bytes(pixels[part])]
    return painted


def gray_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return the brightness of pixels (h, w, K), bytes or floats from 0 to 1, as bytes (h, w)."""
    from PIL import Image

    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))
    gray = with_channels(pixels, 1)[..., 0] if pixels.shape[-1] <= 4 else pixels[..., 0]
    found: np.ndarray = np.round(255 * gray).astype(np.uint8)
    return found


def add_flags(group: _ArgumentGroup) -> None:
    """Add the flags that only pictures with a label for each pixel have."""
    group.add_argument(
        "--tile",
        metavar="N",
        type=int,
        help="work on overlapping tiles of NxN pixels at the picture's own scale, for pictures with small things in "
        "them or larger than memory; default: the whole picture at --size",
    )


def write_legend(automaton: Automaton, out: Path) -> None:
    """Write legend.json: the number, the name and the colour of each label."""
    write_text(out / "legend.json", json.dumps(palette_of(automaton.experiment).legend(), indent=2) + "\n")


def write_result(result: Segmentation, out: Path, name: str) -> None:
    """Write NAME-labels.png (indexed), NAME-labels.npy and NAME-overlay.png. Raises OSError as the file system does."""
    from PIL import Image

    indexed = Image.fromarray(result.labels, "P")
    indexed.putpalette([value for colour in result.palette.labels for value in colour])
    with atomic_write(out / f"{name}-labels.png") as temporary:
        indexed.save(temporary, "PNG")
    with atomic_write(out / f"{name}-labels.npy") as temporary:
        np.save(temporary, result.labels)
    with atomic_write(out / f"{name}-overlay.png") as temporary:
        Image.fromarray(result.overlay()).save(temporary, "PNG", compress_level=3)


def paint_labels(automaton: Automaton, image: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return photographs (B, sH, sW, K) in gray with the colours of their labels over them, (B, sH, sW, 3) uint8."""
    return lay_over(palette_of(automaton.experiment), logits.argmax(axis=-1), image)


def follow(
    automaton: Automaton,
    frames: Iterable[np.ndarray],
    *,
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    tile: int | None = None,
) -> Iterator[tuple[Segmentation, float]]:
    """Yield the labels of each frame of a film, (h, w, 3) uint8, and the seconds that the cells took.

    The state goes on from frame to frame, as the paper suggests: the cells see the first frame for as many steps
    as in training, and each other frame for `steps`, 5 by default. Raises InvalidInput for `tile`, and without
    `size` for weights that see pictures in tiles.
    """
    from PIL import Image

    experiment: Any = automaton.experiment
    if tile is not None:
        raise InvalidInput("a film is segmented at --size, not in tiles")
    if experiment.tiles and size is None:
        raise InvalidInput(
            f"these weights see tiles of {experiment.size}x{experiment.size} at the picture's own scale, and a film is "
            "not cut; --size N resamples its frames to NxN pixels"
        )
    side = experiment.size if size is None else size
    palette, cell = palette_of(experiment), automaton.cell
    move, done, state = automaton.backend.asarray, 0, None
    for frame in frames:
        small = Image.fromarray(frame).resize((side, side), Image.Resampling.BOX)
        pixels = with_channels(as_unit(np.asarray(small)), experiment.channels)
        image = 2 * adjusted(pixels, experiment.invert, experiment.stretch)[None] - np.float32(1)
        begun = time.perf_counter()
        if state is None:
            _, state, params, streams = automaton.start(image, seed)
            more = experiment.horizon
        else:
            more = FRAME_STEPS if steps is None else steps
        state = automaton.backend.evolve(cell, params, move(image), state, streams, more, first_step=done)
        logits = automaton.readout(state)[0]
        done += more
        seconds = time.perf_counter() - begun
        yield Segmentation(labels_at(logits, *frame.shape[:2]), automaton.names, palette, frame), seconds


def options_of(flags: Namespace) -> dict[str, Any]:
    """Return the options of `predict_all` that flags ask for."""
    return {"tile": flags.tile}


def predict_all(
    automaton: Automaton,
    pictures: Iterable[Picture],
    *,
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    tile: int | None = None,
) -> Iterator[Segmentation | InvalidInput]:
    """Yield the labels of each picture's pixels, some pictures at a time.

    The cells work on size×size pixels, by default as many as in training, or on tiles of the picture. Raises
    InvalidInput for a picture that cannot be used, and yields it in the place of one whose states become NaN or
    infinite.
    """
    experiment: Any = automaton.experiment
    if tile is not None and size is not None:
        raise InvalidInput(
            f"size is for the whole picture and tile for parts of it; give one of them, got {size}, {tile}"
        )
    if tile is None and size is None and experiment.tiles:
        tile = experiment.size
    steps, stride = experiment.horizon if steps is None else steps, automaton.cell.stride
    side = experiment.size if size is None else size
    if steps < 0:
        raise InvalidInput(f"steps must not be negative, got {steps}")
    for name, value in (("size", side), ("tile", tile)):
        if value is not None and (value < stride or value % stride):
            raise InvalidInput(f"{name} must be a positive multiple of the stride, {stride}, got {value}")
    palette, done = palette_of(experiment), 0
    loaded = (prepare(automaton, picture).pixels for picture in pictures)

    def segmented(pixels: np.ndarray, find_labels: Callable[..., np.ndarray], *given: Any) -> Segmentation:
        return Segmentation(find_labels(*given), automaton.names, palette, pixels)

    if tile is not None:
        for pixels in loaded:
            yield result_or_error(segmented, pixels, tiled, automaton, pixels, tile, steps, seed)
        return
    for batch in batched(loaded, at_once(automaton), lambda pixels: pixels.shape[0] * pixels.shape[1], AT_ONCE):
        images = np.stack([as_seen(pixels, side) for pixels in batch])
        outputs = automaton.settled(images, steps, seed, done)
        done += len(batch)
        for pixels, logits in zip(batch, outputs, strict=True):
            yield result_or_error(segmented, pixels, labels_at, logits, *pixels.shape[:2])


def prepare(automaton: Automaton, picture: Picture, **_: Any) -> Prepared:
    """Return what the cells are to see of a picture; of a prepared one itself."""
    if isinstance(picture, Prepared):
        return picture
    experiment = automaton.experiment
    return Prepared(adjusted(pixels_of(picture, experiment.channels), experiment.invert, experiment.stretch))


def samples_of(
    automaton: Automaton, photographs: Photographs, **options: Any
) -> Iterator[tuple[str, None, Prepared, None]]:
    """Yield the name of each photograph of a data set, no file, what the cells are to see of it, and no label."""
    for i, name in enumerate(photographs.names):
        yield name, None, Prepared((photographs.images([i])[0] + np.float32(1)) / 2), None


def as_seen(pixels: np.ndarray, size: int) -> np.ndarray:
    """Return what cells see of a picture (h, w, K) from 0 to 1: (size, size, K) from -1 to 1."""
    return 2 * resized(pixels, size, size) - np.float32(1)


def labels_at(logits: np.ndarray, h: int, w: int) -> np.ndarray:
    """Return the label of each pixel of a picture, (h, w) uint8, of logits (H, W, L) on another grid.

    Probabilities are interpolated, not labels, so that outlines are smooth. Raises InvalidInput for NaN and infinity.
    """
    from PIL import Image

    check_outputs(logits)
    if logits.shape[:2] == (h, w):
        return logits.argmax(axis=-1).astype(np.uint8)
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = (shifted / shifted.sum(axis=-1, keepdims=True)).astype(np.float32)
    labels, best = np.zeros((h, w), np.uint8), np.full((h, w), -1, np.float32)
    for label in range(logits.shape[-1]):
        plane = Image.fromarray(np.ascontiguousarray(probabilities[..., label]))
        here = np.asarray(plane.resize((w, h), Image.Resampling.BILINEAR))
        labels[here > best] = label
        best = np.maximum(best, here)
    return labels


def at_once(automaton: Automaton) -> int:
    """Return how many images cells are given together: with batch norm one, as others would change its result."""
    return 1 if automaton.cell.norm == "batch" else BATCH


def tiled(automaton: Automaton, pixels: np.ndarray, tile: int, steps: int, seed: int) -> np.ndarray:
    """Return the label of each pixel (h, w) uint8, from overlapping tiles of a picture at its own scale.

    Each tile decides about its middle; at the edges of the picture it is moved inwards, and a picture smaller
    than a tile is continued by its mirror image.
    """
    h, w, _ = pixels.shape
    rows, columns = starts(h, tile), starts(w, tile)
    labels = np.zeros((h, w), np.uint8)
    places = [(top, left) for top in rows for left in columns]
    done = 0
    for some in batched(places, at_once(automaton)):
        images = np.stack([mirrored(pixels[top : top + tile, left : left + tile], tile) for top, left in some])
        outputs = check_outputs(automaton.settled(2 * images - np.float32(1), steps, seed, done)).argmax(axis=-1)
        done += len(some)
        for (top, left), found in zip(some, outputs, strict=True):
            y, x = own_part(top, rows, h, tile), own_part(left, columns, w, tile)
            labels[y, x] = found[y.start - top : y.stop - top, x.start - left : x.stop - left]
    return labels


def starts(length: int, tile: int) -> list[int]:
    """Return where tiles begin on a line of this many pixels, so that neighbours overlap and the line is covered."""
    if length <= tile:
        return [0]
    count = 1 + -(-(length - tile) // max(1, round(tile * (1 - 2 * OVERLAP))))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def own_part(start: int, all_starts: list[int], length: int, tile: int) -> slice:
    """Return the pixels of a line that the tile from `start` decides about: up to the middle of each overlap."""
    i = all_starts.index(start)
    low = 0 if i == 0 else (start + all_starts[i - 1] + tile) // 2
    last = i == len(all_starts) - 1
    high = length if last else (all_starts[i + 1] + start + tile) // 2
    return slice(low, high)


def mirrored(pixels: np.ndarray, tile: int) -> np.ndarray:
    """Return a tile (tile, tile, K): pixels, continued downwards and to the right by their mirror image."""
    h, w, _ = pixels.shape
    if (h, w) == (tile, tile):
        return pixels
    return np.pad(pixels, ((0, tile - h), (0, tile - w), (0, 0)), "symmetric")


def palette_of(experiment: Experiment) -> Palette:
    """Return the colours of an experiment's labels, as stored with it, or of our choice."""
    return class_palette(experiment.names, experiment.colours)
