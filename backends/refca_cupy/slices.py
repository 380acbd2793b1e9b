"""Slices of a batch that fit in a device's memory."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from refca.definition.cell import Array, Cell
from refca.definition.randomness import Draw, Randomness, Streams
from refca_cupy.layout import round_up4
from refca_cupy.machine import Device


def fit(device: Device, cell: Cell, state: Array, steps: int, loss_steps: int) -> tuple[list[slice], bool]:
    """Split a batch into slices that fit, where pixels are kept for `steps` steps and logits for `loss_steps`.

    Return the slices, and whether the layers of all steps fit too. A batch with a norm over the batch is one slice.
    """
    B, H, W, D = state.shape
    P4, layers = round_up4(cell.hidden_width), cell.hidden_layers + 1
    pixel = round_up4(cell.environment_channels + D) + (P4 if cell.depthwise else 0)
    neighbourhood = 0 if cell.depthwise else 9 * round_up4(cell.environment_channels + D)
    kept = steps * pixel + loss_steps * (3 * D + 6 * cell.labels * cell.stride**2)
    once = 2 * pixel + 2 * (layers * P4 + round_up4(D + 1)) + 4 * D + neighbourhood
    each = (H + 2) * (W + 2) * (kept + once) * state.dtype.itemsize
    size = B if cell.norm == "batch" else max(1, min(B, device.memory_budget() // each))
    each += H * W * steps * (2 * layers * P4 + 2 * round_up4(D + 1) + 8) * state.dtype.itemsize
    kept = device.keeps_layers and size * each <= device.memory_budget()
    return [slice(first, min(B, first + size)) for first in range(0, B, size)], kept


def sliced(randomness: Randomness, shape: tuple[int, ...], part: slice) -> Randomness:
    """The randomness of a slice of a batch (B, H, W)."""
    if part.stop - part.start == shape[0]:
        return randomness
    if type(randomness) is Streams:
        return replace(randomness, first_sample=(randomness.first_sample + part.start) % 2**32)
    return Slice(randomness, shape, part)


class Slice(NamedTuple):
    """The draws of some samples of a batch."""

    randomness: Randomness
    shape: tuple[int, ...]  # (B, H, W)
    part: slice

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """The draws of step t."""
        whole = self.randomness.at(cell, t, *self.shape)
        return Draw(*(None if x is None else x[self.part] for x in whole))
