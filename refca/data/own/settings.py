"""The settings for data of the user's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class OwnSettings:
    """The settings that a run keeps for data of the user's own, named as the settings of an experiment are."""

    classes: tuple[str, ...] = ()
    channels: int = 3
    size: int = 48
    split: float = 0.2
    colours: tuple[str, ...] = ()
    mask_values: tuple[str, ...] = ()
    ignore: int = -1
    invert: bool = False
    stretch: bool = False
    tiles: bool = False
