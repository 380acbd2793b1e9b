"""The settings of a cell. They choose the automaton; `step.py` defines what a cell does with them.

Source: "Self-classifying MNIST Digits" (Randazzo et al., Distill 2020, doi 10.23915/distill.00027.002),
called *the article* throughout, section "Model"; and "Image segmentation via Cellular Automata" (Sandler et
al., 2020, arXiv 2008.04965), called *the paper*, section 3.

Letters: K image channels, E channels of the environment, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf, isnan
from numbers import Integral, Real
from typing import Any, TypeAlias

from refca.definition.errors import InvalidInput

Array: TypeAlias = Any  # an array of whatever library the backend computes with
Params: TypeAlias = dict[str, Array]

NORMS = ("none", "instance", "batch", "channel")
STRIDES = (1, 2, 4, 8)
LARGEST = 3.4e38  # about the largest number of float32
ENCODER_CHANNELS = 8  # E of a strided cell: output channels of each encoder layer


PYTHON_TYPES = {"int": int, "float": float, "float | None": float, "bool": bool, "str": str}


def in_python(name: str, value: Any, kind: str) -> Any:
    """Return a number of NumPy, or a fraction, as Python's own. Raises InvalidInput for one that no float can hold."""
    try:
        return PYTHON_TYPES[kind](value)
    except OverflowError:
        raise InvalidInput(f"{name} must be in the range of a float, got a larger number") from None


def check_kind(name: str, value: Any, kind: str) -> None:
    """Raise InvalidInput unless a setting has the type of its annotation; NumPy's numbers are numbers too."""
    is_bool = type(value).__name__ in ("bool", "bool_")
    fits = {
        "int": isinstance(value, Integral) and not is_bool,
        "float": isinstance(value, Real) and not is_bool,
        "float | None": value is None or (isinstance(value, Real) and not is_bool),
        "bool": is_bool,
        "str": isinstance(value, str),
    }
    if not fits[kind]:
        got = repr(value) if isinstance(value, str | bytes | Real | None) else type(value).__name__
        raise InvalidInput(f"{name} must be {kind}, got {got}")


@dataclass(frozen=True)
class Cell:
    """The settings of one automaton, immutable and hashable.

    Raises InvalidInput, naming the setting, for an invalid value.
    """

    image_channels: int  # K: channels of the image, which cells cannot change
    state_channels: int  # D: channels that a cell updates and its neighbours read
    hidden_width: int  # P
    labels: int  # L
    hidden_layers: int = 1  # 1×1 layers after the 3×3 layer
    noise: float = 0.0  # sigma: standard deviation of the residual noise; 0: no noise
    fire_rate: float = 0.5  # probability that a cell updates in a step
    alive_above: float | None = None  # a cell is alive if image > float32(alive_above); None: always
    biases: bool = True  # whether layers have biases; the gate and the readout never do
    depthwise: bool = False  # first layer: 1×1, then 3×3 within each channel; else full 3×3
    frozen_filters: bool = False  # keep the random 3×3 weights of the first layer
    norm: str = "none"  # normalisation of each ReLU layer's sums, one of NORMS
    residual: bool = True  # add the proposal to the state; else replace the state by it
    resettable: bool = False  # each cell has a gate that resets its state to noise
    linear_readout: bool = False  # read labels by a linear map of the state; else its last L channels
    stride: int = 1  # pixels per cell on each axis; above 1, encode the image and decode the labels
    normal_start: bool = False  # start from N(0, 1); else from zeros

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            check_kind(field.name, value, str(field.type))
            if value is not None:
                object.__setattr__(self, field.name, in_python(field.name, value, str(field.type)))
        for name in ("image_channels", "state_channels", "hidden_width", "labels"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_layers < 0:
            raise InvalidInput(f"hidden_layers must be at least 0, got {self.hidden_layers}")
        if self.norm not in NORMS:
            raise InvalidInput(f'norm must be one of {", ".join(NORMS)}, got "{self.norm}"')
        if self.stride not in STRIDES:
            raise InvalidInput(f"stride must be one of {', '.join(map(str, STRIDES))}, got {self.stride}")
        if self.stride > 1 and self.linear_readout:
            raise InvalidInput(
                f"linear_readout must be False for a strided cell, whose decoder reads labels; stride is {self.stride}"
            )
        if self.stride > 1 and self.alive_above is not None:
            raise InvalidInput(
                f"alive_above must be None for a strided cell, got {self.alive_above} with stride {self.stride}"
            )
        if self.last_channels and self.labels > self.state_channels:
            raise InvalidInput(f"labels must be at most state_channels, {self.state_channels}, got {self.labels}")
        if not 0 <= self.noise < float("inf"):
            raise InvalidInput(f"noise must be finite and at least 0, got {self.noise}")
        if not 0 <= self.fire_rate <= 1:
            raise InvalidInput(f"fire_rate must be between 0 and 1, got {self.fire_rate}")
        if self.alive_above is not None and isnan(self.alive_above):
            raise InvalidInput("alive_above must be a number or None, got NaN")
        if self.alive_above is not None and LARGEST < abs(self.alive_above) < inf:
            raise InvalidInput(f"alive_above must be in the range of float32 or None, got {self.alive_above}")

    @property
    def environment_channels(self) -> int:
        """E, the channels of the environment: K, or the encoder's output channels for a strided cell."""
        return self.image_channels if self.stride == 1 else ENCODER_CHANNELS

    @property
    def last_channels(self) -> bool:
        """True if the readout is the last L state channels."""
        return self.stride == 1 and not self.linear_readout
