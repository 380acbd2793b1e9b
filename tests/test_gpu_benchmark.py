"""The parts of the GPU benchmark that need no GPU: turns, failures as rows, and its error message."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gpu_contestants import GRADIENTS, LEARN
from gpu_events import Ceilings, Event, rows
from gpu_problems import Digits, operations, truth, updates
from gpu_turns import Job, Player, compete

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SMALL = Digits(2, 1)


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
@pytest.mark.parametrize("program", ["gpu.py", "gpu_laws.py"])
def test_without_a_gpu_they_say_so(program: str) -> None:
    done = subprocess.run([sys.executable, str(BENCHMARKS / program)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("refca: no GPU works here: ")
    assert done.stderr.count("\n") == 1
