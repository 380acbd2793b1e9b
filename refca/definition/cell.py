"""The cell: the settings that make one automaton of it, and the parameters that it learns.

Everything here is data. What a cell does with its settings is in `step.py`.

Source: "Self-classifying MNIST Digits" (Randazzo et al., Distill 2020, doi 10.23915/distill.00027.002),
called *the article* throughout, section "Model"; and "Image segmentation via Cellular Automata" (Sandler et
al., 2020, arXiv 2008.04965), called *the paper*, sections 3.1 to 3.5.

Letters: K image channels, E channels of the environment, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from refca.definition.errors import InvalidInput

Array: TypeAlias = Any  # an array of whatever library the backend computes with
Params: TypeAlias = dict[str, Array]

NORMS = ("none", "instance", "batch", "channel")
STRIDES = (1, 2, 4, 8)
ENCODER_CHANNELS = 8  # E of a strided cell: the channels that each of its encoder's layers makes


@dataclass(frozen=True)
class Cell:
    """The settings of one automaton. Instances are immutable and hashable.

    Raises InvalidInput, naming the setting, for a value that no cell can have.
    """

    image_channels: int  # K: what the image has, and no cell can change
    state_channels: int  # D: what a cell sends to its neighbours
    hidden_width: int  # P
    labels: int  # L
    hidden_layers: int = 1  # 1×1 layers after the 3×3 one
    noise: float = 0.0  # sigma, the standard deviation of the residual noise; 0: none
    fire_rate: float = 0.5  # the probability with which a cell updates in a step
    alive_above: float | None = None  # a cell is alive if its image exceeds this float32; None: always
    biases: bool = True  # of the layers; the gate and the readout never have one
    depthwise: bool = False  # the first layer is 1×1, then 3×3 within each channel; else it is a full 3×3
    frozen_filters: bool = False  # the first layer's 3×3 weights stay as they began
    norm: str = "none"  # over what each ReLU layer's sums are normalised, one of NORMS
    residual: bool = True  # the proposal is added to the state; else it takes its place
    resettable: bool = False  # a gate in each cell can reset its state to noise
    linear_readout: bool = False  # a linear map of the state; else its last L channels
    stride: int = 1  # pixels from one cell to the next; above 1 the image is encoded, labels are decoded
    normal_start: bool = False  # the state starts as N(0, 1); else as zeros

    def __post_init__(self) -> None:
        for name in ("image_channels", "state_channels", "hidden_width", "labels"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_layers < 0:
            raise InvalidInput(f"hidden_layers must be at least 0, got {self.hidden_layers}")
        if self.norm not in NORMS:
            raise InvalidInput(f'unknown norm "{self.norm}"; known are {", ".join(NORMS)}')
        if self.stride not in STRIDES:
            raise InvalidInput(f"stride must be one of {', '.join(map(str, STRIDES))}, got {self.stride}")
        if self.stride > 1 and self.linear_readout:
            raise InvalidInput("a strided cell is read out by its decoder; linear_readout must be False")
        if self.stride > 1 and self.alive_above is not None:
            raise InvalidInput("every cell of a strided automaton is alive; alive_above must be None")
        if self.last_channels and self.labels > self.state_channels:
            raise InvalidInput(f"{self.labels} labels do not fit in {self.state_channels} state channels")
        if not 0 <= self.noise < float("inf"):
            raise InvalidInput(f"noise must be a finite number that is not negative, got {self.noise}")
        if not 0 <= self.fire_rate <= 1:
            raise InvalidInput(f"fire_rate must be between 0 and 1, got {self.fire_rate}")
        if self.alive_above is not None and self.alive_above != self.alive_above:
            raise InvalidInput("alive_above must be a number or None, got NaN")

    @property
    def environment_channels(self) -> int:
        """E: what a cell sees of the image, K channels, or those of the encoder of a strided cell."""
        return self.image_channels if self.stride == 1 else ENCODER_CHANNELS

    @property
    def last_channels(self) -> bool:
        """Whether the readout is the last L state channels."""
        return self.stride == 1 and not self.linear_readout
