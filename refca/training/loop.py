"""The training loop: training steps, the metrics log, checkpoints, and stopping on request.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from refca.cli import progress_bar, stoppable
from refca.errors import Diverged, InvalidInput
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, save_checkpoint, save_weights
from refca.training.experiment import Experiment
from refca.training.metrics_log import EVERY, LOG_FILE, MetricsFile
from refca.training.task import Training
from refca.training.train_state import LossMonitor, TrainState


def fit(
    training: Training,
    experiment: Experiment,
    backend: Any,
    samples: Any,
    train_state: TrainState,
    out: Path,
    checkpoint_every: int = 1000,
    drop_log: bool = False,
) -> bool:
    """Train until the last step or a stop request; return whether the last step was reached.

    The checkpoint in `out` then belongs to the last step done. After the last step the weights are written too.
    With `drop_log` a log that is missing or was changed begins anew.
    Raises Diverged for a loss or parameter that is NaN or infinite, InvalidInput for a log that is not the run's.
    """
    samples, losses = samples.on(backend), LossMonitor()
    training.prepare(experiment, backend, samples)
    with (
        MetricsFile(out / LOG_FILE, train_state.done, training.columns(experiment), train_state.log, drop_log) as log,
        progress_bar(experiment.steps, train_state.done) as bar,
        stoppable() as stop_asked,
    ):

        def save() -> None:
            losses.read()
            log.sync()
            train_state.log = log.mark
            try:
                save_checkpoint(out / CHECKPOINT_FILE, experiment, train_state, backend.asnumpy)
            except InvalidInput as error:
                raise Diverged(error) from error

        save()
        while train_state.done < experiment.steps and not stop_asked():
            result = training.train_step(experiment, backend, samples, train_state)
            losses.add(train_state.done, result.loss)
            if train_state.done % EVERY == 0 or train_state.done == experiment.steps:
                losses.read()
                loss = float("nan") if result.loss is None else float(result.loss)
                measured = training.measure(experiment, backend, train_state, result)
                log.add(step=train_state.done, loss=loss, **measured)
                name = training.shown(experiment)
                bar.set_postfix_str(f"loss {loss:.3g}, {name} {measured[name]:.0%}", refresh=False)
            if train_state.done % checkpoint_every == 0:
                save()
            bar.update()
        save()
        if train_state.done < experiment.steps:
            return False
        params = {name: backend.asnumpy(x) for name, x in train_state.params.items()}
        save_weights(out / WEIGHTS_FILE, experiment, params, train_state.done)
        log.check_place()
    return True
