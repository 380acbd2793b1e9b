"""The randomness of a step, as data: recorded, or drawn from counter-based streams.

A step is a deterministic function of what it is given. Both sources have the same one method,

    at(cell, t, B, H, W) -> fires, noise, z

the last three arguments of `step`: fires (B, H, W) boolean, drawn before aliveness is known; noise
(B, H, W, D) standard normal, None for a cell without noise; z (B, H, W, D) standard normal, what a reset gate
resets to, None for a cell without one.

Source: the article, "Model" (stochastic updates) and experiment 2 (noise); the paper, 3.3 (reset);
`spec/chapters/streams.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from operator import index
from typing import NamedTuple, Protocol

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.errors import InvalidInput
from refca.definition.philox import Words, philox

FIRE, NOISE, RESET, INITIAL, FOLD = range(5)  # purposes, in the upper half of the last counter word
BLOCK = 4  # channels that one call of Philox serves


class Draw(NamedTuple):
    fires: Array
    noise: Array | None
    z: Array | None


class Randomness(Protocol):
    """What `evolve` and `loss_and_grads` draw from."""

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw: ...


@dataclass(frozen=True)
class Recorded:
    """Randomness made elsewhere: fire (T, B, H, W) boolean, noise and reset (T, B, H, W, D) or None.

    Step t reads entry t. A source that the cell does not use is None.
    """

    fire: Array
    noise: Array | None = None
    reset: Array | None = None

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Entry t of each array. Raises InvalidInput past the last step and for arrays that do not fit."""
        if not 0 <= t < len(self.fire):
            raise InvalidInput(f"step {t} was asked of randomness recorded for {len(self.fire)} steps")
        if self.fire.shape[1:] != (B, H, W) or str(self.fire.dtype) != "bool":
            got = f"{self.fire.dtype} {tuple(self.fire.shape)}"
            raise InvalidInput(f"fire must be boolean (T, {B}, {H}, {W}), got {got}")
        if self.reset is not None and not cell.resettable:
            raise InvalidInput("reset must be None: this cell has no reset gate")
        if cell.noise and self.noise is None:
            raise InvalidInput(f"a cell with noise {cell.noise} needs recorded noise, got None")
        if cell.resettable and self.reset is None:
            raise InvalidInput("a cell with a reset gate needs recorded reset, got None")
        for name, used in (("noise", cell.noise), ("reset", cell.resettable)):
            array, shape = getattr(self, name), (len(self.fire), B, H, W, cell.state_channels)
            if used and (len(array) <= t or array.shape[1:] != shape[1:]):
                raise InvalidInput(f"{name} must be {shape}, got {tuple(array.shape)}")
        noise = self.noise[t] if cell.noise and self.noise is not None else None
        z = self.reset[t] if cell.resettable and self.reset is not None else None
        return Draw(self.fire[t], noise, z)


@dataclass(frozen=True)
class Streams:
    """Randomness from Philox, keyed by a 64-bit seed: a draw depends on (seed, sample, cell, channel, t).

    Sample b of a batch is number first_sample + b. So the same run in other batch slices, on another
    backend or on several machines, uses the same numbers.
    """

    seed: int
    first_sample: int = 0

    def __post_init__(self) -> None:
        for name in ("seed", "first_sample"):
            object.__setattr__(self, name, index(getattr(self, name)))  # NumPy's integers too
        if not 0 <= self.seed < 2**64:
            raise InvalidInput(f"a seed is an integer from 0 to 2**64 - 1, got {self.seed}")
        if not 0 <= self.first_sample < 2**32:
            raise InvalidInput(f"first_sample is an integer from 0 to 2**32 - 1, got {self.first_sample}")

    @property
    def key(self) -> tuple[int, int]:
        """The seed as two words, the lower one first."""
        return self.seed % 2**32, self.seed // 2**32

    def fold(self, i: int) -> Streams:
        """Independent streams for training step i: their seed is the first two words at counter i."""
        if not 0 <= i < 2**64:
            raise InvalidInput(f"a training step is an integer from 0 to 2**64 - 1, got {i}")
        w0, w1, _, _ = philox((i % 2**32, i // 2**32, 0, FOLD << 16), self.key)
        return replace(self, seed=int(w0) + (int(w1) << 32))

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """The draws of step t for samples first_sample … first_sample + B - 1; noise and z are float64."""
        noise = self.normals(NOISE, t, B, H, W, cell.state_channels) if cell.noise else None
        z = self.normals(RESET, t, B, H, W, cell.state_channels) if cell.resettable else None
        return Draw(self.fires(cell.fire_rate, t, B, H, W), noise, z)

    def initial(self, B: int, H: int, W: int, D: int) -> Array:
        """A state to start from, (B, H, W, D) float64, standard normal."""
        return self.normals(INITIAL, 0, B, H, W, D)

    def fires(self, rate: float, t: int, B: int, H: int, W: int) -> Array:
        """Which cells fire, (B, H, W): those whose first word is below round(rate·2³²). Exact everywhere."""
        word, _, _, _ = self.words(FIRE, 0, t, B, H, W)
        return word < np.uint64(round(rate * 2**32))

    def normals(self, purpose: int, t: int, B: int, H: int, W: int, channels: int) -> Array:
        """Standard normal numbers, (B, H, W, channels) float64: block c // 4 gives channel c."""
        blocks = []
        for block in range(-(-channels // BLOCK)):
            w0, w1, w2, w3 = self.words(purpose, block, t, B, H, W)
            blocks += [*box_muller(w0, w1), *box_muller(w2, w3)]
        return np.stack(blocks[:channels], axis=-1)

    def words(self, purpose: int, block: int, t: int, B: int, H: int, W: int) -> tuple[Words, ...]:
        """Four (B, H, W) uint32 arrays. The counter is: cell y·W+x; sample; t; purpose·2¹⁶ + block."""
        cell = np.arange(H * W).reshape(1, H, W)
        sample = (np.arange(self.first_sample, self.first_sample + B) % 2**32).reshape(B, 1, 1)
        return philox((cell, sample, t, (purpose << 16) + block), self.key)


def box_muller(w0: Words, w1: Words) -> tuple[Array, Array]:
    """Two independent standard normal numbers: the radius from the first word, the angle from the second."""
    radius = np.sqrt(-2 * np.log(uniform(w0)))
    angle = 2 * np.pi * uniform(w1)
    return radius * np.cos(angle), radius * np.sin(angle)


def uniform(word: Words) -> Array:
    """A float64 in (0, 1), never 0 nor 1, from the upper 24 bits of a word."""
    return ((word >> np.uint32(8)) + 0.5) * 2.0**-24
