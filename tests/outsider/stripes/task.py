"""A task: every cell names the direction of the stripes, and the loss counts every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from refca.errors import InvalidInput
from refca.training.experiment import Experiment, cell_setting, setting
from refca.training.task import Task


@dataclass(frozen=True)
class StripesExperiment(Experiment):
    """The settings of a run on stripes."""

    task: ClassVar[str] = "stripes"
    kind: ClassVar[str] = "stripes"
    samples: ClassVar[str] = "stripes"

    dataset: str = setting("stripes", "data set to train on")
    steps: int = setting(200, "training steps")
    unroll: int = setting(6, "steps of the automaton in a training step")
    batch: int = setting(8, "pictures in a training step")
    learning_rate: float = setting(1e-2, "learning rate")
    seed: int = setting(0, "seed of initial weights, batches and randomness")
    init_from: str = setting("", "weights to start from, by name or path, instead of random ones")
    state: int = cell_setting("state_channels", 6)
    hidden: int = cell_setting("hidden_width", 12)
    labels: int = cell_setting("labels", 2)
    endurance: int = setting(3, "a setting that no other task has")

    def check(self) -> None:
        if self.endurance < 1:
            raise InvalidInput(f"endurance must be at least 1, got {self.endurance}")


TASK = Task(
    name="stripes",
    settings=StripesExperiment,
    default_experiment="",
    training_module="stripes.training",
    report_module="stripes.report",
    prediction_module="stripes.report",
)
