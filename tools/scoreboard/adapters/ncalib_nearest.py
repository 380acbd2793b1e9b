"""ncalib as near to the article as its settings go: zero padding, and an alive mask without a neighbourhood.

Its 3x3 layer is a list of filters that all channels share, then a 1x1 layer; with the nine filters that pick one
neighbour each, the two are any 3x3 layer.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

import adapters.torchvision_alone  # noqa: F401  before ncalib, which imports torchvision

# isort: split
from ncalib.nca.models.linear import LinearNCAModel
from ncalib.nca.modular_nca import ModularNCA
from ncalib.nca.perception.filter import ConvPerception
from ncalib.nca.state_updater.alive_masking import AliveMasking
from ncalib.nca.state_updater.asynchronous_update import AsynchronousUpdate
from ncalib.nca.state_updater.noise import AddNormalNoiseStateUpdater
from ncalib.nca.state_updater.simple_update import FixedStatesUpdater, SimpleStateUpdater

from adapters.draws import answer, answering
from adapters.torch_side import Steps, first, last

dtypes = ("float32",)  # PyTorch's default


def supports(cell: Any) -> Any:
    """Return True for cells like the article's, or the reason why the library has no such cell."""
    for missing, reason in (
        (cell.norm != "none", "its model has no norm"),
        (cell.resettable, "it has no reset gate"),
        (cell.stride > 1, "it has no encoder"),
        (cell.depthwise, "its model has no depthwise layer after a 1x1 layer"),
        (not cell.biases, "its hidden layers have biases"),
        (not cell.residual, "its update is added to the state"),
    ):
        if missing:
            return reason
    return True


@cache
def automaton(cell: Any, padding: str = "constant", pool: int = 1) -> ModularNCA:
    """Return the library's automaton: noise, fire mask, addition, fixed image and alive mask in this order."""
    K, channels = cell.image_channels, cell.image_channels + cell.state_channels
    model = LinearNCAModel(9 * channels, channels, cell.hidden_width, 1 + cell.hidden_layers)
    update = (
        AsynchronousUpdate(update_probability=cell.fire_rate) + SimpleStateUpdater() + FixedStatesUpdater(slice(0, K))
    )
    if cell.noise:
        update = AddNormalNoiseStateUpdater(std=cell.noise) + update
    if cell.alive_above is not None:
        mask = AliveMasking(
            threshold=cell.alive_above, max_pool_size=pool, alpha_channel=0, ignore_channels=slice(0, K)
        )
        update = update + mask
    perception = ConvPerception(9, padding_mode=padding)
    return ModularNCA(channels, perception, model, update_function=update, check_reproducibility=False)


def weights_of(cell: Any, params: Any) -> dict[str, torch.Tensor]:
    """Return the weights of a cell under the library's names; those that change the image are zero."""
    K, P = cell.image_channels, cell.hidden_width
    like = params["perceive.weight"]
    named = {"perception.kernel": torch.eye(9, dtype=like.dtype).reshape(9, 1, 3, 3)}
    # (3, 3, channels, P) -> (P, channels, 3, 3) -> (P, channels * 9)
    named["model.conv_hidden.0.weight"] = like.permute(3, 2, 0, 1).reshape(P, -1, 1, 1)
    named["model.conv_hidden.0.bias"] = params["perceive.bias"]
    for i in range(cell.hidden_layers):
        named[f"model.conv_hidden.{2 * i + 2}.weight"] = params[f"hidden.{i}.weight"].T[..., None, None]
        named[f"model.conv_hidden.{2 * i + 2}.bias"] = params[f"hidden.{i}.bias"]
    out = torch.cat([torch.zeros(K, P, dtype=like.dtype), params["update.weight"].T])
    named["model.conv_output.weight"] = out[..., None, None]
    named["model.conv_output.bias"] = torch.cat([torch.zeros(K, dtype=like.dtype), params["update.bias"]])
    return named


def differentiable(
    cell: Any,
    params: Any,
    environment: Any,
    state: Any,
    fire: Any,
    noise: Any,
    padding: str = "constant",
    pool: int = 1,
) -> torch.Tensor:
    """Return the library's state after one step, (B, H, W, D)."""
    before = first(torch.cat([environment, state], -1))

    def rand(shape: Any, **_: Any) -> torch.Tensor:
        return answer(torch.where(fire[:, None], 0.0, 1.0), shape)  # the library compares: below its probability

    def normal(mean: float, std: float, shape: Any, **_: Any) -> torch.Tensor:
        image_noise = torch.zeros_like(environment)
        return mean + std * answer(first(torch.cat([image_noise, noise], -1)), shape)

    with answering(torch, rand=rand, normal=normal):
        after = torch.func.functional_call(automaton(cell, padding, pool), weights_of(cell, params), (before,))
    return last(after)[..., cell.image_channels :]


steps = Steps(differentiable)
step, unroll_grads = steps.step, steps.unroll_grads
