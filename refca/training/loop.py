"""The training loop: training steps, the metrics log, checkpoints, and stopping on request.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from refca.cli import progress_bar, stoppable
from refca.definition.cell import Params
from refca.distributed import any_rank, barrier, check_same, current, first_of_machine
from refca.errors import Diverged, NotFinite
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, save_checkpoint, save_weights
from refca.training.experiment import Experiment
from refca.training.metrics_log import EVERY, LOG_FILE, MetricsFile, NoLog
from refca.training.shared_states import share, whole_buffer
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
    """Train until the last step, the end of the validator's patience, or a stop request; return False after the last.

    The checkpoint in `out` then belongs to the last step done. Without a stop request the weights are written too.
    With `drop_log` a log that is missing or was changed begins anew. `on_row` is called with each row of the log.
    Ranks share the work; rank 0 alone writes, and a stop request to any of them stops all after the same step.
    Raises Diverged for a loss or parameter that is NaN or infinite, NotWritable for a place that may not be
    written, and InvalidInput for a log that is not the run's.
    """
    samples, losses, first = samples.on(backend), LossMonitor(), current().rank == 0
    with first_of_machine():  # the others load what it compiles
        training.prepare(experiment, backend, samples)
    train_state.buffer = share(train_state.buffer, backend)
    log_of_run = (out / LOG_FILE, train_state.done, training.columns(experiment), train_state.log, drop_log)
    with (
        MetricsFile(*log_of_run) if first else NoLog() as log,
        validator or no_validator(experiment, backend, train_state, out) as validation,
        progress_bar(experiment.steps, train_state.done) as bar,
        stoppable() as stop_asked,
    ):

        def save() -> None:
            losses.read()
            log.sync()
            train_state.log = log.mark
            validation.mark()
            check_same(f"the weights after step {train_state.done}", digest(train_state.params, backend))
            buffer = whole_buffer(train_state.buffer)
            try:
                if first:
                    whole = replace(train_state, buffer=buffer)
                    save_checkpoint(out / CHECKPOINT_FILE, experiment, whole, backend.asnumpy)
            except NotFinite as error:
                raise Diverged(error) from error

        save()
        while not (train_state.done == experiment.steps or validation.exhausted or any_rank(stop_asked())):
            result = training.train_step(experiment, backend, samples, train_state)
            losses.add(train_state.done, result.loss)
            validation.after_step()
            if train_state.done % EVERY == 0 or train_state.done == experiment.steps or validation.exhausted:
                losses.read()
                loss = float("nan") if result.loss is None else float(result.loss)
                measured = training.measure(experiment, backend, train_state, result)
                row = {"step": train_state.done, "loss": loss, **measured}
                log.add(**row)
                on_row(row)
                name = training.shown(experiment)
                words = {f"loss {loss:.3g}": loss, f"{name} {measured[name]:.0%}": measured[name]}
                bar.set_postfix_str(", ".join(text for text, x in words.items() if x == x), refresh=False)
            if train_state.done % checkpoint_every == 0 and train_state.done < experiment.steps:
                save()
            bar.update()
        save()
        finished = train_state.done == experiment.steps or validation.exhausted
        if finished and first:
            params = {name: backend.asnumpy(x) for name, x in train_state.evaluated.items()}
            save_weights(out / WEIGHTS_FILE, experiment, params, train_state.done)
            log.check_place()
    barrier()  # the files are there
    return finished


def digest(params: Params, backend: Any) -> str:
    """Return a hash of parameters. Machines with other processors may round otherwise, which must not go unnoticed."""
    content = blake2b(digest_size=16)
    for name in sorted(params):
        content.update(np.ascontiguousarray(backend.asnumpy(params[name])).tobytes())
    return content.hexdigest()
