"""The parts of the GPU benchmark that need no GPU: turns, failures as rows, and its error message."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gpu.contestants import GRADIENTS, LEARN
from gpu.events import Ceilings, Event, rows
from gpu.problems import Digits, operations, truth, updates
from gpu.turns import Job, Player, compete

import refca.evaluate
import refca.train

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SMALL = Digits(2, 1)


def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A program of benchmarks/gpu."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(BENCHMARKS), *sys.path])}
    command = [sys.executable, "-m", f"gpu.{program}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


def played(backend: str, seconds: float) -> Player:
    job = Job(SMALL, (GRADIENTS, LEARN), SMALL, truth(SMALL), backend, "cpu")
    [player] = compete(["refca"], job, seconds, 3, time.monotonic() + seconds)
    return player


def row(player: Player) -> str:
    event = Event("two digits", SMALL, (GRADIENTS,), SMALL)
    [said] = rows(event, [player], Ceilings(1e9, 1e9))
    return said


def test_a_contestant_that_is_right_is_timed() -> None:
    player = played("reference", 100)
    assert not player.failure
    assert player.error < 1e-5
    assert [len(seconds) for seconds in player.seconds.values()] == [3, 3]
    assert row(player).startswith("| two digits: gradients | refca | ")


@pytest.mark.parametrize(
    ("backend", "seconds", "words"),
    [("warp", 100, 'unknown backend "warp"'), ("cpu", 0, "not ready in time")],
)
def test_one_that_fails_is_a_row_that_says_so(backend: str, seconds: float, words: str) -> None:
    assert words in row(played(backend, seconds))


def test_floor_counts_the_cells_that_update() -> None:
    cells = updates(SMALL, 1)
    assert operations(SMALL, 1, gradients=False) == cells * 2 * (180 * 80 + 80 * 80 + 80 * 19)


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="there may be a GPU")
@pytest.mark.parametrize("program", ["bench", "laws"])
def test_without_a_gpu_they_say_so(program: str) -> None:
    done = run(program)
    assert done.returncode == 2
    assert done.stderr.startswith("refca: no GPU works here: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.skipif(importlib.util.find_spec("cupy") is not None, reason="there may be a GPU")
@pytest.mark.parametrize("part", ["first", "more", "big"])
def test_without_a_gpu_the_nine_minutes_end_at_once(part: str, tmp_path: Path) -> None:
    environment = os.environ | {"GPU_PYTHON": sys.executable, "OUT": str(tmp_path / "out")}
    command = ["bash", str(BENCHMARKS / "gpu/run.sh"), part]
    done = subprocess.run(command, cwd=BENCHMARKS.parent, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("refca: no GPU works here: ")
    assert done.stdout + done.stderr == done.stderr.splitlines(keepends=True)[0]
    assert not list(tmp_path.iterdir())


def test_its_programs_of_refca_have_the_flags_that_it_gives_them(tmp_path: Path) -> None:
    (tmp_path / "runs/gpu-pets").mkdir(parents=True)
    (tmp_path / "runs/gpu-pets/metrics.csv").touch()
    python = tmp_path / "python"
    python.write_text(f'#!/bin/bash\nshift; [ $1 = gpu.check ] || echo "$@" >> {tmp_path}/given\n', "utf-8")
    python.chmod(0o755)
    environment = os.environ | {"GPU_PYTHON": str(python), "OUT": str(tmp_path / "out")}
    subprocess.run(["bash", str(BENCHMARKS / "gpu/run.sh"), "more"], cwd=tmp_path, env=environment, check=True)
    train, evaluate = (line.split() for line in (tmp_path / "given").read_text("utf-8").splitlines())
    assert train[0] == "refca.train"
    assert refca.train.parser().parse_args(train[1:]).learning_rate == 1e-3
    assert evaluate[0] == "refca.evaluate"
    assert refca.evaluate.parser().parse_args(evaluate[1:]).at == "40,400"


def test_the_smoke_test_runs_in_the_emulator() -> None:
    done = run("smoke", "--emulated")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 12
    assert done.stdout.endswith("all well\n")


def test_every_module_of_the_run_is_known_beforehand() -> None:
    count = int(run("warm", "--count").stdout.split()[0])
    assert count > 40


def test_all_contestants_prepare_at_once_and_fill_the_table(tmp_path: Path) -> None:
    names = ["--device", "cpu", "--backend", "reference", "--small", "--only", "digits"]
    done = run("bench", *names, "--out", str(tmp_path / "times.json"), "--budget", "60")
    assert done.returncode == 0, done.stderr
    assert done.stdout.index("ALL READY") < done.stdout.index("| digits, batch 4: gradients | refca |")
    times = json.loads((tmp_path / "times.json").read_text())
    mine = [time for time in times if time["contestant"] == "refca"]
    assert [time["work"] for time in mine] == ["gradients", "learn", "evolve"]
    assert all(time["seconds"] and time["floor"] for time in mine)
