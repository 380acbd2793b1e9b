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
from refca.threads import processors
from refca_cpu import blas
from refca_cpu.workspace import Workspace

ParallelMap: TypeAlias = Callable[..., list[Any]]  # `map`, but all is done when it returns


class Inside(threading.local):
    """The work that a thread is in the middle of."""

    working: bool = False  # a call, or a part of a batch: it starts no threads
    workspace: Workspace | None = None  # of this call
    spare: Workspace | None = None  # for the next call


INSIDE = Inside()


@contextmanager
def working(workspace: Workspace | None = None, spare: Workspace | None = None) -> Iterator[None]:
    """Within this context the thread works. A call in a call, as of a loss that evolves cells, has its own memory."""
    before = INSIDE.working, INSIDE.workspace, INSIDE.spare
    INSIDE.working, INSIDE.workspace, INSIDE.spare = True, workspace, spare
    try:
        yield
    finally:
        INSIDE.working, INSIDE.workspace, INSIDE.spare = before


def map_parts(work: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray]) -> list[Any]:
    """work(part) for each part, in order, spread over threads; within a part there is one thread.

    A thread keeps its workspace from one part to the next.
    """
    own = threading.local()

    def compute(part: np.ndarray) -> Any:
        if not hasattr(own, "workspace"):
            own.workspace = Workspace()
        with working(spare=own.workspace):
            return work(part)

    with workers(len(parts)) as parallel_map:
        return parallel_map(compute, parts)


@contextmanager
def workers(tasks: int) -> Iterator[ParallelMap]:
    """A map, in order, whose calls are spread over as many threads as `threads()`."""
    if INSIDE.working:
        with working(INSIDE.spare):
            yield lambda work, *items: list(map(work, *items))
        return
    with blas.single_threaded(), working():
        if tasks <= 1 or threads() == 1 or not threading.main_thread().is_alive():  # at exit no thread can start
            yield lambda work, *items: list(map(work, *items))
        else:
            with ThreadPoolExecutor(threads()) as pool:
                yield lambda work, *items: list(pool.map(at_work(work), *items))


def at_work(work: Callable[..., Any]) -> Callable[..., Any]:
    """A function that does this in a thread of a pool."""

    def call(*item: Any) -> Any:
        with working():
            return work(*item)

    return call


def threads() -> int:
    """The number of threads to work on: REFCA_THREADS, else the processors that this process may use."""
    setting = os.environ.get("REFCA_THREADS")
    if setting is None:
        return processors()
    if not (setting.isdecimal() and int(setting)):
        raise InvalidInput(f'REFCA_THREADS must be a number of threads, at least 1, got "{setting}"')
    return int(setting)
