"""Training as a program: the files of a run, and resumed runs that equal uninterrupted ones."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import refca
from refca import train
from refca.data import load
from refca.digits.settings import DigitsExperiment
from refca.tasks import lookup
from refca.training import loop
from refca.training.checkpoint import load_checkpoint
from refca.training.metrics_log import read_metrics
from refca.weights.load import load_weights

STEPS = 60
FLAGS = ["--experiment", "demo", "--steps", str(STEPS), "--batch", "8", "--pool", "20", "--unroll", "4"]


def flags(out: Path) -> list[str]:
    return [*FLAGS, "--out", str(out), "--checkpoint-every", "7"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(flags(out)) == 0
    return out


def assert_equal(out: Path, whole: Path) -> None:
    """Parameters, moments, pool and metrics are the same, bit for bit."""
    for file in ("checkpoint.safetensors", "weights.safetensors", "metrics.csv", "settings.toml", "loss.png"):
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file


def test_a_run_leaves_its_settings_metrics_weights_and_loss(whole: Path) -> None:
    names = {path.name for path in whole.iterdir()}
    assert names == {
        "settings.toml",
        "metrics.csv",
        "checkpoint.safetensors",
        "weights.safetensors",
        "loss.png",
    }
    assert [row["step"] for row in read_metrics(whole / "metrics.csv")] == list(range(10, STEPS + 1, 10))
    experiment, train_state = load_checkpoint(whole / "checkpoint.safetensors", lookup)
    assert (experiment.steps, experiment.dataset, train_state.done) == (STEPS, "optdigits", STEPS)
    for name, x in load_weights(whole).params.items():
        np.testing.assert_array_equal(x, train_state.params[name])
        assert x.dtype == np.float32


def test_the_same_settings_give_the_same_run(whole: Path, tmp_path: Path) -> None:
    assert train.main(flags(tmp_path / "run")) == 0
    assert_equal(tmp_path / "run", whole)


def test_another_seed_gives_another_run(whole: Path, tmp_path: Path) -> None:
    assert train.main([*flags(tmp_path / "run"), "--seed", "1"]) == 0
    mine, theirs = (load_weights(out).params["perceive.weight"] for out in (tmp_path / "run", whole))
    assert not np.array_equal(mine, theirs)


@pytest.mark.parametrize("steps", [1, 7, 10, 33])
def test_a_run_stopped_after_any_step_goes_on_as_if_it_had_not_been(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    steps: int,
) -> None:
    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        asked = iter([False] * steps + [True])
        yield lambda: next(asked)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "stoppable", stopping)
        assert train.main(flags(tmp_path / "run")) == 130
    message = capsys.readouterr().err
    assert f"; resume with python -m refca.train --out {tmp_path / 'run'} --resume" in message
    assert train.main(["--out", str(tmp_path / "run"), "--resume", "--checkpoint-every", "7"]) == 0
    assert_equal(tmp_path / "run", whole)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_a_run_ended_by_a_signal_goes_on_as_if_it_had_not_been(
    whole: Path, tmp_path: Path, number: int, code: int
) -> None:
    out = tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    # not a batch more than the run needs, slowed down so that the signal comes before the end
    slowed = (
        "import sys, time, refca.train as t, refca.digits.training as d\n"
        "fast = d.train_step\n"
        "d.train_step = lambda *a: (time.sleep(0.05), fast(*a))[1]\n"
        "sys.exit(t.main(sys.argv[1:]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", slowed, *flags(out)], env=environment)
    deadline = time.monotonic() + 120
    while not (out / "metrics.csv").exists() or (out / "metrics.csv").read_text().count("\n") < 3:
        assert process.poll() is None, "the run ended before the signal"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    assert process.wait(timeout=60) == code
    assert load_checkpoint(out / "checkpoint.safetensors", lookup)[1].done < STEPS
    assert train.main(["--out", str(out), "--resume", "--checkpoint-every", "7"]) == 0
    assert_equal(out, whole)


def test_the_commands_to_follow_keep_data_and_backend(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a run"
    given = ["--backend", "reference", "--data", "my data"]
    few = ["--experiment", "demo", "--steps", "1", "--batch", "4", "--pool", "8", "--unroll", "1"]
    assert train.main([*few, "--out", str(out), *given]) == 0
    assert capsys.readouterr().out.endswith(
        f"measure it: python -m refca.evaluate '{out}' --data 'my data' --backend reference\n"
    )
    assert train.main([*few, "--out", str(out), *given]) == 2
    again = (
        f"python -m refca.train --out '{out}' --resume --data 'my data' --backend reference, or choose another --out"
    )
    assert again in capsys.readouterr().err


def test_a_finished_run_can_be_resumed_and_stays_as_it_is(whole: Path) -> None:
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert train.main(["--out", str(whole), "--resume"]) == 0
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_a_log_that_is_ahead_of_its_checkpoint_or_cut_short_is_mended(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert train.main(flags(out)) == 0
    with (out / "metrics.csv").open("a") as log:
        log.write("70,1.0,0.5,0.5\n80,1.0,0.")
    assert train.main(["--out", str(out), "--resume"]) == 0
    assert (out / "metrics.csv").read_bytes() == (whole / "metrics.csv").read_bytes()


def loss_on_new_digits(out: Path) -> float:
    """The loss of a run's weights on 200 test digits after 20 steps from zero."""
    params, experiment, _ = load_weights(out)
    assert isinstance(experiment, DigitsExperiment)
    digits = load("optdigits").test
    cell, image, label = experiment.cell, digits.images(slice(200)), digits.labels[:200]
    weights = np.zeros((20, 200), np.float32)
    weights[-1] = 1 / 200
    backend = refca.get_backend("cpu")
    state, streams = refca.init_state(cell, image), refca.Streams(0)
    return backend.loss_and_grads(cell, experiment.loss, params, image, state, label, weights, streams)[0]


@pytest.mark.parametrize(
    "setting",
    [["--loss", "ce"], ["--noise", "0"], ["--regime", "naive"], ["--regime", "persistent"]],
    ids=" ".join,
)
def test_every_kind_of_training_learns(tmp_path: Path, setting: list[str]) -> None:
    losses = []
    for steps in ("1", "400"):
        out = tmp_path / steps
        flags = ["--experiment", "demo", "--learning-rate", "0.003", "--steps", steps, "--out", str(out)]
        assert train.main([*flags, *setting]) == 0
        losses.append(loss_on_new_digits(out))
    assert losses[1] < losses[0]
