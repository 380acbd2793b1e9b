"""`python -m torture`: kills, damaged files, full disks and odd command lines, in this order, and a table of all."""

from __future__ import annotations

import torture.single_threaded  # isort: split

import argparse
import os
import random
import secrets
import sys
import tempfile
import time
from pathlib import Path

import torture
from torture import command_lines, disks, files, kills
from torture.runs import Run, undisturbed
from torture.tally import Deadline, Tally

LONG = {"kills": 1_000, "files": 10_000, "disks": 60, "command_lines": 1_000}
MEMORY = "/dev/shm"  # where syncing takes no time; a kill of a process loses nothing of what it wrote to any disk
SHARES = {"disks": 0.15, "kills": 0.5, "command_lines": 0.35, "files": 1.0}  # of the time that is left, in this order


def main() -> int:
    """Run the campaign; return 1 if there was a fault."""
    flags = parser().parse_args()
    seed = secrets.randbelow(10**6) if flags.seed is None else flags.seed
    print(f"seed {seed}; torture with --seed {seed} to have the same again", flush=True)
    begun, tally = time.monotonic(), Tally()
    with tempfile.TemporaryDirectory(prefix="torture-", dir=MEMORY if Path(MEMORY).is_dir() else None) as name:
        folder = Path(name)
        os.environ["REFCA_DATA"] = str(folder / "no data")
        (folder / "no data").mkdir()
        runs = undisturbed(folder / "runs")
        print(f"{len(runs)} runs with {sum(len(run.events) for run in runs)} events at files", flush=True)
        deadline = Deadline.after(60 * flags.minutes)
        for part, share in SHARES.items():
            torment(part, runs, folder / part, getattr(flags, part), seed, tally, deadline.share(share))
            print(f"{part} after {(time.monotonic() - begun) / 60:.1f} minutes\n{tally.table()}", flush=True)
    print(summary(tally))
    return 1 if tally.faults else 0


def torment(part: str, runs: list[Run], folder: Path, count: int, seed: int, tally: Tally, end: Deadline) -> None:
    """Run a part of the campaign."""
    if part == "files":
        files.torture(runs, folder, count, seed, tally, end)
    else:
        module = {"kills": kills, "disks": disks, "command_lines": command_lines}[part]
        module.torture(runs, folder, count, random.Random(f"{seed} {part}"), tally, end)


def summary(tally: Tally) -> str:
    """The figures of the whole campaign in a sentence."""
    tried = {
        "kills": tally.total(kills.KILLS, "killed"),
        "files": tally.total(files.FILES, "tried") + tally.total(files.PROGRAMS, "tried"),
        "disks": tally.total(disks.PART, "tried"),
        "command lines": tally.total(command_lines.PART, "tried"),
    }
    words = ", ".join(f"{number:,} {what}" for what, number in tried.items())
    bad = {kind: tally.total("", kind) for kind in ("wrong load", "wrong result", "traceback", "hang or crash", "hang")}
    faults = ", ".join(f"{number} {kind}" for kind, number in bad.items())
    seen = files.LONGEST_SEEN
    return (
        f"tried: {words}; faults: {len(tally.faults)} ({faults}); peak memory "
        f"{max(tally.peaks.values(), default=0) / 1e6:,.0f} MB; one file raised it by {seen['growth'] / 1e6:,.0f} MB "
        f"at most; longest sentence {seen['sentence']:,} characters"
    )


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m torture", description=torture.__doc__.split("\n")[0])
    parser.add_argument(
        "--minutes",
        type=float,
        default=120,
        help="time after which the rest is left out, counted from the first trial; default 120",
    )
    parser.add_argument("--seed", type=int, help="seed of everything random; default: a new one, which is printed")
    for part, count in LONG.items():
        flag = f"--{part.replace('_', '-')}"
        parser.add_argument(flag, metavar="N", type=int, default=count, help=f"how many to try; default {count:,}")
    return parser


if __name__ == "__main__":
    sys.exit(main())
