"""A task, a data set and a backend in a folder outside the package work like ours, with no change in refca/."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refca.training.muon import OPTIMISERS
from refca.weights.load import load_weights

PACKAGE = Path(__file__).parent / "outsider"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "site")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of refca in a process that finds the package."""
    path = os.pathsep.join([str(folder / "site"), *filter(None, sys.path)])
    environment = os.environ | {"PYTHONPATH": path}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def experiment(folder: Path) -> str:
    path = folder / "stripes.toml"
    path.write_text('# Stripes.\ntask = "stripes"\n')
    return str(path)


def test_they_train_twenty_steps_and_are_measured(folder: Path) -> None:
    flags = ["--experiment", experiment(folder), "--backend", "plain", "--steps", "20", "--out", "run"]
    trained = run(folder, "refca.train", *flags)
    assert trained.returncode == 0, trained.stderr
    assert "backend plain" in trained.stdout
    assert "stripes, 40 training stripes" in trained.stdout
    log = (folder / "run" / "metrics.csv").read_text().splitlines()
    assert log[0] == "step,loss,accuracy"
    assert [line.split(",")[0] for line in log[1:]] == ["10", "20"]

    measured = run(folder, "refca.evaluate", "run", "--backend", "plain")
    assert measured.returncode == 0, measured.stderr
    assert "accuracy" in measured.stdout
    accuracy = float((folder / "run" / "accuracy.txt").read_text())
    assert accuracy > 0.6  # chance is one half


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_run_of_theirs_resumes_bit_for_bit(folder: Path, optimiser: str) -> None:
    flags = ["--experiment", experiment(folder), "--backend", "plain", "--steps", "20", "--optimiser", optimiser]
    whole = run(folder, "refca.train", *flags, "--out", "whole", "--checkpoint-every", "10")
    assert whole.returncode == 0, whole.stderr
    code = (
        "import itertools, sys; from refca import train; from refca.training import loop; import contextlib\n"
        "stops = itertools.chain([False] * 11, itertools.repeat(True))\n"
        "loop.stoppable = lambda: contextlib.nullcontext(lambda: next(stops))\n"
        f"sys.exit(train.main({[*flags, '--out', 'parts']!r}))"
    )
    (folder / "stop.py").write_text(code)
    stopped = run(folder, "stop")
    assert stopped.returncode == 130, stopped.stderr
    resumed = run(folder, "refca.train", "--resume", "--backend", "plain", "--out", "parts")
    assert resumed.returncode == 0, resumed.stderr
    for file in ("weights.safetensors", "metrics.csv"):
        assert (folder / "parts" / file).read_bytes() == (folder / "whole" / file).read_bytes()


def test_their_settings_are_flags_and_are_named_in_errors(folder: Path) -> None:
    shown = run(folder, "refca.train", "--help")
    assert "--endurance" in shown.stdout
    wrong = run(folder, "refca.train", "--experiment", experiment(folder), "--endurance", "0")
    assert wrong.returncode == 2
    assert wrong.stderr.strip() == "refca: endurance must be at least 1, got 0"
    ours = run(folder, "refca.train", "--experiment", "demo", "--endurance", "3")
    assert "endurance is a setting of stripes experiments" in ours.stderr


def test_weights_of_a_task_that_is_not_installed_are_refused_by_name(folder: Path) -> None:
    flags = ["--experiment", experiment(folder), "--backend", "plain", "--steps", "1", "--out", "run"]
    assert run(folder, "refca.train", *flags).returncode == 0
    with pytest.raises(ValueError, match=r'checkpoint.safetensors: task must be one of .*, got "stripes"$'):
        load_weights(folder / "run")
