"""Pictures composed of painted tiles, a legend and text, pixel by pixel.

Text is drawn in a few tones, so that a whole animation fits the 256 colours of a GIF.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refca.drawing.palette import Colour, Palette

if TYPE_CHECKING:
    from PIL.Image import Image

PAGE: Colour = (246, 246, 244)
EDGE: Colour = (221, 221, 217)
INK: Colour = (28, 28, 28)
QUIET: Colour = (105, 105, 102)
TEXT_TONES = 7
CHIP = 22  # side in pixels of a legend entry with a name of one letter; longer names are wider


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Return pixels (..., H, W, 3) with each pixel as a square: (..., H·scale, W·scale, 3)."""
    return pixels.repeat(scale, axis=-3).repeat(scale, axis=-2)


def fitting(scale: int | None, width: int, wanted: int = 84) -> int:
    """Return the scale; None becomes the scale at which `width` cells are about `wanted` pixels wide."""
    return scale or max(1, round(wanted / width))


def page(width: int, height: int) -> Image:
    """Return an empty page of width×height pixels."""
    from PIL import Image

    return Image.new("RGB", (width, height), PAGE)


def write(on: Image, x: float, y: float, words: str, size: int, colour: Colour, anchor: str = "lm") -> None:
    """Draw words at (x, y) in letters of `size` pixels; anchor as in Pillow ("lm": left, middle)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size)
    left, top, right, bottom = (int(side) for side in ImageDraw.Draw(on).textbbox((x, y), words, font, anchor))
    mask = Image.new("L", (right - left + 1, bottom - top + 1))
    ImageDraw.Draw(mask).text((x - left, y - top), words, 255, font, anchor)
    tones = [round(v * TEXT_TONES / 255) * 255 // TEXT_TONES for v in range(256)]
    on.paste(colour, (left, top), mask.point(tones))


def words_width(words: str, size: int) -> float:
    """Return the width in pixels of words in letters of `size` pixels."""
    from PIL import ImageFont

    return ImageFont.load_default(size).getlength(words)


def card(on: Image, x: int, y: int, tile: np.ndarray, marked: bool = False) -> None:
    """Paste a painted tile (h, w, 3) at (x, y), in a thin frame, or a thick one if marked."""
    from PIL import Image, ImageDraw

    height, width, _ = tile.shape
    line = 3 if marked else 1
    box = (x - line, y - line, x + width - 1 + line, y + height - 1 + line)
    ImageDraw.Draw(on).rectangle(box, outline=INK if marked else EDGE, width=line)
    on.paste(Image.fromarray(np.ascontiguousarray(tile)), (x, y))


def legend(on: Image, palette: Palette, x: int, y: int) -> None:
    """Draw a coloured box with the name of each label, in a row from (x, y), the middle of the left edge."""
    from PIL import ImageDraw

    draw, left, top = ImageDraw.Draw(on), x, y - CHIP // 2
    for name, colour in zip(palette.names, palette.labels, strict=True):
        width = chip_width(name)
        draw.rectangle((left, top, left + width - 1, top + CHIP - 1), fill=colour, outline=EDGE)
        write(on, left + width / 2, y, name, 15, readable_on(colour), "mm")
        left += width + 3


def legend_width(palette: Palette) -> int:
    """Return the width of the legend in pixels."""
    return sum(chip_width(name) + 3 for name in palette.names) - 3


def chip_width(name: str) -> int:
    """Return the width of a legend entry in pixels."""
    return CHIP + 8 * (len(name) - 1)


def readable_on(colour: Colour) -> Colour:
    """Return white or the ink colour, whichever is easier to read on this colour."""
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def changed(image: np.ndarray) -> np.ndarray:
    """Return which images (T, B, H, W, K) differ from the frame before, (T, B) boolean; none in the first frame."""
    new: np.ndarray = np.zeros(image.shape[:2], bool)
    new[1:] = (image[1:] != image[:-1]).any(axis=(2, 3, 4))
    return new
