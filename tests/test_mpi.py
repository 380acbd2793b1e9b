"""Training and measuring under mpirun: the bytes of one process, stops, deaths, and resumed runs.

REFCA_MPIRUN names the launchers, `:` between several; without it that on the path is tried. `test_distributed.py`
checks more numbers of ranks without MPI.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mpi import ONE_THREAD, command, environment, launchers, pid_of

from refca.tasks import lookup
from refca.training.checkpoint import load_checkpoint

LAUNCHERS = launchers()
pytestmark = pytest.mark.skipif(not LAUNCHERS, reason="there is no mpirun whose MPI library mpi4py can use")

FILES = ("weights.safetensors", "checkpoint.safetensors", "metrics.csv", "settings.toml", "loss.png")
SMALL = ["--unroll", "3", "--state", "12", "--hidden", "8", "--checkpoint-every", "4"]
DIGITS = ["--experiment", "demo", *SMALL, "--pool", "24", "--batch", "14"]
PICTURES = ["--experiment", "pets-48-small", *SMALL, "--horizon", "6", "--size", "10", "--batch", "5"]
LONG = 200  # steps
SECONDS = 300


def train(*flags: str) -> list[str]:
    return ["-m", "refca.train", "--quiet", *flags]


def alone(*arguments: str) -> None:
    subprocess.run([sys.executable, *arguments], env=os.environ | ONE_THREAD, check=True, timeout=SECONDS)


def on_ranks(launcher: str, ranks: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(launcher, ranks, *arguments),
        env=environment(launcher),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


def assert_equal(out: Path, whole: Path, files: tuple[str, ...] = FILES) -> None:
    for file in files:
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of small pictures and masks."""
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (12, 10, 10)).astype(np.uint8)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, images=(80 * masks[..., None] + rng.integers(0, 80, (12, 10, 10, 3))).astype(np.uint8), masks=masks)
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, pictures: Path) -> dict[str, tuple[list[str], Path]]:
    """Runs of one process without MPI: the flags, and the run directory."""
    folder = tmp_path_factory.mktemp("alone")
    flags = {"digits": [*DIGITS, "--steps", "9"], "pictures": [*PICTURES, "--dataset", str(pictures), "--steps", "9"]}
    for name, settings in flags.items():
        alone(*train(*settings, "--out", str(folder / name)))
    return {name: (settings, folder / name) for name, settings in flags.items()}


@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize(("name", "ranks"), [("digits", 1), ("digits", 4), ("pictures", 2), ("pictures", 7)])
def test_any_number_of_ranks_ends_in_the_same_bytes(
    tmp_path: Path, runs: dict[str, tuple[list[str], Path]], launcher: str, name: str, ranks: int
) -> None:
    flags, whole = runs[name]
    done = on_ranks(launcher, ranks, *train(*flags, "--out", str(tmp_path / "run")))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("done:") == 1, "rank 0 speaks for all"
    assert_equal(tmp_path / "run", whole)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_run_is_stopped_and_killed_on_other_numbers_of_ranks_and_loses_nothing(
    tmp_path: Path, long_run: Path, launcher: str
) -> None:
    """A signal to one rank stops all after one step; a rank that dies ends all; both resume on other ranks."""
    out = tmp_path / "run"
    stopped = interrupted(launcher, 3, 2, signal.SIGTERM, out)
    assert stopped.returncode == 130, stopped.stderr
    assert stopped.stderr.count("stopped after") == 1, stopped.stderr
    _, state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    assert 0 < state.done < LONG
    killed = interrupted(launcher, 2, 1, signal.SIGKILL, out, "--resume")
    assert killed.returncode, killed.stderr
    words = killed.stdout + killed.stderr  # MPICH's mpirun ends the others at once and names the process
    assert "rank 1" in words or "PID" in words, words
    alone(*train("--out", str(out), "--resume"))
    assert_equal(out, long_run)


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("long") / "run"
    alone(*train(*DIGITS, "--steps", str(LONG), "--out", str(out)))
    return out


def interrupted(
    launcher: str, ranks: int, rank: int, number: int, out: Path, *more: str
) -> subprocess.CompletedProcess[str]:
    """Send a signal to one rank as soon as a run has logged some steps; return how the run ended, within seconds."""
    flags = more or (*DIGITS, "--steps", str(LONG))
    arguments = command(launcher, ranks, *train(*flags, "--out", str(out)))
    before = size_of(out / "metrics.csv")
    with subprocess.Popen(
        arguments, env=environment(launcher), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + SECONDS
        while size_of(out / "metrics.csv") <= max(before, 40) and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        pid = pid_of(rank, out)
        assert pid, f"rank {rank} is not there"
        os.kill(pid, number)
        output, errors = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_invalid_input_is_one_sentence_and_ends_all_ranks(tmp_path: Path, launcher: str) -> None:
    done = on_ranks(launcher, 3, *train("--experiment", "demo", "--batch", "0", "--out", str(tmp_path / "run")))
    assert done.returncode == 2
    assert done.stderr.count("refca:") == 1
    assert "batch must be at least 1, got 0" in done.stderr
    done = on_ranks(launcher, 2, *train("--experiment", "demo", "--norm", "batch", "--out", str(tmp_path / "run")))
    assert done.returncode == 2
    assert done.stderr.count("refca:") == 1
    assert 'norm "batch"' in done.stderr


@pytest.mark.parametrize("launcher", LAUNCHERS[:1])
def test_an_evaluation_on_ranks_has_the_numbers_of_one_process(
    tmp_path: Path, runs: dict[str, tuple[list[str], Path]], launcher: str
) -> None:
    """Other measurements are compared in `test_distributed.py`."""
    flags = ["--quiet", "--samples", "130", "--steps", "2", "--mutation", "none", "--out"]
    arguments = ["-m", "refca.evaluate", str(runs["digits"][1]), *flags]
    alone(*arguments, str(tmp_path / "alone"))
    done = on_ranks(launcher, 3, *arguments, str(tmp_path / "ranks"))
    assert done.returncode == 0, done.stderr
    assert_equal(tmp_path / "ranks", tmp_path / "alone", ("evaluation.csv", "evaluation.json", "curves.png"))
