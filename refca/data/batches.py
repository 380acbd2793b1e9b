"""Cutting a long row of things into batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")


def batched(
    items: Iterable[Item], size: int, weight: Callable[[Item], float] = lambda item: 0, most: float = 1
) -> Iterator[list[Item]]:
    """Yield lists of `size` items, and of what is left; a list also ends once its weights add up to `most`.

    Only one list is in memory at a time.
    """
    batch: list[Item] = []
    total = 0.0
    for item in items:
        batch.append(item)
        total += weight(item)
        if len(batch) == size or total >= most:
            yield batch
            batch, total = [], 0.0
    if batch:
        yield batch
