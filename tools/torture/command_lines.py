"""Random command lines: the programs' own flags, with values that are odd.

Whatever is typed, a program ends with 0, 2 or 130, and without a traceback. One that goes on for long is stopped
with Ctrl-C, as a person would.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from refca import evaluate, playground, predict, robustness, train
from torture.children import run
from torture.kinds import encoded, make_own, make_picture, make_published, make_video, pixels
from torture.runs import Run
from torture.tally import Deadline, Tally, shortened

PART = "command lines"
PATIENCE = 4.0  # seconds until Ctrl-C
ODD = (
    *("", " ", "0", "1", "2", "3", "-1", "1.5", "1e9", "1e-9", "1e400", "nan", "inf", "-inf", "0x10", "1_000", " 7 "),
    *("2147483648", "18446744073709551615", "18446744073709551616", "9" * 30, "9" * 4301, "9" * 200_000, "none", "all"),
    *(
        "true",
        "٣",
        "½",
        "\x1b[31m",
        "\u202e",
        "\udcff",
        "a\nb",
        "%s%n",
        "{}",
        "'",
        '"',
        "--",
        "-",
        "-0",
        "+1",
        ",",
        ",,",
    ),
    *("1,2", "0,0", "1,x", "40,40,40", "x" * 200_000, "*", "~", ".", "..", "/", "/dev/null", "/dev/full", "/proc/self"),
)
BACKENDS = ("cpu", "reference", "cupy", "exec:", "exec:true", "exec:cat", "exec:/nowhere", "json", "numpy", "..", "a.b")
FLAGS_WITH_PATHS = (
    "model",
    "inputs",
    "out",
    "data",
    "dataset",
    "experiment",
    "init_from",
    "compare",
    "weights",
    "export",
)
SLOW = ("robustness",)  # programs that are tried less often


def torture(runs: list[Run], folder: Path, count: int, rng: random.Random, tally: Tally, deadline: Deadline) -> None:
    """Try `count` command lines."""
    names = furnish(runs, folder)
    programs = parsers()
    weights = [1 if name in SLOW else 3 for name in programs]
    for _ in range(count):
        if not deadline.left:
            return
        name = rng.choices(list(programs), weights)[0]
        parser, main = programs[name]
        given = command_line(parser, names, rng)
        outcome = run(partial(main, given), folder=folder, signals=STOP)
        tally.peak(PART, outcome.peak)
        tally.count(PART, "tried")
        if wrong := outcome.unfit():
            tally.fault(PART, wrong, f"{name} {shown(given)}: {shortened(outcome.output)}")
        else:
            tally.count(PART, f"ended with {outcome.code}")


STOP = [(PATIENCE, signal.SIGINT), (2 * PATIENCE, signal.SIGINT), (3 * PATIENCE, signal.SIGINT)]


def parsers() -> dict[str, tuple[argparse.ArgumentParser, Callable[[list[str]], int]]]:
    """The parser and the main function of each program."""
    return {
        "train": (train.parser(), train.main),
        "evaluate": (evaluate.parser(), evaluate.main),
        "robustness": (robustness.parser(), robustness.main),
        "predict": (predict.parser(), predict.main),
        "playground": (playground.parser(), playground.main),
    }


def furnish(runs: list[Run], folder: Path) -> list[str]:
    """Put files of all kinds into a folder; return their names, and some of what is not there."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for number, run_ in enumerate(runs):
        (folder / f"run{number}").mkdir()
        for name, content in run_.files.items():
            (folder / f"run{number}" / name).write_bytes(content)
    make_own(folder, masks=True)
    make_published(folder)
    make_picture(folder, "GIF")
    make_video(folder, "film.mkv", "mpeg4")
    (folder / "seven.png").write_bytes(encoded(pixels(28)[..., 0], "PNG"))
    (folder / "photo.jpg").write_bytes(encoded(pixels(48), "JPEG"))
    (folder / "empty").mkdir()
    (folder / "text.toml").write_text("steps = 1\nbatch = 4\npool = 8\ndataset = 'optdigits'\n")
    names = [f"./{path.relative_to(folder)}" for path in folder.rglob("*")]
    return [*names, *("digits", "pets", "demo", "optdigits", "optdigits-28", "mnist", "new", "new/er", "./seven.png/x")]


def command_line(parser: argparse.ArgumentParser, names: Sequence[str], rng: random.Random) -> list[str]:
    """Random flags with random values, and values for what must be given."""
    given: list[str] = []
    actions = [action for action in parser._actions if action.option_strings and action.dest != "help"]
    for action in parser._actions:
        if not action.option_strings and rng.random() < 0.97:
            given += [value_of(action, names, rng) for _ in range(rng.choice([1, 1, 2]) if action.nargs == "+" else 1)]
    for action in rng.sample(actions, rng.randint(0, 5)):
        flag = rng.choice(action.option_strings)
        if rng.random() < 0.05:
            flag = flag[: rng.randint(2, len(flag))]  # argparse completes it
        given.append(flag)
        if action.nargs != 0 and rng.random() < 0.97:
            given.append(value_of(action, names, rng))
    if "--export" not in given and any(action.dest == "export" for action in actions) and rng.random() < 0.8:
        given += ["--export", "page.html"]
    if any(action.dest == "no_browser" for action in actions):
        given.append("--no-browser")
    if any(action.dest == "unroll" for action in actions) and rng.random() < 0.5:
        given += ["--experiment", "demo", "--steps", "3", "--unroll", "2"]
    if any(action.dest == "samples" for action in actions) and rng.random() < 0.5:
        given += ["--samples", "3", "--steps", "2"]
    return given


def value_of(action: Any, names: Sequence[str], rng: random.Random) -> str:
    """A value for a flag: often one that it may have."""
    if action.dest == "backend" and rng.random() < 0.8:
        return rng.choice(BACKENDS)
    if action.dest in FLAGS_WITH_PATHS and rng.random() < 0.85:
        return rng.choice(names)
    if action.type is int and rng.random() < 0.5:
        return str(rng.randint(-2, 99))
    return rng.choice(ODD)


def shown(given: list[str]) -> str:
    """A command line for the report of a fault."""
    return " ".join(repr(word if len(word) < 60 else f"{word[:20]}... ({len(word)} characters)") for word in given)
