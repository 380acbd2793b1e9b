"""Perturbed digits: other sizes, stroke widths and positions, erased halves, and chimeras of two digits.

Images are (N, H, W, 1) float32 from 0 (paper) to 1 (ink), as `Split.images` returns them.

Source: the article, "Robustness to out-of-distribution shapes", which shows such digits without measurements;
`spec/programs.md`.
"""

from __future__ import annotations

import numpy as np

from refca.errors import InvalidInput

FINE = 4  # subpixels per pixel on each axis, for changing stroke widths
STROKE = 3  # pixels, about the width of a stroke in MNIST
ALIVE = 0.1  # threshold of live cells


def rescaled(images: np.ndarray, factor: float, side: int | None = None) -> np.ndarray:
    """Return digits scaled by a factor, bilinear, centred on a grid of side×side (None: as large as needed).

    Raises InvalidInput if they do not fit or become smaller than a pixel.
    """
    from PIL import Image

    size = round(images.shape[1] * factor)
    if size < 1:
        raise InvalidInput(f"factor must leave at least one pixel of {images.shape[1]}, got {factor}")
    scaled = [
        Image.fromarray(x).resize((size, size), Image.Resampling.BILINEAR) for x in images[..., 0]
    ]  # Pillow antialiases when it reduces
    pixels = np.stack([np.asarray(x, np.float32) for x in scaled])[..., None]
    side = max(size, images.shape[1]) if side is None else side
    return placed(np.clip(pixels, 0, 1), side, (side - size) // 2, (side - size) // 2)


def placed(images: np.ndarray, side: int, top: int, left: int) -> np.ndarray:
    """Return images placed at row `top` and column `left` of an empty grid of side×side.

    Raises InvalidInput if they do not fit.
    """
    N, H, W, _ = images.shape
    if not (0 <= top <= side - H and 0 <= left <= side - W):
        raise InvalidInput(f"images of {H}x{W} at ({top}, {left}) do not fit in a grid of {side}x{side}")
    grid = np.zeros((N, side, side, 1), np.float32)
    grid[:, top : top + H, left : left + W] = images
    return grid


def dilate_or_erode(images: np.ndarray, more: float) -> np.ndarray:
    """Return digits with strokes `more` pixels wider, or narrower if negative: gray dilation or erosion.

    The structuring element is a disc of radius more / 2, rounded to a quarter of a pixel; changes below a
    quarter of a pixel do nothing.
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
    """Return digits scaled by a factor, with strokes about as wide as before."""
    return dilate_or_erode(rescaled(images, factor), (1 - factor) * STROKE)


def without_lower_half(images: np.ndarray) -> np.ndarray:
    """Return digits whose lower half is erased."""
    erased = images.copy()
    erased[:, images.shape[1] // 2 :] = 0
    return erased


def chimeras(upper: np.ndarray, lower: np.ndarray, count: int) -> np.ndarray:
    """Return at most `count` chimeras: the upper half of one digit over the lower half of another.

    Each digit of `upper` gets the digit of `lower` that matches it best in the two rows at the seam (largest
    overlap of live pixels). Chimeras that are not in one piece are left out: (<= count, H, W, 1).
    """
    from scipy import ndimage

    if not len(lower):
        return upper[:0]
    middle = upper.shape[1] // 2
    above, below = upper[:, middle - 1, :, 0] > ALIVE, lower[:, middle, :, 0] > ALIVE
    common = (above[:, None] & below[None]).sum(axis=-1)
    either = (above[:, None] | below[None]).sum(axis=-1)
    best = (common / np.maximum(either, 1)).argmax(axis=1)
    found = np.concatenate([upper[:, :middle], lower[best, middle:]], axis=1)
    pieces = [ndimage.label(x[..., 0] > ALIVE, np.ones((3, 3)))[1] for x in found]
    return found[np.array(pieces, int) == 1][:count]
