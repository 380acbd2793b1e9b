"""The settings of the paper's automaton: its cell, and every choice of a training run.

Source: the paper, sections 3 to 5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from refca.data import CLASSES
from refca.errors import InvalidInput
from refca.training.adam import SCHEDULES
from refca.training.experiment import cell_setting, setting
from refca.training.transforms import TransformedExperiment

MOST_LABELS = 127  # a byte holds the label of a pixel, and there is one for pixels that count in nothing


@dataclass(frozen=True)
class SegmentationExperiment(TransformedExperiment):
    """The settings of a run on photographs. The defaults are the paper's, with its smallest full cell."""

    task: ClassVar[str] = "segmentation"
    kind: ClassVar[str] = "segmentation"
    samples: ClassVar[str] = "photographs"

    dataset: str = setting("pets", "data set to train on: a name, or the path of your own data")
    steps: int = setting(1_000_000, "training steps")
    unroll: int = setting(10, "steps of the automaton in a training step")
    batch: int = setting(32, "photographs in a training step")
    learning_rate: float = setting(3e-4, "initial learning rate; --schedule lowers it")
    seed: int = setting(0, "seed of initial weights, batches and randomness")
    init_from: str = setting("", "weights to start from, by name or path, instead of random ones")
    size: int = setting(48, "side of a photograph in pixels")
    channels: int = cell_setting("image_channels", 3)
    state: int = cell_setting("state_channels", 32)
    hidden: int = cell_setting("hidden_width", 48)
    labels: int = cell_setting("labels", 3)
    hidden_layers: int = cell_setting("hidden_layers", 2)
    biases: bool = cell_setting("biases", False)
    norm: str = cell_setting("norm", "instance")
    resettable: bool = cell_setting("resettable", True)
    linear_readout: bool = cell_setting("linear_readout", True)
    normal_start: bool = cell_setting("normal_start", True)
    horizon: int = setting(40, "steps that a state should last; steps after a third of it count in the loss")
    persistence: bool = setting(
        True, "keep states from one training step to the next; without it every training step unrolls the whole horizon"
    )
    keep_image: float = setting(0.5, "probability of keeping a photograph over the horizon")
    keep_state: float = setting(0.5, "probability of keeping a state over the horizon")
    schedule: str = setting("constant", "change of the learning rate over the run", SCHEDULES)
    warmup_steps: int = setting(0, "training steps in which the learning rate rises from zero")

    def check(self) -> None:
        self.at_least_one("size", "state", "hidden", "horizon")
        if self.unroll > self.horizon:
            raise InvalidInput(f"unroll must be at most horizon, {self.horizon}, got {self.unroll}")
        if not self.persistence and self.unroll != self.horizon:
            raise InvalidInput(f"unroll must equal horizon, {self.horizon}, without persistence, got {self.unroll}")
        for name in ("keep_image", "keep_state"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidInput(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        self.check_transforms()
        if self.warmup_steps < 0:
            raise InvalidInput(f"warmup_steps must not be negative, got {self.warmup_steps}")
        if self.labels > MOST_LABELS:
            raise InvalidInput(f"labels must be at most {MOST_LABELS} for a label for each pixel, got {self.labels}")
        if self.size % self.stride:
            raise InvalidInput(f"size must be a multiple of stride, {self.stride}, got {self.size}")

    @property
    def names(self) -> tuple[str, ...]:
        return self.classes or (CLASSES if self.labels == len(CLASSES) else super().names)
