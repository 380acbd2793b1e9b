"""The flags that all programs have, their console scripts, and the list of programs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from refusals import Capture, sentence
from test_automaton import drawn_seven

import refca
from refca import evaluate, interrupt, predict, train
from refca.__main__ import PROGRAMS, main, overview
from refca.cli import Parser, add_backend_flags, run_program
from refca.threads import VARIABLES

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
SHORT = ["--experiment", "demo", "--steps", "10", "--batch", "4", "--pool", "8", "--unroll", "2"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in VARIABLES}
ENVIRONMENT |= {"PYTHONPATH": os.pathsep.join(sys.path)}


# names and versions


def test_the_version_is_that_of_the_package() -> None:
    assert refca.__version__ == PROJECT["version"]


@pytest.mark.parametrize("program", ["__main__", *PROGRAMS])
def test_every_program_says_its_version(program: str, capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit:
        import_module(f"refca.{program}").main(["--version"])
    assert exit.value.code == 0
    assert capsys.readouterr().out == f"refca {PROJECT['version']}\n"


def test_every_program_is_listed_with_an_example_and_has_a_console_script(capsys: Capture) -> None:
    assert main([]) == 0
    assert capsys.readouterr().out == overview() + "\n"
    assert {name: f"refca.{name}:main" for name in PROGRAMS} == {
        name.removeprefix("refca-"): target for name, target in PROJECT["scripts"].items()
    }
    for name, (words, example) in PROGRAMS.items():
        assert words in overview()
        import_module(f"refca.{name}").parser().parse_args(example.split())


@pytest.mark.parametrize(("called", "usage"), [("refca-train", "refca-train"), ("x/train.py", "python -m refca.train")])
def test_help_calls_a_program_as_it_was_called(
    called: str, usage: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert train.parser().format_usage().startswith(f"usage: {usage} ")


# --threads

MEASURE = """
import sys, os
for name in sys.argv[2].split(): __import__(name)
from refca.cli import Parser, add_backend_flags, run_program

def measure(flags):
    import numba, scipy.linalg, threadpoolctl
    from refca_cpu.workers import threads
    pools = {pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    print(threads(), numba.get_num_threads(), *sorted(pools))
    return 0

parser = Parser("p")
add_backend_flags(parser)
sys.exit(run_program(parser, measure, ["--threads", sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("count", "loaded"), [("1", "refca"), ("1", "numba scipy.linalg"), ("2", "refca"), ("2", "scipy.linalg")]
)
def test_threads_are_set_in_every_library_whether_it_is_loaded_or_not(count: str, loaded: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, count, loaded], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == [count] * 3, done.stderr


def test_threads_are_as_before_when_a_program_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFCA_THREADS", "2")
    before = {name: os.environ.get(name) for name in VARIABLES}
    parser = Parser("p")
    add_backend_flags(parser)
    assert run_program(parser, lambda flags: int(os.environ["REFCA_THREADS"]), ["--threads", "1"]) == 1
    assert {name: os.environ.get(name) for name in VARIABLES} == before


@pytest.mark.parametrize("count", ["0", "-1", "1025", str(10**20)])
def test_a_number_of_threads_that_cannot_be_is_refused(count: str, tmp_path: Path, capsys: Capture) -> None:
    flags = [*SHORT, "--out", str(tmp_path / "run"), "--threads", count]
    assert f"--threads must be from 1 to 1,024, got {count}" in sentence(capsys, lambda: train.main(flags))
    assert not (tmp_path / "run").exists()


# --quiet


def test_quiet_programs_print_results_and_nothing_else(tmp_path: Path, capsys: Capture) -> None:
    out = str(tmp_path / "run")
    Image.fromarray(drawn_seven()).save(tmp_path / "seven.png")
    few = ["--samples", "3", "--steps", "2", "--quiet"]
    calls: dict[str, Callable[[], int]] = {
        "done: accuracy": lambda: train.main([*SHORT, "--out", out, "--quiet"]),
        "top accuracy": lambda: evaluate.main([out, *few]),
        "seven.png: ": lambda: predict.main(
            ["digits", str(tmp_path / "seven.png"), "--steps", "2", "--quiet", "--out", out]
        ),
    }
    for result, program in calls.items():
        assert program() == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert result in printed.out.splitlines()[0]
        for chatter in ("backend", "see ", "writing to", "measure it"):
            assert chatter not in printed.out
    assert "unknown backend" in sentence(capsys, lambda: evaluate.main([out, "--quiet", "--backend", "warp"]))
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["samples"] == 3
    assert np.isfinite(json.loads((tmp_path / "run" / "evaluation.json").read_text())["accuracy_at_2"])


# Ctrl-C while Python imports


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        (["python", "-m", "refca"], True),
        (["python", "-m", "refca.predict", "digits"], True),
        (["python", "-X", "dev", "-m", "refca.train"], True),
        (["/usr/bin/python3", "/home/me/bin/refca-train", "--list"], True),
        (["python", "mine.py"], False),
        (["python", "-m", "pytest"], False),
        (["python", "-c", "import refca"], False),
        (["python"], False),
    ],
)
def test_ctrl_c_is_taken_over_while_a_program_of_refca_imports_and_nowhere_else(
    given: list[str], ours: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(sys, "orig_argv", given)
    try:
        interrupt.stop_quietly_while_importing()
        assert (signal.getsignal(signal.SIGINT) is interrupt.stop) == ours
        interrupt.raise_again()
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
