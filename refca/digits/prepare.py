"""A digit as people have it, made into what MNIST's makers would have made of it.

MNIST: white ink on black paper, in a box of 20×20 pixels whose longer side is full, on a page of 28×28 whose
middle is the centre of mass.

The playground's page does the same in JavaScript, function by function (`playground_page/site/digit_picture.js`).
Both get the same bytes from the same pixels, because every comparison is one of whole numbers: gray levels are
multiples of 1/255000, ink and paper are bytes, and means of areas are rounded.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".

Letters: h×w pixels of the picture. All arrays hold whole numbers as float64, in which sums of them are exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from math import ceil, pi, sqrt
from os import PathLike, fspath
from typing import Any

import numpy as np

from refca.data.decode import Picture, pixels_of
from refca.errors import InvalidInput

PAGE, BOX = 28, 20
WORKING = 160  # the longer side of the picture on which ink is looked for
COARSE = 32  # the longer side of the picture on which paper is looked for: its light changes slowly
WHITE = 255_000  # the gray level of white: a thousand for each byte of luminance
FAINT = WHITE // 25  # ink that differs from its paper by less is none
MARK = 64  # the least byte of ink that belongs to a mark; fainter pixels are its soft edge
ALIVE = 26  # the least byte of ink of a living cell
STROKE = 2.1  # the least width of strokes, in pixels of the box: the lower quartile of MNIST's digits


@dataclass(frozen=True)
class Digit:
    """A prepared digit: pixels (28, 28, 1) float32, 0 for paper and 1 for ink, and what was done to get it."""

    pixels: np.ndarray
    done: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pixels, dtype, copy=copy)

    def __str__(self) -> str:
        return "; ".join(self.done)

    def _repr_png_(self) -> bytes:
        from PIL import Image

        shown = Image.fromarray(np.round(255 * self.pixels[..., 0]).astype(np.uint8))
        file = BytesIO()
        shown.resize((PAGE * 6, PAGE * 6), Image.Resampling.NEAREST).save(file, "PNG")
        return file.getvalue()


def digit(picture: Picture) -> Digit:
    """Return a picture of a digit as MNIST has digits: (28, 28, 1) float32, ink 1 on paper 0, multiples of 1/255.

    The picture is a path, a Pillow image or an array, of any size, dark on light or light on dark, drawn or
    photographed. `Digit.done` says in words what was done. Raises InvalidInput for a picture without ink.
    """
    if isinstance(picture, Digit):
        return picture
    what = fspath(picture) if isinstance(picture, str | PathLike) else "picture"
    gray = gray_levels(picture, what)
    if is_prepared(gray):
        return Digit(as_pixels(nearest(gray / 1000)), ("left as it is: white on black, 28x28, in its place",))
    done: list[str] = []
    ink = ink_of(gray, done)
    if ink.max() < FAINT:
        raise InvalidInput(f"{what} shows no ink: all its pixels have nearly the same brightness")
    ink = thresholded(ink, done)
    ink = without_other_marks(ink, done)
    ink = cropped(ink, done)
    ink = thickened(ink, done)
    box = in_box(ink, done)
    page = centred(box, done)
    return Digit(as_pixels(page), tuple(done))


def as_pixels(page: np.ndarray) -> np.ndarray:
    """Return bytes (28, 28) as pixels (28, 28, 1) from 0 to 1."""
    return (page / 255).astype(np.float32)[..., None]


def nearest(values: Any) -> Any:
    """Return the nearest whole numbers; of two equally near the larger."""
    return np.floor(values + 0.5)


def shown(value: float, places: int) -> str:
    """Return a number with so many decimal places, rounded as `nearest` does."""
    return f"{nearest(value * 10**places) / 10**places:.{places}f}"


def gray_levels(picture: Picture, what: str) -> np.ndarray:
    """Return the gray level of each pixel, (h, w), from 0 to WHITE. Transparent pixels show paper."""
    colours = np.rint(255 * pixels_of(picture, 3, what))
    return (colours @ np.array([299, 587, 114], np.float32)).astype(np.float64)


def is_prepared(gray: np.ndarray) -> bool:
    """Return whether a picture is already like MNIST's: 28×28, mostly black, its digit centred in 20×20."""
    if gray.shape != (PAGE, PAGE):
        return False
    ink = nearest(gray / 1000)
    if ink.max() < 128 or np.median(ink) >= ALIVE:
        return False
    top, bottom, left, right = bounds(ink >= ALIVE)
    box = max(bottom - top, right - left)
    return bool(BOX - 2 <= box <= BOX + 1 and np.abs(centre_of_mass(ink) - PAGE / 2).max() <= 1)


