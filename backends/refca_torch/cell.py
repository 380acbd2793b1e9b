"""One step of the cell in PyTorch, with convolutions.

Source: `refca/definition/step.py`.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn.functional import conv2d, layer_norm, relu

from refca.definition.cell import Cell, Params
from refca.definition.step import EPSILON


def step(
    cell: Cell,
    kernels: Params,
    environment: torch.Tensor,
    state: torch.Tensor,
    fire: torch.Tensor,
    noise: Any,
    reset_noise: Any,
) -> torch.Tensor:
    """Return the state after one step, (B, D, H, W).

    environment (B, E, H, W), state, noise and reset_noise (B, D, H, W) or None, fire (B, 1, H, W) boolean.
    """
    x = torch.cat([environment, state], 1)  # (B, E+D, H, W)
    if cell.depthwise:
        x = conv2d(x, kernels["perceive.mix"])
        x = conv2d(x, kernels["perceive.depthwise"], kernels.get("perceive.bias"), padding=1, groups=cell.hidden_width)
    else:
        x = conv2d(x, kernels["perceive.weight"], kernels.get("perceive.bias"), padding=1)
    x = relu(normalise(cell.norm, x))  # (B, P, H, W)
    for i in range(cell.hidden_layers):
        x = relu(normalise(cell.norm, conv2d(x, kernels[f"hidden.{i}.weight"], kernels.get(f"hidden.{i}.bias"))))
    candidate = conv2d(x, kernels["update.weight"], kernels.get("update.bias"))  # (B, D, H, W)
    if cell.noise:
        candidate = candidate + cell.noise * noise
    if cell.residual:
        candidate = state + candidate
    if cell.resettable:
        gate = torch.sigmoid(conv2d(x, kernels["gate.weight"]))  # (B, 1, H, W)
        candidate = gate * reset_noise + (1 - gate) * candidate
    if cell.alive_above is not None:
        fire = fire & (environment[:, :1] > float(np.float32(cell.alive_above)))
    return torch.where(fire, candidate, state)


def normalise(norm: str, x: torch.Tensor) -> torch.Tensor:
    """Return sums (B, P, H, W) with mean 0 and variance 1 in the group of numbers that a norm names."""
    if norm == "instance":
        return torch.group_norm(x, x.shape[1], eps=EPSILON)  # a group is a channel of a sample
    if norm == "batch":
        return torch.batch_norm(x, None, None, None, None, True, 0, EPSILON, torch.backends.cudnn.enabled)
    if norm == "channel":
        return layer_norm(x.movedim(1, -1), x.shape[1:2], eps=EPSILON).movedim(-1, 1)
    return x


def kernels(params: Params) -> Params:
    """Return parameters in PyTorch's order: (out, in, 3, 3), (out, in, 1, 1), or (P, 1, 3, 3) of a depthwise layer.

    Gradients pass through to the parameters.
    """
    found = {}
    for name, x in params.items():
        if name == "perceive.depthwise":
            x = x[:, :, None]  # (3, 3, 1, P)
        elif x.ndim == 2:
            x = x[None, None]  # (1, 1, in, out)
        found[name] = x.permute(3, 2, 0, 1).contiguous() if x.ndim == 4 else x
    return found
