"""The evaluation of stripes: the share of cells that name the direction."""

from __future__ import annotations

from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import write_text
from refca.cli import choose_backend
from refca.definition.metrics import predict
from refca.definition.randomness import Streams
from refca.definition.step import readout

DEFAULTS: Mapping[str, Any] = {"steps": 6}


def add_flags(group: _ArgumentGroup) -> None:
    pass


def run(flags: Namespace, weights: Any, out: Path) -> None:
    experiment, cell = weights.experiment, weights.experiment.cell
    _, backend = choose_backend(flags.backend, flags.device)
    samples = experiment.load_data(flags.data).test
    image = backend.asarray(samples.images(slice(None)))
    params = {name: backend.asarray(x) for name, x in weights.params.items()}
    state = backend.initial_state(cell, image)
    state = backend.evolve(cell, params, image, state, Streams(flags.seed), flags.steps)
    predicted = predict(np.asarray(backend.asnumpy(readout(cell, params, state))))
    accuracy = (predicted == samples.labels[:, None, None]).mean()
    write_text(out / "accuracy.txt", f"{accuracy}\n")
    print(f"accuracy {accuracy:.1%} at step {flags.steps}")
