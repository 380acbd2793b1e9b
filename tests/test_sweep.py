"""Sweeps: a table of experiments and seeds, as a local queue and as a job array, and its summary."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refca import sweep

TABLE = """
seeds = [0, 1]
settings = {steps = 3, unroll = 2, state = 12, hidden = 8, pool = 20, batch = 4}
flags = ["--backend", "reference"]
[runs.plain]
experiment = "demo"
[runs.other]
experiment = "demo"
learning_rate = 2e-3
"""
Capture = pytest.CaptureFixture[str]


def table(folder: Path, text: str = TABLE) -> Path:
    path = folder / "table.toml"
    slurm = '\n[slurm]\ntime = "00:10:00"\n'
    out = f'out = "{folder / "runs"}"\n'
    path.write_text(out + text + slurm)
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "runs" / "summary.csv").open() as file:
        return list(csv.DictReader(file))


def test_a_queue_trains_what_is_not_done_and_collects_the_summary(tmp_path: Path, capfd: Capture) -> None:
    path = table(tmp_path)
    assert sweep.main([str(path), "--jobs", "2"]) == 0
    first = [(row["run"], row["seed"], row["step"]) for row in rows(tmp_path)]
    assert first == [("plain", "0", "3"), ("plain", "1", "3"), ("other", "0", "3"), ("other", "1", "3")]
    assert len({row["loss"] for row in rows(tmp_path)}) == 4
    weights = tmp_path / "runs" / "plain-seed1" / "weights.safetensors"
    before = {other: other.stat().st_mtime_ns for other in tmp_path.glob("runs/*/weights.safetensors")}
    weights.unlink()
    (weights.parent / "checkpoint.safetensors").unlink()
    capfd.readouterr()
    assert sweep.main([str(path)]) == 0
    out = capfd.readouterr().out
    assert "4 runs, 3 done" in out
    assert "2/2" in out
    again = {other: other.stat().st_mtime_ns for other in before}
    assert [other for other in before if again[other] != before[other]] == [weights]


@pytest.mark.parametrize(("given", "threads"), [(None, "2"), ("3", "3")])
def test_runs_at_a_time_share_the_processors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, threads: str
) -> None:
    monkeypatch.setattr(sweep, "processors", lambda: 4)
    monkeypatch.delenv("REFCA_THREADS", raising=False)
    if given:
        monkeypatch.setenv("REFCA_THREADS", given)
    prints = [sys.executable, "-c", "import os; print(os.environ['REFCA_THREADS'])"]
    monkeypatch.setattr(sweep, "command_of", lambda table, run: prints)
    assert sweep.main([str(table(tmp_path)), "--jobs", "2"]) == 0
    assert (tmp_path / "runs" / "plain-seed0.log").read_text() == f"{threads}\n"


def test_a_job_array_has_the_runs_that_are_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for sbatch does what Slurm does: it runs the script once for each number of the array."""
    path = table(tmp_path, TABLE.replace("seeds = [0, 1]", "seeds = [0]"))
    assert sweep.main([str(path), "--slurm", "--write"]) == 0
    script = (tmp_path / "runs" / "sweep.sbatch").read_text()
    assert "#SBATCH --array=0,1\n" in script
    assert "#SBATCH --time=00:10:00\n" in script
    assert "#SBATCH --requeue\n" in script
    before = path.read_text()
    path.write_text(before + "requeue = false\n")
    assert "#SBATCH --no-requeue\n" in sweep.script_of(sweep.read_table(path), [0])
    path.write_text(before)
    commands = tmp_path / "bin"
    commands.mkdir()
    stand_in = commands / "sbatch"
    stand_in.write_text(
        "#!/bin/bash\nfor i in $(sed -n 's/^#SBATCH --array=//p' $1 | tr , ' '); do\n"
        "SLURM_ARRAY_TASK_ID=$i bash $1 || exit 1; done\n"
    )
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}{os.pathsep}{os.environ['PATH']}")
    assert sweep.main([str(path), "--slurm"]) == 0
    assert sweep.main([str(path), "--collect"]) == 0
    assert [row["run"] for row in rows(tmp_path)] == ["plain", "other"]


def test_a_sweep_that_is_interrupted_while_it_begins_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ThreadPoolExecutor):
        def submit(self, *given: Any, **named: Any) -> Any:
            if self._work_queue.qsize():
                raise KeyboardInterrupt
            return super().submit(*given, **named)

    monkeypatch.setattr(sweep, "ThreadPoolExecutor", Interrupted)
    monkeypatch.setattr(sweep, "command_of", lambda *given: [sys.executable, "-c", "import time; time.sleep(500)"])
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        sweep.train_locally(sweep.read_table(table(tmp_path, TABLE)), 1)
    assert time.monotonic() - begun < 300


