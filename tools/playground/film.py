"""Make an animated GIF of the pictures that `film.mjs` took: `python film.py FRAMES FILE.gif`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

COLOURS = 64
MILLISECONDS = 110  # a frame


def main() -> None:
    """Write the film, with one palette for all frames."""
    folder, target = map(Path, sys.argv[1:])
    pictures = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))]
    width, height = pictures[0].size
    sheet = Image.new("RGB", (width, height * 6))
    for i in range(6):  # frames from all parts of the film choose the colours
        sheet.paste(pictures[(len(pictures) - 1) * i // 5], (0, height * i))
    palette = sheet.quantize(COLOURS, dither=Image.Dither.NONE)
    frames = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in pictures]
    frames[0].save(target, save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True)


if __name__ == "__main__":
    main()
