"""Finding out whether digits lie on their side, as those in EMNIST's files do.

The mean picture of each digit is compared with that of scikit-learn's digits, in every way to turn and mirror it.

Letters: N pictures, S×S pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from refca.data.dataset import Split
from refca.data.optdigits import optdigits

WAYS: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # what was done to pictures that look right after the function
    "upright": lambda x: x,
    "transposed": lambda x: x.T,
    "rotated by 90 degrees": lambda x: np.rot90(x, -1),
    "rotated by 180 degrees": lambda x: np.rot90(x, 2),
    "rotated by 270 degrees": np.rot90,
    "mirrored left to right": np.fliplr,
    "mirrored top to bottom": np.flipud,
    "transposed and rotated by 180 degrees": lambda x: np.rot90(x, 2).T,
}
SIDE = 8  # pixels of the means that are compared
MOST = 200  # pictures of each digit that are looked at
LEAST = 10  # pictures of each digit, below which there is no warning
ALIKE, CLEARLY = 0.35, 0.2  # correlation from which means are digits, and by which one way is better than another


def orientation(digits: Split, classes: tuple[str, ...]) -> str:
    """Return what seems to have been done to digits, one of WAYS; "upright" for those that are, and for no digits.

    `classes` are the names of the labels; pictures are light on dark.
    """
    numbers = [classes.index(str(d)) for d in range(10) if str(d) in classes]
    if len(numbers) < 10 or digits.pixels.ndim != 3:
        return "upright"
    means = []
    for number in numbers:
        chosen = np.flatnonzero(digits.labels == number)[:MOST]
        if len(chosen) < LEAST:
            return "upright"
        means.append(mean_digit(digits.pixels[chosen]))
    alike = {way: correlation(np.stack([back(mean) for mean in means])) for way, back in WAYS.items()}
    best = max(alike, key=lambda way: alike[way])
    return best if alike[best] >= ALIKE and alike[best] >= alike["upright"] + CLEARLY else "upright"


def correlation(means: np.ndarray) -> float:
    """Return the correlation of ten mean digits (10, SIDE, SIDE) with scikit-learn's, each less the mean of all ten."""
    pairs = [digits - digits.mean(axis=0) for digits in (means, upright_means())]
    return float(np.corrcoef(*(x.ravel() for x in pairs))[0, 1])


@cache
def upright_means() -> np.ndarray:
    """The mean picture of each of scikit-learn's digits, (10, SIDE, SIDE)."""
    digits = optdigits().train
    return np.stack([mean_digit(digits.pixels[digits.labels == d]) for d in range(10)])


def mean_digit(pixels: np.ndarray) -> np.ndarray:
    """Return the mean of pictures (N, S, S), cut to where nearly all of its ink is, at SIDE×SIDE."""
    from PIL import Image

    mean = pixels.mean(axis=0, dtype=np.float32) / 255
    inked = mean > 0.1 * mean.max()
    rows, columns = np.flatnonzero(inked.any(1)), np.flatnonzero(inked.any(0))
    if not len(rows):
        return np.eye(SIDE, dtype=np.float32)
    cut = mean[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(np.ascontiguousarray(cut)).resize((SIDE, SIDE), Image.Resampling.BOX))