def test_a_stopped_sweep_stops_its_runs_which_are_resumed(tmp_path: Path) -> None:
    path = table(tmp_path, TABLE.replace("steps = 3", "steps = 4000"))
    command = [sys.executable, "-m", "refca.sweep", str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        log = tmp_path / "runs" / "plain-seed0" / "metrics.csv"
        deadline = time.monotonic() + 200
        while not (log.exists() and log.stat().st_size > 60):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=120)
    assert process.returncode == 130
    assert "stopped after" in (tmp_path / "runs" / "plain-seed0.log").read_text()
    assert not (tmp_path / "runs" / "plain-seed1").exists()
    run = sweep.read_table(path).runs[0]
    assert run.arguments([]) == ["--out", str(run.out), "--resume"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seeds = 3\n[runs.a]\n", "seeds must be a list of numbers, got 3"),
        ("[run.a]\n", "got run"),
        ("seeds = [0, 1, 0]\n[runs.a]\n", "seeds must differ, got 0 twice"),
        ("seeds = [0, -1]\n[runs.a]\n", "seeds must be from 0 to 2**64 - 1, got -1"),
        ("[runs.a]\n[slurm]\nntasks = 'two'\n", "ntasks must be a number of at least 1, got 'two'"),
        ("slurm = 3\n[runs.a]\n", "slurm must be a table of options with one value each, got 3"),
        ("seeds = [0]\n", "at least one run"),
        ("[runs.a]\nsteps = 0\n", "steps must be at least 1, got 0"),
        ("[runs.a]\nexperiment = 'demos'\n", 'unknown experiment "demos"'),
        ("[runs.a\n", "TOML"),
        ("flags = '--quiet'\n[runs.a]\n", "flags must be a list of words"),
        ("flags = ['--steps', '3']\n[runs.a]\n", "flags must not have --steps, which is for settings, as steps = ..."),
        ("flags = ['--ste', '3']\n[runs.a]\n", "flags must not have --steps"),
        ("flags = ['--no-flips']\n[runs.a]\n", "flags must not have --flips"),
        ("flags = ['--seed', '3']\n[runs.a]\n", "flags must not have --seed, which is for seeds"),
        ("flags = ['--out', 'x']\n[runs.a]\n", "flags must not have --out, which is for out"),
        ("flags = ['--resume']\n[runs.a]\n", "flags must not have --resume, which is for no table"),
        ("flags = ['--bakend', 'x']\n[runs.a]\n", "flags: unrecognized arguments: --bakend"),
        ("[runs.a]\nsteps = 3\n[runs.b]\nbatch = 0\n", "runs.b: batch must be at least 1, got 0"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence(tmp_path: Path, capsys: Capture, text: str, sentence: str) -> None:
    path = tmp_path / "table.toml"
    path.write_text(text)
    assert sweep.main([str(path)]) == 2
    errors = capsys.readouterr().err
    assert sentence in errors
    assert str(path) in errors


def test_flags_that_contradict_each_other_are_refused(tmp_path: Path, capsys: Capture) -> None:
    path = table(tmp_path)
    assert sweep.main([str(path), "--write"]) == 2
    assert "--write needs --slurm" in capsys.readouterr().err
    assert sweep.main([str(path), "--collect", "--slurm"]) == 2
    assert "--collect trains nothing" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_table_may_name_the_classes_of_your_own_data(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "d" / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "d" / name / "1.png")
    text = f'[runs.a]\ndataset = "{tmp_path / "d"}"\nclasses = ["dog", "cat"]\n'
    assert sweep.read_table(table(tmp_path, text)).runs[0].settings["classes"] == ["dog", "cat"]


def test_a_column_that_is_empty_in_every_run_is_none_in_the_summary(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs of one's own, at a path from here, and a cell without a gate."""
    for i in range(4):
        picture = np.random.default_rng(i).integers(0, 256, (12, 12, 3), np.uint8)
        mask = np.repeat(np.arange(12, dtype=np.uint8)[:, None] // 6, 12, axis=1)
        for where, pixels in (("images", picture), ("masks", mask)):
            (tmp_path / "own" / where).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / "own" / where / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    settings = "dataset = 'own', steps = 2, size = 12, state = 4, hidden = 4, batch = 2, labels = 2, resettable = false"
    text = f"seeds = [0, 1]\nflags = ['--backend', 'reference']\nsettings = {{{settings}}}\n"
    path = table(tmp_path, text + "[runs.a]\nexperiment = 'own-segmentation'\n")
    assert sweep.main([str(path)]) == 0
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    assert row.split()[-1] == "none"
    assert heading.split()[-1] == "gate"


def test_a_table_that_was_changed_is_refused_for_runs_begun_with_the_other(tmp_path: Path, capsys: Capture) -> None:
    path = table(tmp_path, TABLE.replace("seeds = [0, 1]", "seeds = [0]"))
    assert sweep.main([str(path)]) == 0
    assert sweep.main([str(path), "--collect"]) == 0
    table(tmp_path, TABLE.replace("seeds = [0, 1]", "seeds = [0]").replace("2e-3", "3e-3"))
    assert sweep.main([str(path), "--collect"]) == 2
    said = capsys.readouterr().err
    assert "other-seed0 was begun with learning_rate 0.002, and the table has 0.003; name another out" in said
