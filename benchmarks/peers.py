"""The peers of the benchmarks: refca's backends in PyTorch and JAX, which compute as one writes the cell there.

They draw from the frameworks' own generators where they are timed, and recorded numbers where they are checked.

Letters: B samples, H×W grid, D state channels, S counted steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import refca
from refca.definition.randomness import Draw


class TorchDraws:
    """The randomness of PyTorch's default generator on a device."""

    def __init__(self, device: str = "cpu") -> None:
        import torch

        self.torch, self.device = torch, device

    def at(self, cell: refca.Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Return new random arrays."""
        fire = self.torch.rand(B, H, W, device=self.device) < cell.fire_rate
        shape = B, cell.state_channels, H, W

        def normal() -> Any:
            return self.torch.randn(shape, device=self.device).movedim(1, -1)

        return Draw(fire, normal() if cell.noise else None, normal() if cell.resettable else None)


class JaxDraws(NamedTuple):
    """The randomness of JAX's generator, drawn inside of compiled functions."""

    key: Any

    def at(self, cell: refca.Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Return the random arrays of step t."""
        import jax

        return self.draw_traced(cell, t, jax.ShapeDtypeStruct((B, H, W, cell.state_channels), np.float32))

    def draw_traced(self, cell: refca.Cell, i: Any, like: Any) -> Draw:
        """Return the random arrays of step i for a state (B, H, W, D)."""
        import jax

        fire, noise, reset_noise = jax.random.split(jax.random.fold_in(self.key, i), 3)
        mask = jax.random.bernoulli(fire, cell.fire_rate, like.shape[:3])
        noise, reset_noise = (jax.random.normal(key, like.shape, like.dtype) for key in (noise, reset_noise))
        return Draw(mask, noise if cell.noise else None, reset_noise if cell.resettable else None)


def jax_draws(seed: int) -> Any:
    """Return the randomness of JAX's generator for a seed."""
    import jax

    return JaxDraws(jax.random.key(seed))


def torch_loss(kind: str, states: Any, params: Any, image: Any, label: Any) -> Any:
    """Return the loss of states (S, B, H, W, D): "l2" of digits' last state, or "ce" of all states of photographs."""
    from torch.nn.functional import cross_entropy, one_hot

    if kind == "l2":
        error = states[-1][..., -10:] - one_hot(label, 10).float()[:, None, None]
        return (error**2 * (image > 0.1)).sum() / 2 / len(image)
    logits = states @ params["readout.weight"]  # (S, B, H, W, 3)
    return cross_entropy(logits.flatten(0, 3), label.expand(logits.shape[:4]).flatten())


def jax_loss(kind: str, states: Any, params: Any, image: Any, label: Any) -> Any:
    """Return what `torch_loss` returns, for arrays of JAX."""
    import jax

    if kind == "l2":
        error = states[-1][..., -10:] - jax.nn.one_hot(label, 10, dtype=states.dtype)[:, None, None]
        return (error**2 * (image > np.float32(0.1))).sum() / 2 / len(image)
    logs = jax.nn.log_softmax(states @ params["readout.weight"])  # (S, B, H, W, 3)
    return -(logs * jax.nn.one_hot(label, 3, dtype=states.dtype)).sum(-1).mean()
