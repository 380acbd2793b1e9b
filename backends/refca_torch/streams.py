"""The random numbers of `refca.Streams` in PyTorch, drawn on the device: fire masks equal every other backend's.

PyTorch has no unsigned arithmetic on every device, so 32-bit words are int64 numbers here.

Source: `refca/definition/philox.py`, `refca/definition/randomness.py`, `spec/chapters/streams.md`.

Letters: B samples, H×W grid.
"""

from __future__ import annotations

from math import pi
from typing import Any

import numpy as np
import torch

from refca.definition.cell import Cell
from refca.definition.philox import MULTIPLIER, ROUNDS, WEYL
from refca.definition.randomness import BLOCK, FIRE, NOISE, RESET, Randomness, Streams

Draw = tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]


def draw(cell: Cell, source: Randomness, t: int, like: torch.Tensor) -> Draw:
    """Return fire (B, 1, H, W), noise and reset noise (B, D, H, W) of step t, for a state (B, D, H, W)."""
    B, _, H, W = like.shape
    if type(source) is not Streams:  # a kind of streams may draw other numbers
        fire, noise, reset_noise = source.at(cell, t, B, H, W)
        return as_tensor(fire, like.device)[:, None], channels_first(noise, like), channels_first(reset_noise, like)
    word, _, _, _ = words(source, FIRE, 1, t, (B, H, W), like.device)
    noise = normals(source, NOISE, t, like) if cell.noise else None
    return word < round(cell.fire_rate * 2**32), noise, normals(source, RESET, t, like) if cell.resettable else None


def as_tensor(x: Any, device: torch.device) -> torch.Tensor:
    """Return an array, NumPy's or PyTorch's, as a tensor on a device; NumPy's are copied."""
    return (x if isinstance(x, torch.Tensor) else torch.from_numpy(np.array(x, order="C"))).to(device)


def channels_first(x: Any, like: torch.Tensor) -> torch.Tensor | None:
    """Return numbers (B, H, W, D) as a tensor (B, D, H, W) in the dtype of another; None stays None."""
    return None if x is None else as_tensor(x, like.device).to(like).movedim(-1, 1)


def normals(source: Streams, purpose: int, t: int, like: torch.Tensor) -> torch.Tensor:
    """Return standard normal numbers in shape (B, D, H, W), dtype and device of a state."""
    B, D, H, W = like.shape
    w0, w1, w2, w3 = words(source, purpose, -(-D // BLOCK), t, (B, H, W), like.device)
    pairs = [*box_muller(w0, w1, like.dtype), *box_muller(w2, w3, like.dtype)]
    return torch.stack(pairs, 2).reshape(B, -1, H, W)[:, :D]


def box_muller(w0: torch.Tensor, w1: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two independent standard normal tensors: w0 gives the radius, w1 the angle.

    The uniform numbers are u = n / 2²⁵ with n odd. From 1/2 on the logarithm is log1p(u - 1), and the angle is
    2πu - π, so that every argument is exact in float32.
    """
    n0, n1 = (2 * (w >> 8) + 1 for w in (w0, w1))
    small, rest = (n.to(dtype) * 2.0**-25 for n in (n0, 2**25 - n0))
    radius = torch.sqrt(-2 * torch.where(n0 < 2**24, torch.log(small), torch.log1p(-rest)))
    angle = (n1 - 2**24).to(dtype) * (pi * 2.0**-24)
    return -radius * torch.cos(angle), -radius * torch.sin(angle)


def words(
    source: Streams, purpose: int, blocks: int, t: int, grid: tuple[int, int, int], device: torch.device
) -> tuple[torch.Tensor, ...]:
    """Return four (B, blocks, H, W) tensors of the words of step t, one for each site and channel block."""
    B, H, W = grid
    site = torch.arange(H * W, device=device).view(1, 1, H, W)
    sample = torch.arange(source.first_sample, source.first_sample + B, device=device).view(B, 1, 1, 1) % 2**32
    block = torch.arange(blocks, device=device).view(1, blocks, 1, 1) + (purpose << 16)
    return philox((site, sample, t, block), source.key)


def philox(counter: tuple[Any, ...], key: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """Return four words from four counter words and two key words, by Philox4x32-10."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(ROUNDS):
        (high0, low0), (high1, low1) = product(c0, MULTIPLIER[0]), product(c2, MULTIPLIER[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + WEYL[0]) % 2**32, (k1 + WEYL[1]) % 2**32
    return c0, c1, c2, c3


def product(word: Any, multiplier: int) -> tuple[Any, Any]:
    """Return the upper and the lower 32 bits of a product of 32-bit words, by halves that int64 numbers hold."""
    low = word * (multiplier & 0xFFFF)
    high = word * (multiplier >> 16) + (low >> 16)
    return high >> 16, (high & 0xFFFF) << 16 | low & 0xFFFF
