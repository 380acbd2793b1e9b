"""The contract of `spec/chapters/backends.md`, kept by `unroll.py` and `readout.py`."""

from __future__ import annotations

from typing import Any

from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell, Params
from refca_cpu import unroll
from refca_cpu.readout import loss_of_states
from refca_cpu.workers import map_parts, threads


class Cpu(BaseBackend):
    """NumPy arrays, compiled loops, and threads."""

    evolve = staticmethod(unroll.evolve)
    unroll_grads = staticmethod(unroll.unroll_grads)
    batch_parts = staticmethod(unroll.batch_parts)
    map_parts = staticmethod(map_parts)

    def loss_of_states(
        self,
        cell: Cell,
        loss: Any,
        params: Params,
        image: Array,
        target: Array,
        weights: Array,
        states: Array,
    ) -> tuple[Any, Array, Params]:
        """Return the weighted loss of states, its gradient, and the gradients of the readout's parameters.

        Losses that have a name are compiled.
        """
        given = cell, loss, params, image, target, weights
        if callable(loss):  # it may keep what it gets, and the memory of `states` is used again
            return super().loss_of_states(*given, states.copy())
        return loss_of_states(*given, states)

    def description(self) -> str:
        """Return the number of threads, in words."""
        count = threads()
        return f"{count} thread{'s' if count > 1 else ''}"


BACKEND = Cpu()
