"""The events of the benchmark on a GPU and their table; `gpu.py` describes what is timed and how."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from gpu_contestants import EVOLVE, GRADIENTS, LEARN, NAMES, WITH_TF32, Refca
from gpu_device import describe_device
from gpu_problems import Digits, Photographs, Problem, moved, operations, truth, updates
from gpu_turns import FEWEST, Job, Player, compete, turn
from timing import processor

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
    """Return the events to time, the longest last, as time may run out."""
    if flags.only != "pets":
        yield from small_digits() if flags.small else digits()
    if flags.only != "digits":
        yield from photographs(flags)
    if flags.only != "pets" and not flags.small:
        yield Event("digits, batch 4,096", Digits(4096, 20), (GRADIENTS,), CHECKED, together=False)


def photographs(flags: Namespace) -> Iterator[Event]:
    sides, size, steps = ((16,), 2, 2) if flags.small else ((48, 96), 32, 10)
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


def held(event: Event, flags: Namespace, end: float) -> list[Player]:
    """The event, with all its contestants."""
    on_gpu = flags.device == "gpu"
    names = [name for name in NAMES if on_gpu or "CUDA" not in name]
    names += WITH_TF32 if on_gpu and event.tf32 else ()
    job = Job(event.problem, event.works, event.small, truth(event.small), flags.backend, flags.device)
    groups = [names] if event.together else [[name] for name in names]
    rounds = FEWEST if flags.small else 25
    return [player for group in groups for player in compete(group, job, flags.budget, rounds, end)]


def compare(flags: Namespace) -> int:
    """Time all there is time for, printing rows as they come, and the whole table last."""
    end = time.monotonic() + 60 * flags.minutes
    limits = ceilings(flags.backend, flags.device, flags.small)
    table, notes = [line(list(COLUMNS)), "|---|---|---:|---:|---:|---:|"], list[str]()
    for event in events(flags):
        if end - time.monotonic() < 60:
            notes.append(f"No time was left for: {event.title}.")
            continue
        players = held(event, flags, end)
        table += rows(event, players, limits)
        notes += with_tf32(event, players)
        print(*rows(event, players, limits), sep="\n", flush=True)
    print("", described(flags, limits), "", *table, "", *notes, sep="\n")
    return 0
