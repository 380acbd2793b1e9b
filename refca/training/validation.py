"""Validation during training: held-out samples are measured, the best weights are kept, and training may stop early.

The log, validation.csv, has a row for each measurement, and a checkpoint holds the best weights, so a resumed run
writes the same bytes as an uninterrupted run.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from math import isfinite, nan
from pathlib import Path
from typing import Any, Self

from refca.definition.cell import Params
from refca.distributed import broadcast_object, current
from refca.training.checkpoint import BEST_FILE, save_weights
from refca.training.experiment import Experiment
from refca.training.metrics_log import MetricsFile, NoLog
from refca.training.task import Validation
from refca.training.train_state import Best, TrainState

VALIDATION_LOG = "validation.csv"  # in a run directory

Row = dict[str, float]


class Validator:
    """The validation of a run, a context manager; without a module it does nothing.

    `on_row` is called with each row of the log.
    """

    def __init__(
        self,
        module: Validation | None,
        experiment: Experiment,
        backend: Any,
        held_out: Any,
        samples: Any,
        train_state: TrainState,
        out: Path,
        drop_log: bool = False,
        on_row: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self.module, self.experiment, self.backend = module, experiment, backend
        self.held_out, self.samples, self.train_state = held_out, samples, train_state
        self.out, self.drop_log, self.on_row = out, drop_log, on_row
        self.stack = ExitStack()
        self.log: MetricsFile | NoLog | None = None

    def __enter__(self) -> Self:
        if self.module:
            columns, state = self.module.columns(self.experiment), self.train_state
            done = state.done if state.validation_log else 0
            given = self.out / VALIDATION_LOG, done, columns, state.validation_log, self.drop_log
            self.log = NoLog() if current().rank else MetricsFile(*given)
            self.stack.enter_context(self.log)
            self.write_best()
        return self

    def __exit__(self, *error: object) -> None:
        self.stack.close()

    def after_step(self) -> None:
        """Measure the held-out samples if the training step just done is one after which that is due."""
        done = self.train_state.done
        if not self.module or not self.log or done % self.experiment.validate_every:
            return
        params = self.train_state.evaluated
        found = self.module.measure(self.experiment, self.backend, self.held_out, params, self.samples)
        measured = broadcast_object(found)  # ranks share the samples, and rank 0 has the result
        if not isfinite(measured.get("loss", 0.0)):  # labels of such states mean nothing
            measured = dict.fromkeys(measured, nan)
        self.log.add(step=done, **measured)
        self.on_row({"step": done, **measured})
        score = self.module.score(self.experiment, measured)
        best = self.train_state.best
        if score == score and (best is None or score > best.score):
            self.train_state.best = Best(done, score, self.copied(params))
            self.write_best()

    def copied(self, params: Params) -> Params:
        """Return parameters as NumPy arrays that later updates leave alone."""
        return {name: 1 * self.backend.asnumpy(x) for name, x in params.items()}

    def write_best(self) -> None:
        """Write the best weights, if there are any."""
        if (best := self.train_state.best) and not current().rank:
            save_weights(self.out / BEST_FILE, self.experiment, best.params, best.step)

    def mark(self) -> None:
        """Sync the log and put its mark into the train state, before a checkpoint is written."""
        if self.log:
            self.log.sync()
            self.train_state.validation_log = self.log.mark

    @property
    def exhausted(self) -> bool:
        """True if the last `patience` measurements were no better than an earlier one."""
        every, patience, best = self.experiment.validate_every, self.experiment.patience, self.train_state.best
        if not self.module or not patience or best is None:
            return False
        return self.train_state.done // every - best.step // every >= patience


def no_validator(experiment: Experiment, backend: Any, train_state: TrainState, out: Path) -> Validator:
    """Return a validator that does nothing."""
    return Validator(None, experiment, backend, None, None, train_state, out)
