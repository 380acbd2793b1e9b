"""The random numbers of a compiled unroll: recorded arrays, or those of `refca.Streams`, drawn on the device.

Fire masks equal every other backend's bit for bit. A source goes into a compiled function as its arrays.

Source: `refca/definition/philox.py`, `refca/definition/randomness.py`, `spec/chapters/streams.md`.

Letters: B samples, H×W grid, T steps.
"""

from __future__ import annotations

from math import pi
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from refca.definition.cell import Cell
from refca.definition.philox import MULTIPLIER, ROUNDS, WEYL
from refca.definition.randomness import BLOCK, FIRE, NOISE, RESET, Draw, Recorded, Streams


class Arrays(NamedTuple):
    """Random numbers of all steps, from entry `first` on: fire (T, B, H, W), noise and reset_noise (T, B, H, W, D)."""

    first: Any
    fire: Any
    noise: Any
    reset_noise: Any

    def draw_traced(self, cell: Cell, i: Any, like: jax.Array) -> Draw:
        """Return the arrays of step i of an unroll."""
        noise, reset_noise = (None if x is None else x[self.first + i] for x in (self.noise, self.reset_noise))
        return Draw(self.fire[self.first + i], noise, reset_noise)


class Seeded(NamedTuple):
    """Streams whose first step is number `first`; all fields are uint32."""

    first: Any
    key: tuple[Any, Any]
    first_sample: Any

    def draw_traced(self, cell: Cell, i: Any, like: jax.Array) -> Draw:
        """Return the arrays of step i of an unroll, for a state (B, H, W, D), in its dtype."""
        t = self.first + jnp.uint32(i)
        word, _, _, _ = words(self, FIRE, 1, t, like.shape[:3])
        fire = word[..., 0].astype(np.uint64) < np.uint64(round(cell.fire_rate * 2**32))
        noise = normals(self, NOISE, t, like) if cell.noise else None
        return Draw(fire, noise, normals(self, RESET, t, like) if cell.resettable else None)


class Source(Protocol):
    """A tree of arrays, as compiled functions take them: `Arrays`, `Seeded`, or one of the caller's own."""

    def draw_traced(self, cell: Cell, i: Any, like: jax.Array) -> Draw:
        """Return the arrays of step i of an unroll, for a state (B, H, W, D), in its dtype."""


def source_of(cell: Cell, randomness: Any, first_step: int, steps: int, state: jax.Array) -> Source:
    """Return the source of the steps first_step ... first_step + steps - 1.

    A randomness with a method `draw_traced` is one itself. Raises InvalidInput for arrays that do not fit.
    """
    if hasattr(randomness, "draw_traced"):
        return randomness
    if type(randomness) is Streams:  # a kind of streams may draw other numbers
        word = np.uint32
        key = (word(randomness.key[0]), word(randomness.key[1]))
        return Seeded(word(first_step), key, word(randomness.first_sample))
    draws = [randomness.at(cell, first_step + i, *state.shape[:3]) for i in range(steps)]
    first = draws[0]
    if type(randomness) is Recorded:
        used = (None if x is None else whole for x, whole in zip(first, vars(randomness).values(), strict=True))
        fire, *normal = used
    else:
        fire, *normal = (None if x is None else jnp.stack(xs) for x, *xs in zip(first, *draws, strict=True))
    noise, reset_noise = (None if x is None else jnp.asarray(x, state.dtype) for x in normal)
    return Arrays(first_step if type(randomness) is Recorded else 0, jnp.asarray(fire), noise, reset_noise)


def normals(source: Seeded, purpose: int, t: Any, like: jax.Array) -> jax.Array:
    """Return standard normal numbers in the shape (B, H, W, D) and the dtype of a state."""
    B, H, W, D = like.shape
    w0, w1, w2, w3 = words(source, purpose, -(-D // BLOCK), t, (B, H, W))
    pairs = [*box_muller(w0, w1, like.dtype), *box_muller(w2, w3, like.dtype)]
    return jnp.stack(pairs, -1).reshape(B, H, W, -1)[..., :D]


def box_muller(w0: jax.Array, w1: jax.Array, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Return two independent standard normal arrays: w0 gives the radius, w1 the angle.

    The uniform numbers are u = n / 2²⁵ with n odd. From 1/2 on the logarithm is log1p(u - 1), and the angle is
    2πu - π, so that every argument is exact in float32.
    """
    n0, n1 = ((2 * (w >> 8) + 1).astype(np.int32) for w in (w0, w1))
    small, rest = (n.astype(dtype) * 2.0**-25 for n in (n0, 2**25 - n0))
    radius = jnp.sqrt(-2 * jnp.where(n0 < 2**24, jnp.log(small), jnp.log1p(-rest)))
    angle = (n1 - 2**24).astype(dtype) * (pi * 2.0**-24)
    return -radius * jnp.cos(angle), -radius * jnp.sin(angle)


def words(source: Seeded, purpose: int, blocks: int, t: Any, grid: tuple[int, ...]) -> tuple[jax.Array, ...]:
    """Return four (B, H, W, blocks) uint32 arrays of step t, one word for each site and channel block."""
    B, H, W = grid
    site = jnp.arange(H * W, dtype=np.uint32).reshape(1, H, W, 1)
    sample = source.first_sample + jnp.arange(B, dtype=np.uint32).reshape(B, 1, 1, 1)  # modulo 2³²
    block = jnp.arange(blocks, dtype=np.uint32) + np.uint32(purpose << 16)
    return philox((site, sample, jnp.asarray(t, np.uint32), block), source.key)


def philox(counter: tuple[jax.Array, ...], key: tuple[Any, Any]) -> tuple[jax.Array, ...]:
    """Return four uint32 arrays from four counter words and two key words, by Philox4x32-10."""
    c0, c1, c2, c3 = jnp.broadcast_arrays(*counter)
    k0, k1 = (jnp.asarray(word, np.uint32) for word in key)
    for _ in range(ROUNDS):
        (high0, low0), (high1, low1) = product(c0, MULTIPLIER[0]), product(c2, MULTIPLIER[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + np.uint32(WEYL[0]), k1 + np.uint32(WEYL[1])  # modulo 2³²
    return c0, c1, c2, c3


def product(word: jax.Array, multiplier: int) -> tuple[jax.Array, jax.Array]:
    """Return the upper and the lower 32 bits of the 64-bit product of uint32 words."""
    wide = word.astype(np.uint64) * np.uint64(multiplier)
    return (wide >> np.uint64(32)).astype(np.uint32), wide.astype(np.uint32)
