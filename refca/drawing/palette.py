"""The colours of labels, and functions that paint digits and photographs in them.

Letters: B samples, H×W grid, L labels; more leading axes, such as T steps, are fine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from refca.drawing.vision import contrasts, differences
from refca.errors import InvalidInput

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue, 0 to 255

DARK: Colour = (40, 44, 60)  # of a background class
LEAST_CONTRAST = 1.7  # of a colour with white
LEAST = 0.01  # a cell whose outputs are all below this has no label yet
VEIL = 0.6  # opacity of a label's colour over a photograph
TONES = 15  # gray levels of ink and photographs, so that a picture has few colours
SMALL = 16  # a digit of fewer cells on a side is shaded by its ink, because its outline alone cannot be read
FAINTEST = 0.3  # share of its colour that the faintest live cell of a small digit has


@dataclass(frozen=True)
class Palette:
    """The colours of labels, of cells without a label yet, and of the paper, and the names of the labels."""

    labels: tuple[Colour, ...]
    undecided: Colour = (0, 0, 0)
    background: Colour = (255, 255, 255)
    names: tuple[str, ...] = tuple("0123456789")

    def legend(self) -> list[dict[str, Any]]:
        """Return the number, the name and the colour of each label, as JSON has them."""
        colours = (f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in self.labels)
        named = enumerate(zip(self.names, colours, strict=True))
        return [{"label": i, "name": name, "colour": colour} for i, (name, colour) in named]


# The article's: `color_lookup` of its training notebook.
ARTICLE = Palette(
    (
        (128, 0, 0),
        (230, 25, 75),
        (70, 240, 240),
        (210, 245, 60),
        (250, 190, 190),
        (170, 110, 40),
        (170, 255, 195),
        (165, 163, 159),
        (0, 128, 128),
        (128, 128, 0),
    )
)

# Found by a search: ten colours as far apart as possible for people with normal sight and without one of three
# cones (Machado, Oliveira, Fernandes 2009), from black and white too, each with a contrast of at least 2 to both.
# The playground has the same colours, in `site/palettes.js`.
COLORBLIND = Palette(
    (
        (57, 124, 255),
        (206, 44, 6),
        (11, 210, 114),
        (114, 5, 167),
        (134, 202, 2),
        (113, 48, 29),
        (229, 156, 251),
        (114, 129, 106),
        (213, 37, 164),
        (63, 20, 245),
    )
)


# The colours of `signed`: below zero, zero, above zero.
SIGNED = Palette(((0, 68, 140), (255, 255, 255), (200, 80, 0)), names=("-2", "0", "2"))


def for_names(palette: Palette, names: tuple[str, ...]) -> Palette:
    """Return a palette with these names, of its own colours if they are enough."""
    return (
        replace(palette, labels=palette.labels[: len(names)], names=names)
        if len(names) <= len(palette.labels)
        else many(names)
    )


def many(names: tuple[str, ...]) -> Palette:
    """A palette for labels of any number: the first is dark, as a background is, the others differ from each other.

    After the ten of COLORBLIND each is the colour that is farthest from those before it.
    """
    colours: list[Colour] = [DARK, *COLORBLIND.labels][: len(names)]
    if len(names) > len(colours):
        levels = np.arange(0, 256, 15)
        choice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
        choice = choice[contrasts(choice, np.array([255, 255, 255])) > LEAST_CONTRAST]
        nearest = differences(choice, np.array([*colours, (0, 0, 0)])).min(axis=1)
        while len(colours) < len(names):
            red, green, blue = map(int, choice[nearest.argmax()])
            colours.append((red, green, blue))
            nearest = np.minimum(nearest, differences(choice, np.array([colours[-1]]))[:, 0])
    return Palette(tuple(colours), names=names)


DEFAULT = COLORBLIND
PALETTES = {"article": ARTICLE, "colorblind": COLORBLIND}


def get_palette(name: str) -> Palette:
    """Return the palette of this name. Raises InvalidInput for an unknown name."""
    if name not in PALETTES:
        raise InvalidInput(f'palette must be one of {", ".join(PALETTES)}, got "{name}"')
    return PALETTES[name]


def predicted_labels(readout: np.ndarray) -> np.ndarray:
    """Return the predicted label of each cell, (B, H, W) int64, from logits (B, H, W, L); -1 if all are below 0.01.

    Source: `color_labels` of the article's training notebook, which paints such cells black. In the metrics every
    cell has a label.
    """
    return np.where(readout.max(axis=-1) < LEAST, -1, readout.argmax(axis=-1))


def paint(palette: Palette, labels: np.ndarray, live: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Return digits in the colours of their cells' labels, (B, H, W, 3) uint8.

    labels (B, H, W) integers, -1 for no label yet; live (B, H, W) boolean; image (B, H, W, K) from 0 to 1. Live
    cells have the colour of their label, or the ink of the image without a label; dead cells are paper. On grids
    of fewer than 16 columns cells with less ink are lighter. Raises ValueError for other shapes, and for labels
    without a colour.
    """
    if live.shape != labels.shape or image.shape[:-1] != labels.shape:
        raise ValueError(f"shapes differ: labels {labels.shape}, live {live.shape}, image {image.shape}")
    shown = labels[live]
    if shown.size and not -1 <= shown.min() <= shown.max() < len(palette.labels):
        raise ValueError(f"labels must be from -1 to {len(palette.labels) - 1}, got {shown.min()} to {shown.max()}")
    colours = np.array(palette.labels, np.uint8)
    paper, ink = np.array(palette.background), np.array(palette.undecided)
    tone = np.round(np.clip(image[..., :1], 0, 1) * TONES) / TONES
    drawn = np.round(paper + (ink - paper) * tone).astype(np.uint8)  # (B, H, W, 3)
    coloured = colours[np.clip(labels, 0, None) * live]
    if image.shape[-2] < SMALL:
        coloured = np.round(paper + (coloured - paper) * (FAINTEST + (1 - FAINTEST) * tone)).astype(np.uint8)
    painted = np.where((labels < 0)[..., None], drawn, coloured)
    return np.where(live[..., None], painted, paper.astype(np.uint8))


