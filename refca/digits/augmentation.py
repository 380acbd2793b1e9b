"""Digits drawn otherwise: other strokes, shapes, slants, sizes and places, or in part, so that cells read any hand.

Every draw is a function of (seed, training step, sample), so a resumed run makes the same ones. The article
trains without: its digits have one size and lie in the middle.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/chapters/augmentation.md`.

Letters: B digits of S×S pixels, on a grid of G×G.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from refca.definition.generators import AUGMENTATION, generator
from refca.digits.perturbations import dilate_or_erode, placed, rescaled
from refca.errors import InvalidInput

NODES = 4  # on each axis of the digit: an elastic deformation displaces these


@dataclass(frozen=True)
class Ranges:
    """The ranges that a drawing's numbers come from; the defaults leave a digit as it is."""

    scale_min: float = 1.0
    scale_max: float = 1.0
    stroke_min: float = 0.0  # pixels of the grid
    stroke_max: float = 0.0
    slant: float = 0.0  # largest, to either side
    elastic: float = 0.0  # largest displacement on each axis, pixels of the digit
    erased: float = 0.0  # largest fraction of the ink
    drawn_fraction: float = 1.0  # of the digits; the others are only placed

    def check(self) -> None:
        """Raise InvalidInput, naming the setting, for a range that no digit can be drawn from."""
        if not 0.1 <= self.scale_min <= self.scale_max <= 10:
            raise InvalidInput(
                f"scales must satisfy 0.1 <= scale_min <= scale_max <= 10, got {self.scale_min} and {self.scale_max}"
            )
        if not -10 <= self.stroke_min <= self.stroke_max <= 10:
            raise InvalidInput(
                f"strokes must satisfy -10 <= stroke_min <= stroke_max <= 10, got {self.stroke_min} and "
                f"{self.stroke_max}"
            )
        if not 0 <= self.slant <= 1:
            raise InvalidInput(f"slant must be from 0 to 1, got {self.slant}")
        if not 0 <= self.elastic <= 10:
            raise InvalidInput(f"elastic must be from 0 to 10, got {self.elastic}")
        if not 0 <= self.erased <= 0.9:
            raise InvalidInput(f"erased must be from 0 to 0.9, got {self.erased}")
        if not 0 <= self.drawn_fraction <= 1:
            raise InvalidInput(f"drawn_fraction must be from 0 to 1, got {self.drawn_fraction}")


@dataclass(frozen=True)
class Drawings:
    """The numbers by which B digits are drawn, float64, each (B,) unless a shape is given."""

    scale: np.ndarray  # times as large
    stroke: np.ndarray  # pixels of the grid by which strokes become wider, or if negative narrower
    slant: np.ndarray  # columns to the right per row upwards
    displacement: np.ndarray  # (B, 2, NODES, NODES): rows and columns by which each node is displaced
    erased: np.ndarray  # fraction of the ink
    side: np.ndarray  # direction in which the erased part lies, radians: 0 to the right, π / 2 below
    row: np.ndarray  # place in the free rows of the grid: 0 at the top, 1 at the bottom
    column: np.ndarray  # place in its free columns: 0 at the left, 1 at the right

    def of(self, samples: np.ndarray) -> Drawings:
        """Return the numbers of some samples, given by their indices."""
        return Drawings(**{name: numbers[samples] for name, numbers in vars(self).items()})


def draw(ranges: Ranges, count: int, seed: int, i: int) -> Drawings:
    """Return how `count` digits are drawn at training step i.

    The logarithm of the scale is uniform, so that half the size is as likely as twice the size; all other
    numbers are uniform. Digits beyond `drawn_fraction` are only placed.
    """
    rng = generator(AUGMENTATION, seed, i)
    scale, stroke, slant, row, column = rng.random((5, count))
    drawn = rng.random(count) < ranges.drawn_fraction
    erased, side = rng.random((2, count))
    displacement = ranges.elastic * (2 * rng.random((count, 2, NODES, NODES)) - 1)
    return Drawings(
        scale=np.where(drawn, ranges.scale_min * (ranges.scale_max / ranges.scale_min) ** scale, 1.0),
        stroke=np.where(drawn, ranges.stroke_min + (ranges.stroke_max - ranges.stroke_min) * stroke, 0.0),
        slant=np.where(drawn, ranges.slant * (2 * slant - 1), 0.0),
        displacement=np.where(drawn[:, None, None, None], displacement, 0.0),
        erased=np.where(drawn, ranges.erased * erased, 0.0),
        side=2 * np.pi * side,
        row=row,
        column=column,
    )


