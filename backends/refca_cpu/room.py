"""Memory to work in that is used again by the next part: fresh pages cost as much as a layer."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from refca.definition.cell import Array


class Room:
    """Arrays by name. Each request may reuse the memory of the one before it of that name."""

    def __init__(self) -> None:
        self.memory: dict[tuple[str, Any], Array] = {}

    def empty(self, name: str, shape: tuple[int, ...], dtype: Any) -> Array:
        """An array whose content is anything."""
        key, size = (name, np.dtype(dtype)), prod(shape)
        if key not in self.memory or self.memory[key].size < size:
            self.memory[key] = np.empty(size, dtype)
        return self.memory[key][:size].reshape(shape)
