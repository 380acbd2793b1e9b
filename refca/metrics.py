"""What is measured of a state: are the cells right, and do they agree.

Both read out labels as the argmax over the L readout channels; ties go to the lowest label.

Source: the article, "Evaluation" ("average cell accuracy", "total agreement"); `spec/cell_accuracy.md`,
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
    right = (np.argmax(readout, axis=-1) == labels[:, None, None]) & live
    cells = int(np.sum(live))
    return int(np.sum(right)) / cells if cells else float("nan")


def total_agreement(readout: Array, live: Array) -> float:
    """The share of digits whose live cells all name one label, right or wrong; NaN if none has a live cell.

    readout (B, H, W, L), live (B, H, W) boolean. A digit without live cells is left out.
    """
    said = np.argmax(readout, axis=-1)
    lowest = np.min(np.where(live, said, readout.shape[-1]), axis=(1, 2))
    highest = np.max(np.where(live, said, -1), axis=(1, 2))
    digits = int(np.sum(highest >= 0))
    return int(np.sum(lowest == highest)) / digits if digits else float("nan")
