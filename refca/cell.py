"""The cell: the settings that make one automaton of it, and the parameters that it learns.

Everything here is data. What a cell does with its settings is in `step.py`.

Source: "Self-classifying MNIST Digits" (Randazzo et al., Distill 2020, doi 10.23915/distill.00027.002),
called *the article* throughout; section "Model".

Letters: K image channels, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from refca.refused import Refused
from refca.seeds import WEIGHTS, generator

Array: TypeAlias = Any  # an array of whatever library the backend computes with
Params: TypeAlias = dict[str, Array]


@dataclass(frozen=True)
class Cell:
    """The settings of one automaton. Instances are immutable and hashable.

    Raises Refused, naming the setting, for a value that no cell can have.
    """

    image_channels: int  # K: what a cell sees of the image and cannot change
    state_channels: int  # D: what a cell sends to its neighbours; the last L of them are its readout
    hidden_width: int  # P
    labels: int  # L
    hidden_layers: int = 1  # 1×1 layers after the 3×3 one
    noise: float = 0.0  # sigma, the standard deviation of the residual noise; 0: none
    fire_rate: float = 0.5  # the probability with which a cell updates in a step
    alive_above: float | None = None  # a cell is alive if its image exceeds this float32; None: always

    def __post_init__(self) -> None:
        for name in ("image_channels", "state_channels", "hidden_width", "labels"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_layers < 0:
            raise Refused(f"hidden_layers must be at least 0, got {self.hidden_layers}")
        if self.labels > self.state_channels:
            raise Refused(f"{self.labels} labels do not fit in {self.state_channels} state channels")
        if not 0 <= self.noise < float("inf"):
            raise Refused(f"noise must be a finite number that is not negative, got {self.noise}")
        if not 0 <= self.fire_rate <= 1:
            raise Refused(f"fire_rate must be between 0 and 1, got {self.fire_rate}")
        if self.alive_above is not None and self.alive_above != self.alive_above:
            raise Refused("alive_above must be a number or None, got NaN")


def digits_cell(noise: float = 0.02) -> Cell:
    """The article's cell: 22,499 parameters. `noise=0` is its "L2" and "CE" models, 0.02 its "L2 + noise"."""
    return Cell(image_channels=1, state_channels=19, hidden_width=80, labels=10, noise=noise, alive_above=0.1)


def param_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter. Input channels are the image's K, then the state's D."""
    K, D, P = cell.image_channels, cell.state_channels, cell.hidden_width
    shapes: dict[str, tuple[int, ...]] = {"perceive.weight": (3, 3, K + D, P), "perceive.bias": (P,)}
    for i in range(cell.hidden_layers):
        shapes |= {f"hidden.{i}.weight": (P, P), f"hidden.{i}.bias": (P,)}
    return shapes | {"update.weight": (P, D), "update.bias": (D,)}


def init_params(cell: Cell, seed: int) -> Params:
    """Float32 parameters before training: Glorot uniform weights, zero biases, a zero update layer.

    With a zero update layer an untrained cell does nothing (but its noise), as in the article's code.
    """
    rng = generator(WEIGHTS, seed)
    params: Params = {}
    for name, shape in param_shapes(cell).items():
        params[name] = np.zeros(shape, np.float32)
        if name.endswith("weight") and not name.startswith("update"):
            *field, n_in, n_out = shape
            limit = np.sqrt(6 / (np.prod(field) * (n_in + n_out)))
            params[name][...] = rng.uniform(-limit, limit, shape)
    return params


def init_state(cell: Cell, image: Array) -> Array:
    """The state before the first step, zeros: (B, H, W, D) beside an image (B, H, W, K), of its dtype."""
    return np.zeros_like(image, shape=(*image.shape[:3], cell.state_channels))
