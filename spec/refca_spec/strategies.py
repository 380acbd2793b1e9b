"""Random cases for the laws: small cells, grids, images, states, masks, noise, targets and weights.

A case is a handful of integers and a seed, so that a failure prints as one line that can be pasted. Its
arrays follow from the seed. They are float64 and every number in them is a float32 number, so that giving
them to a backend in float32 loses nothing.

Letters: `spec/notation.md`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from functools import cache
from itertools import product
from typing import Any, TypeVar

import hypothesis
import numpy as np
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st

from refca.definition.cell import NORMS, STRIDES, Array, Cell, Params
from refca.definition.params import param_shapes
from refca.definition.randomness import Recorded, Streams
from refca.definition.step import alive
from refca.definition.strided import encode
from refca.digits.cell import digits_cell
from refca.errors import InvalidInput
from refca.segmentation.cell import segmentation_cell

Test = TypeVar("Test", bound=Callable[..., Any])

THRESHOLD = np.float32(0.1)
SPECIAL = (
    0.0,
    1.0,
    float(THRESHOLD),
    float(np.nextafter(THRESHOLD, np.float32(0))),
    float(np.nextafter(THRESHOLD, np.float32(1))),
)
SMALL = 2.0**-6
EXAMPLES = 20

SWITCH = (False, True)
# What the laws try of each setting, the simplest first. Drawn by `sampled_from`: to hypothesis draws by
# `integers` of any range are alike, and half of its examples are others with their numbers exchanged.
SETTINGS: dict[str, Any] = {
    "image_channels": (1, 2),
    "state_channels": (1, 2, 3, 4, 5),
    "hidden_width": (1, 2, 3, 4, 5, 6),
    "norm": NORMS,
    "stride": (1, 1, *STRIDES),
    "depthwise": SWITCH,
    "residual": (True, False),
    "resettable": SWITCH,
    "linear_readout": SWITCH,
    "biases": (True, False),
    "frozen_filters": SWITCH,
    "normal_start": SWITCH,
    "hidden_layers": (0, 1, 2),
    "noise": (0.0, 0.02, 0.5),
    "fire_rate": (0.5, 0.75, 1.0, 0.0),
    "alive_above": (0.1, None, 0.25),
}
SIZES = ("image_channels", "state_channels", "hidden_width")
# What `wide_cases` try instead: widths as in the texts, and more samples, rows or columns than a vector, a block of
# threads or a tile is likely to have.
WIDTHS: dict[str, Any] = {"image_channels": (1, 3), "state_channels": (19, 16, 33), "hidden_width": (80, 32, 97)}
GRIDS = ((1, 17, 33), (3, 16, 16), (33, 5, 4), (2, 1, 70), (1, 65, 2), (130, 1, 2))  # B, H, W


def settings_of(cell: Cell, *but: str) -> dict[str, Any]:
    """The settings of a cell without its sizes and those named."""
    return {name: getattr(cell, name) for name in SETTINGS if name not in (*SIZES, *but)}


ARTICLE = settings_of(digits_cell(), "noise", "fire_rate", "depthwise")
PAPER = settings_of(segmentation_cell(), "norm", "depthwise")


random_seed: list[int] = []  # the seed of a run on random examples; empty: the examples are fixed


def register(examples: int, seed: int | None = None) -> None:
    """Register the hypothesis profile "refca", which the laws use and which replaces nobody's own.

    Without a seed every run tries the same examples. Call it before the laws are imported.
    """
    random_seed[:] = [] if seed is None else [seed]
    settings.register_profile(
        "refca",
        parent=settings.get_profile("default"),
        derandomize=seed is None,
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
    test = settings(settings.get_profile("refca"))(test)
    return hypothesis.seed(random_seed[0])(test) if random_seed else test


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

    def __repr__(self) -> str:
        """Return the call that makes the case, without the settings of the cell that have their defaults."""
        settings = {field.name: (getattr(self.cell, field.name), field.default) for field in fields(Cell)}
        cell = ", ".join(f"{name}={value!r}" for name, (value, default) in settings.items() if value != default)
        sizes = ", ".join(f"{name}={getattr(self, name)}" for name in ("B", "H", "W", "T", "seed"))
        return f"{type(self).__name__}(cell=Cell({cell}), {sizes})"

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for each purpose, so that one array does not depend on another."""
        return np.random.default_rng((self.seed, zlib.crc32(purpose.encode())))

    @property
    def grid(self) -> tuple[int, int, int]:
        """(B, H, W): the cells."""
        return self.B, self.H, self.W

    @property
    def pixels(self) -> tuple[int, int, int]:
        """(B, sH, sW): the pixels of the image, of the readout and of a label map."""
        return self.B, self.cell.stride * self.H, self.cell.stride * self.W

    @property
    def normalised(self) -> int:
        """The number of cells in a mean."""
        return {"instance": self.H * self.W, "batch": self.B * self.H * self.W}.get(self.cell.norm, 1)

    @property
    def cells(self) -> int:
        """The number of terms in a sum over every pixel of every step."""
        return max(self.T, 1) * int(np.prod(self.pixels))

    @property
    def params(self) -> Params:
        """Parameters of a size at which a few steps do not expand a difference much; no bias is zero.

        Where sums are normalised they are `size` of the usual, so that variances are near the ε of `step.md`:
        larger sums that happen to be nearly equal would be driven apart, and their rounding errors with them.
        """
        rng, params = self.rng("params"), {}
        for name, shape in param_shapes(self.cell).items():
            scale = 0.3 if name.endswith("bias") else 0.7 / np.sqrt(np.prod(shape[:-1]))
            params[name] = exact(scale * self.size(name) * rng.standard_normal(shape))
        return params

    def size(self, name: str) -> float:
        """SMALL for the parameters whose sums are normalised, 1 for the others. A power of two."""
        small = name.startswith(("perceive", "hidden")) and name != "perceive.mix"
        return SMALL if small and self.cell.norm != "none" else 1.0

    @property
    def image(self) -> Array:
        """(B, sH, sW, K): half uniform in [0, 1), half 0, 1, the alive threshold and its neighbours."""
        rng, shape = self.rng("image"), (*self.pixels, self.cell.image_channels)
        special = rng.choice(SPECIAL, shape)
        return exact(np.where(rng.random(shape) < 0.5, rng.random(shape), special))

    @property
    def environment(self) -> Array:
        """(B, H, W, E): the encoder's output for the image; without a stride the image."""
        return encode(self.cell, self.params, self.image)

    @property
    def alive(self) -> Array:
        """(B, H, W) boolean: which cells live. Where there is a threshold, cells are pixels."""
        every = np.ones(self.grid, bool)
        return every if self.cell.alive_above is None else alive(self.cell, self.image)

    @property
    def state(self) -> Array:
        """(B, H, W, D): standard normal, in dead cells too."""
        return exact(self.rng("state").standard_normal((*self.grid, self.cell.state_channels)))

    @property
    def recorded(self) -> Recorded:
        """Fire masks at the cell's rate, normal noise and resets for T steps; None for what is not used."""
        rng, shape = self.rng("recorded"), (self.T, *self.grid, self.cell.state_channels)
        fire = rng.random(shape[:-1]) < self.cell.fire_rate
        noise, reset_noise = (exact(rng.standard_normal(shape)) for _ in range(2))
        return Recorded(fire, noise if self.cell.noise else None, reset_noise if self.cell.resettable else None)

    @property
    def streams(self) -> Streams:
        """Streams of a 64-bit seed and a first sample of some size."""
        rng = self.rng("streams")
        return Streams(int(rng.integers(2**64, dtype=np.uint64)), int(rng.integers(2**32 - 8)))

    def target(self, kind: str) -> Array:
        """Labels (B,) for kind "labels", a label map (B, sH, sW) for kind "map"; int64."""
        shape = (self.B,) if kind == "labels" else self.pixels
        return self.rng("target").integers(0, self.cell.labels, shape)

    @property
    def weights(self) -> Array:
        """(T, B): about a third of them zero, some negative, and the last step counted in most cases."""
        rng = self.rng("weights of any sign")
        weights = rng.uniform(-0.3, 1, (self.T, self.B)) * (rng.random((self.T, self.B)) < 0.67)
        weights[-1:] = rng.uniform(0.5, 1, (min(self.T, 1), self.B)) * (rng.random() < 0.75)
        return exact(weights)

    @property
    def positive_weights(self) -> Array:
        """(T, B), for the test vectors: about a third are zero, and the last step always counts."""
        rng = self.rng("weights")
        weights = rng.random((self.T, self.B)) * (rng.random((self.T, self.B)) < 0.67)
        weights[-1:] = rng.uniform(0.5, 1, (min(self.T, 1), self.B))
        return exact(weights)

    @property
    def readout(self) -> Array:
        """(B, sH, sW, L): small integers, so that several labels are often the highest."""
        return self.rng("readout").integers(-2, 3, (*self.pixels, self.cell.labels)) / 2

    @property
    def live(self) -> Array:
        """(B, sH, sW) boolean; now and then a sample without a live pixel."""
        rng = self.rng("live")
        return (rng.random(self.pixels) < 0.6) & (rng.random((self.B, 1, 1)) < 0.8)


