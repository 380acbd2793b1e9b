"""The parameters of a cell: names, shapes and initial values.

Source: the article's training notebook (initial weights); the paper, 3, 3.3 and Table 1 (counts).

Letters: K image channels, E channels of the environment, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

import numpy as np

from refca.definition.cell import ENCODER_CHANNELS, Cell, Params
from refca.definition.generators import WEIGHTS, generator


def param_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every parameter. Input channels: E of the environment, then D of the state."""
    K, E, D = cell.image_channels, cell.environment_channels, cell.state_channels
    P, L = cell.hidden_width, cell.labels
    shapes: dict[str, tuple[int, ...]] = {}
    if cell.depthwise:
        shapes |= {"perceive.mix": (E + D, P), "perceive.depthwise": (3, 3, P)}
    else:
        shapes |= {"perceive.weight": (3, 3, E + D, P)}
    shapes |= {"perceive.bias": (P,)}
    for i in range(cell.hidden_layers):
        shapes |= {f"hidden.{i}.weight": (P, P), f"hidden.{i}.bias": (P,)}
    shapes |= {"update.weight": (P, D), "update.bias": (D,)}
    if cell.resettable:
        shapes |= {"gate.weight": (P, 1)}
    if cell.linear_readout:
        shapes |= {"readout.weight": (D, L)}
    for i, name in enumerate(encoders(cell)):
        shapes |= {name: (3, 3, ENCODER_CHANNELS if i else K, ENCODER_CHANNELS)}
    for i, name in enumerate(decoders(cell)):
        shapes |= {name: (3, 3, L, L if i else D)}
    return {name: shape for name, shape in shapes.items() if cell.biases or not name.endswith("bias")}


def encoders(cell: Cell) -> list[str]:
    """Return the encoder layers from image to environment; each halves the resolution. Empty for stride 1."""
    return ["encode.weight", "encode.1.weight", "encode.2.weight"][: cell.stride.bit_length() - 1]


def decoders(cell: Cell) -> list[str]:
    """Return the decoder layers from state to labels; each doubles the resolution. Empty for stride 1."""
    return ["decode.weight", "decode.1.weight", "decode.2.weight"][: cell.stride.bit_length() - 1]


def frozen(cell: Cell) -> tuple[str, ...]:
    """Return the parameters that training does not change: their gradient is defined as zero."""
    if not cell.frozen_filters:
        return ()
    return ("perceive.depthwise",) if cell.depthwise else ("perceive.weight",)


def init_params(cell: Cell, seed: int) -> Params:
    """Return float32 parameters before training: Glorot uniform weights; zero biases, update layer and gate.

    The zero update layer is the article's: an untrained cell changes by noise and resets alone. A depthwise
    filter has 9 inputs and 9 outputs.
    """
    rng = generator(WEIGHTS, seed)
    params: Params = {}
    for name, shape in param_shapes(cell).items():
        params[name] = np.zeros(shape, np.float32)
        if not name.endswith("bias") and not name.startswith(("update", "gate")):
            *field, n_in, n_out = (*shape[:2], 1, 1) if name == "perceive.depthwise" else shape
            limit = np.sqrt(6 / (np.prod(field) * (n_in + n_out)))
            params[name][...] = rng.uniform(-limit, limit, shape)
    return params