def augment(images: np.ndarray, drawings: Drawings, grid: int) -> np.ndarray:
    """Return digits (B, S, S, 1) as the drawings say, on an empty grid (B, G, G, 1).

    A digit's strokes change first, then it is deformed, slanted, erased in part, scaled and placed. The middle is
    cut out of a digit that is larger than the grid.
    """
    drawn = np.zeros((len(images), grid, grid, 1), np.float32)
    for b in range(len(images)):
        scale = float(drawings.scale[b])
        image = dilate_or_erode(images[b : b + 1], float(drawings.stroke[b]) / scale)
        image = slanted(deformed(image, drawings.displacement[b]), float(drawings.slant[b]))
        image = partly_erased(image, float(drawings.erased[b]), float(drawings.side[b]))
        image = rescaled(image, scale, round(scale * images.shape[1]))
        cut = max(0, image.shape[1] - grid)
        kept = slice(cut // 2, image.shape[1] - (cut - cut // 2))
        image = image[:, kept, kept]
        free = grid - image.shape[1]
        top, left = round(free * float(drawings.row[b])), round(free * float(drawings.column[b]))
        drawn[b] = placed(image, grid, top, left)[0]
    return drawn


def slanted(images: np.ndarray, slant: float) -> np.ndarray:
    """Return the digits sheared: each row moves to the right by `slant` for every row below it, bilinear.

    The row in the middle stays where it is.
    """
    from PIL import Image

    S = images.shape[1]
    to_source = (1.0, slant, -slant * S / 2, 0.0, 1.0, 0.0)  # x of the source, from x and y of the result
    sheared = [
        Image.fromarray(x).transform((S, S), Image.Transform.AFFINE, to_source, Image.Resampling.BILINEAR)
        for x in images[..., 0]
    ]
    return np.stack([np.asarray(x, np.float32) for x in sheared])[..., None]


def deformed(images: np.ndarray, displacement: np.ndarray) -> np.ndarray:
    """Return the digits with their pixels displaced by (2, NODES, NODES) rows and columns, bilinear.

    The nodes lie evenly on the digit, the outer ones on its border; between them displacements are bilinear too. A
    pixel of the result has the ink of the place that its displacement points to.
    """
    if not displacement.any():
        return images
    from scipy import ndimage

    S = images.shape[1]
    places = np.indices((S, S), dtype=float)  # (2, S, S)
    between = [ndimage.map_coordinates(x, places * (NODES - 1) / (S - 1), order=1) for x in displacement]
    source = places + np.stack(between)
    moved = [ndimage.map_coordinates(x, source, order=1, mode="constant") for x in images[..., 0]]
    return np.stack(moved).astype(np.float32)[..., None]


def partly_erased(images: np.ndarray, fraction: float, side: float) -> np.ndarray:
    """Return the digits without the fraction of their ink that lies farthest in the direction `side`, radians."""
    if not fraction:
        return images
    S = images.shape[1]
    rows, columns = np.indices((S, S))
    farthest_first = np.argsort(-(columns * np.cos(side) + rows * np.sin(side)), axis=None, kind="stable")
    kept = images.reshape(len(images), -1).copy()
    ink = kept[:, farthest_first].astype(float).cumsum(axis=1)
    gone = ink <= fraction * ink[:, -1:]
    kept[:, farthest_first] = np.where(gone, 0, kept[:, farthest_first])
    return kept.reshape(images.shape)
