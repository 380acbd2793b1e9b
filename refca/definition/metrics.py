"""The metrics: cell accuracy, total agreement and IoU.

A cell's predicted label is the argmax over its L readout channels; ties go to the lowest label.

Source: the article, experiment 2 ("average cell accuracy", "total agreement"); the paper, Table 1 and
Figures 2 and 11 (IoU, which it does not define); `spec/chapters/cell_accuracy.md`, `spec/chapters/total_agreement.md`,
`spec/chapters/iou.md`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.definition.cell import Array
from refca.definition.errors import InvalidInput


def cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """Return the fraction of live cells that predict their sample's label; NaN without live cells.

    readout (B, H, W, L), labels (B,) integers, live (B, H, W) boolean. Every cell has the same weight, so a
    digit with more live cells counts more.
    """
    correct, cells = map(int, count_correct_cells(predict(readout), labels, live))
    return correct / cells if cells else float("nan")


def total_agreement(readout: Array, live: Array) -> float:
    """Return the fraction of digits whose live cells all predict one label, correct or not.

    readout (B, H, W, L), live (B, H, W) boolean. Digits without live cells do not count; the result is NaN if
    there are no others.
    """
    agreeing, digits = map(int, count_agreeing_digits(predict(readout), live))
    return agreeing / digits if digits else float("nan")


def iou(predicted: Array, target: Array, labels: int) -> Array:
    """Return the intersection over union of each class over all pixels together, (labels,) float64.

    predicted and target are integers from 0 to labels - 1 and have the same shape. The IoU of a class that
    occurs in neither is NaN. Raises InvalidInput for shapes that differ or labels out of range.
    """
    return ratio(*count_overlaps(predicted, target, labels))


def predict(readout: Array, xp: Any = np) -> Array:
    """Return the predicted label of each cell: the argmax of readout (..., L), (...) integers."""
    return xp.argmax(readout, axis=-1)


def count_correct_cells(predicted: Array, labels: Array, live: Array, xp: Any = np) -> tuple[Array, Array]:
    """Return the number of live cells that predict the label, and the number of live cells.

    Both are 0-dimensional arrays of `xp`, the library of the arguments.
    """
    return xp.sum((predicted == labels[:, None, None]) & live), xp.sum(live)


def count_agreeing_digits(predicted: Array, live: Array, xp: Any = np) -> tuple[Array, Array]:
    """Return the number of digits whose live cells agree, and the number of digits with a live cell.

    Both are 0-dimensional arrays of `xp`, the library of the arguments.
    """
    lowest = xp.amin(xp.where(live, predicted, 2**31 - 1), axis=(1, 2))  # (B,)
    highest = xp.amax(xp.where(live, predicted, -1), axis=(1, 2))  # -1 without a live cell
    return xp.sum(lowest == highest), xp.sum(highest >= 0)


def count_overlaps(predicted: Array, target: Array, labels: int) -> tuple[Array, Array]:
    """Return the pixels in the intersection and in the union of each class, both (labels,) int64."""
    check_label_maps(predicted, target, labels)
    of_class = [(predicted == label, target == label) for label in range(labels)]
    intersection = [int(np.sum(p & t)) for p, t in of_class]
    union = [int(np.sum(p | t)) for p, t in of_class]
    return np.array(intersection, np.int64), np.array(union, np.int64)


def check_label_maps(predicted: Array, target: Array, labels: int) -> None:
    """Raise InvalidInput unless both have the same shape, and labels from 0 to labels - 1."""
    if predicted.shape != target.shape:
        raise InvalidInput(f"predicted and target must have the same shape, got {predicted.shape} and {target.shape}")
    for array in (predicted, target):
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < labels:
            raise InvalidInput(f"labels must be from 0 to {labels - 1}, got {int(array.min())} to {int(array.max())}")


def ratio(part: Array, whole: Array) -> Array:
    """Return part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
