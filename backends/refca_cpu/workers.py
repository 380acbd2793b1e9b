"""The threads that work on shards, or on the parts of a batch."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np

from refca.errors import InvalidInput
from refca_cpu import blas
from refca_cpu.workspace import Workspace

ParallelMap: TypeAlias = Callable[..., list[Any]]  # `map`, but all is done when it returns


class Inside(threading.local):
    """The workspace of a thread that computes a part of a batch; None outside."""

    workspace: Workspace | None = None


INSIDE = Inside()


def map_parts(work: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray]) -> list[Any]:
    """work(part) for each part, in order, spread over threads; within a part there is one thread.

    A thread keeps its workspace from one part to the next.
    """
    own = threading.local()

    def compute(part: np.ndarray) -> Any:
        if not hasattr(own, "workspace"):
            own.workspace = Workspace()
        INSIDE.workspace = own.workspace
        try:
            return work(part)
        finally:
            INSIDE.workspace = None

    with workers(len(parts)) as parallel_map:
        return parallel_map(compute, parts)


@contextmanager
def workers(tasks: int) -> Iterator[ParallelMap]:
    """A map, in order, whose calls are spread over as many threads as `threads()`."""
    if INSIDE.workspace is not None:
        yield lambda work, *items: list(map(work, *items))
        return
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