class CoarseCase(Case):
    """A case of coarse numbers: without a norm, the sums before each relu of its first step are exact in float32.

    They are so in any order of addition. Rounding therefore never decides which side of a relu a sum is on, however
    many cells there are.
    """

    @property
    def params(self) -> Params:
        """Multiples of 1/8, or of SMALL / 8 for parameters whose sums are normalised."""
        return {name: coarse(x, self.size(name) / 8) for name, x in super().params.items()}

    @property
    def image(self) -> Array:
        """(B, sH, sW, K): multiples of 1/4 in [0, 1]."""
        return coarse(super().image, 1 / 4)

    @property
    def state(self) -> Array:
        """(B, H, W, D): multiples of 1/4."""
        return coarse(super().state, 1 / 4)


def coarse(x: Array, unit: float) -> Array:
    """x rounded to multiples of a unit."""
    return np.round(x / unit) * unit


restriction: list[Any] = []  # the backend whose cells alone are drawn, if it does not support all


@contextmanager
def restricted(backend: Any) -> Iterator[None]:
    """Within this context `cells` draws only cells that a backend supports; None: all."""
    restriction[:] = [backend] if backend is not None and backend.overrides("supports") else []
    try:
        yield
    finally:
        restriction.clear()


@st.composite
def cells(draw: st.DrawFn, /, **fixed: Any) -> Cell:
    """Cells with SETTINGS: a quarter like the article's, a quarter like the paper's. `fixed` settings are not
    drawn; a tuple is drawn from.
    """
    if restriction:
        supported = supported_cells(restriction[0], tuple(fixed.items()))
        if not supported:
            pytest.skip("not offered: the backend supports no cell that this law is about")
        return draw(st.sampled_from(supported))
    return compose(lambda values: draw(st.sampled_from(values)), fixed)


