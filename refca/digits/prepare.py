"""A digit as people have it, made into what MNIST's makers would have made of it.

MNIST: white ink on black paper, in a box of 20×20 pixels whose longer side is full, on a page of 28×28 whose
middle is the centre of mass. Its strokes are two to three pixels wide.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".

Letters: h×w pixels of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np

from refca.data.decode import Picture, from_array, open_picture, pixels_of, resized
from refca.errors import InvalidInput

PAGE, BOX = 28, 20
WORKING = 160  # the longer side of the picture on which ink is looked for
FAINT = 0.04  # ink that differs from its paper by less is none
THIN, STROKE = 1.5, 2.0  # strokes thinner than the first become as wide as the second, in pixels of the box
ALIVE = 0.1


@dataclass(frozen=True)
class Digit:
    """A prepared digit: pixels (28, 28, 1) float32, 0 for paper and 1 for ink, and what was done to get it."""

    pixels: np.ndarray
    done: tuple[str, ...]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.pixels, dtype)

    def __str__(self) -> str:
        return "; ".join(self.done)

    def _repr_png_(self) -> bytes:
        from PIL import Image

        shown = Image.fromarray(np.round(255 * self.pixels[..., 0]).astype(np.uint8))
        file = BytesIO()
        shown.resize((PAGE * 6, PAGE * 6), Image.Resampling.NEAREST).save(file, "PNG")
        return file.getvalue()


def digit(picture: Picture) -> Digit:
    """Return a picture of a digit as MNIST has digits: (28, 28, 1) float32, ink 1 on paper 0.

    The picture is a path, a Pillow image or an array, of any size, dark on light or light on dark, drawn or
    photographed. `Digit.done` says in words what was done. Raises InvalidInput for a picture without ink.
    """
    if isinstance(picture, Digit):
        return picture
    what = fspath(picture) if isinstance(picture, str | PathLike) else "picture"
    gray = brightness(picture, what)
    if is_prepared(gray):
        return Digit(gray[..., None].astype(np.float32), ("left as it is: white on black, 28x28, in its place",))
    done: list[str] = []
    ink = ink_of(gray, done)
    if ink.max() < FAINT:
        raise InvalidInput(f"{what} shows no ink: all its pixels have nearly the same brightness")
    ink = thresholded(ink, done)
    ink = without_frame(ink, done)
    ink = cropped(ink, done)
    boxed = in_box(ink, done)
    page = centred(boxed)
    done.append("centred by mass on 28x28")
    return Digit(page[..., None], tuple(done))


def brightness(picture: Picture, what: str) -> np.ndarray:
    """Return the brightness of each pixel, (h, w), on white paper; of white ink on a transparent canvas the ink."""
    if isinstance(picture, str | PathLike):
        picture = open_picture(Path(picture))
    gray = pixels_of(picture, 1, what)[..., 0]
    if np.ptp(gray) < FAINT:
        alpha = alpha_of(picture)
        if alpha is not None and np.ptp(alpha) > FAINT:
            return alpha
    return gray


def alpha_of(picture: Any) -> np.ndarray | None:
    """Return how opaque each pixel is, (h, w) from 0 to 1; None for a picture without transparency."""
    if hasattr(picture, "convert"):
        return np.asarray(picture.convert("RGBA"))[..., 3].astype(np.float32) / 255
    array = np.asarray(picture)
    return from_array(array, "picture")[..., 3] if array.ndim == 3 and array.shape[-1] == 4 else None


def is_prepared(gray: np.ndarray) -> bool:
    """Return whether a picture is already like MNIST's: 28×28, mostly black, its digit centred in 20×20."""
    if gray.shape != (PAGE, PAGE) or gray.max() < 0.5:
        return False
    ink = gray >= ALIVE
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not len(rows) or np.median(gray) >= ALIVE:
        return False
    box = max(np.ptp(rows), np.ptp(columns)) + 1
    off = np.abs(centre_of_mass(gray) - (PAGE - 1) / 2).max()
    return bool(BOX - 2 <= box <= BOX + 1 and off <= 1)


def ink_of(gray: np.ndarray, done: list[str]) -> np.ndarray:
    """Return how much each pixel differs from its paper, in the direction of the ink, (h', w').

    The paper is the median of a large neighbourhood, so that a shadow or a coloured light is none.
    """
    from scipy.ndimage import median_filter

    longest = max(gray.shape)
    if longest > WORKING:
        rows, columns = (max(1, round(side * WORKING / longest)) for side in gray.shape)
        gray = resized(gray[..., None], rows, columns)[..., 0]
    middle = float(np.median(gray))
    light = middle > (float(gray.min()) + float(gray.max())) / 2
    done.append("inverted: dark ink on light paper" if light else "kept: light ink on dark paper")
    step = max(1, max(gray.shape) // 40)  # the paper changes slowly, so a coarse picture of it is enough
    coarse = gray[::step, ::step]
    window = max(5, max(coarse.shape) // 2 | 1)
    paper = median_filter(coarse, size=window, mode="nearest")
    paper = resized(paper[..., None], *gray.shape)[..., 0]
    if float(paper.max() - paper.min()) > 0.02:
        done.append("evened out the light of the paper")
    ink = paper - gray if light else gray - paper
    return np.clip(ink, 0, None)


def thresholded(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return ink from 0 to 1: nothing below half of Otsu's threshold, and full from well above it."""
    cut = otsu(ink)
    done.append(f"threshold {cut:.2f}")
    full = float(np.median(ink[ink > cut])) if (ink > cut).any() else float(ink.max())
    return np.clip((ink - cut * 0.6) / max(full - cut * 0.6, 1e-6), 0, 1)


def otsu(values: np.ndarray) -> float:
    """Return the threshold that divides values into two classes with the least variance within them."""
    counts, edges = np.histogram(values, 256)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(between))])


