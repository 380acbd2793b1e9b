"""Warming up a backend: compiling and loading before the first measured step."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

from refca.cli import QUIET, stoppable
from refca.definition.cell import Cell
from refca.definition.params import init_params
from refca.definition.randomness import Streams


def warm_up(backend: Any, cell: Cell, batch: int, side: int, loss: str | None = None, label_map: bool = False) -> None:
    """Run every operation of training or evaluation once, so that the backend compiles and loads it.

    Evolve `batch` blank images of side×side pixels; with a loss, "l2" or "ce", also compute gradients for labels,
    or for label maps, and update parameters. Print a message if this takes more than two seconds.
    """
    words = "preparing the backend for this machine: about a minute, and less the next time"
    quiet = QUIET.get()  # the timer's thread has its own
    timer = threading.Timer(2, lambda: None if quiet else print(words, file=sys.stderr, flush=True))
    image = backend.asarray(np.zeros((batch, side, side, cell.image_channels), np.float32))
    target = np.zeros((batch, side, side) if label_map else batch, np.int64)
    params = {name: backend.asarray(x) for name, x in init_params(cell, 0).items()}
    state = backend.initial_state(cell, image, Streams(0))
    weights = np.ones((1, batch), np.float32)
    answer = "stopping when the backend is ready; Ctrl-C again stops at once"
    with stoppable(answer) as stop_asked:  # interrupting a compiler can crash the process
        timer.start()
        try:
            backend.evolve(cell, params, image, state, Streams(0), 1)
            if loss:
                arguments = (params, image, state, target, weights, Streams(0))
                _, grads, _ = backend.loss_and_grads(cell, loss, *arguments)
                backend.adam_step(params, grads, {}, {}, 0, 0.0, True)
            backend.initial_state(cell, image[:1], Streams(0))
        finally:
            timer.cancel()
    if stop_asked():
        raise KeyboardInterrupt
