"""The reset gate of each cell as a measured quantity.

Source: the paper, 3.3 and Figure 15.

Letters: B samples, H×W grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Streams
from refca.definition.step import sigmoid


def gate_function(cell: Cell, params: Params, backend: Any) -> Callable[[Array, Array], Array]:
    """Return a function that computes the gate of every cell, (B, H, W), from an image and a state.

    It uses `evolve`: one step of a cell without gate, residual and noise that always fires, and whose update layer
    has the gate's weights, gives the sums of the gate.
    """
    probe = replace(cell, resettable=False, residual=False, noise=0.0, fire_rate=1.0, alive_above=None)
    weight = np.zeros(params["update.weight"].shape, np.float32)
    weight[:, :1] = backend.asnumpy(params["gate.weight"])
    layers = {name: x for name, x in params.items() if name != "gate.weight"}
    layers |= {"update.weight": backend.asarray(weight)}
    if cell.biases:
        layers |= {"update.bias": 0 * params["update.bias"]}
    return lambda image, state: sigmoid(backend.evolve(probe, layers, image, state, Streams(0), 1)[..., 0], backend.xp)
