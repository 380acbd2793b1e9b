"""Ranks that are threads of one process, for laws and tests of what several processes compute.

Source: `docs/cluster.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any, NoReturn, TypeVar, cast

import numpy as np

from refca.distributed import using

Result = TypeVar("Result")

LOOK_EVERY = 0.5  # seconds between looks at ranks that one waits for


class Simulated:
    """One rank of `size`, with queues from each to each."""

    local_rank = 0

    def __init__(
        self, rank: int, size: int, queues: dict[tuple[int, int], SimpleQueue[np.ndarray]], failed: Event
    ) -> None:
        self.rank, self.size, self.queues, self.failed = rank, size, queues, failed
        self.messages = self.sent = 0

    def send(self, content: np.ndarray, to: int) -> None:
        self.queues[self.rank, to].put(np.array(content))
        self.messages += 1
        self.sent += content.nbytes

    def receive(self, shape: tuple[int, ...], dtype: Any, source: int) -> np.ndarray:
        while True:
            with suppress(Empty):
                content = self.queues[source, self.rank].get(timeout=LOOK_EVERY)
                break
            if self.failed.is_set():
                raise ConnectionError(f"rank {source} or another has failed")
        assert content.nbytes == np.empty(shape, dtype).nbytes
        return content.reshape(-1).view(np.uint8).view(dtype).reshape(shape)

    def flush(self) -> None:
        pass

    def say(self, rank: int, sentence: str) -> None:
        print(f"refca: rank {rank}: {sentence}", file=sys.stderr)

    def abort(self, code: int) -> NoReturn:
        raise SystemExit(code)


def simulate(size: int, program: Callable[[Any], Result]) -> list[Result]:
    """Run program(ranks) on simulated ranks, threads of this process; return their results, rank 0's first.

    Raises what the first rank that failed raised.
    """
    queues, failed = {(a, b): SimpleQueue[np.ndarray]() for a in range(size) for b in range(size)}, Event()
    errors: list[BaseException] = []

    def run(rank: int) -> Result | None:
        ranks = Simulated(rank, size, queues, failed)
        try:
            with using(ranks):
                return program(ranks)
        except BaseException as error:
            errors.append(error)
            failed.set()
            return None

    with ThreadPoolExecutor(size) as pool:
        results = list(pool.map(run, range(size)))
    if errors:
        raise errors[0]
    return cast(list[Result], results)
