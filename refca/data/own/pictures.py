"""Loading the pictures and masks of data of the user's own.

Letters: N samples, h×w pixels of a picture, S×S those used, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refca.data.decode import ORIENTATION, adjusted, from_image, open_picture, pixels_of, resized, with_channels
from refca.data.own.masks import labels_of
from refca.data.own.pairing import Masked
from refca.data.own.settings import OwnSettings
from refca.data.photographs import IGNORED
from refca.data.pictures import decoding
from refca.errors import InvalidInput

SAMPLE = 64  # pictures that are looked at to find out what all are like
DEAD = 0.1  # ink below this is paper
OnProgress = Callable[[int, int], object]


def sample(files: Sequence[Path]) -> tuple[list[np.ndarray], set[tuple[int, int]]]:
    """Return the pixels of some of the files, spread over all, and their sizes (h, w)."""
    step = max(1, len(files) // SAMPLE)
    found = [pixels_of(file) for file in files[::step]]
    return found, {(x.shape[0], x.shape[1]) for x in found}


def channels_of(pixels: np.ndarray, channels: int) -> np.ndarray:
    """Return pixels with this many channels, and of others than gray and colour the first."""
    return with_channels(pixels, channels) if pixels.shape[-1] <= 4 else pixels[..., :channels]


def ink_of(gray: list[np.ndarray]) -> tuple[float, float, bool]:
    """Return the share of pictures whose border is black, and white, and whether nearly all have ink that lives."""
    borders = [np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]) for x in gray]
    dark = float(np.mean([np.median(border) < DEAD for border in borders]))
    bright = float(np.mean([np.median(border) > 1 - DEAD for border in borders]))
    ink = [1 - x if bright > dark else x for x in gray]
    live = float(np.mean([(x > DEAD).any() for x in ink])) > 0.98
    return dark, bright, live


def as_bytes(pixels: np.ndarray) -> np.ndarray:
    """Return numbers from 0 to 1 as bytes."""
    found: np.ndarray = np.round(255 * pixels).astype(np.uint8)
    return found


def load_all(files: Sequence[Path], own: OwnSettings, on_progress: OnProgress) -> np.ndarray:
    """Return the pictures at the size and with the channels of the settings, (N, S, S, C) uint8."""
    pixels = np.empty((len(files), own.size, own.size, own.channels), np.uint8)
    for i, file in enumerate(files):
        picture = adjusted(pixels_of(file, own.channels), own.invert, own.stretch)
        pixels[i] = as_bytes(resized(picture, own.size, own.size))
        on_progress(i + 1, len(files))
    return pixels


def load_pairs(
    pairs: Sequence[Masked], own: OwnSettings, on_progress: OnProgress
) -> tuple[np.ndarray, np.ndarray, list[str], list[str]]:
    """Return pictures (N, S, S, C) and labels (N, S, S) uint8, and the part and the name of each.

    With tiles each picture is cut into several, named NAME#1, NAME#2, ...
    """
    pixels, labels, parts, names = [], [], [], []
    for i, pair in enumerate(pairs):
        picture, mask = load_pair(pair, own)
        for number, (p, m) in enumerate(pieces(picture, mask, own)):
            pixels.append(as_bytes(p))
            labels.append(m)
            parts.append(pair.part)
            names.append(f"{pair.name}#{number + 1}" if own.tiles else pair.name)
        on_progress(i + 1, len(pairs))
    return np.stack(pixels), np.stack(labels), parts, names


def load_pair(pair: Masked, own: OwnSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return a picture (h, w, C) from 0 to 1, upright, and its labels (h, w) uint8.

    Raises InvalidInput if it cannot be told whether the mask lies on its side as the picture does.
    """
    from PIL import Image, ImageOps

    image: Any = open_picture(pair.file)
    with decoding(pair.file):
        turned = image.getexif().get(ORIENTATION, 1)
        lying, upright = (image.height, image.width), ImageOps.exif_transpose(image)
        pixels = from_image(image, str(pair.file))
    shape = (upright.height, upright.width)
    picture = adjusted(with_channels(pixels, own.channels, str(pair.file)), own.invert, own.stretch)
    if turned == 1:
        return picture, labels_of(pair, own.mask_values, own.ignore, shape)
    mask: Any = open_picture(pair.masks[0])
    size = (mask.height, mask.width)
    with decoding(pair.masks[0]):
        same = mask.getexif().get(ORIENTATION, 1) == turned
    if not same and shape == lying:
        raise InvalidInput(
            f"{pair.file} is turned by its EXIF data, and whether its mask {pair.masks[0]} is too cannot be "
            f"told; save the "
            "picture upright"
        )
    if same or size == lying:
        labels = Image.fromarray(labels_of(pair, own.mask_values, own.ignore, lying))
        labels.getexif()[ORIENTATION] = turned
        return picture, np.asarray(ImageOps.exif_transpose(labels))
    return picture, labels_of(pair, own.mask_values, own.ignore, shape)


def pieces(picture: np.ndarray, labels: np.ndarray, own: OwnSettings) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return a picture and its labels at the size of the settings, or their tiles of that size.

    Tiles do not overlap. What is beyond the picture is its mirror image, and ignored.
    """
    S = own.size
    if not own.tiles:
        return [(resized(picture, S, S), labels_resized(labels, S))]
    h, w = labels.shape
    below, beside = -h % S, -w % S
    mode = "symmetric" if below <= h and beside <= w else "edge"
    picture = np.pad(picture, ((0, below), (0, beside), (0, 0)), mode)  # type: ignore[call-overload]
    labels = np.pad(labels, ((0, below), (0, beside)), constant_values=IGNORED)
    corners = [(y, x) for y in range(0, h, S) for x in range(0, w, S)]
    return [(picture[y : y + S, x : x + S], labels[y : y + S, x : x + S]) for y, x in corners]


def labels_resized(labels: np.ndarray, size: int) -> np.ndarray:
    """Return labels (h, w) at another size, (size, size) uint8: where it shrinks, the label of most pixels."""
    from PIL import Image

    if labels.shape == (size, size):
        return labels
    if labels.shape[0] <= size and labels.shape[1] <= size:
        return np.asarray(Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST))
    found, best = np.full((size, size), IGNORED, np.uint8), np.zeros((size, size), np.float32)
    for label in np.unique(labels):
        share = np.asarray(
            Image.fromarray((labels == label).astype(np.float32)).resize((size, size), Image.Resampling.BOX)
        )
        found[share > best] = label
        best = np.maximum(best, share)
    return found
