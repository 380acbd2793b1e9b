"""What is measured of a state: are the cells right, and do they agree.

The labels of a readout are the argmax over its L channels; ties go to the lowest label.

Source: the article, experiment 1 ("average cell accuracy", "total agreement"); the paper, Table 1 and
Figures 2 and 11 (IoU, which it does not define); `spec/chapters/cell_accuracy.md`, `spec/chapters/total_agreement.md`,
`spec/chapters/iou.md`.
"""

from __future__ import annotations

import numpy as np

from refca.definition.cell import Array
from refca.definition.errors import InvalidInput


def cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """The share of live cells whose label is the sample's; NaN if no cell lives.

    readout (B, H, W, L), labels (B,) integers, live (B, H, W) boolean. Every cell counts the same,
    so a digit counts by its size.
    """
    right, cells = map(int, right_cells(predict(readout), labels, live))
    return right / cells if cells else float("nan")


def total_agreement(readout: Array, live: Array) -> float:
    """The share of digits whose live cells all name one label, right or wrong; NaN if none has a live cell.

    readout (B, H, W, L), live (B, H, W) boolean. A digit without live cells is left out.
    """
    agreeing, digits = map(int, agreeing_digits(predict(readout), live))
    return agreeing / digits if digits else float("nan")


def iou(predicted: Array, target: Array, labels: int) -> Array:
    """Intersection over union of each class, (labels,) float64, over all pixels together.

    predicted and target are integers from 0 to labels − 1, of one shape, any. NaN for a class that is
    neither predicted nor there. Raises InvalidInput for shapes that differ or labels out of range.
    """
    return ratio(*overlaps(predicted, target, labels))


def predict(readout: Array) -> Array:
    """The label that each cell names, (B, H, W) of a readout (B, H, W, L); rows of cells, (N,) of (N, L)."""
    return np.argmax(readout, axis=-1)


def right_cells(named: Array, labels: Array, live: Array) -> tuple[Array, Array]:
    """How many live cells name the sample's label, and how many there are: numbers of the arrays' library."""
    return np.sum((named == labels[:, None, None]) & live), np.sum(live)


def agreeing_digits(named: Array, live: Array) -> tuple[Array, Array]:
    """How many digits agree, and how many have a live cell: numbers of the arrays' library."""
    lowest = np.min(np.where(live, named, 2**31 - 1), axis=(1, 2))
    highest = np.max(np.where(live, named, -1), axis=(1, 2))
    return np.sum(lowest == highest), np.sum(highest >= 0)


def overlaps(predicted: Array, target: Array, labels: int) -> tuple[Array, Array]:
    """Pixels in the intersection and in the union of each class, two (labels,) int64; sums of them add up."""
    if predicted.shape != target.shape:
        raise InvalidInput(f"predicted labels {predicted.shape} and true ones {target.shape} differ in shape")
    for array in (predicted, target):
        if array.size and not 0 <= int(array.min()) <= int(array.max()) < labels:
            raise InvalidInput(f"labels go from 0 to {labels - 1}, got {int(array.min())} to {int(array.max())}")
    of_class = [(predicted == label, target == label) for label in range(labels)]
    intersection = [int(np.sum(p & t)) for p, t in of_class]
    union = [int(np.sum(p | t)) for p, t in of_class]
    return np.array(intersection, np.int64), np.array(union, np.int64)


def ratio(part: Array, whole: Array) -> Array:
    """part / whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0)
