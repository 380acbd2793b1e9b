"""The article's cell.

Source: the article, "Model" and experiment 2.
"""

from __future__ import annotations

from refca.definition.cell import Cell


def digits_cell(noise: float = 0.02) -> Cell:
    """Return the article's cell, 22,499 parameters: noise 0 for its models "L2" and "CE", 0.02 for "L2 + noise"."""
    return Cell(image_channels=1, state_channels=19, hidden_width=80, labels=10, noise=noise, alive_above=0.1)
