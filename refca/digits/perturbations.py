"""Digits that no one learned from: of other sizes, strokes and places, put together of two, half erased.

Images are (N, H, W, 1) float32 from 0 to 1, 0 where there is nothing, as `Split.images` gives them.

Source: the article, "Observed robustness and limitations", which shows such digits and measures none;
`spec/programs.md`.
"""

from __future__ import annotations

import numpy as np

from refca.errors import InvalidInput

FINE = 4  # strokes are made thicker and thinner in this fraction of a pixel
STROKE = 3  # pixels, about the width of MNIST's
ALIVE = 0.1  # where a digit has a cell, as the automaton sees it


def resized(images: np.ndarray, factor: float, side: int | None = None) -> np.ndarray:
    """The digits that many times as large, bilinear, in the middle of a grid of side×side (None: that fits).

    Raises InvalidInput if they do not fit, or nothing is left of them.
    """
    from PIL import Image

    size = round(images.shape[1] * factor)
    if size < 1:
        raise InvalidInput(f"digits of {images.shape[1]} pixels are not {factor} times as large")
    scaled = [
        Image.fromarray(x).resize((size, size), Image.Resampling.BILINEAR) for x in images[..., 0]
    ]  # Pillow takes the mean over what a smaller pixel covers
    pixels = np.stack([np.asarray(x, np.float32) for x in scaled])[..., None]
    side = max(size, images.shape[1]) if side is None else side
    return placed(np.clip(pixels, 0, 1), side, (side - size) // 2, (side - size) // 2)


def placed(images: np.ndarray, side: int, top: int, left: int) -> np.ndarray:
    """The images with their corner at row `top` and column `left` of an empty grid of side×side.

    Raises InvalidInput if they do not fit.
    """
    N, H, W, _ = images.shape
    if not (0 <= top <= side - H and 0 <= left <= side - W):
        raise InvalidInput(f"images of {H}×{W} at ({top}, {left}) do not fit in a grid of {side}×{side}")
    grid = np.zeros((N, side, side, 1), np.float32)
    grid[:, top : top + H, left : left + W] = images
    return grid


def dilate_or_erode(images: np.ndarray, more: float) -> np.ndarray:
    """The digits with strokes that many pixels wider, or if negative narrower: gray dilation and erosion.

    It is half of it on either side, with a disc, in quarters of a pixel; so the least is half a pixel.
    """
    from scipy import ndimage

    radius = round(abs(more) * FINE / 2)
    if not radius:
        return images.copy()
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disc = (x**2 + y**2 <= radius**2)[None]
    change = ndimage.grey_dilation if more > 0 else ndimage.grey_erosion
    N, H, W, _ = images.shape
    fine = images[..., 0].repeat(FINE, 1).repeat(FINE, 2)
    changed = change(fine, footprint=disc, mode="constant")
    coarse = changed.reshape(N, H, FINE, W, FINE).mean(axis=(2, 4))
    return np.asarray(coarse, np.float32)[..., None]


def rescale_same_stroke(images: np.ndarray, factor: float) -> np.ndarray:
    """The digits that many times as large, with strokes about as wide as before: drawn with the same pen."""
    return dilate_or_erode(resized(images, factor), (1 - factor) * STROKE)


def without_lower_half(images: np.ndarray) -> np.ndarray:
    """The digits, their lower half erased."""
    erased = images.copy()
    erased[:, images.shape[1] // 2 :] = 0
    return erased


def chimeras(upper: np.ndarray, lower: np.ndarray, count: int) -> np.ndarray:
    """At most `count` digits put together: the upper half of each of `upper`, in one piece with the lower
    half of the one of `lower` that meets it best, the most common pixels in the two rows at the seam.

    Those whose halves make more than one piece are left out; (≤ count, H, W, 1).
    """
    from scipy import ndimage

    middle = upper.shape[1] // 2
    above, below = upper[:, middle - 1, :, 0] > ALIVE, lower[:, middle, :, 0] > ALIVE
    common = (above[:, None] & below[None]).sum(axis=-1)
    either = (above[:, None] | below[None]).sum(axis=-1)
    best = (common / np.maximum(either, 1)).argmax(axis=1)
    found = np.concatenate([upper[:, :middle], lower[best, middle:]], axis=1)
    pieces = [ndimage.label(x[..., 0] > ALIVE, np.ones((3, 3)))[1] for x in found]
    return found[np.array(pieces, int) == 1][:count]
