"""The paper's cell as one writes it in PyTorch: dense, one convolution a layer, eager or compiled.

Arrays are (B, channels, H, W). Randomness is PyTorch's own at each step for which no draws are given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

Draws = tuple[torch.Tensor, torch.Tensor]  # fires (B, 1, H, W) boolean, z (B, D, H, W)

EPSILON = 1e-5


def normalise(norm: str, x: torch.Tensor) -> torch.Tensor:
    if norm == "instance":
        return F.instance_norm(x, eps=EPSILON)
    if norm == "batch":
        return F.batch_norm(x, None, None, training=True, eps=EPSILON)
    if norm == "channel":
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return (x - mean) * torch.rsqrt(variance + EPSILON)
    return x


def draw(state: torch.Tensor) -> Draws:
    B, _, H, W = state.shape
    return torch.rand(B, 1, H, W, device=state.device) < 0.5, torch.randn_like(state)


def step(norm: str, params: Any, image: torch.Tensor, state: torch.Tensor, draws: Draws | None) -> torch.Tensor:
    fire_mask, reset_noise = draws or draw(state)
    x = torch.cat([image, state], 1)
    if "perceive.mix" in params:
        x = F.conv2d(x, params["perceive.mix"])
        x = F.conv2d(x, params["perceive.depthwise"], padding=1, groups=x.shape[1])
    else:
        x = F.conv2d(x, params["perceive.weight"], padding=1)
    x = F.relu(normalise(norm, x))
    for i in range(2):
        x = F.relu(normalise(norm, F.conv2d(x, params[f"hidden.{i}.weight"])))
    candidate = state + F.conv2d(x, params["update.weight"])
    r = torch.sigmoid(F.conv2d(x, params["gate.weight"]))
    return torch.where(fire_mask, r * reset_noise + (1 - r) * candidate, state)


def loss(
    norm: str,
    params: Any,
    image: torch.Tensor,
    state: torch.Tensor,
    label: torch.Tensor,
    draws: Sequence[Draws | None],
    step: Callable[..., torch.Tensor] = step,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The cross-entropy of label (B, H, W), mean over pixels, samples and steps; and the last state."""
    total = state.new_zeros(())
    for drawn in draws:
        state = step(norm, params, image, state, drawn)
        total = total + F.cross_entropy(F.conv2d(state, params["readout.weight"]), label)
    return total / len(draws), state
