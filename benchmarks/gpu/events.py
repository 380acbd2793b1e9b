"""The problems that are timed on a GPU, and the table of the results. `bench.py` says what is timed and how."""

from __future__ import annotations

import json
import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from timing import processor

from gpu.check import describe_device
from gpu.contestants import EVOLVE, FAST, GRADIENTS, LEARN, NAMES, WITH_TF32, Refca
from gpu.problems import Digits, Photographs, Problem, moved, operations, truth, updates
from gpu.turns import FEWEST, Job, Player, compete, take_turns, turn
from refca.atomic import atomic_write

READY = "ALL READY"  # printed when nothing prepares any more
CHECKED = Digits(4, 5)  # few steps: peers compile them all in one
WORDS = {GRADIENTS: "gradients", LEARN: "training step with Adam", EVOLVE: "evolution"}
COLUMNS = (
    "",
    "",
    "time",
    "million cell updates a second",
    "share of the floor",
    "speedup over the fastest peer",
)


@dataclass(frozen=True)
class Event:
    """A problem, what is done with it, and a small one on which that is checked."""

    title: str
    problem: Problem
    works: tuple[str, ...]
    small: Problem
    together: bool = True
    tf32: bool = False


@dataclass(frozen=True)
class Ceilings:
    """Operations a second of a large float32 product, and bytes a second of a large copy."""

    product: float
    copy: float

    def floor(self, problem: Problem, work: str) -> float:
        """Seconds that the work takes at least."""
        gradients = work != EVOLVE
        return max(
            operations(problem, problem.steps, gradients) / self.product,
            moved(problem, gradients) / self.copy,
        )


def events(flags: Namespace) -> Iterator[Event]:
    """The problems, the longest last: there may be no time for it."""
    if flags.only in (None, "digits"):
        yield from small_digits() if flags.small else digits()
    if flags.only in (None, "pets"):
        yield from photographs(flags)
    if flags.only in (None, "large") and not flags.small:
        yield Event("digits, batch 4,096", Digits(4096, 20), (GRADIENTS,), CHECKED, together=False)


def photographs(flags: Namespace) -> Iterator[Event]:
    sides, size, steps = ((16,), 2, 2) if flags.small else ((48, 96) if flags.all else (48,), 32, 10)
    for side in sides:
        for setting in flags.settings.split(","):
            title = f"{setting.replace('-', ', norm ')}, {side}x{side}, batch {size}"
            problem = Photographs(setting, size, side, steps)
            yield Event(title, problem, (GRADIENTS,), Photographs(setting, 2, side, min(steps, 4)))


def digits() -> Iterator[Event]:
    yield Event("digits, batch 16", Digits(16, 20), (GRADIENTS, LEARN), CHECKED)
    yield Event("digits, batch 256", Digits(256, 20), (GRADIENTS, LEARN), CHECKED, tf32=True)
    yield Event("10,000 digits x 200 steps", Digits(10_000, 200), (EVOLVE,), CHECKED)


def small_digits() -> Iterator[Event]:
    yield Event("digits, batch 4", Digits(4, 2), (GRADIENTS, LEARN, EVOLVE), Digits(2, 2))


def ceilings(backend: str, device: str, small: bool) -> Ceilings:
    """Both, measured through the backend's own library."""
    who = Refca(backend, device)
    xp, side, length = who.backend.xp, 1024 if small else 8192, 2**22 if small else 2**28
    random = xp.random.default_rng(0).standard_normal
    a, source = random((side, side), xp.float32), random(length, xp.float32)
    target = xp.empty_like(source)

    def copy() -> None:
        target[...] = source

    product = min(turn(who, lambda: a @ a, 5) for _ in range(5))
    return Ceilings(2 * side**3 / product, 2 * source.nbytes / min(turn(who, copy, 5) for _ in range(5)))


def rows(event: Event, players: list[Player], limits: Ceilings) -> Iterator[str]:
    """The table's rows of an event."""
    for work in event.works:
        seconds = {player.name: player.median(work) for player in players if player.name in NAMES}
        peers = [s for name, s in seconds.items() if name != NAMES[0] and s]
        for player in players:
            if player.name not in seconds:
                continue
            cells = [f"{event.title}: {WORDS[work]}", player.name]
            if s := seconds[player.name]:
                rate = updates(event.problem, event.problem.steps) / s
                share = limits.floor(event.problem, work) / s
                faster = f"{min(peers) / s:.1f}" if player.name == NAMES[0] and peers else ""
                cells += [duration(s), f"{rate / 1e6:,.3g}", f"{share:.1%}", faster]
            else:
                cells += [player.failure, "", "", ""]
            yield line(cells)


def line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def duration(seconds: float) -> str:
    return f"{seconds * 1e3:,.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"


