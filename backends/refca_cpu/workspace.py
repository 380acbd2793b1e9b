"""Memory that one shard after another works in: fresh pages cost as much as a layer."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from refca_cpu.arrays import Reals


class Workspace:
    """Arrays by name. A request may reuse the memory of the last request of the same name."""

    def __init__(self) -> None:
        self.memory: dict[tuple[str, np.dtype], Reals] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Reals:
        """An uninitialised array."""
        key, size = (name, np.dtype(dtype)), prod(shape)
        if key not in self.memory or self.memory[key].size < size:
            self.memory[key] = np.empty(size + size // 32, dtype)  # the number of updates differs from step to step
        return self.memory[key][:size].reshape(shape)
