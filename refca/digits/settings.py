"""The settings of the article's automaton: its cell, and every choice of a training run.

Source: the article, "Model" and experiment 1, and its training notebook.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar

from refca.definition.losses import LOSSES
from refca.digits.augmentation import Ranges
from refca.digits.pool import REGIMES, fractions
from refca.errors import InvalidInput
from refca.training.adam import SCHEDULES
from refca.training.experiment import cell_setting, setting
from refca.training.transforms import TransformedExperiment


@dataclass(frozen=True)
class DigitsExperiment(TransformedExperiment):
    """The settings of a run on digits. The defaults are the article's "L2 + noise"."""

    task: ClassVar[str] = "digits"
    kind: ClassVar[str] = "classification"
    samples: ClassVar[str] = "digits"

    dataset: str = setting("mnist", "data set to train on: a name, or the path of your own data")
    steps: int = setting(100_000, "training steps")
    unroll: int = setting(20, "steps of the automaton in a training step")
    batch: int = setting(16, "digits in a training step")
    learning_rate: float = setting(1e-3, "initial learning rate; --schedule lowers it")
    seed: int = setting(0, "seed of initial weights, batches and randomness")
    init_from: str = setting("", "weights to start from, by name or path, instead of random ones")
    loss: str = setting("l2", "loss function, half the squared error or cross-entropy", tuple(LOSSES))
    noise: float = cell_setting("noise", 0.02)
    alive_above: float | None = cell_setting("alive_above", 0.1, float)
    regime: str = setting(
        "mutating", "initial states of a batch: all zero; some continued; or some continued, some mutated", REGIMES
    )
    pool: int = setting(160, "number of digits whose states are kept between training steps")
    fresh_fraction: float = setting(
        0.25,
        "fraction of a batch that starts from zero on a new digit; the same fraction mutates to a new digit, or, if "
        "--regime is persistent, starts from zero too",
    )
    unroll_max: int = setting(
        0, "longest unroll: each training step draws a length from --unroll to this (0: always --unroll)"
    )
    loss_steps: int = setting(1, "number of final steps of an unroll that count in the loss")
    schedule: str = setting(
        "article", "decrease of the learning rate: twice by a factor of 10, or a cosine to 0", SCHEDULES
    )
    warmup_steps: int = setting(0, "training steps in which the learning rate rises from zero")
    grid: int = setting(0, "side of the grid on which digits are placed at random, in pixels; 0 for their own size")
    scale_min: float = setting(1.0, "smallest size at which digits are drawn, times their own")
    scale_max: float = setting(1.0, "largest size at which digits are drawn, times their own")
    stroke_min: float = setting(0.0, "smallest change of the strokes' width, in pixels; negative for narrower strokes")
    stroke_max: float = setting(0.0, "largest change of the strokes' width, in pixels")
    slant: float = setting(0.0, "largest slant of a digit to either side, in columns per row")
    elastic: float = setting(0.0, "largest displacement in an elastic deformation, in pixels of the digit")
    erased: float = setting(0.0, "largest fraction of a digit's ink that is erased, on a side drawn at random")
    drawn_fraction: float = setting(
        1.0, "fraction of digits that are drawn as the settings above say; the others are only placed"
    )

    def check(self) -> None:
        if self.stride != 1:
            raise InvalidInput(f"stride must be 1 where a picture has one label, got {self.stride}")
        self.at_least_one("pool", "loss_steps")
        if self.unroll_max and self.unroll_max < self.unroll:
            raise InvalidInput(f"unroll_max must be 0 or at least unroll, {self.unroll}, got {self.unroll_max}")
        if self.loss_steps > self.unroll:
            raise InvalidInput(f"loss_steps must be at most unroll, {self.unroll}, got {self.loss_steps}")
        if not any(fractions(self.regime, self.fresh_fraction, self.batch)):
            raise InvalidInput(
                f"batch * fresh_fraction must be at least 1 in the regime {self.regime}, got {self.batch} * "
                f"{self.fresh_fraction:g}"
            )
        for name in ("warmup_steps", "grid"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} must not be negative, got {getattr(self, name)}")
        self.ranges.check()
        self.check_transforms()
        if self.channels > 1 and (self.grid or self.ranges != Ranges()):
            raise InvalidInput(
                "grid, scales, strokes, slant, elastic and erased are for ink and need channels 1, got "
                f"{self.channels}; --shift, --rotation and --zoom take any"
            )
        if self.batch > self.pool:
            raise InvalidInput(f"batch must be at most pool, {self.pool}, got {self.batch}")

    @property
    def ranges(self) -> Ranges:
        """The ranges that digits are drawn from."""
        return Ranges(**{field.name: getattr(self, field.name) for field in fields(Ranges)})