def with_tf32(event: Event, players: list[Player]) -> Iterator[str]:
    """A sentence for each peer that was timed with TF32 too."""
    for player in players:
        if player.name in WITH_TF32:
            s = player.median(GRADIENTS)
            said = f"{duration(s)}, gradients off by {player.error:.0e}" if s else player.failure
            yield f"{player.name}, {event.title}: {said}."


def described(flags: Namespace, limits: Ceilings) -> str:
    """The device, the libraries, and both ceilings."""
    device = describe_device() if flags.device == "gpu" else {"processor": processor()}
    rates = f"a large product runs at {limits.product / 1e12:.3g} TFLOP/s"
    rates += f", a large copy moves {limits.copy / 1e9:,.0f} GB/s"
    libraries = [f"{name} {found}" for name in ("PyTorch", "JAX") if (found := installed(name))]
    parts = [f"{name} {value}" for name, value in device.items()]
    return "; ".join([*parts, *libraries, rates, time.strftime("%Y-%m-%d")])


def installed(peer: str) -> str:
    """A peer's version, empty if it is not there."""
    try:
        return version({"PyTorch": "torch", "JAX": "jax"}[peer])
    except PackageNotFoundError:
        return ""


def job(event: Event, flags: Namespace) -> Job:
    """The job of the contestants of an event."""
    return Job(event.problem, event.works, event.small, truth(event.small), flags.backend, flags.device)


def names(event: Event, flags: Namespace) -> list[str]:
    """The contestants of an event."""
    if flags.device == "cpu":
        return [name for name in NAMES if "CUDA" not in name]
    return [*NAMES, *(WITH_TF32 if event.tf32 else ())] if flags.all else list(FAST)


def prepared(together: list[Event], flags: Namespace, until: float) -> list[list[Player]]:
    """The contestants of all events, which prepare side by side. One that is not ready by `until` has failed."""
    entered = [[Player(name, job(event, flags)) for name in names(event, flags)] for event in together]
    begun = time.monotonic()
    for event, players in zip(together, entered, strict=True):
        for player in players:
            state = "ready" if player.ready(until) else player.failure
            print(f"{time.monotonic() - begun:4.0f} s  {event.title}, {player.name}: {state}", flush=True)
    print(READY, flush=True)
    return entered


def wait_for(file: str | None, end: float) -> None:
    """Wait until a file exists, or until the end."""
    while file and not Path(file).exists() and time.monotonic() < end:
        time.sleep(0.2)


def compare(flags: Namespace) -> int:
    """Time all there is time for, printing rows as they come, and the whole table last."""
    end, rounds = time.monotonic() + 60 * flags.minutes, FEWEST if flags.small else 25
    entries = list(events(flags))
    together = [event for event in entries if event.together]
    players = prepared(together, flags, min(time.monotonic() + flags.budget, end))
    wait_for(flags.go, end)
    limits = ceilings(flags.backend, flags.device, flags.small)
    results = Results(flags.out, limits)
    try:
        for event, entered in zip(together, players, strict=True):
            take_turns(entered, event.works, rounds, end)
            results.add(event, entered)
            for player in entered:
                player.leave()  # whose memory the next events may need
    finally:
        for player in (player for entered in players for player in entered):
            player.leave()
    for event in (event for event in entries if not event.together):
        if end - time.monotonic() < 60:
            results.notes.append(f"No time was left for: {event.title}.")
            continue
        alone = [compete([name], job(event, flags), flags.budget, rounds, end) for name in names(event, flags)]
        results.add(event, [player for [player] in alone])
    print("", described(flags, limits), "", *results.table, "", *results.notes, sep="\n")
    return 0


class Results:
    """The rows of the table, the notes below it, and all times in a JSON file."""

    def __init__(self, out: str | None, limits: Ceilings) -> None:
        self.out, self.limits = out, limits
        self.table, self.notes = [line(list(COLUMNS)), "|---|---|---:|---:|---:|---:|"], list[str]()
        self.times: list[dict[str, Any]] = []

    def add(self, event: Event, players: list[Player]) -> None:
        """Add and print the rows of an event."""
        added = list(rows(event, players, self.limits))
        print(*added, sep="\n", flush=True)
        self.table += added
        self.notes += with_tf32(event, players)
        for player in players:
            error = player.error if player.error == player.error else None  # NaN is no JSON
            common = {"event": event.title, "contestant": player.name, "failure": player.failure, "error": error}
            for work, seconds in player.seconds.items():
                floor = self.limits.floor(event.problem, work)
                self.times.append({**common, "work": work, "seconds": seconds, "floor": floor})
        if self.out:
            with atomic_write(Path(self.out)) as path:
                path.write_text(json.dumps(self.times, indent=1), "utf-8")
