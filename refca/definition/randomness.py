"""The randomness of a step as data: recorded arrays, or counter-based streams.

A step is a deterministic function of its arguments. Both sources of randomness have one method,

    at(cell, t, B, H, W) -> fire_mask, noise, reset_noise

which returns the last three arguments of `step`: fire_mask (B, H, W) boolean, the cells that fire whether or
not they are alive; noise (B, H, W, D) standard normal, None for a cell without noise; reset_noise (B, H, W, D)
standard normal, None for a cell without a reset gate.

Source: the article, "Model" (stochastic updates) and experiment 2 (noise); the paper, 3.3 (reset);
`spec/chapters/streams.md`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.errors import InvalidInput, check_count
from refca.definition.philox import Words, philox

FIRE, NOISE, RESET, INITIAL, FOLD = range(5)  # purposes, in the upper half of the last counter word
BLOCK = 4  # channels for which one call of Philox gives words


class Draw(NamedTuple):
    """The random arrays of one step."""

    fire_mask: Array  # (B, H, W) boolean
    noise: Array | None  # (B, H, W, D)
    reset_noise: Array | None  # (B, H, W, D)


class Randomness(Protocol):
    """A source of randomness: `Recorded`, `Streams`, or your own."""

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Return the random arrays of step t for B samples on a grid of H×W cells."""


@dataclass(frozen=True, eq=False)
class Recorded:
    """Recorded randomness: fire (T, B, H, W) boolean, noise and reset (T, B, H, W, D) standard normal or None.

    Step t reads entry t. An array that the cell does not use may be None.
    """

    fire: Array
    noise: Array | None = None
    reset: Array | None = None

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Return entry t of each array. Raises InvalidInput past the last step and for arrays that do not fit."""
        for name in ("fire", "noise", "reset"):
            array = getattr(self, name)
            if not hasattr(array, "dtype") and (array is not None or name == "fire"):
                raise InvalidInput(f"{name} must be an array that begins with the step, got {type(array).__name__}")
        if not self.fire.shape:
            raise InvalidInput(f"fire must be boolean (T, {B}, {H}, {W}), got shape ()")
        if not 0 <= t < len(self.fire):
            raise InvalidInput(f"t must be from 0 to {len(self.fire) - 1}, the recorded steps, got {t}")
        if self.fire.shape[1:] != (B, H, W) or not str(self.fire.dtype).endswith("bool"):
            got = f"{self.fire.dtype} {tuple(self.fire.shape)}"
            raise InvalidInput(f"fire must be boolean (T, {B}, {H}, {W}), got {got}")
        if self.reset is not None and not cell.resettable:
            raise InvalidInput("reset must be None for a cell without a reset gate, got an array")
        if cell.noise and self.noise is None:
            raise InvalidInput(f"noise must be an array for a cell with noise {cell.noise}, got None")
        if cell.resettable and self.reset is None:
            raise InvalidInput("reset must be an array for a cell with a reset gate, got None")
        for name, used in (("noise", cell.noise), ("reset", cell.resettable)):
            array, shape = getattr(self, name), (len(self.fire), B, H, W, cell.state_channels)
            if used and (tuple(array.shape) != shape or not str(array.dtype).endswith(("float32", "float64"))):
                got = f"{array.dtype} {tuple(array.shape)}"
                raise InvalidInput(f"{name} must be float32 or float64 {shape}, got {got}")
        noise = self.noise[t] if cell.noise and self.noise is not None else None
        reset_noise = self.reset[t] if cell.resettable and self.reset is not None else None
        return Draw(self.fire[t], noise, reset_noise)


@dataclass(frozen=True)
class Streams:
    """Randomness from Philox with a 64-bit seed: a draw depends on (seed, sample, site, channel, t) alone.

    Sample b of a batch has the number first_sample + b. A run therefore uses the same random numbers in other
    batch slices, on other backends and on several machines.
    """

    seed: int
    first_sample: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_count("seed", self.seed, 64))
        object.__setattr__(self, "first_sample", check_count("first_sample", self.first_sample, 32))

    @property
    def key(self) -> tuple[int, int]:
        """The seed as two 32-bit words, the lower word first."""
        return self.seed % 2**32, self.seed // 2**32

    def fold(self, i: int) -> Streams:
        """Return independent streams for training step i, whose seed is the first two words at counter i."""
        i = check_count("i", i, 64)
        w0, w1, _, _ = philox((i % 2**32, i // 2**32, 0, FOLD << 16), self.key)
        return replace(self, seed=int(w0) + (int(w1) << 32))

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Return the arrays of step t for samples first_sample ... first_sample + B - 1; normals are float64."""
        fire_mask = self.fire_mask(cell.fire_rate, t, B, H, W)
        noise = self.normals(NOISE, t, B, H, W, cell.state_channels) if cell.noise else None
        reset_noise = self.normals(RESET, t, B, H, W, cell.state_channels) if cell.resettable else None
        return Draw(fire_mask, noise, reset_noise)

    def initial(self, B: int, H: int, W: int, D: int) -> Array:
        """Return standard normal initial states, (B, H, W, D) float64."""
        return self.normals(INITIAL, 0, B, H, W, D)

    def fire_mask(self, rate: float, t: int, B: int, H: int, W: int) -> Array:
        """Return the cells that fire, (B, H, W) boolean: first word < round(rate·2³²), exact on any backend."""
        word, _, _, _ = self.words(FIRE, 0, t, B, H, W)
        return word < np.uint64(round(rate * 2**32))

    def normals(self, purpose: int, t: int, B: int, H: int, W: int, channels: int) -> Array:
        """Return standard normal numbers, (B, H, W, channels) float64; channel c comes from block c // 4."""
        if not 1 <= check_count("D", channels, 32) <= BLOCK * 2**16:
            raise InvalidInput(f"D must be from 1 to {BLOCK * 2**16} channels, got {channels}")
        blocks: list[Array] = []
        for block in range(-(-channels // BLOCK)):
            w0, w1, w2, w3 = self.words(purpose, block, t, B, H, W)
            blocks += [*box_muller(w0, w1), *box_muller(w2, w3)]
        return np.stack(blocks[:channels], axis=-1)

    def words(self, purpose: int, block: int, t: int, B: int, H: int, W: int) -> tuple[Words, ...]:
        """Return four (B, H, W) uint32 arrays, from the counter (site y·W+x, sample, t, purpose·2¹⁶ + block).

        Raises InvalidInput unless t, B, H and W are integers from 0 to 2**32 - 1, and H·W is at most 2**32.
        """
        t, B, H, W = (check_count(*each, 32) for each in zip("tBHW", (t, B, H, W), strict=True))
        if H * W > 2**32:
            raise InvalidInput(f"H * W must be at most 2**32 sites, got {H} * {W}")
        site = np.arange(H * W).reshape(1, H, W)
        sample = (np.arange(self.first_sample, self.first_sample + B) % 2**32).reshape(B, 1, 1)
        return philox((site, sample, t, (purpose << 16) + block), self.key)


def box_muller(w0: Words, w1: Words) -> tuple[Array, Array]:
    """Return two independent standard normal arrays: w0 gives the radius, w1 the angle."""
    radius = np.sqrt(-2 * np.log(uniform(w0)))
    angle = 2 * np.pi * uniform(w1)
    return radius * np.cos(angle), radius * np.sin(angle)


def uniform(word: Words) -> Array:
    """Return float64 numbers strictly between 0 and 1, from the upper 24 bits of each word."""
    return ((word >> np.uint32(8)) + 0.5) * 2.0**-24
