"""What is measured of a state: are the cells right, and do they agree.

Both read out labels as the argmax over the L readout channels; ties go to the lowest label.

Source: the article, experiment 1 ("average cell accuracy", "total agreement"); `spec/cell_accuracy.md`,
`spec/total_agreement.md`.
"""

from __future__ import annotations

import numpy as np

from refca.cell import Array


def cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """The share of live cells whose label is the sample's; NaN if no cell lives.

    readout (B, H, W, L), labels (B,) integers, live (B, H, W) boolean. Every cell counts the same,
    so a digit counts by its size.
    """
    right, cells = right_cells(said(readout), labels, live)
    return right / cells if cells else float("nan")


def total_agreement(readout: Array, live: Array) -> float:
    """The share of digits whose live cells all name one label, right or wrong; NaN if none has a live cell.

    readout (B, H, W, L), live (B, H, W) boolean. A digit without live cells is left out.
    """
    agreeing, digits = agreeing_digits(said(readout), live)
    return agreeing / digits if digits else float("nan")


def said(readout: Array) -> Array:
    """The label that each cell names, (B, H, W)."""
    return np.argmax(readout, axis=-1)


def right_cells(named: Array, labels: Array, live: Array) -> tuple[int, int]:
    """How many live cells name the sample's label, and how many there are."""
    return int(np.sum((named == labels[:, None, None]) & live)), int(np.sum(live))


def agreeing_digits(named: Array, live: Array) -> tuple[int, int]:
    """How many digits agree, and how many have a live cell."""
    lowest = np.min(np.where(live, named, 2**31 - 1), axis=(1, 2))
    highest = np.max(np.where(live, named, -1), axis=(1, 2))
    return int(np.sum(lowest == highest)), int(np.sum(highest >= 0))
