"""Tasks: the interface between the programs and an automaton that they train and measure.

The article's digits and the paper's segmentation are two tasks; `refca/tasks.py` finds them, and the tasks of
other packages, by name. The parts of a task are modules that follow the protocols below; they are imported on
first use.
"""

from __future__ import annotations

from argparse import Namespace, _ArgumentGroup
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from refca.definition.cell import Params
from refca.training.experiment import Experiment
from refca.training.train_state import Buffer, StepResult, TrainState, Weights


class Training(Protocol):
    """The module of a task that trains it, written once over the arrays of any backend.

    `train_step` does not wait for a device: it queues work and reads no result. `measure` reads results.
    """

    BUFFER: type[Buffer]  # data that persists between training steps

    def columns(self, experiment: Any) -> tuple[str, ...]:
        """Return the names of the metrics that `measure` returns."""

    def shown(self, experiment: Any) -> str:
        """Return the name of the metric that the progress bar shows."""

    def useful(self, experiment: Any) -> tuple[float, str]:
        """Return the value of that metric from which trained cells are of use, and what reaching it takes."""

    def load_samples(self, experiment: Any, folder: str | None) -> Any:
        """Load the training samples of the experiment's dataset."""

    def prepare(self, experiment: Any, backend: Any, samples: Any) -> None:
        """Have the backend compile what training will use."""

    def memory(self, experiment: Any, samples: Any) -> dict[str, int]:
        """Return about how many bytes training needs, by the setting that they grow with; at least one."""

    def begin(self, experiment: Any, backend: Any, samples: Any) -> TrainState:
        """Return the state before the first training step."""

    def train_step(self, experiment: Any, backend: Any, samples: Any, train_state: TrainState) -> StepResult:
        """Do the next training step."""

    def measure(self, experiment: Any, backend: Any, train_state: TrainState, result: StepResult) -> dict[str, float]:
        """Return a number for each of `columns`, on rank 0 if ranks share the batch; all of them call this."""

    def check_buffer(self, path: Path, experiment: Any, buffer: Any) -> None:
        """Raise InvalidInput, naming the file, unless a buffer fits the experiment."""

    def check_samples(self, path: Path, experiment: Any, buffer: Any, samples: Any) -> None:
        """Raise InvalidInput, naming the file, unless a buffer's indices are among the samples."""


class Validation(Protocol):
    """The module of a task that measures samples that were held out, while a run is training."""

    def columns(self, experiment: Any) -> tuple[str, ...]:
        """Return the names of the metrics that `measure` returns beside the loss."""

    def score(self, experiment: Any, measured: Mapping[str, float]) -> float:
        """Return the number by which weights are compared: the higher, the better."""

    def load_samples(self, experiment: Any, folder: str | None) -> Any:
        """Load the samples that `Training.load_samples` leaves out."""

    def measure(self, experiment: Any, backend: Any, held_out: Any, params: Params, samples: Any) -> dict[str, float]:
        """Return the mean loss of the held-out samples and a number for each of `columns`.

        `samples` are the training samples, from which some losses take the weights of labels.
        """


class Report(Protocol):
    """The module of a task that measures trained weights and writes tables and pictures."""

    DEFAULTS: Mapping[str, Any]  # flags that only this report has: default

    def add_flags(self, group: _ArgumentGroup) -> None:
        """Add the flags that only this report has, each with the default None."""

    def run(self, flags: Namespace, weights: Weights, out: Path) -> None:
        """Measure, print a summary, and write everything into `out`."""

    # A report may also have `compare(runs, out)`, for --compare: `runs` maps names to pairs of a model and the folder
    # of its evaluation; it draws their curves into `out` and returns the names of the files.


class Prediction(Protocol):
    """The module of a task that applies trained weights to pictures."""

    LOWEST: int  # the values of an image go from this to 1
    FILMS: bool  # whether a film is followed; else its frames are pictures
    DEFAULTS: Mapping[str, Any]  # the flags that only this task has, with their defaults

    def add_flags(self, group: _ArgumentGroup) -> None:
        """Add the flags that only this task has; each is None unless given."""

    def options_of(self, flags: Namespace) -> dict[str, Any]:
        """Return the options of `predict_all` that the task's own flags ask for."""

    def prepare(self, automaton: Any, picture: Any, **options: Any) -> Any:
        """Return what `predict_all` needs of a picture. Raises InvalidInput for one that cannot be used."""

    def samples_of(
        self, automaton: Any, samples: Any, **options: Any
    ) -> Iterable[tuple[str, Path | None, Any, int | None]]:
        """Yield of each sample of a data set its name, its file, what `prepare` returns of it, and its label.

        File and label are None if it has none.
        """

    def paint_labels(self, automaton: Any, image: Any, logits: Any) -> Any:
        """Return pictures of the labels of images, (B, sH, sW, 3) uint8, for `Automaton.paint`."""

    def write_legend(self, automaton: Any, out: Path) -> None:
        """Write what the results in a folder have in common."""

    def write_result(self, result: Any, out: Path, name: str) -> None:
        """Write the pictures of a result into a folder."""

    def follow(self, automaton: Any, frames: Iterable[Any], **options: Any) -> Iterator[tuple[Any, float]]:
        """Yield a result for each frame of a film, whose state goes on, and the seconds that the cells took."""

    def predict_all(self, automaton: Any, pictures: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield a result for each picture, in their order, reading few of them ahead.

        An InvalidInput stands in the place of a picture that has no result; the pictures after it follow.
        """


@dataclass(frozen=True)
class Task:
    """A task by its name, its settings, and the names of the modules that train, measure and apply it."""

    name: str
    settings: type[Experiment]
    default_experiment: str  # for `refca.train` without --experiment
    training_module: str
    report_module: str
    prediction_module: str
    robustness_module: str | None = None
    validation_module: str | None = None

    @property
    def samples(self) -> str:
        """The plural noun for the task's training samples."""
        return self.settings.samples

    def experiment(self, **settings: Any) -> Experiment:
        """Return an experiment with these settings, and defaults for the others."""
        return cast(Any, self.settings)().with_(**settings)

    @property
    def training(self) -> Training:
        return cast(Training, import_module(self.training_module))

    @property
    def validation(self) -> Validation | None:
        """The measurement of held-out samples during training, if the task has one."""
        return cast(Validation, import_module(self.validation_module)) if self.validation_module else None

    @property
    def report(self) -> Report:
        return cast(Report, import_module(self.report_module))

    @property
    def prediction(self) -> Prediction:
        return cast(Prediction, import_module(self.prediction_module))

    @property
    def robustness(self) -> Report | None:
        """The report on inputs unlike the training data, if the task has one."""
        return cast(Report, import_module(self.robustness_module)) if self.robustness_module else None
