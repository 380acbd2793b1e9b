"""Weights of labels in the loss, so that rare ones count more.

Letters: L labels.
"""

from __future__ import annotations

import numpy as np

POWERS = {"none": 0.0, "root": 0.5, "balanced": 1.0}


def class_weights(counts: np.ndarray, weighting: str) -> np.ndarray:
    """Return the weight of each label, (L,), from the number of its samples or pixels.

    "balanced" is inverse to the label's frequency, "root" to its square root; the mean over all samples is 1. A label
    without samples has the weight 0.
    """
    there = counts > 0
    weights = np.where(there, np.where(there, counts, 1.0) ** -POWERS[weighting], 0.0)
    return np.asarray(weights * (counts.sum() / (weights * counts).sum()))
