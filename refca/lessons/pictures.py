"""Pictures side by side, for the lessons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def show(
    pictures: Sequence[Any], titles: Sequence[str] = (), *, columns: int = 8, size: float = 1.4, **options: Any
) -> None:
    """Draw pictures (H, W), (H, W, 1) or (H, W, 3) in rows, each with its title.

    `options` go to matplotlib's imshow, such as cmap, vmin and vmax.
    """
    import matplotlib.pyplot as plt

    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    height = size + 0.25 if titles else size
    figure, axes = plt.subplots(rows, columns, figsize=(size * columns, height * rows), squeeze=False)
    for i, axis in enumerate(axes.flat):
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_color("lightgray")
        if i >= len(pictures):
            axis.axis("off")
        else:
            picture = np.asarray(pictures[i])
            axis.imshow(picture[..., 0] if picture.shape[2:] == (1,) else picture, **{"cmap": "gray_r", **options})
            axis.set_title(titles[i] if i < len(titles) else "", fontsize=9)
    figure.tight_layout(pad=0.3)
    plt.show()
