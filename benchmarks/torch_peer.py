"""The article's cell as one writes it in PyTorch: dense, one convolution a layer, eager or compiled.

Arrays are (B, channels, H, W), as PyTorch's convolutions are fastest. Randomness is PyTorch's own unless
draws are given, which is how it is checked against the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

Draws = tuple[torch.Tensor, torch.Tensor]  # fires (B, 1, H, W) as numbers, noise (B, D, H, W)


def from_reference(x: np.ndarray, device: str = "cpu") -> torch.Tensor:
    """(B, H, W, channels) as (B, channels, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))).to(device)


def to_reference(x: torch.Tensor) -> np.ndarray:
    return np.moveaxis(x.detach().cpu().numpy(), 1, -1)


def load_params(params: dict[str, np.ndarray], device: str = "cpu") -> dict[str, torch.Tensor]:
    """Weights as convolution kernels: (out, in, 3, 3), (out, in, 1, 1), or depthwise (out, 1, 3, 3)."""
    loaded = {}
    for name, x in params.items():
        if x.ndim == 2:
            x = x[None, None]
        if x.ndim == 3:
            x = x[:, :, None]
        if x.ndim == 4:
            x = np.transpose(x, (3, 2, 0, 1))
        loaded[name] = torch.from_numpy(np.array(x)).to(device).requires_grad_()
    return loaded


def grads_to_reference(params: dict[str, torch.Tensor], like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    grads = {}
    for name, p in params.items():
        assert p.grad is not None
        grad = p.grad.cpu().numpy()
        grads[name] = (np.transpose(grad, (2, 3, 1, 0)) if grad.ndim == 4 else grad).reshape(like[name].shape)
    return grads


def draw(state: torch.Tensor) -> Draws:
    B, _, H, W = state.shape
    return (torch.rand(B, 1, H, W, device=state.device) < 0.5).float(), torch.randn_like(state)


def step(params: Any, image: torch.Tensor, state: torch.Tensor, draws: Draws | None = None) -> torch.Tensor:
    fire_mask, noise = draws or draw(state)
    x = torch.cat([image, state], 1)
    x = F.relu(F.conv2d(x, params["perceive.weight"], params["perceive.bias"], padding=1))
    x = F.relu(F.conv2d(x, params["hidden.0.weight"], params["hidden.0.bias"]))
    x = F.conv2d(x, params["update.weight"], params["update.bias"]) + 0.02 * noise
    return state + x * fire_mask * (image > 0.1).float()


def unroll(
    params: Any,
    image: torch.Tensor,
    state: torch.Tensor,
    steps: int,
    draws: Any = None,
    step: Callable[..., torch.Tensor] = step,
) -> torch.Tensor:
    for t in range(steps):
        state = step(params, image, state, draws[t] if draws else None)
    return state


def loss(
    params: Any,
    image: torch.Tensor,
    state: torch.Tensor,
    label: torch.Tensor,
    steps: int,
    draws: Any = None,
    step: Callable[..., torch.Tensor] = step,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The L2 loss at the last step, mean over the batch, and the last state."""
    state = unroll(params, image, state, steps, draws, step)
    error = state[:, -10:] - F.one_hot(label, 10).float()[:, :, None, None]
    return (error**2 * (image > 0.1)).sum() / 2 / len(image), state
