"""The colours of labels, and functions that paint digits and photographs in them.

Letters: B samples, H×W grid, L labels; more leading axes, such as T steps, are fine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from refca.errors import InvalidInput

Colour: TypeAlias = tuple[int, int, int]  # red, green, blue, 0 to 255

LEAST = 0.01  # a cell whose outputs are all below this has no label yet
VEIL = 0.6  # opacity of a label's colour over a photograph
TONES = 15  # gray levels of ink and photographs, so that a picture has few colours


@dataclass(frozen=True)
class Palette:
    """The colours of labels, of cells without a label yet, and of the paper, and the names of the labels."""

    labels: tuple[Colour, ...]
    undecided: Colour = (0, 0, 0)
    background: Colour = (255, 255, 255)
    names: tuple[str, ...] = tuple("0123456789")


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

# M. A. Petroff, "Accessible Color Sequences for Data Visualization", 2021, arXiv 2107.02270: ten colours.
COLORBLIND = Palette(
    (
        (63, 144, 218),
        (255, 169, 14),
        (189, 31, 1),
        (148, 164, 162),
        (131, 45, 182),
        (169, 107, 89),
        (231, 99, 0),
        (185, 172, 112),
        (113, 117, 129),
        (146, 218, 221),
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
    """A palette for labels of any number: the first is dark, as a background is, the others differ in hue."""
    import colorsys

    colours: list[Colour] = [(40, 44, 60)]
    for i in range(len(names) - 1):
        if i < len(COLORBLIND.labels):
            colours.append(COLORBLIND.labels[(i + 1) % len(COLORBLIND.labels)])
        else:
            red, green, blue = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.4 * (i % 2), 0.95 - 0.3 * (i % 3) / 2)
            colours.append((round(255 * red), round(255 * green), round(255 * blue)))
    return Palette(tuple(colours), names=names)


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
    cells have the colour of their label, or the ink of the image without a label; dead cells are paper. Raises
    ValueError for other shapes, and for labels without a colour.
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