def ink_of(gray: np.ndarray, done: list[str]) -> np.ndarray:
    """Return how much each pixel differs from its paper, in the direction of the ink, on the working size.

    The paper is the median of a neighbourhood of half the picture, mirrored at the edges, so that a shadow or a
    coloured light is none. The ink is on the side on which the squares of the differences have the larger sum.
    """
    from scipy.ndimage import median_filter

    coarse = resampled(gray, *within(gray.shape, COARSE))
    gray = resampled(gray, *within(gray.shape, WORKING))
    window = max(5, max(coarse.shape) // 2 | 1)
    paper = resampled(median_filter(coarse, size=window, mode="reflect"), *gray.shape)
    darker, lighter = np.maximum(paper - gray, 0), np.maximum(gray - paper, 0)
    dark = bool((darker * darker).sum() >= (lighter * lighter).sum())
    done.append("inverted: dark ink on light paper" if dark else "kept: light ink on dark paper")
    if np.ptp(paper) > WHITE / 50:
        done.append("evened out the light of the paper")
    return darker if dark else lighter


def within(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Return the height and width of a picture whose longer side is shrunk to `side`, if it is longer."""
    longest = max(*shape, side)
    h, w = (max(1, int(nearest(length * side / longest))) for length in shape)
    return h, w


def resampled(array: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the array at another size: the nearest whole number to the mean that `overlaps` weights."""
    h, w = array.shape
    sums = overlaps(h, rows) @ array @ overlaps(w, columns).T
    return nearest(sums / (4 * max(h, rows) * max(w, columns)))


def overlaps(n: int, m: int) -> np.ndarray:
    """Return the weights of n pixels in each of m pixels along the same line, (m, n); each row's sum is 2·max(n, m).

    A new pixel is the mean over its width, or over an old pixel's width if that is larger: means of areas when a
    picture shrinks, linear interpolation when it grows. The edge pixels go on beyond the picture.
    """
    reach = max(n, m)  # lengths are in units of an old pixel divided by 2m
    middle = n * (2 * np.arange(m)[:, None] + 1)
    edges = 2 * m * np.arange(n + 1)
    edges[0], edges[-1] = -reach, 2 * m * n + reach
    shared = np.minimum(middle + reach, edges[1:]) - np.maximum(middle - reach, edges[:-1])
    return np.maximum(shared, 0).astype(np.float64)


def thresholded(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return ink as bytes. Its threshold is found a second time without the marks that are not the digit's.

    The lines of a form are often blacker than the pencil, and would make it look faint.
    """
    marks, kept = marks_of(as_bytes(ink, otsu(ink), ink))
    others = grown((marks > 0) & ~kept[marks], 2) & ~kept[marks]
    values = ink[~others]
    cut = otsu(values)
    done.append(f"threshold {shown(cut / WHITE, 2)}")
    return as_bytes(ink, cut, values)


def as_bytes(ink: np.ndarray, cut: float, values: np.ndarray) -> np.ndarray:
    """Return 0 for ink below 0.6 of a threshold, and 255 from the median of the values above it."""
    least, full = 0.6 * cut, float(np.median(values[values > cut]))
    return nearest(255 * np.clip((ink - least) / (full - least), 0, 1))


def otsu(values: np.ndarray) -> float:
    """Return the threshold that divides values from 0 up into two classes with the least variance within them.

    Of equally good thresholds, as between the only two values of a picture, it is the middle one.
    """
    largest = float(values.max())
    bins = np.minimum(255, np.floor(256 * values / largest)).astype(int)
    counts = np.bincount(bins.ravel(), minlength=256).astype(np.float64)
    below, sums = np.cumsum(counts)[:-1], np.cumsum(counts * np.arange(256))
    above = values.size - below
    apart = sums[:-1] / np.maximum(below, 1) - (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * apart * apart
    best = np.flatnonzero(between == between.max())
    return float(best[0] + best[-1] + 2) / 512 * largest


def marks_of(ink: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each pixel's mark, (h, w), 0 for none, and by number whether a mark is the digit's.

    The digit's main mark has the most pixels; of marks that touch the edge only pixels away from it count, so that it
    is no line of a form. Others belong to the digit if they have a twentieth of its pixels or more, and, where they
    touch the edge, most of them away from it.
    """
    from scipy.ndimage import label

    marks, count = label(ink >= MARK, np.ones((3, 3)))
    size = np.bincount(marks.ravel(), minlength=count + 1)
    h, w = ink.shape
    margin = max(1, int(nearest(min(h, w) / 10)))
    inner = np.bincount(marks[margin : h - margin, margin : w - margin].ravel(), minlength=count + 1)
    touches = np.zeros(count + 1, bool)
    for line in (marks[0], marks[-1], marks[:, 0], marks[:, -1]):
        touches[line] = True
    score = np.where(touches, inner, size)
    main = 1 + int(score[1:].argmax())
    kept = (20 * size >= size[main]) & (~touches | (5 * inner > 3 * size))
    kept[0], kept[main] = False, True
    return marks, kept


def grown(mask: np.ndarray, reach: int) -> np.ndarray:
    """Return a mask with all pixels around it, corners included."""
    from scipy.ndimage import maximum_filter

    return maximum_filter(mask, size=2 * reach + 1, mode="constant")


def without_other_marks(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the ink of the digit: without specks, and without what enters at the edges, as lines of a form do."""
    marks, kept = marks_of(ink)
    removed = len(kept) - 1 - int(kept.sum())
    if removed:
        done.append(f"removed {removed} other mark{'s' if removed > 1 else ''}")
    return np.where(grown(kept[marks], 1), ink, 0)


def cropped(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the smallest rectangle with all marks."""
    top, bottom, left, right = bounds(ink >= MARK)
    done.append(f"cropped to {right - left}x{bottom - top} of {ink.shape[1]}x{ink.shape[0]}")
    return ink[top:bottom, left:right]


def bounds(mask: np.ndarray) -> tuple[int, int, int, int]:
    """Return the first row and the one after the last in which anything is set, and the same of columns."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def thickened(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the ink with strokes that will be at least STROKE wide: thin ones would fade when they shrink."""
    length, width = max(ink.shape), stroke_width(ink)
    if width * BOX / length >= STROKE:
        return ink
    # Strokes grow by twice the radius, and so does the digit: (width + 2 radius) BOX / (length + 2 radius) = STROKE.
    radius = (STROKE * length / BOX - width) / (2 - 2 * STROKE / BOX)
    done.append(f"thickened strokes of {shown(width * BOX / length, 1)} pixels")
    thick = widened(ink, radius)
    top, bottom, left, right = bounds(thick >= MARK)
    return thick[top:bottom, left:right]


def stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of strokes in pixels: twice their area by their outline.

    An outline along pixels is 4/pi times as long as the line itself, on average over directions.
    """
    marks = np.pad(ink >= MARK, 1)
    steps = np.diff(marks, axis=0).sum() + np.diff(marks, axis=1).sum()
    return float(2 * marks.sum() / (steps * (pi / 4)))


def widened(ink: np.ndarray, radius: float) -> np.ndarray:
    """Return the most ink within a radius of each pixel, with a soft edge, on a picture that is larger by as much."""
    reach = ceil(radius)
    around = np.pad(ink, 2 * reach)
    h, w = ink.shape[0] + 2 * reach, ink.shape[1] + 2 * reach
    most = np.zeros((h, w))
    for y in range(2 * reach + 1):
        for x in range(2 * reach + 1):
            near = min(1.0, radius + 1 - sqrt((y - reach) ** 2 + (x - reach) ** 2))
            if near > 0:
                most = np.maximum(most, near * around[y : y + h, x : x + w])
    return nearest(most)


def in_box(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the ink scaled so that its longer side is 20 pixels and its darkest pixel 255."""
    h, w = ink.shape
    rows, columns = (max(1, int(nearest(side * BOX / max(h, w)))) for side in (h, w))
    sums = overlaps(h, rows) @ ink @ overlaps(w, columns).T
    done.append(f"scaled to {columns}x{rows} in a box of 20x20")
    return nearest(255 * sums / sums.max())


def centred(box: np.ndarray, done: list[str]) -> np.ndarray:
    """Return a box of ink on a page of 28×28 whose middle is the centre of mass, as near as whole pixels allow."""
    page = np.zeros((PAGE, PAGE))
    offset = nearest(PAGE / 2 - centre_of_mass(box)).astype(int)
    top, left = (int(np.clip(o, 0, PAGE - side)) for o, side in zip(offset, box.shape, strict=True))
    page[top : top + box.shape[0], left : left + box.shape[1]] = box
    done.append("centred by mass on 28x28")
    return page


def centre_of_mass(ink: np.ndarray) -> np.ndarray:
    """Return how far down and to the right the centre of mass is, (2,), in pixels from the corner."""
    total = 2 * ink.sum()
    return np.array([(ink.sum(axis=1 - axis) * (2 * np.arange(ink.shape[axis]) + 1)).sum() / total for axis in (0, 1)])
