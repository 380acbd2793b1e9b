"""Training as a function, and with several seeds."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from test_own_data import pairs

import refca
from refca import fitting, train
from refca.errors import InvalidInput
from refca.training import loop
from refca.training.metrics_log import read_metrics

SMALL = {"batch": 4, "pool": 8, "unroll": 2, "hidden": 8, "backend": "reference"}
FLAGS = ["--experiment", "demo", "--batch", "4", "--pool", "8", "--unroll", "2", "--hidden", "8"]
FLAGS += ["--backend", "reference", "--steps", "10"]


def test_fit_trains_with_settings_and_returns_the_automaton(tmp_path: Path) -> None:
    automaton = refca.fit("demo", out=tmp_path / "run", steps=3, fire_rate=0.3, **SMALL)  # type: ignore[arg-type]
    assert (automaton.cell.fire_rate, automaton.cell.hidden_width) == (0.3, 8)
    same = refca.load(tmp_path / "run", "reference")
    for name, x in automaton.params.items():
        np.testing.assert_array_equal(x, same.params[name])


def test_fit_takes_none_where_it_is_a_value(tmp_path: Path) -> None:
    for name, value in (("a", None), ("b", "none")):
        everywhere = refca.fit("demo", out=tmp_path / name, steps=1, alive_above=value, **SMALL)  # type: ignore[arg-type]
        assert everywhere.cell.alive_above is None


def test_a_quiet_fit_prints_its_result_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refca.fit("demo", out=tmp_path / "quiet", steps=1, quiet=True, **SMALL)  # type: ignore[arg-type]
    printed = capsys.readouterr()
    assert printed.out.startswith("done: ")
    assert len(printed.out.splitlines()) == 1
    assert not printed.err
    refca.fit("demo", out=tmp_path / "loud", steps=1, **SMALL)  # type: ignore[arg-type]
    assert len(capsys.readouterr().out.splitlines()) > 1


def test_fit_refuses_what_the_program_refuses(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='"hiden" is not a setting'):
        refca.fit("demo", out=tmp_path, hiden=3)
    with pytest.raises(InvalidInput, match="hidden must not be None; leave it out"):
        refca.fit("demo", out=tmp_path, hidden=None)
    with pytest.raises(InvalidInput, match="fire_rate must be between 0 and 1"):
        refca.fit("demo", out=tmp_path, fire_rate=3.0)
    for name, value, words in (
        ("size", "16", "size must be int, got '16'"),
        ("dataset", 3, "dataset must be str, got 3"),
        ("classes", "cat,dog", "classes must be a list of strings or integers, got 'cat,dog'"),
        ("mask_values", (0, 0.5), "mask_values must be a list of strings or integers, got (0, 0.5)"),
    ):
        with pytest.raises(InvalidInput, match=re.escape(words)):
            refca.fit(out=tmp_path, **{name: value})  # type: ignore[arg-type]


def test_fit_takes_lists_and_numbers_as_the_program_takes_words(tmp_path: Path) -> None:
    pairs(tmp_path / "discs", paint=lambda mask: 255 * mask)
    given = {"dataset": tmp_path / "discs", "classes": ["paper", "disc"], "mask_values": (0, 255), "size": 0}
    automaton = refca.fit(out=tmp_path / "run", steps=1, batch=2, backend="reference", **given)  # type: ignore[arg-type]
    assert (automaton.names, automaton.experiment.mask_values) == (("paper", "disc"), ("0", "255"))


def test_several_seeds_are_trained_and_summarised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    assert train.main([*FLAGS, "--steps", "30", "--out", out, "--seeds", "0,1,2"]) == 0
    said = capsys.readouterr().out.splitlines()
    logs = [read_metrics(Path(f"{out}-seed{seed}") / "metrics.csv") for seed in range(3)]
    assert all(len(rows) == 3 for rows in logs)
    losses = [np.mean([row["loss"] for row in rows[-20:]]) for rows in logs]
    (row,) = [line.split() for line in said if line.split()[:1] == ["loss"]]
    assert [float(x) for x in row[1:]] == pytest.approx([*losses, np.mean(losses), np.std(losses, ddof=1)], rel=1e-3)
    assert len(set(losses)) == 3
    assert train.main([*FLAGS, "--out", out, "--seeds", "0,x"]) == 2
    for seeds, words in (("7,-1", "seeds must be from 0"), ("7,8,7", "seeds must differ, got 7 twice")):
        assert train.main([*FLAGS, "--out", out, "--seeds", seeds]) == 2
        assert words in capsys.readouterr().err
        assert not Path(f"{out}-seed7").exists()


def test_several_seeds_continue_after_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = [*FLAGS, "--seeds", "0,1,2", "--out"]
    assert train.main([*seeds, str(tmp_path / "whole")]) == 0
    summary = capsys.readouterr().out.splitlines()[-4:]
    stops = iter([False] * 15 + [True])  # in the run of the second seed, of 10 steps
    with monkeypatch.context() as patched:
        patched.setattr(loop, "stoppable", lambda: nullcontext(lambda: next(stops)))
        assert train.main([*seeds, str(tmp_path / "stopped")]) == 130
    assert "to continue with all seeds, repeat the command with --resume" in capsys.readouterr().err
    assert not (tmp_path / "stopped-seed2").exists()
    assert train.main([*seeds, str(tmp_path / "stopped"), "--resume"]) == 0
    assert capsys.readouterr().out.splitlines()[-4:] == summary
    for seed in range(3):
        weights = [tmp_path / f"{name}-seed{seed}" / "weights.safetensors" for name in ("whole", "stopped")]
        assert weights[0].read_bytes() == weights[1].read_bytes()


def test_runs_of_several_seeds_are_named_as_one_run_is() -> None:
    names = [("demo", ""), (None, ""), (None, "/data/animals"), ("own.toml", "/data/animals"), (None, "/a/b::/c/d")]
    assert [fitting.source_of(*name) for name in names] == ["demo", "digits-l2-noise", "animals", "own", "b"]
