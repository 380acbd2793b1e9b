"""Kill ranks of a small training run at random moments, resume it on other numbers of ranks, and compare the end.

    REFCA_MPIRUN=/path/to/mpirun[:/path/to/another] python tools/kill_ranks.py 50

Each time a random launcher starts 2 or 3 ranks, and one of them gets a signal: SIGKILL mostly, else SIGTERM or
SIGINT. The checkpoint must never be older than the one before, and the finished run must have the bytes of an
uninterrupted run of one process.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from mpi import ONE_THREAD, command, environment, launchers, pid_of

from refca.tasks import lookup
from refca.training.checkpoint import load_checkpoint

FLAGS = ["--experiment", "demo", "--backend", "reference", "--logical-workers", "4", "--steps", "400", "--unroll", "2"]
FLAGS += ["--state", "11", "--hidden", "6", "--pool", "12", "--batch", "6"]
FILES = ("weights.safetensors", "checkpoint.safetensors", "metrics.csv")
SIGNALS = [signal.SIGKILL] * 3 + [signal.SIGTERM, signal.SIGINT]


def train(out: Path, *more: str) -> list[str]:
    first = ["--resume"] if (out / "checkpoint.safetensors").exists() else FLAGS
    given = ["--backend", "reference", "--checkpoint-every", "3", "--quiet"]
    return ["-m", "refca.train", *first, *given, "--out", str(out), *more]


def done(out: Path) -> int:
    path = out / "checkpoint.safetensors"
    return load_checkpoint(path, lookup)[1].done if path.exists() else 0


def kill_once(out: Path, choice: random.Random) -> str:
    """Start the run, send a signal to one rank at a random moment, and return what happened."""
    launcher, ranks = choice.choice(launchers()), choice.randint(2, 3)
    rank, number, log = choice.randrange(ranks), choice.choice(SIGNALS), out / "metrics.csv"
    early, pause, before = choice.random() < 0.2, choice.random() ** 2, log.stat().st_mtime_ns if log.exists() else 0
    with subprocess.Popen(
        command(launcher, ranks, *train(out)),
        env=environment(launcher),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while process.poll() is None and not early and not (log.exists() and log.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(2 * pause)
        while not (found := pid_of(rank, out)) and process.poll() is None:
            time.sleep(0.05)
        if found:
            os.kill(found, number)
        killed = time.monotonic()
        errors = process.communicate(timeout=300)[1]
    where = "early" if early else "training"
    seconds = time.monotonic() - killed
    signalled = number.name if found else "nothing"
    said = "; ".join(line for line in errors.splitlines() if line.startswith("refca:"))
    code = process.returncode
    return f"{ranks} ranks, {signalled} to rank {rank} {where}: ended {seconds:.1f} s later with {code} {said}"


def main() -> int:
    times, choice = int(sys.argv[1]), random.Random(int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    with tempfile.TemporaryDirectory() as folder:
        out, whole = Path(folder) / "killed", Path(folder) / "whole"
        subprocess.run([sys.executable, *train(whole)], env=os.environ | ONE_THREAD, check=True)
        before = 0
        for i in range(times):
            what = kill_once(out, choice)
            now = done(out)
            print(f"{i + 1}: {what}; at step {now}", flush=True)
            assert now >= before, f"the checkpoint went back from step {before} to {now}"
            before = now
        subprocess.run([sys.executable, *train(out)], env=os.environ | ONE_THREAD, check=True)
        for file in FILES:
            assert (out / file).read_bytes() == (whole / file).read_bytes(), file
    print(f"{times} times; the run ended in the bytes of an uninterrupted one")
    return 0


if __name__ == "__main__":
    sys.exit(main())
