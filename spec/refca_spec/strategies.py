"""What the laws are tried on: small random cells, grids, images, states, masks, noise, targets and weights.

A case is a handful of integers and a seed, so that a failure prints as one line that can be pasted. Its
arrays follow from the seed. They are float64 and every number in them is a float32 number, so that giving
them to a backend in float32 loses nothing.

Letters: `spec/notation.md`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st

from refca.cell import Array, Cell, Params, param_shapes
from refca.randomness import Recorded, Streams

Test = TypeVar("Test", bound=Callable[..., Any])

THRESHOLD = np.float32(0.1)
SPECIAL = (
    0.0,
    1.0,
    float(THRESHOLD),
    float(np.nextafter(THRESHOLD, np.float32(0))),
    float(np.nextafter(THRESHOLD, np.float32(1))),
)
EXAMPLES = 20


def register(examples: int) -> None:
    """Register the hypothesis profile "refca", which the laws use and which replaces nobody's own."""
    settings.register_profile(
        "refca",
        parent=settings.get_profile("default"),
        derandomize=True,
        database=None,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        deadline=None,
        max_examples=examples,
        report_multiple_bugs=False,
        print_blob=False,
    )


register(EXAMPLES)


def law(test: Test) -> Test:
    """A decorator: the test runs under the profile "refca", which is loaded for no other test."""
    return settings(settings.get_profile("refca"))(test)


def exact(x: Array) -> Array:
    """x in float64, rounded to float32 numbers."""
    return np.asarray(x, np.float32).astype(np.float64)


@dataclass(frozen=True)
class Case:
    """A cell, the sizes of a batch and of an unroll, and the seed of everything else."""

    cell: Cell
    B: int
    H: int
    W: int
    T: int
    seed: int

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that one array does not depend on another."""
        return np.random.default_rng((self.seed, zlib.crc32(purpose.encode())))

    @property
    def grid(self) -> tuple[int, int, int]:
        """(B, H, W)."""
        return self.B, self.H, self.W

    @property
    def cells(self) -> int:
        """How many terms a sum over every cell of every step has."""
        return max(self.T, 1) * self.B * self.H * self.W

    @property
    def params(self) -> Params:
        """Parameters of a size at which a few steps do not expand a difference much; no bias is zero."""
        rng, params = self.rng("params"), {}
        for name, shape in param_shapes(self.cell).items():
            scale = 0.3 if name.endswith("bias") else 0.7 / np.sqrt(np.prod(shape[:-1]))
            params[name] = exact(scale * rng.standard_normal(shape))
        return params

    @property
    def image(self) -> Array:
        """(B, H, W, K): half uniform in [0, 1), half 0, 1, the alive threshold and its neighbours."""
        rng, shape = self.rng("image"), (*self.grid, self.cell.image_channels)
        special = rng.choice(SPECIAL, shape)
        return exact(np.where(rng.random(shape) < 0.5, rng.random(shape), special))

    @property
    def state(self) -> Array:
        """(B, H, W, D): standard normal, in dead cells too."""
        return exact(self.rng("state").standard_normal((*self.grid, self.cell.state_channels)))

    @property
    def recorded(self) -> Recorded:
        """Fire masks at the cell's rate and normal noise for T steps; no noise without sigma."""
        rng = self.rng("recorded")
        fire = rng.random((self.T, *self.grid)) < self.cell.fire_rate
        noise = exact(rng.standard_normal((self.T, *self.grid, self.cell.state_channels)))
        return Recorded(fire, noise if self.cell.noise else None)

    @property
    def streams(self) -> Streams:
        """Streams of a 64-bit seed and a first sample of some size."""
        rng = self.rng("streams")
        return Streams(int(rng.integers(2**64, dtype=np.uint64)), int(rng.integers(2**32 - 8)))

    def target(self, kind: str) -> Array:
        """Labels (B,) for kind "labels", a label map (B, H, W) for kind "map"; int64."""
        shape = (self.B,) if kind == "labels" else self.grid
        return self.rng("target").integers(0, self.cell.labels, shape)

    @property
    def weights(self) -> Array:
        """(T, B): about a third of them zero, and the last step always counted."""
        rng = self.rng("weights")
        weights = rng.random((self.T, self.B)) * (rng.random((self.T, self.B)) < 0.67)
        weights[-1:] = rng.uniform(0.5, 1, (min(self.T, 1), self.B))
        return exact(weights)

    @property
    def readout(self) -> Array:
        """(B, H, W, L): small integers, so that several labels are often the highest."""
        return self.rng("readout").integers(-2, 3, (*self.grid, self.cell.labels)) / 2

    @property
    def live(self) -> Array:
        """(B, H, W) boolean; now and then a sample without a live cell."""
        rng = self.rng("live")
        return (rng.random(self.grid) < 0.6) & (rng.random((self.B, 1, 1)) < 0.8)


@st.composite
def cells(draw: st.DrawFn, /, **fixed: float | None) -> Cell:
    """Cells with up to 2 image, 5 state and 6 hidden channels; `fixed` settings are not drawn."""
    D = draw(st.integers(1, 5))
    drawn: dict = {
        "image_channels": draw(st.integers(1, 2)),
        "state_channels": D,
        "hidden_width": draw(st.integers(1, 6)),
        "labels": draw(st.integers(1, D)),
        "hidden_layers": draw(st.integers(0, 2)),
        "noise": draw(st.sampled_from((0.0, 0.02, 0.5))),
        "fire_rate": draw(st.sampled_from((0.0, 0.5, 0.75, 1.0))),
        "alive_above": draw(st.sampled_from((0.1, None))),
    }
    return Cell(**drawn | fixed)


@st.composite
def cases(draw: st.DrawFn, /, least: int = 1, B: int = 1, T: int = 1, **fixed: float | None) -> Case:
    """Cases on grids from `least`×`least` to 5×5, at least B and at most 3 samples, T to 4 steps."""
    return Case(
        draw(cells(**fixed)),
        draw(st.integers(B, 3)),
        draw(st.integers(least, 5)),
        draw(st.integers(least, 5)),
        draw(st.integers(T, 4)),
        draw(st.integers(0, 2**32 - 1)),
    )
