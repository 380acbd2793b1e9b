"""Steps and gradients of a library in PyTorch, for NumPy arrays.

`differentiable(cell, params, environment, state, fire, noise)` is one step of the library on tensors
(B, H, W, channels).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

torch.set_num_threads(1)


def first(x: torch.Tensor) -> torch.Tensor:
    """Return (B, H, W, channels) as (B, channels, H, W)."""
    return x.permute(0, 3, 1, 2)


def last(x: torch.Tensor) -> torch.Tensor:
    """Return (B, channels, H, W) as (B, H, W, channels)."""
    return x.permute(0, 2, 3, 1)


def tensor(x: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(x, order="C"))


def draws(randomness: Any, cell: Any, t: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return the fire mask and the noise of step t; the noise may be None."""
    fire, noise, _ = randomness.at(cell, t, *like.shape[:3])
    return tensor(fire), None if noise is None else tensor(noise).to(like.dtype)


class Steps:
    """The functions `step` and `unroll_grads` of a backend, from a differentiable step."""

    def __init__(self, differentiable: Any) -> None:
        self.differentiable = differentiable

    def step(self, cell: Any, params: Any, environment: Any, state: Any, fire: Any, noise: Any, reset: Any) -> Any:
        """Return the library's state after one step."""
        with torch.no_grad():
            tensors = {name: tensor(x) for name, x in params.items()}
            given = tensor(environment), tensor(state), tensor(fire), None if noise is None else tensor(noise)
            return self.differentiable(cell, tensors, *given).numpy()

    def unroll_grads(self, *given: Any, first_step: int = 0, inputs_grad: bool = True) -> Any:
        """Unroll the library's steps and differentiate an objective of its states by PyTorch's autograd."""
        cell, params, environment, state, randomness, in_loss, objective = given
        leaves = {name: tensor(x).requires_grad_() for name, x in params.items()}
        around, now = tensor(environment).requires_grad_(), tensor(state).requires_grad_()
        start, states = now, []
        for t, counts in enumerate(in_loss, first_step):
            now = self.differentiable(cell, leaves, around, now, *draws(randomness, cell, t, now))
            states += [now] * bool(counts)
        counted = torch.stack(states)
        value, gradient = objective(counted.detach().numpy(), slice(None))
        inputs = [*leaves.values(), around, start]
        found = torch.autograd.grad(counted, inputs, tensor(gradient), allow_unused=True)
        *of_params, of_environment, of_state = (
            (torch.zeros_like(x) if grad is None else grad).numpy() for x, grad in zip(inputs, found, strict=True)
        )
        return float(value), dict(zip(leaves, of_params, strict=True)), of_environment, of_state, now.detach().numpy()
