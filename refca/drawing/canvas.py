"""Pictures put together of painted tiles, a legend and words, pixel by pixel.

Few colours on purpose: words are drawn in a few tones, so that a whole animation fits a GIF's 256 colours.
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
CHIP = 22  # a legend entry, pixels; with a longer name than one letter wider


def enlarge(pixels: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel of (…, H, W, 3) as a square: (…, H·scale, W·scale, 3)."""
    return pixels.repeat(scale, axis=-3).repeat(scale, axis=-2)


def fitting(scale: int | None, width: int, wanted: int = 84) -> int:
    """The scale asked for; None: such that a tile of this many cells is about `wanted` pixels wide."""
    return scale or max(1, round(wanted / width))


def page(width: int, height: int) -> Image:
    """An empty page of this many pixels."""
    from PIL import Image

    return Image.new("RGB", (width, height), PAGE)


def write(on: Image, x: float, y: float, words: str, size: int, colour: Colour, anchor: str = "lm") -> None:
    """Words at (x, y) pixels in letters of `size` pixels; anchor as in Pillow: "lm" is left, middle."""
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
    """A painted tile (h, w, 3) at (x, y), in a fine frame, or in a heavy one if marked."""
    from PIL import Image, ImageDraw

    height, width, _ = tile.shape
    line = 3 if marked else 1
    box = (x - line, y - line, x + width - 1 + line, y + height - 1 + line)
    ImageDraw.Draw(on).rectangle(box, outline=INK if marked else EDGE, width=line)
    on.paste(Image.fromarray(np.ascontiguousarray(tile)), (x, y))


def legend(on: Image, palette: Palette, x: int, y: int) -> None:
    """One chip for each label, its name in it, in a row from (x, y), the middle of its left edge."""
    from PIL import ImageDraw

    draw, left, top = ImageDraw.Draw(on), x, y - CHIP // 2
    for name, colour in zip(palette.names, palette.labels, strict=True):
        width = chip_width(name)
        draw.rectangle((left, top, left + width - 1, top + CHIP - 1), fill=colour)
        write(on, left + width / 2, y, name, 15, readable_on(colour), "mm")
        left += width + 3


def legend_width(palette: Palette) -> int:
    """Return the width of the legend in pixels."""
    return sum(chip_width(name) + 3 for name in palette.names) - 3


def chip_width(name: str) -> int:
    """Return the width of a legend entry in pixels."""
    return CHIP + 8 * (len(name) - 1)


def readable_on(colour: Colour) -> Colour:
    """White or the colour of ink, whichever is easier to read on this one."""
    red, green, blue = colour
    return INK if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else (255, 255, 255)


def changed(image: np.ndarray) -> np.ndarray:
    """Return which images (T, B, H, W, K) differ from the frame before, (T, B) boolean; none in the first frame."""
    new: np.ndarray = np.zeros(image.shape[:2], bool)
    new[1:] = (image[1:] != image[:-1]).any(axis=(2, 3, 4))
    return new
