"""Reading one picture out of a file's bytes: the formats that are meant, of a size that was looked at first."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refca.errors import InvalidInput
from refca.reading import reading

if TYPE_CHECKING:
    from PIL.Image import Image

# Pillow tries every format it knows unless told otherwise, and hands PostScript to a program that runs it
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF")
MOST_PIXELS = 50_000_000  # of a picture; decoding takes about six bytes for each
SIXTEEN_BITS = 2**16 - 1
FILTERS_LOCK = threading.RLock()  # filters of warnings are the whole process's: one thread at a time changes them


def opened(content: bytes, what: str) -> Image:
    """Return the decoded picture in the bytes of a file, of any mode: `rgb` makes colours of it.

    Raises InvalidInput, saying what it is, if it is damaged, too large, or in none of FORMATS.
    """
    from PIL import Image, UnidentifiedImageError

    with decoding(what):
        try:
            picture = Image.open(BytesIO(content), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise InvalidInput(
                f"{what} is not a picture in one of the formats {', '.join(FORMATS)}; get the file again, "
                "or save it in one of them"
            ) from error
        check_size(picture, what)
        if picture.format == "PNG":
            Image.open(
                BytesIO(content), formats=("PNG",)
            ).verify()  # checksums, which decoding does not compare for pixels
        picture.load()
        return picture


@contextmanager
def decoding(what: Path | str, kind: str = "a picture") -> Iterator[None]:
    """Within this block every failure of Pillow is an InvalidInput that names `what`, and its warnings are dropped."""
    with reading(what, kind), FILTERS_LOCK, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata, which is not used
        yield


def check_size(picture: Image, what: Path | str) -> None:
    """Raise InvalidInput if a picture, or a page of it, has too many pixels."""
    if picture.width * picture.height > MOST_PIXELS:
        raise InvalidInput(
            f"{what} has {picture.width}x{picture.height} pixels; pictures may have {MOST_PIXELS:,}; "
            "save it in a smaller size"
        )


def rgb(picture: Image, what: str) -> Image:
    """Return a picture of any mode with three values from 0 to 255 for each pixel.

    16-bit gray is scaled, and what is transparent is laid on white. Raises InvalidInput for pixels whose
    range is not known.
    """
    from PIL import Image

    if picture.mode.startswith("I"):
        return Image.fromarray(eight_bits(np.asarray(picture), what)).convert("RGB")
    if picture.mode == "F":
        raise InvalidInput(f"{what} has floating-point pixels, whose range is not known; save it with 8 bits a pixel")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        opaque = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", opaque.size, "white"), opaque).convert("RGB")
    return picture.convert("RGB")


def eight_bits(pixels: np.ndarray, what: str) -> np.ndarray:
    """Return 16-bit gray values as uint8. Raises InvalidInput for values beyond 16 bits."""
    if pixels.size and not 0 <= int(pixels.min()) <= int(pixels.max()) <= SIXTEEN_BITS:
        raise InvalidInput(
            f"{what} has pixels from {pixels.min()} to {pixels.max()}; gray pictures of 16 bits go from 0 to "
            f"{SIXTEEN_BITS}; save it with 8 bits a pixel"
        )
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
