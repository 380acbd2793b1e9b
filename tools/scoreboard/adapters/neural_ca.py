"""neural-ca with a net like the article's. It gathers neighbours; nets, masks and noise are left to its user."""

from __future__ import annotations

from typing import Any

import torch
from nca import NCA
from torch.nn.functional import linear, relu

from adapters.torch_side import Steps, first, last

dtypes = ("float32",)  # PyTorch's default


def supports(cell: Any) -> Any:
    """Return True for cells that all update in every step, or the reason why the library has no such cell."""
    for missing, reason in (
        (cell.fire_rate < 1, "it has no fire mask"),
        (cell.alive_above is not None, "it has no aliveness"),
        (cell.noise, "it has no noise"),
        (cell.norm != "none", "it has no norm"),
        (cell.resettable, "it has no reset gate"),
        (cell.stride > 1, "it has no encoder"),
        (cell.depthwise, "it has no depthwise layer"),
    ):
        if missing:
            return reason
    return True


def differentiable(cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any) -> torch.Tensor:
    """Return the library's state after one step, (B, H, W, D)."""
    K, P = cell.image_channels, cell.hidden_width
    nca = NCA("moore", channels=K + cell.state_channels, padding="zeros", residual=cell.residual)
    rows, columns = (1 + torch.tensor(offsets) for offsets in zip(*nca.offsets, strict=True))
    # (9, channels, P), its neighbours in the library's order -> (P, channels * 9)
    perceive = params["perceive.weight"][rows, columns].permute(2, 1, 0).reshape(P, -1)

    def net(seen: torch.Tensor) -> torch.Tensor:
        hidden = relu(linear(seen, perceive, params.get("perceive.bias")))
        for i in range(cell.hidden_layers):
            hidden = relu(linear(hidden, params[f"hidden.{i}.weight"].T, params.get(f"hidden.{i}.bias")))
        proposal = linear(hidden, params["update.weight"].T, params.get("update.bias"))
        return torch.cat([torch.zeros_like(environment), proposal], -1)  # the image does not change

    after = nca.process(net, first(torch.cat([environment, state], -1)))
    return last(after)[..., K:]


steps = Steps(differentiable)
step, unroll_grads = steps.step, steps.unroll_grads
