"""One picture as an array of pixels, whatever it comes as: a path, a Pillow image or an array of numbers.

Letters: h×w pixels of the picture, H×W those asked for, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from refca.data.pictures import FORMATS, decoding, opened
from refca.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image

Picture: TypeAlias = Any  # a path, a Pillow image, or an array: (h, w) or (h, w, C)

DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")  # Pillow's modes of more than 8 bits a channel
ORIENTATION = 0x0112  # of EXIF
SIDEWAYS = 5  # its values from this on exchange rows and columns
FAINT = np.float32(1 / 25)  # of the range from black to white: less difference cannot be seen
LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)


def pixels_of(picture: Picture, channels: int | None = None, what: str = "picture") -> np.ndarray:
    """Return the picture's pixels, (h, w, C) float32 from 0 to 1, with `channels` channels if that is given.

    A file or a Pillow image is turned upright as its EXIF data says; CMYK and palettes become RGB, what is
    transparent becomes white, or black under ink that is white. Of several frames the first is taken. Values of more
    than 8 bits are divided by the largest value of the picture, because cameras seldom use the whole range. An array
    holds bytes, unsigned 16-bit values, booleans, or floats from 0 to 1.
    Raises InvalidInput, naming `what` or the file, for anything else.
    """
    if isinstance(picture, str | PathLike):
        what = fspath(picture)
        picture = open_picture(Path(picture))
    if hasattr(picture, "convert"):
        with decoding(what):
            array = from_image(picture, what)
    else:
        array = from_array(picture, what)
    return array if channels is None else with_channels(array, channels, what)


def open_picture(path: Path) -> Image:
    """Return the decoded picture in a file. Raises InvalidInput, naming the file."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
    return opened(content, str(path))


def size_of(path: Path) -> tuple[int, int]:
    """Return the size (h, w) of the picture in a file, without decoding it. Raises InvalidInput, naming the file."""
    with not_decoded(path) as image:
        return image.height, image.width


@contextmanager
def not_decoded(path: Path) -> Iterator[Image]:
    """Yield the picture in a file after reading its header alone. Raises InvalidInput, naming the file."""
    from PIL import Image, UnidentifiedImageError

    with decoding(path):
        try:
            image: Image.Image = Image.open(path, formats=FORMATS)
        except UnidentifiedImageError:
            image = open_picture(path)  # its error names the formats
        with image:
            yield image


def is_sideways(path: Path) -> bool:
    """Return whether EXIF data turns a picture onto another side. Raises InvalidInput, naming the file."""
    image = open_picture(path)
    with decoding(path):
        return bool(image.getexif().get(ORIENTATION, 1) >= SIDEWAYS)


def from_image(image: Image, what: str = "picture", frame: bool = False) -> np.ndarray:
    """Return the pixels of a Pillow image, upright: (h, w, 1) if it is gray, else (h, w, 3).

    A transparent `frame` of a film is laid on white, whatever its ink, so that all frames have one background.
    Raises InvalidInput for NaN and infinite values.
    """
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode in DEEP:
        return scaled(np.asarray(image, np.float32), what)[..., None]
    if image.mode in ("1", "L"):
        return as_unit(np.asarray(image.convert("L")))[..., None]
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        pixels = as_unit(np.asarray(image.convert("RGBA")))
        return on_white(pixels) if frame else on_paper(pixels)
    return as_unit(np.asarray(image.convert("RGB")))


