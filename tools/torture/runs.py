"""Short training runs whose result is known: each from its flags to the bytes of its files."""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partial
from io import StringIO
from pathlib import Path

import numpy as np
import tqdm

from refca import evaluate, train
from torture.children import Outcome, run, threads
from torture.events import Counter

CHECKPOINT = "checkpoint.safetensors"
DIGITS = ["--experiment", "demo", "--batch", "4", "--pool", "8", "--unroll", "2", "--state", "11", "--hidden", "8"]
VALIDATION = ["--validation", "8", "--validate-every", "5"]
Act = Callable[[int, str], None]


@dataclass(frozen=True)
class Run:
    """A training run, the files that it leaves, the events at its files, and how long it takes."""

    name: str
    flags: list[str]
    files: dict[str, bytes]
    events: list[str]
    seconds: float

    def start(self, out: Path, act: Act | None = None) -> int:
        """Train; in a child only, if something is to be done at the events."""
        return trained([*self.flags, "--out", str(out)], out, act)

    def go_on(self, out: Path, act: Act | None = None) -> int:
        """Resume from the checkpoint, or start again if there is none."""
        if not (out / CHECKPOINT).exists():
            return self.start(out, act)
        every = self.flags[self.flags.index("--checkpoint-every") :]
        return trained(["--out", str(out), "--resume", *every], out, act)

    def differing(self, out: Path) -> list[str]:
        """Names of files that are not as after an undisturbed run."""
        found = contents(out)
        return sorted(name for name in found.keys() | self.files.keys() if found.get(name) != self.files.get(name))


def trained(flags: list[str], out: Path, act: Act | None) -> int:
    if act:
        Counter(out, act).install()
    return train.main(flags)


def contents(folder: Path) -> dict[str, bytes]:
    """The content of each file below a folder, by its path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings(folder: Path) -> dict[str, list[str]]:
    """The flags of each run. `folder` gets the pictures of the one on pictures of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = folder / "pictures.npz"
    rng = np.random.default_rng(0)
    masks = np.kron(rng.integers(0, 2, (10, 4, 4)), np.ones((2, 2), int)).astype(np.uint8)
    images = (200 * masks[..., None] + rng.integers(0, 50, (10, 8, 8, 3))).astype(np.uint8)
    np.savez(pictures, images=images, masks=masks)
    small = ["--batch", "2", "--unroll", "2", "--horizon", "4", "--state", "6", "--hidden", "8"]
    return {
        "digits": [*DIGITS, "--steps", "30", "--checkpoint-every", "7"],
        "digits, cross-entropy": [
            *DIGITS,
            "--loss",
            "ce",
            "--slant",
            "0.2",
            "--steps",
            "12",
            "--checkpoint-every",
            "5",
        ],
        "digits with validation": [*DIGITS, *VALIDATION, "--steps", "22", "--checkpoint-every", "6"],
        "pictures": ["--dataset", str(pictures), *small, "--steps", "21", "--checkpoint-every", "10"],
    }


def undisturbed(folder: Path) -> list[Run]:
    """Do each run twice: in this process, so that its children find everything loaded, and in a child, recorded."""
    tqdm.tqdm.monitor_interval = 0  # no thread
    found = []
    for name, flags in settings(folder).items():
        out = folder / name
        given = [*flags, "--out", str(out)]
        warm(partial(train.main, [*flags, "--out", f"{out} in this process"]))
        with tempfile.TemporaryFile() as trace:
            outcome = run(partial(trained, given, out, recording(trace.fileno())))
            trace.seek(0)
            events = trace.read().decode().splitlines()
        if outcome.code:
            raise SystemExit(f"{name} does not even run undisturbed: {outcome.output}")
        found.append(Run(name, flags, contents(out), events, outcome.seconds))
    warm(lambda: evaluate.main([str(folder / "digits"), "--samples", "8", "--steps", "2"]))
    return found


def warm(program: Callable[[], int]) -> None:
    """Run a program in this process, without its output, and make sure that it leaves no thread."""
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
        code = program()
    if code:
        raise SystemExit(f"a program fails undisturbed: {errors.getvalue()}")
    if threads() != 1:
        raise SystemExit(f"{threads()} threads are left, and children of several are not safe")


def recording(descriptor: int) -> Act:
    return lambda number, what: void(os.write(descriptor, f"{what}\n".encode()))


def void(result: object) -> None:
    pass


def unsynced(events: list[str]) -> list[str]:
    """Return the renames of a record in which the file was not synced after it was last written."""
    synced: dict[str, bool] = {}
    found = []
    for event in events:
        what, _, path = event.rpartition(" ")
        if what.startswith("write"):
            synced[path] = False
        elif what == "fsync":
            synced[path] = True
        elif what == "replace" and not synced.get(path, False):
            found.append(event)
    return found


RANDOM = re.compile(r"\.[0-9a-f]{8}\.")


def known(event: str) -> str:
    """An event without the random part of the file's name."""
    return RANDOM.sub(".", event)


def removed(folder: Path) -> None:
    """Remove a folder and what is in it, if it is there."""
    import shutil

    with suppress(FileNotFoundError):
        shutil.rmtree(folder)


def moment(rng: random.Random, run_: Run) -> float:
    """A random time within a run and a little after it, in seconds."""
    return rng.uniform(0, 1.1 * run_.seconds)


def died(outcome: Outcome, number: int) -> bool:
    return outcome.code == -number
