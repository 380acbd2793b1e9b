"""The optdigits: 1,797 handwritten digits of 8×8 pixels that come with scikit-learn; no download.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refca.data.dataset import Dataset, Split

WHITE = 16
HELD_OUT = 297  # the last of them
COPIES = 8  # of each of the optdigits in mnist-optdigits: a sixth of its training digits are then optdigits


def optdigits(size: int | None = None) -> Dataset[Split]:
    """The optdigits in their order, 1,500 to train on and 297 to test; enlarged to size×size unless None."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.int64)
    train = Split(pixels[:-HELD_OUT], labels[:-HELD_OUT], WHITE)
    test = Split(pixels[-HELD_OUT:], labels[-HELD_OUT:], WHITE)
    if size is None:
        return Dataset("optdigits", train, test)
    return Dataset(f"optdigits-{size}", enlarged(train, size), enlarged(test, size))


def with_optdigits(mnist: Dataset[Split]) -> Dataset[Split]:
    """MNIST with the enlarged optdigits among the digits to train on: 1,500, each COPIES times, before MNIST's own.

    The digits to test, and those at the end, which are held out for validation, are MNIST's alone.
    """
    ours, theirs = mnist.train, optdigits(mnist.train.side).train
    pixels = np.concatenate([np.tile(theirs.pixels, (COPIES, 1, 1)), ours.pixels])
    labels = np.concatenate([np.tile(theirs.labels, COPIES), ours.labels])
    return replace(mnist, name="mnist-optdigits", training=Split(pixels, labels, ours.white))


def enlarged(split: Split, size: int = 28) -> Split:
    """The digits as MNIST's are: in a box of 20/28 of size×size, centred by their ink; white is 255.

    Bicubic, with the contrast doubled about the middle: enlarging blurs, and a blurred edge is alive.
    Raises ValueError if size is below 2.
    """
    if size < 2:
        raise ValueError(f"size must be at least 2, got {size}")
    pixels = np.zeros((len(split), size, size), np.uint8)
    for i, digit in enumerate(split.pixels):
        pixels[i] = placed(digit, split.white, size)
    return Split(pixels, split.labels, 255)


def placed(digit: np.ndarray, white: int, size: int) -> np.ndarray:
    """One digit (H, W) enlarged and centred, (size, size) uint8."""
    from PIL import Image

    box = round(size * 20 / 28)
    ink = Image.fromarray(np.round(digit * (255 / white)).astype(np.uint8))
    blurred = np.asarray(ink.resize((box, box), Image.Resampling.BICUBIC), float)
    pixels = np.clip(2 * blurred - 127.5, 0, 255).round().astype(np.uint8)
    page = np.zeros((size, size), np.uint8)
    top, left = (corner(pixels.sum(axis=1 - axis), size) for axis in (0, 1))
    page[top : top + box, left : left + box] = pixels
    return page


def corner(ink: np.ndarray, size: int) -> int:
    """Return the start, on a line of `size`, of a box (box,) whose ink then has its centre of mass in the middle."""
    box = len(ink)
    centre = (ink * np.arange(box)).sum() / max(ink.sum(), 1)
    return int(np.clip(round((size - 1) / 2 - centre), 0, size - box))
