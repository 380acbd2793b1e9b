"""Cutting a long row of things into batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, and of what is left; only one list is in memory at a time."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
