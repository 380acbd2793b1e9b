"""Programs in forked children: their exit code, output, time and memory, whatever becomes of them.

A fork of a parent that has imported everything starts in milliseconds. The parent has one thread, so that no
lock is copied as held; `warm` sees to it.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from refca import interrupt

MEMORY = 3 * 2**30  # bytes of addresses that a child may have beyond its parent's
HANG = 300.0  # seconds; a machine under load may stand still for a minute
STUCK = 60.0  # seconds after which a child prints where it is
LONGEST = 1_000 + len("refca: ")  # characters of a sentence


def fit(sentence: str) -> bool:
    """Return whether a sentence is short and has no control characters."""
    return sentence.isprintable() and len(sentence) <= LONGEST


@dataclass(frozen=True)
class Outcome:
    """The end of a child: its exit code (negative: the signal that ended it), and what it printed."""

    code: int
    output: str
    seconds: float
    peak: int  # bytes
    hung: bool

    @property
    def sentences(self) -> list[str]:
        """The lines in which the program says why it ends, or else the first that says what it skipped."""
        lines = [line for line in self.output.replace("\r", "\n").split("\n") if line.startswith("refca: ")]
        lines = [line for line in lines if not line.startswith("refca: warning: ")]
        ends = [line for line in lines if not line.endswith("; skipped")]
        return ends or lines[:1]

    def unfit(self, codes: Sequence[int] = (0, 2, 130)) -> str:
        """Return what is wrong with this end of a program: "" if it is one that is allowed."""
        if self.hung:
            return "hang"
        if "Traceback (most recent call last)" in self.output:
            return "traceback"
        if self.code not in codes:
            return f"exit code {self.code}"
        if self.code == 2 and "error: " not in self.output and len(self.sentences) != 1:
            return f"{len(self.sentences)} sentences"
        return "" if all(map(fit, self.sentences)) else "sentence too long or with control characters"


class Child:
    """A program that runs in a child, in a folder."""

    def __init__(self, program: Callable[[], int], *, folder: Path | None = None, memory: int = MEMORY) -> None:
        self.output = tempfile.TemporaryFile()  # noqa: SIM115
        self.begun = time.monotonic()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the child has its handler
        self.pid = os.fork()
        if self.pid == 0:
            start(program, self.output.fileno(), folder, memory)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def wait(self, signals: Sequence[tuple[float, int]] = (), hang: float = HANG) -> Outcome:
        """Send signals after so many seconds each, wait for the end, and end it after `hang` seconds more."""
        for delay, number in signals:
            if ended(self.pid, max(0.0, self.begun + delay - time.monotonic())):
                break
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)
        hung = not ended(self.pid, hang)
        for kill in (os.killpg, os.kill) if hung else (os.killpg,):  # also what it started
            with suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)
        _, status, usage = os.wait4(self.pid, 0)
        seconds = time.monotonic() - self.begun
        with self.output:
            self.output.seek(0)
            text = self.output.read().decode("utf-8", "replace")
        return Outcome(os.waitstatus_to_exitcode(status), text, seconds, usage.ru_maxrss * 1024, hung)


def run(
    program: Callable[[], int],
    *,
    folder: Path | None = None,
    signals: Sequence[tuple[float, int]] = (),
    hang: float = HANG,
    memory: int = MEMORY,
) -> Outcome:
    """Run a program in a child to its end."""
    return Child(program, folder=folder, memory=memory).wait(signals, hang)


def ended(pid: int, seconds: float) -> bool:
    """Wait for a child to end, at most so long; return whether it has."""
    descriptor = os.pidfd_open(pid)
    try:
        return bool(select.select([descriptor], [], [], seconds)[0])
    finally:
        os.close(descriptor)


def start(program: Callable[[], int], output: int, folder: Path | None, memory: int) -> NoReturn:
    """In a child: run the program as `python -m` would, and end."""
    code = 1
    try:
        os.setpgid(0, 0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGINT, interrupt.stop)  # as while `python -m refca...` imports
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        limit_memory(memory)
        faulthandler.dump_traceback_later(STUCK, file=sys.stderr)
        if folder:
            os.chdir(folder)
        code = program()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
        with suppress(Exception):
            sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


def limit_memory(more: int) -> None:
    """Allow this process so many bytes of addresses beyond those that it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def threads() -> int:
    """The number of threads of this process."""
    return len(os.listdir("/proc/self/task"))
