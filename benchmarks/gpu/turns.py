"""Contestants in processes of their own, which take turns.

So each has the device's memory to itself as far as it needs it, and one that fails, runs out of memory or
takes too long to compile is a row that says so. They load and compile side by side, and run one at a time.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from timing import agree

from gpu.contestants import WITH_TF32, contestant
from gpu.problems import Problem, Truth

FEWEST, LASTING = 3, 15.0  # rounds, and seconds after which no other begins
TURN = 0.1  # seconds that a turn lasts at least: as many runs, and one look at the clock
SETTLE = 1  # seconds of runs before the first turn


@dataclass(frozen=True)
class Job:
    """The works of some contestants on one problem, after a small problem was solved correctly."""

    problem: Problem
    works: tuple[str, ...]
    small: Problem
    truth: Truth
    backend: str
    device: str


def serve(name: str, job: Job, parent: Connection) -> None:
    """A contestant's process: check, prepare, then a turn for each work that it is sent."""
    if name not in WITH_TF32:
        os.environ["NVIDIA_TF32_OVERRIDE"] = "0"
    os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    try:
        who = contestant(name, job.backend, job.device)
        error = compare(name, who.checked(job.small), job.truth)
        runs = {work: who.prepared(work, job.problem) for work in job.works}
        lengths = {work: settled(who, run) for work, run in runs.items()}
        parent.send((True, error))
        while work := parent.recv():
            parent.send((True, turn(who, runs[work], lengths[work])))
    except Exception as failure:
        parent.send((False, sentence(failure)))


def compare(name: str, got: Truth, true: Truth) -> float:
    """Return the error of gradients relative to their norm. Raises AssertionError if it is too large for float32."""
    if name not in WITH_TF32:
        np.testing.assert_allclose(got[2], true[2], atol=1e-4, err_msg=name)
        agree(name, *got[:2], *true[:2], within=2e-3)
    return max(float(np.linalg.norm(got[1][key] - x) / np.linalg.norm(x)) for key, x in true[1].items())


def settled(who: Any, run: Any) -> int:
    """Return the number of runs in a turn, after runs that compile and warm up."""
    turn(who, run, 1)  # compiles
    begun = time.monotonic()
    while (seconds := turn(who, run, 1)) and time.monotonic() - begun < SETTLE:
        pass
    return max(1, min(1000, round(TURN / seconds)))


def turn(who: Any, run: Any, times: int) -> float:
    """Seconds of a run, of so many in the queue, after one that brings the device back from the others."""
    if times > 1:
        run()
    who.wait()
    begun = time.perf_counter()
    for _ in range(times):
        run()
    who.wait()
    return (time.perf_counter() - begun) / times


def sentence(error: Exception) -> str:
    """The error's first words."""
    words = " ".join(str(error).replace("|", "/").split()) or "no reason given"
    return "out of memory" if "out of memory" in words.lower() else f"{type(error).__name__}: {words}"[:100]


class Player:
    """A contestant as the benchmark sees it: its seconds for each work, or why there are none."""

    def __init__(self, name: str, job: Job) -> None:
        context = get_context("spawn")
        self.name, self.seconds = name, {work: list[float]() for work in job.works}
        self.failure, self.error = "", float("nan")
        self.child, parent = context.Pipe()
        self.process = context.Process(target=serve, args=(name, job, parent), daemon=True)
        self.process.start()
        parent.close()

    def answer(self, until: float) -> Any:
        """Return the answer by a deadline, or None with the reason in `failure`."""
        try:
            if not self.child.poll(max(0.0, until - time.monotonic())):
                self.failure = "not ready in time"
                return None
            good, said = self.child.recv()
        except (EOFError, OSError):
            good, said = False, "its process ended"
        self.failure = "" if good else said
        return said if good else None

    def ready(self, until: float) -> bool:
        """Return whether the contestant can take part; otherwise stop it, so that it does not disturb the others."""
        said = self.answer(until)
        self.error = float("nan") if said is None else said
        if said is None:
            self.leave()
        return said is not None

    def play(self, work: str, until: float) -> None:
        self.child.send(work)
        if (seconds := self.answer(until)) is not None:
            self.seconds[work].append(seconds)

    def median(self, work: str) -> float | None:
        """Seconds of a run, None if it failed."""
        return statistics.median(self.seconds[work]) if not self.failure and self.seconds[work] else None

    def leave(self) -> None:
        """End the process, if it has not ended."""
        with suppress(OSError):
            self.child.send(None)
        self.process.join(0 if self.failure else 5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def take_turns(players: list[Player], works: tuple[str, ...], rounds: int, end: float) -> None:
    """Time contestants in turn, round after round, as far as they have not failed."""
    until = min(time.monotonic() + LASTING, end)
    for i in range(rounds):
        if i >= FEWEST and time.monotonic() > until:
            return
        for work in works:
            for player in players:
                if not player.failure:
                    player.play(work, time.monotonic() + 2 * LASTING)


def compete(names: list[str], job: Job, budget: float, rounds: int, end: float) -> list[Player]:
    """Prepare contestants side by side, and time them in turn.

    budget: seconds in which each has to be ready; end: when all has to be over, as of time.monotonic().
    """
    players = [Player(name, job) for name in names]
    try:
        until = min(time.monotonic() + budget, end)
        for player in players:
            player.ready(until)
        take_turns(players, job.works, rounds, end)
    finally:
        for player in players:
            player.leave()
    return players
