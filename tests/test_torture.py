"""The campaign of `tools/torture` notices each kind of fault that it looks for."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from torture import children, files, kills
from torture.children import run
from torture.events import Counter
from torture.files import Case, Whole, judged
from torture.kinds import Kind, digest
from torture.mutations import DAMAGES, damaged
from torture.runs import Run, unsynced
from torture.tally import Tally

from refca.atomic import atomic_write
from refca.cli import exit_code
from refca.definition.errors import one_line
from refca.errors import InvalidInput

# From Python 3.12 on a fork warns where a worker of pytest-xdist has a thread, and always where another test has loaded
# JAX, which the children do not use.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*fork.*JAX:RuntimeWarning"),
]


def complain(text: str, code: int = 2) -> int:
    print(text)
    return code


def crash() -> int:
    os.kill(os.getpid(), signal.SIGUSR1)
    return 0


def sleep() -> int:
    time.sleep(9)
    return 0


def fail() -> NoReturn:
    raise KeyError("nobody expects this")


PROGRAMS: dict[str, tuple[Callable[[], int], str]] = {
    "done": (lambda: 0, ""),
    "a sentence": (lambda: complain("refca: that is wrong"), ""),
    "two files skipped": (lambda: complain("refca: one; skipped\nrefca: two; skipped\n1 done, 2 skipped"), ""),
    "no sentence": (lambda: complain("oh"), "0 sentences"),
    "two sentences": (lambda: complain("refca: one\nrefca: two"), "2 sentences"),
    "a sentence behind a bar": (lambda: complain("  0% refca: that is wrong"), "0 sentences"),
    "a long sentence": (lambda: complain("refca: " + "x" * 2000), "sentence too long or with control characters"),
    "a coloured sentence": (lambda: complain("refca: \x1b[31m"), "sentence too long or with control characters"),
    "a traceback": (fail, "traceback"),
    "another exit code": (lambda: 3, "exit code 3"),
    "a crash": (crash, f"exit code {-signal.SIGUSR1}"),
    "no end": (sleep, "hang"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_end_of_a_program_is_judged(name: str) -> None:
    program, wrong = PROGRAMS[name]
    assert run(program, hang=0.3 if name == "no end" else 60).unfit() == wrong


def test_ctrl_c_reaches_a_program_though_this_process_ignores_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        outcome = run(lambda: exit_code(sleep), signals=[(0.2, signal.SIGINT)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert (outcome.code, outcome.sentences) == (130, ["refca: stopped"])


@pytest.mark.parametrize("late", [False, True])
def test_ctrl_c_while_a_program_starts_or_ends_is_no_traceback(late: bool) -> None:
    def program() -> int:
        if late:
            exit_code(lambda: 0)
        return sleep()

    outcome = run(program, signals=[(0.2, signal.SIGINT)])
    assert (outcome.code, outcome.output) == (130, "refca: stopped\n")


def test_a_kill_within_a_write_leaves_half_of_it(tmp_path: Path) -> None:
    def write() -> int:
        Counter(tmp_path, kills.kill_at(3)).install()  # 1 opens, 2 begins to write, 3 goes on
        (tmp_path / "file").write_text("abcdef")
        return 0

    assert run(write).code == -signal.SIGKILL
    assert (tmp_path / "file").read_text() == "abc"


@pytest.mark.parametrize(("synced", "found"), [(True, []), (False, ["replace .a.0123abcd.txt"])])
def test_a_rename_of_what_was_not_synced_is_found(synced: bool, found: list[str]) -> None:
    events = ["open .a.0123abcd.txt", "write .a.0123abcd.txt", "write the second half of .a.0123abcd.txt"]
    events += ["fsync .a.0123abcd.txt"] * synced
    assert unsynced([*events, "replace .a.0123abcd.txt"]) == found


class Writer(Run):
    """A run that writes two files, and goes on with those that are missing; `whole` says how it writes."""

    whole = True

    def start(self, out: Path, act: Any = None) -> int:
        out.mkdir(exist_ok=True)
        if act:
            Counter(out, act).install()
        for name, content in self.files.items():
            if (out / name).exists():
                continue
            if self.whole:
                with atomic_write(out / name) as temporary:
                    temporary.write_bytes(content)
            else:
                (out / name).write_bytes(content)
        return 0

    go_on = start


class CarelessWriter(Writer):
    whole = False


@pytest.mark.parametrize(("kind", "fault"), [(Writer, False), (CarelessWriter, True)])
def test_a_run_that_leaves_half_a_file_is_found(kind: type[Writer], fault: bool, tmp_path: Path) -> None:
    tally, writer = Tally(), kind("writer", [], {"a": b"12345678", "b": b"abcdefgh"}, [""] * 6, 0.05)
    for number in range(1, 7):
        kills.killed_run(writer, number, tmp_path / "out", random.Random(number), tally)
    assert tally.total("kills", "killed") >= 6
    assert bool(tally.total("kills", "wrong result")) == fault


def read_whole(path: Path) -> bytes:
    content = path.read_bytes()
    if content != b"1,2,3":
        raise InvalidInput(f"{path} is damaged")
    return content


def refuse(words: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        error = InvalidInput("")
        error.args = (words.format(path),)
        raise error

    return read


def look_up(path: Path) -> Any:
    return dict[Path, bytes]()[path]


READERS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "careful": (read_whole, "refused"),
    "trusting": (Path.read_bytes, "wrong load"),
    "failing": (look_up, "traceback"),
    "without a name": (refuse("a file is damaged"), "file not named"),
    "long": (refuse("{} " + "x" * 2000), "sentence too long or with control characters"),
    "raw": (refuse("{} \x1b"), "sentence too long or with control characters"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_reader_is_judged(name: str, tmp_path: Path) -> None:
    def make(folder: Path) -> Path:
        (folder / "file.csv").write_bytes(b"1,2,3")
        return folder / "file.csv"

    read, verdict = READERS[name]
    whole = Whole(Kind("table", make, read, checked=True), tmp_path / "table")
    whole.path.write_bytes(b"1,2,4")
    report = judged(whole, Case("a digit changed", False), digest(b"1,2,3"))
    assert report.get("kind", report["verdict"]) == verdict
    whole.put_back()
    if name == "careful":
        assert judged(whole, Case("nothing", False), digest(b"1,2,3"))["verdict"] == "loaded as it was"
        unchecked = replace(whole.kind, checked=False, read=Path.read_bytes)
        whole.kind = unchecked
        whole.path.write_bytes(b"1,2,4")
        assert judged(whole, Case("", False), digest(b"1,2,3"))["verdict"] == "loaded other content"


@pytest.mark.parametrize("trouble", [lambda: os._exit(0), lambda: time.sleep(9)], ids=["crash", "hang"])
def test_a_case_that_crashes_or_hangs_is_found_and_the_others_go_on(
    trouble: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "HANG", 1)
    calls = iter(range(99))  # of one child: the next child begins again

    def make(folder: Path) -> Path:
        (folder / "file").write_bytes(b"1,2,3")
        return folder / "file"

    def read(path: Path) -> Any:
        if path.is_file() and path.read_bytes() == b"1,2,3":
            return ""
        if next(calls) == 1:
            trouble()
        raise InvalidInput(f"{path} is damaged")

    tally = Tally()
    files.fuzz(Whole(Kind("file", make, read), tmp_path / "file"), range(6), 5, [b"x"], tally)
    counts = [tally.total("files", what) for what in ("tried", "refused", "hang or crash")]
    assert counts == [6, 3, 3]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_repeated_by_its_seed_and_takes_any_content(damage: Any) -> None:
    for content in (b"a", b"1,2\n3,4\n" * 50, bytes(range(256)) * 9):
        once, again = (damage(content, random.Random(3), [b"other"]) for _ in range(2))
        assert once == again
    assert damaged(b"abc" * 99, random.Random(4), [b"other"]) == damaged(b"abc" * 99, random.Random(4), [b"other"])


def test_lengths_are_those_of_messages() -> None:
    assert len(one_line("x" * 10**5)) + len("refca: ") == children.LONGEST