def without_frame(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the ink without specks and without lines along the edges of the picture, as grids of forms have them."""
    from scipy.ndimage import binary_dilation, label

    marks, count = label(ink > 0.25, np.ones((3, 3)))
    if count < 2:
        return ink
    mass = np.bincount(marks.ravel(), ink.ravel(), count + 1)[1:]
    h, w = ink.shape
    margin = max(1, round(0.1 * min(h, w)))
    inside = marks[margin : h - margin, margin : w - margin]
    inner = np.bincount(inside.ravel(), ink[margin : h - margin, margin : w - margin].ravel(), count + 1)[1:]
    touches = np.zeros(count + 1, bool)
    for line in (marks[0], marks[-1], marks[:, 0], marks[:, -1]):
        touches[np.unique(line)] = True
    score = np.where(touches[1:], np.where(inner > 0.6 * mass, inner, 0.3 * inner), mass)
    main = int(score.argmax()) + 1
    keep = [i for i in range(1, count + 1) if i == main or (not touches[i] and mass[i - 1] > 0.1 * mass[main - 1])]
    removed = count - len(keep)
    if removed:
        done.append(f"removed {removed} other mark{'s' if removed > 1 else ''}")
    near = binary_dilation(np.isin(marks, keep), iterations=1)
    return np.where(near, ink, 0)


def cropped(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the smallest rectangle with all the ink."""
    rows, columns = (np.flatnonzero((ink > 0.25).any(axis=axis)) for axis in (1, 0))
    found = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    done.append(f"cropped to {found.shape[1]}x{found.shape[0]} of {ink.shape[1]}x{ink.shape[0]}")
    return found


def in_box(ink: np.ndarray, done: list[str]) -> np.ndarray:
    """Return the ink scaled so that its longer side is 20 pixels; strokes that would be thin are thickened first."""
    from scipy.ndimage import grey_dilation

    scale = BOX / max(ink.shape)
    width = stroke_width(ink) * scale
    if width < THIN:
        # Thickening by t pixels on both sides makes the whole digit larger too, before it is scaled.
        more = max(1, round((STROKE - width) / scale / 2))
        reach = np.arange(-more, more + 1)
        disc = reach[:, None] ** 2 + reach**2 <= (more + 0.3) ** 2
        ink = grey_dilation(np.pad(ink, more), footprint=disc)
        scale = BOX / max(ink.shape)
        done.append(f"thickened strokes of {width:.1f} pixels")
    rows, columns = (max(1, round(side * scale)) for side in ink.shape)
    boxed = resized(ink[..., None], rows, columns)[..., 0]
    done.append(f"scaled to {columns}x{rows} in a box of 20x20")
    return boxed / max(float(boxed.max()), 1e-6)


def stroke_width(ink: np.ndarray) -> float:
    """Return the mean width of the strokes in pixels: twice the distance to the paper along their middle lines."""
    from scipy.ndimage import distance_transform_edt, maximum_filter

    solid = np.pad(ink > 0.5, 1)
    if not solid.any():
        return 1.0
    distance = distance_transform_edt(solid)
    ridge = solid & (distance >= maximum_filter(distance, 3) - 1e-9)
    return float(max(1.0, 2 * np.median(distance[ridge]) - 0.5))


def centred(box: np.ndarray) -> np.ndarray:
    """Return a box of ink on a page of 28×28 whose middle is the centre of mass, as near as whole pixels allow."""
    page = np.zeros((PAGE, PAGE), np.float32)
    offset = np.round((PAGE - 1) / 2 - centre_of_mass(box)).astype(int)
    top, left = (int(np.clip(o, 0, PAGE - side)) for o, side in zip(offset, box.shape, strict=True))
    page[top : top + box.shape[0], left : left + box.shape[1]] = box
    return page


def centre_of_mass(ink: np.ndarray) -> np.ndarray:
    """Return the row and the column of the centre of mass, (2,) float64."""
    total = max(float(ink.sum()), 1e-12)
    return np.array([(ink.sum(axis=1 - axis) * np.arange(ink.shape[axis])).sum() / total for axis in (0, 1)])