def compose(pick: Callable[[Any], Any], fixed: dict[str, Any]) -> Cell:
    """A cell whose settings are picked from what the laws try."""
    allowed = {name: x if isinstance(x, tuple) else (x,) for name, x in fixed.items()}
    chosen = {name: pick(values) for name, values in (SETTINGS | allowed).items()}
    like = pick((ARTICLE, PAPER, {}, {}))
    chosen |= {name: x for name, x in like.items() if name not in fixed}
    # a strided cell has a decoder, and no threshold
    if any(chosen[name] for name in ("alive_above", "linear_readout") if name in fixed):
        chosen["stride"] = 1
    if chosen["stride"] > 1:
        chosen |= {"alive_above": None, "linear_readout": False}
    last_channels = chosen["stride"] == 1 and not chosen["linear_readout"]
    labels = pick(range(1, 1 + (chosen["state_channels"] if last_channels else 4)))
    return Cell(**{"labels": labels} | chosen)


def variants(cell: Cell, fixed: dict[str, Any]) -> Iterator[Cell]:
    """The cell with these settings. A threshold below every image stands for none, and so does noise that is 0 in
    float32 and no more than a rounding error in float64."""
    lists = {name: x if isinstance(x, tuple) else (x,) for name, x in fixed.items()}
    if cell.alive_above is not None and "alive_above" in lists:
        lists["alive_above"] = tuple(-1.0 if x is None else x for x in lists["alive_above"])
    if cell.noise and "noise" in lists:
        lists["noise"] = tuple(x or 1e-50 for x in lists["noise"])
    for values in product(*lists.values()):
        with suppress(InvalidInput):
            yield replace(cell, **dict(zip(lists, values, strict=True)))


@cache
def supported_cells(backend: Any, settings: tuple[tuple[str, Any], ...]) -> list[Cell]:
    """The cells with these settings that a backend supports: those that it declares, else of 2,000 random ones."""
    fixed = dict(settings)
    if declared := getattr(backend, "cells", None):
        return [found for cell in declared for found in variants(cell, fixed) if backend.supports(found) is True]
    rng = np.random.default_rng(0)
    drawn = (compose(lambda values: values[rng.integers(len(values))], fixed) for _ in range(2000))
    return list(dict.fromkeys(cell for cell in drawn if backend.supports(cell) is True))


@st.composite
def cases(draw: st.DrawFn, /, least: int = 1, B: int = 1, T: int = 1, **fixed: Any) -> Case:
    """Cases on grids from `least`×`least` to 5×5, at least B and at most 3 samples, T to 4 steps.

    Grids of stride 4 and 8 are up to 3×3.
    """
    cell = draw(cells(**fixed))
    sides = st.sampled_from(range(least, 1 + max(least, 5 if cell.stride <= 2 else 3)))
    samples, steps = st.sampled_from(range(B, 4)), st.sampled_from(range(T, 5))
    return Case(cell, draw(samples), draw(sides), draw(sides), draw(steps), draw(st.integers(0, 2**32 - 1)))


@st.composite
def wide_cases(draw: st.DrawFn, /, kind: type[Case] = Case, T: int = 3, **fixed: Any) -> Case:
    """Cases of T steps as wide as the texts' cells, where the backend supports that, on GRIDS."""
    cell = draw(cells(**fixed))
    widths = {name: draw(st.sampled_from(values)) for name, values in WIDTHS.items()}
    wide = replace(cell, **widths, labels=draw(st.sampled_from((cell.labels, 10))))
    if not restriction or restriction[0].supports(wide) is True:
        cell = wide
    return kind(cell, *draw(st.sampled_from(GRIDS)), T, draw(st.integers(0, 2**32 - 1)))
