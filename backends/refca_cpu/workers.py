"""The threads that work on shards."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

from refca.errors import InvalidInput
from refca_cpu import blas

ParallelMap: TypeAlias = Callable[..., list[Any]]  # `map`, but all is done when it returns


@contextmanager
def workers(tasks: int) -> Iterator[ParallelMap]:
    """A map, in order, whose calls are spread over as many threads as `threads()`."""
    with blas.single_threaded():
        if tasks <= 1 or threads() == 1:
            yield lambda work, *items: list(map(work, *items))
        else:
            with ThreadPoolExecutor(threads()) as pool:
                yield lambda work, *items: list(pool.map(work, *items))


def threads() -> int:
    """The number of threads to work on: REFCA_THREADS, else the processors that this process may use."""
    setting = os.environ.get("REFCA_THREADS")
    if setting is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (setting.isdecimal() and int(setting)):
        raise InvalidInput(f'REFCA_THREADS must be a number of threads, at least 1, got "{setting}"')
    return int(setting)
