"""The training loop: training steps, the metrics log, checkpoints, and stopping on request.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from refca.cli import progress_bar, stoppable
from refca.errors import Diverged, InvalidInput
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, save_checkpoint, save_weights
from refca.training.experiment import Experiment
from refca.training.metrics_log import EVERY, LOG_FILE, MetricsFile
from refca.training.task import Training
from refca.training.train_state import LossMonitor, TrainState
from refca.training.validation import Row, Validator, no_validator


def fit(
    training: Training,
    experiment: Experiment,
    backend: Any,
    samples: Any,
    train_state: TrainState,
    out: Path,
    checkpoint_every: int = 1000,
    drop_log: bool = False,
    validator: Validator | None = None,
    on_row: Callable[[Row], None] = lambda row: None,
) -> bool:
    """Train until the last step, the end of the validator's patience, or a stop request; return whether it was not
    the last of these.

    The checkpoint in `out` then belongs to the last step done. Without a stop request the weights are written too.
    With `drop_log` a log that is missing or was changed begins anew. `on_row` is called with each row of the log.
    Raises Diverged for a loss or parameter that is NaN or infinite, InvalidInput for a log that is not the run's.
    """
    samples, losses = samples.on(backend), LossMonitor()
    training.prepare(experiment, backend, samples)
    with (
        MetricsFile(out / LOG_FILE, train_state.done, training.columns(experiment), train_state.log, drop_log) as log,
        validator or no_validator(experiment, backend, train_state, out) as validation,
        progress_bar(experiment.steps, train_state.done) as bar,
        stoppable() as stop_asked,
    ):

        def save() -> None:
            losses.read()
            log.sync()
            train_state.log = log.mark
            validation.mark()
            try:
                save_checkpoint(out / CHECKPOINT_FILE, experiment, train_state, backend.asnumpy)
            except InvalidInput as error:
                raise Diverged(error) from error

        save()
        while train_state.done < experiment.steps and not validation.exhausted and not stop_asked():
            result = training.train_step(experiment, backend, samples, train_state)
            losses.add(train_state.done, result.loss)
            if train_state.done % EVERY == 0 or train_state.done == experiment.steps:
                losses.read()
                loss = float("nan") if result.loss is None else float(result.loss)
                measured = training.measure(experiment, backend, train_state, result)
                row = {"step": train_state.done, "loss": loss, **measured}
                log.add(**row)
                on_row(row)
                name = training.shown(experiment)
                bar.set_postfix_str(f"loss {loss:.3g}, {name} {measured[name]:.0%}", refresh=False)
            validation.after_step()
            if train_state.done % checkpoint_every == 0:
                save()
            bar.update()
        save()
        if train_state.done < experiment.steps and not validation.exhausted:
            return False
        params = {name: backend.asnumpy(x) for name, x in train_state.params.items()}
        save_weights(out / WEIGHTS_FILE, experiment, params, train_state.done)
        log.check_place()
    return True