def lay_over(palette: Palette, labels: np.ndarray, photograph: np.ndarray) -> np.ndarray:
    """Return a gray photograph with the colours of its pixels' labels over it, (B, H, W, 3) uint8.

    labels (B, H, W) integers, -1 for pixels that stay gray; photograph (B, H, W, 3)
    from -1 to 1. There are few gray levels, so that three labels fit the 256 colours of a GIF.
    """
    gray = (as_rgb(photograph) @ np.array([0.299, 0.587, 0.114]) + 1) / 2
    tone = 255 * np.round(np.clip(gray, 0, 1) * TONES)[..., None] / TONES
    colour = np.array(palette.labels)[labels]  # (B, H, W, 3)
    veiled = VEIL * colour + (1 - VEIL) * tone
    painted: np.ndarray = np.round(np.where(labels[..., None] < 0, tone, veiled)).astype(np.uint8)
    return painted


def veiled(palette: Palette) -> np.ndarray:
    """Return the colours of labels over every gray: (L, 256, 3) uint8, as `lay_over` paints, in all tones."""
    colour, tone = np.array(palette.labels)[:, None], np.arange(256)[:, None]
    painted: np.ndarray = np.round(VEIL * colour + (1 - VEIL) * tone).astype(np.uint8)
    return painted


def in_colour(photograph: np.ndarray) -> np.ndarray:
    """Return a photograph (..., K) from -1 to 1 as uint8 (..., 3)."""
    return np.round((np.clip(as_rgb(photograph), -1, 1) + 1) * 127.5).astype(np.uint8)


def as_rgb(photograph: np.ndarray) -> np.ndarray:
    """Return a photograph (..., K) with three channels; unless K is 3 the first channel is repeated."""
    return photograph if photograph.shape[-1] == 3 else np.repeat(photograph[..., :1], 3, axis=-1)


def in_few_colours(pixels: np.ndarray, count: int) -> np.ndarray:
    """Return pixels (..., W, 3) uint8 reduced to at most `count` colours."""
    from PIL import Image

    flat = Image.fromarray(np.ascontiguousarray(pixels).reshape(-1, pixels.shape[-2], 3))
    few = flat.quantize(count, dither=Image.Dither.NONE).convert("RGB")
    return np.asarray(few).reshape(pixels.shape)


def signed(values: np.ndarray, full: float) -> np.ndarray:
    """Return numbers as colours (..., 3) uint8: white for 0, blue below, orange above, saturated at ±`full`."""
    share = np.clip(values / full, -1, 1)[..., None]
    end = np.where(share < 0, SIGNED.labels[0], SIGNED.labels[2])
    painted: np.ndarray = np.round(255 + (end - 255) * abs(share)).astype(np.uint8)
    return painted
