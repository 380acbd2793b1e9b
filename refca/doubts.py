"""Images that cells can hardly be meant for: dark ink on light paper, ink too faint for a cell to live, or black."""

from __future__ import annotations

import numpy as np

from refca.definition.cell import Cell

LOOKED_AT = 1000  # images of a data set that are looked at
INVERTED = 0.5  # an image whose median is above this probably has dark ink on light paper


FAINT = 0.1  # pictures without a larger value are nearly black


def faint(largest: float) -> str | None:
    """Return a sentence on pictures from 0 to 1 if their largest value is hardly above black; None if it is not."""
    if not 0 < largest < FAINT:
        return None
    return (
        f"the pictures are nearly black: their largest value is {largest:.2g} of 1; integers are taken as bytes, 0 to "
        "255, so scale others; refca.train can stretch dark pictures, with --stretch"
    )


def doubt(cell: Cell, images: np.ndarray) -> str | None:
    """Return a sentence on images (B, H, W, K) from 0 to 1 if most of them are unlike the cell's; None if they are not.

    Cells that live where there is ink expect light ink on dark paper; others expect more than black alone.
    """
    if not images.size:
        return None
    if cell.alive_above is None:
        return faint(float(images.max()))
    ink = images[..., 0]
    live = ink > np.float32(cell.alive_above)
    which = "the picture" if len(images) == 1 else "the pictures"
    if (np.median(ink, axis=(1, 2)) > INVERTED).mean() > 0.5:
        return f"ink covers {live.mean():.0%} of {which}, but digits must be light on dark: they look inverted"
    if ink.max() > 0 and (~live.any(axis=(1, 2))).mean() > 0.5:
        return (
            f"no cell is alive in most of {which}: cells are alive above {cell.alive_above:g}, and the largest value "
            f"is {float(ink.max()):.2g}; values must be from 0 for paper to 1 for ink, or bytes to 255"
        )
    return None