def on_paper(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, C+1), the last channel opacity, laid on white: (h, w, C). White ink is laid on black."""
    colours, opacity = pixels[..., :-1], pixels[..., -1:]
    white = on_white(pixels)
    hidden = np.ptp(white) < FAINT <= np.ptp(opacity)
    return colours * opacity if hidden else white


def on_white(pixels: np.ndarray) -> np.ndarray:
    """Return pixels (h, w, C+1), the last channel opacity, laid on white: (h, w, C)."""
    opacity = pixels[..., -1:]
    white: np.ndarray = pixels[..., :-1] * opacity + (1 - opacity)
    return white


def from_array(picture: Any, what: str) -> np.ndarray:
    """Return the pixels of an array. Raises InvalidInput for a wrong shape, dtype or range, and for NaN."""
    try:
        array = np.asarray(picture)
    except Exception as error:  # any object may come, and __array__ may raise anything
        raise InvalidInput(
            f"{what} must be a path, a Pillow image or an array, got {type(picture).__name__}"
        ) from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or not array.size:
        raise InvalidInput(
            f"{what} must be a path, a Pillow image, or an array of shape (height, width) or "
            f"(height, width, channels); got {described(picture, array)}"
        )
    if array.dtype == bool:
        return array.astype(np.float32)
    if array.dtype == np.uint8:
        return as_unit(array)
    if array.dtype == np.uint16:
        return scaled(array.astype(np.float32), what)
    if array.dtype.kind == "f":
        return check_unit(array, what).astype(np.float32)
    if array.dtype.kind in "iu":
        low, high = int(array.min()), int(array.max())
        if low >= 0 and high <= 255:
            return as_unit(array.astype(np.uint8))
        wide = "; 16-bit pictures must be uint16" if low >= 0 and high < 65536 else ""
        raise InvalidInput(f"{what} of integers must have values from 0 to 255, got {low} to {high}{wide}")
    raise InvalidInput(f"{what} must hold numbers, got an array of {array.dtype}")


def described(picture: Any, array: np.ndarray) -> str:
    """Say what came instead of a picture."""
    if array.dtype == object or array.ndim == 0:
        return type(picture).__name__
    return f"shape {tuple(array.shape)}"


def check_unit(array: np.ndarray, what: str) -> np.ndarray:
    """Return the array if all its values are from 0 to 1. Raises InvalidInput, saying what would help."""
    if not np.isfinite(array).all():
        raise InvalidInput(f"{what} holds NaN or infinite values; all must be from 0 to 1")
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 1:
        return array
    remedy = "pass bytes, as x.astype('uint8')" if low >= 0 and high <= 255 else "shift and scale them first"
    if low >= -1 and high <= 1:
        remedy = "pass (x + 1) / 2"
    raise InvalidInput(f"{what} of floats must have values from 0 to 1, got {low:g} to {high:g}; {remedy}")


def as_unit(array: np.ndarray) -> np.ndarray:
    """Return bytes as float32 numbers from 0 to 1."""
    numbers = array.astype(np.float32)
    numbers /= np.float32(255)  # in place: a large picture takes hundreds of megabytes
    return numbers


def scaled(array: np.ndarray, what: str) -> np.ndarray:
    """Return values of any range as numbers from 0 to 1: floats in that range as they are, others by their largest.

    Raises InvalidInput for NaN and infinite values.
    """
    if not np.isfinite(array).all():
        raise InvalidInput(f"{what} holds NaN or infinite values; all must be finite")
    low, high = min(float(array.min()), 0.0), float(array.max())
    if low == 0 and 0.5 < high <= 1:
        return array
    return np.clip((array - np.float32(low)) / np.float32(max(high - low, 1e-12)), 0, 1)


def with_channels(array: np.ndarray, channels: int, what: str = "picture") -> np.ndarray:
    """Return pixels (h, w, C) as gray (1) or RGB (3). Raises InvalidInput for another change of channels."""
    C = array.shape[-1]
    if channels == C:
        return array
    if C in (2, 4) and channels in (1, 3):
        array, C = on_paper(array), C - 1
    if channels == C:
        return array
    if (C, channels) == (3, 1):
        return (array @ LUMINANCE)[..., None]
    if (C, channels) == (1, 3):
        return np.repeat(array, 3, axis=-1)
    raise InvalidInput(f"{what} has {C} channels; needed are {channels}, as one picture (h, w, channels)")


def adjusted(array: np.ndarray, invert: bool, stretch: bool) -> np.ndarray:
    """Return pixels with dark and light exchanged, and with their range stretched to that from black to white.

    Of the range 0.2 % of the pixels at each end are left out, so that single bright pixels change nothing. More would
    widen the few things of a nearly empty picture: 0.5 % can be half of their pixels.
    """
    if stretch:
        low, high = (np.float32(x) for x in np.percentile(array, (0.2, 99.8)))
        array = np.clip((array - low) / max(high - low, np.float32(1 / 255)), 0, 1)
    return np.float32(1) - array if invert else array


def resized(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return pixels (h, w, C) resampled to (rows, columns, C): means of boxes to shrink, else bicubic."""
    from PIL import Image

    if array.shape[:2] == (rows, columns):
        return array
    shrink = rows <= array.shape[0] and columns <= array.shape[1]
    method = Image.Resampling.BOX if shrink else Image.Resampling.BICUBIC
    planes = (Image.fromarray(np.ascontiguousarray(plane)) for plane in np.moveaxis(array.astype(np.float32), -1, 0))
    return np.clip(np.stack([np.asarray(plane.resize((columns, rows), method)) for plane in planes], axis=-1), 0, 1)
