"""The paper's cell.

Source: the paper, section 3 and Table 1.
"""

from __future__ import annotations

from refca.definition.cell import Cell


def segmentation_cell(
    state: int = 48,
    hidden: int = 72,
    norm: str = "instance",
    depthwise: bool = False,
    resettable: bool = True,
    residual: bool = True,
    stride: int = 1,
    frozen_filters: bool = False,
) -> Cell:
    """Return the paper's cell for photographs and three labels; Table 1 has sizes (32, 48), (48, 72), (64, 96)."""
    return Cell(
        image_channels=3,
        state_channels=state,
        hidden_width=hidden,
        labels=3,
        hidden_layers=2,
        biases=False,
        depthwise=depthwise,
        frozen_filters=frozen_filters,
        norm=norm,
        residual=residual,
        resettable=resettable,
        linear_readout=stride == 1,
        stride=stride,
        normal_start=True,
    )
