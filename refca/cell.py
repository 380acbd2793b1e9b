"""The cell: the settings that make one automaton of it, and the parameters that it learns.

Everything here is data. What a cell does with its settings is in `step.py`.

Source: "Self-classifying MNIST Digits" (Randazzo et al., Distill 2020, doi 10.23915/distill.00027.002),
called *the article* throughout, section "Model"; and "Image segmentation via Cellular Automata" (Sandler et
al., 2020, arXiv 2008.04965), called *the paper*, sections 3.1 to 3.5.

Letters: K image channels, E channels of the environment, D state channels, P hidden width, L labels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from refca.refused import Refused
from refca.seeds import WEIGHTS, generator

if TYPE_CHECKING:
    from refca.randomness import Streams

Array: TypeAlias = Any  # an array of whatever library the backend computes with
Params: TypeAlias = dict[str, Array]

NORMS = ("none", "instance", "batch", "channel")
STRIDES = (1, 2, 4, 8)
ENCODED = 8  # E of a strided cell: the channels that each of its encoder's layers makes


@dataclass(frozen=True)
class Cell:
    """The settings of one automaton. Instances are immutable and hashable.

    Raises Refused, naming the setting, for a value that no cell can have.
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
                raise Refused(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.hidden_layers < 0:
            raise Refused(f"hidden_layers must be at least 0, got {self.hidden_layers}")
        if self.norm not in NORMS:
            raise Refused(f'unknown norm "{self.norm}"; known are {", ".join(NORMS)}')
        if self.stride not in STRIDES:
            raise Refused(f"stride must be one of {', '.join(map(str, STRIDES))}, got {self.stride}")
        if self.stride > 1 and self.linear_readout:
            raise Refused("a strided cell is read out by its decoder; linear_readout must be False")
        if self.stride > 1 and self.alive_above is not None:
            raise Refused("every cell of a strided automaton is alive; alive_above must be None")
        if self.last_channels and self.labels > self.state_channels:
            raise Refused(f"{self.labels} labels do not fit in {self.state_channels} state channels")
        if not 0 <= self.noise < float("inf"):
            raise Refused(f"noise must be a finite number that is not negative, got {self.noise}")
        if not 0 <= self.fire_rate <= 1:
            raise Refused(f"fire_rate must be between 0 and 1, got {self.fire_rate}")
        if self.alive_above is not None and self.alive_above != self.alive_above:
            raise Refused("alive_above must be a number or None, got NaN")

    @property
    def environment_channels(self) -> int:
        """E: what a cell sees of the image, K channels, or those of the encoder of a strided cell."""
        return self.image_channels if self.stride == 1 else ENCODED

    @property
    def last_channels(self) -> bool:
        """Whether the readout is the last L state channels."""
        return self.stride == 1 and not self.linear_readout


def digits_cell(noise: float = 0.02) -> Cell:
    """The article's cell: 22,499 parameters. `noise=0` is its "L2" and "CE" models, 0.02 its "L2 + noise"."""
    return Cell(image_channels=1, state_channels=19, hidden_width=80, labels=10, noise=noise, alive_above=0.1)


def segmentation_cell(
    state: int = 48,
    hidden: int = 72,
    norm: str = "instance",
    depthwise: bool = False,
    resettable: bool = True,
    residual: bool = True,
    stride: int = 1,
    frozen_filters: bool = False,
) -> Cell:
    """The paper's cell for photographs and three labels; Table 1 has (32, 48), (48, 72) and (64, 96)."""
    return Cell(
        image_channels=3,
        state_channels=state,
        hidden_width=hidden,
        labels=3,
        hidden_layers=2,
        biases=False,
        depthwise=depthwise,
        frozen_filters=frozen_filters,
        norm=norm,
        residual=residual,
        resettable=resettable,
        linear_readout=stride == 1,
        stride=stride,
        normal_start=True,
    )


def param_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    """The name and shape of every parameter. Input channels are the environment's E, then the state's D."""
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
        shapes |= {name: (3, 3, ENCODED if i else K, ENCODED)}
    for i, name in enumerate(decoders(cell)):
        shapes |= {name: (3, 3, L, L if i else D)}
    return {name: shape for name, shape in shapes.items() if cell.biases or not name.endswith("bias")}


def encoders(cell: Cell) -> list[str]:
    """The layers from image to environment, in order; each halves the resolution. None without a stride."""
    return ["encode.weight", "encode.1.weight", "encode.2.weight"][: cell.stride.bit_length() - 1]


def decoders(cell: Cell) -> list[str]:
    """The layers from state to labels, in order; each doubles the resolution. None without a stride."""
    return ["decode.weight", "decode.1.weight", "decode.2.weight"][: cell.stride.bit_length() - 1]


def frozen(cell: Cell) -> tuple[str, ...]:
    """The parameters that training leaves as they are: their gradient is zero."""
    if not cell.frozen_filters:
        return ()
    return ("perceive.depthwise",) if cell.depthwise else ("perceive.weight",)


def init_params(cell: Cell, seed: int) -> Params:
    """Float32 parameters before training: Glorot uniform weights; zero biases, update layer and gate.

    With a zero update layer an untrained cell does nothing (but its noise, and what its gate resets), as in
    the article's code. A depthwise filter has 9 inputs and 9 outputs.
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


def init_state(cell: Cell, image: Array, streams: Streams | None = None, *, backend: Any = None) -> Array:
    """The state before the first step, (B, H, W, D), in the dtype and the library of image (B, sH, sW, K).

    Zeros; or for a cell with a normal start N(0, 1), a new array at each call, drawn from `streams`, without
    which Refused is raised. A backend's own `initial` draws them if `backend` has one.
    """
    B, H, W = grid(cell, image)
    if not cell.normal_start:
        return np.zeros_like(image, shape=(B, H, W, cell.state_channels))
    if streams is None:
        raise Refused("this cell starts from noise: init_state needs streams, such as Streams(seed)")
    return normal_start(streams, image, (B, H, W, cell.state_channels), backend)


def normal_start(streams: Streams, like: Array, shape: tuple[int, ...], backend: Any = None) -> Array:
    """The initial numbers of the streams, (B, H, W, D), in the dtype and the library of another array; by the
    backend's own `initial`, if it has one and computes in that dtype."""
    if hasattr(backend, "initial") and str(like.dtype) == "float32":
        return backend.initial(streams, *shape)
    return np.asarray(streams.initial(*shape), like.dtype, like=like)


def grid(cell: Cell, image: Array) -> tuple[int, int, int]:
    """Samples, rows and columns of cells beside an image (B, sH, sW, K) whose sides the stride s divides."""
    B, rows, columns, _ = image.shape
    return B, rows // cell.stride, columns // cell.stride
