"""Augmentation of training pictures of any kind: flips, shifts, rotations and changes of scale.

A transform moves a whole picture, and its label map with it. Every draw is a function of (seed, training step,
sample), so a resumed run makes the same ones. Strokes of digits are changed in `refca/digits/augmentation.py`.

Source: refca's own; the article and the paper train without. `spec/programs.md`.

Letters: B samples, H×W pixels, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from refca.definition.generators import TRANSFORM, generator
from refca.errors import InvalidInput
from refca.training.experiment import Experiment, setting

GROUP = "augmentation"


@dataclass(frozen=True)
class TransformedExperiment(Experiment):
    """The settings of a run whose training pictures may be transformed. The defaults leave them as they are."""

    flips: bool = setting(False, "mirror pictures left to right with probability 1/2", group=GROUP)
    shift: float = setting(0.0, "largest shift of a picture along each axis, in pixels", group=GROUP)
    rotation: float = setting(0.0, "largest rotation of a picture to either side, in degrees", group=GROUP)
    zoom: float = setting(
        1.0, "largest factor by which a picture becomes larger or smaller, such as 1.2; 1: none", group=GROUP
    )

    def check_transforms(self) -> None:
        """Raise InvalidInput, naming the setting, for a range that no transform can be drawn from."""
        for name, low, high in (("shift", 0, 1000), ("rotation", 0, 180), ("zoom", 1, 10)):
            if not low <= getattr(self, name) <= high:
                raise InvalidInput(f"{name} must be from {low} to {high}, got {getattr(self, name):g}")

    @property
    def transforms(self) -> bool:
        """True if pictures are shifted, rotated or scaled."""
        return (self.shift, self.rotation, self.zoom) != (0.0, 0.0, 1.0)


def draw_transforms(experiment: TransformedExperiment, count: int, i: int) -> np.ndarray:
    """Return the transforms of `count` samples that enter in training step i, (count, 4) float64.

    A transform has the shift down and to the right in pixels, the rotation anticlockwise in radians, and the
    logarithm of the scale. Each is uniform, up to the experiment's largest, to either side.
    """
    ranges = (experiment.shift, experiment.shift, np.radians(experiment.rotation), np.log(experiment.zoom))
    drawn = generator(TRANSFORM, experiment.seed, i).random((4, count))
    return np.asarray((2 * drawn - 1).T * ranges, np.float64)


def draw_flips(experiment: TransformedExperiment, count: int, i: int) -> np.ndarray:
    """Return which of `count` samples that enter in training step i are mirrored, (count,) boolean."""
    rng = generator(TRANSFORM, experiment.seed, i)
    rng.random((4, count))  # the numbers of the transforms
    return np.asarray(rng.random(count) < 0.5) & experiment.flips


def unchanged(count: int) -> np.ndarray:
    """Return transforms that leave `count` samples as they are, (count, 4) float64."""
    return np.zeros((count, 4))


def transform(pixels: np.ndarray, transforms: np.ndarray, *, beyond: float | None = None) -> np.ndarray:
    """Return pictures (B, H, W, C) moved as the transforms (B, 4) say, each about its middle, bilinear.

    What comes in at the border has the value `beyond`; None: it is the mirror image of the picture.
    """
    if beyond is None:
        return sampled(pixels, transforms, order=1, mode="reflect")
    return sampled(pixels, transforms, order=1, mode="grid-constant", cval=beyond)


def transform_labels(labels: np.ndarray, transforms: np.ndarray) -> np.ndarray:
    """Return label maps (B, H, W) moved as `transform` moves their pictures, each pixel the nearest label."""
    return sampled(labels[..., None], transforms, order=0, mode="reflect")[..., 0]


def sampled(pixels: np.ndarray, transforms: np.ndarray, **how: Any) -> np.ndarray:
    """Return pixels (B, H, W, C), each from where its transform says; `how` is for SciPy's map_coordinates."""
    from scipy.ndimage import map_coordinates

    places, moved = np.stack(sources(transforms, *pixels.shape[1:3]), 1), np.empty_like(pixels)
    for sample, channel in np.ndindex(len(pixels), pixels.shape[-1]):
        moved[sample, ..., channel] = map_coordinates(pixels[sample, ..., channel], places[sample], **how)
    return moved


def sources(transforms: np.ndarray, H: int, W: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the row and the column that each pixel comes from, both (B, H, W): fractions, also outside the picture."""
    down, right, angle, log_scale = (x[:, None, None] for x in transforms.T)
    y = np.arange(H)[:, None] - (H - 1) / 2 - down
    x = np.arange(W) - (W - 1) / 2 - right
    cos, sin = np.cos(angle) / np.exp(log_scale), np.sin(angle) / np.exp(log_scale)
    return y * cos + x * sin + (H - 1) / 2, x * cos - y * sin + (W - 1) / 2
