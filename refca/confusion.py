"""Confusion matrices: how often each true label is predicted as each label, and the metrics that they hold.

Letters: L labels. Counts (..., L, L) have a row for each true label and a column for each predicted label; they are
NaN where nothing was measured.
"""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from refca.definition.metrics import check_label_maps, ratio

MOST_WRITTEN = 256  # labels whose matrix is written into a JSON file


def confusion(predicted: np.ndarray, target: np.ndarray, labels: int) -> np.ndarray:
    """Return the counts of labels of one shape, (labels, labels) int64.

    Raises InvalidInput for shapes that differ or labels out of range.
    """
    check_label_maps(predicted, target, labels)
    pairs = target.astype(np.int64).ravel() * labels + predicted.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=labels**2).reshape(labels, labels)


def iou_of(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each label, (..., L); NaN for a label that occurs nowhere."""
    hit = np.diagonal(counts, axis1=-2, axis2=-1)
    found: np.ndarray = ratio(hit, counts.sum(axis=-1) + counts.sum(axis=-2) - hit)
    return found


def mean_iou(counts: np.ndarray) -> np.ndarray:
    """Return the mean IoU of the labels that occur, (...)."""
    ious = iou_of(counts)
    known = np.isfinite(ious)
    found: np.ndarray = ratio(np.where(known, ious, 0).sum(axis=-1), known.sum(axis=-1))
    return found


def accuracy_of(counts: np.ndarray) -> np.ndarray:
    """Return the fraction that has the right label, (...)."""
    found: np.ndarray = ratio(np.trace(counts, axis1=-2, axis2=-1), counts.sum(axis=(-2, -1)))
    return found


def written(counts: np.ndarray) -> list[list[int]] | None:
    """Return counts (L, L) for a JSON file; None if nothing was measured, or for too many labels."""
    if len(counts) > MOST_WRITTEN or not np.isfinite(counts).all():
        return None
    return [[int(count) for count in row] for row in counts]


def to_json(values: dict[str, Any]) -> str:
    """Return the text of a JSON file, with each row of a matrix on a line of its own."""
    text = json.dumps(values, indent=2)
    return re.sub(r"\[\n[\d,\s]+\]", lambda row: f"[{' '.join(row[0][1:-1].split())}]", text) + "\n"


def worst(counts: np.ndarray) -> tuple[int, int, int] | None:
    """Return the most frequent mistake: true label, predicted label and count; None without a mistake."""
    mistakes = np.where(np.eye(len(counts), dtype=bool), 0, np.nan_to_num(counts))
    truth, predicted = np.unravel_index(int(mistakes.argmax()), mistakes.shape)
    return (int(truth), int(predicted), int(mistakes.max())) if mistakes.any() else None
