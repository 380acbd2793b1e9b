"""A run directory through everything that can happen to it: its log, its lock, kills, moves and other programs."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from refusals import Capture, sentence

from refca import evaluate, fitting, robustness, train
from refca.atomic import atomic_write, write_text
from refca.cli import Parser, exit_code, stoppable
from refca.definition.errors import LONGEST
from refca.errors import InvalidInput
from refca.training import loop
from refca.training.metrics_log import MetricsFile, read_metrics
from refca.training.run_directory import locked, publishing

SHORT = ["--experiment", "demo", "--steps", "30", "--batch", "4", "--pool", "8", "--unroll", "2"]
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture
def stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was asked to stop after 25 of 30 steps."""
    out = tmp_path / "run"
    steps = iter([False] * 25 + [True])
    with monkeypatch.context() as patched:
        patched.setattr(loop, "stoppable", lambda: stop_when(lambda: next(steps)))
        assert train.main([*SHORT, "--out", str(out)]) == 130
    return out


class stop_when:
    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked

    def __enter__(self) -> Callable[[], bool]:
        return self.asked

    def __exit__(self, *error: object) -> None:
        pass


def resumed(out: Path, *flags: str) -> list[str]:
    return ["--out", str(out), "--resume", *flags]


# the log


def without_line(text: str, number: int) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(lines[:number] + lines[number + 1 :])


CHANGES: dict[str, tuple[Callable[[str], str], str]] = {
    "cut": (lambda text: text[: len(text) // 2], "is cut short"),
    "empty": (lambda text: "", "is cut short"),
    "a row removed": (lambda text: without_line(text, 1), "is cut short"),
    "rows swapped": (lambda text: "".join(text.splitlines(keepends=True)[i] for i in (0, 2, 1)), "was changed"),
    "a digit changed": (lambda text: re.sub(r"(\d)(\n)$", lambda m: f"{9 - int(m[1])}\n", text), "was changed"),
    "a spreadsheet": (lambda text: "\ufeff" + text.replace(",", ";"), "a byte-order mark or semicolons"),
    "semicolons": (lambda text: text.replace(",", ";"), "a byte-order mark or semicolons"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_log_that_is_not_as_it_was_written_is_noticed(stopped: Path, kind: str, capsys: Capture) -> None:
    change, words = CHANGES[kind]
    log = stopped / "metrics.csv"
    log.write_text(change(log.read_text()), "utf-8")
    said = sentence(capsys, lambda: train.main(resumed(stopped)))
    assert words in said
    assert "put the original back, or add --drop-log" in said


def test_a_log_that_is_missing_is_noticed_and_can_be_dropped(stopped: Path, capsys: Capture) -> None:
    (stopped / "metrics.csv").unlink()
    said = sentence(capsys, lambda: train.main(resumed(stopped)))
    assert "metrics.csv is missing since the checkpoint after 25 training steps" in said
    assert train.main(resumed(stopped, "--drop-log")) == 0
    assert [row["step"] for row in read_metrics(stopped / "metrics.csv")] == [30]
    assert train.main(resumed(stopped)) == 0


def test_a_log_that_is_intact_is_not_dropped(stopped: Path) -> None:
    assert train.main(resumed(stopped, "--drop-log")) == 0
    assert [row["step"] for row in read_metrics(stopped / "metrics.csv")] == [10, 20, 30]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"step,loss\n" + b"1" * 131_073 + b",2\n"])
def test_a_log_that_is_no_text_or_has_enormous_fields_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(InvalidInput, match=r"metrics\.csv") as refusal:
        read_metrics(tmp_path / "metrics.csv", ("step", "loss"))
    assert len(str(refusal.value)) <= LONGEST


@pytest.mark.parametrize(
    ("rows", "fine"),
    [("10\n20\n25\n30\n", True), ("10\n20\n", True), ("20\n", False), ("20\n10\n", False), ("10\n10\n20\n", False)],
)
def test_a_log_of_a_checkpoint_without_a_mark_needs_all_its_rows(tmp_path: Path, rows: str, fine: bool) -> None:
    text = "step,loss\n" + rows.replace("\n", ",1.5\n")
    (tmp_path / "metrics.csv").write_text(text)
    if fine:
        MetricsFile(tmp_path / "metrics.csv", 25, ()).file.close()
        kept = [row["step"] for row in read_metrics(tmp_path / "metrics.csv")]
        assert kept == [step for step in (10, 20, 25) if str(step) in rows]
    else:
        with pytest.raises(InvalidInput, match="lacks rows, or has them in another order"):
            MetricsFile(tmp_path / "metrics.csv", 25, ())


@pytest.mark.parametrize("what", ["moved", "deleted", "log deleted", "log replaced"])
def test_a_folder_that_is_moved_or_deleted_meanwhile_is_noticed(tmp_path: Path, what: str, capsys: Capture) -> None:
    out, step = tmp_path / "run", 0

    def disturb() -> bool:
        nonlocal step
        step += 1
        if step == 15 and what == "moved":
            out.rename(tmp_path / "elsewhere")
        elif step == 15 and what == "deleted":
            shutil.rmtree(out)
        elif step == 15:
            text = (out / "metrics.csv").read_text()
            (out / "metrics.csv").unlink()
            if what == "log replaced":
                (out / "metrics.csv").write_text(text)
        return False

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "stoppable", lambda: stop_when(disturb))
        said = sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    assert "metrics.csv was moved, deleted or replaced while the run went on" in said
    if what == "moved":
        assert train.main(resumed(tmp_path / "elsewhere")) == 0
        assert [row["step"] for row in read_metrics(tmp_path / "elsewhere" / "metrics.csv")] == [10, 20, 30]


@pytest.mark.parametrize("resumable", [True, False])
def test_a_folder_that_is_moved_before_its_log_is_opened_is_noticed(
    tmp_path: Path, resumable: bool, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere, fit = tmp_path / "run", tmp_path / "elsewhere", loop.fit

    def moved(*given: Any) -> bool:
        out.rename(elsewhere)
        return fit(*given) if resumable else False

    monkeypatch.setattr(fitting, "fit_until_stopped", moved)
    said = sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    assert f"{out} was moved, deleted or replaced while the run went on, and its files are not in one place" in said
    monkeypatch.undo()
    if resumable:
        assert train.main(resumed(out)) == 0
        assert (out / "settings.toml").read_bytes() == (elsewhere / "settings.toml").read_bytes()


def test_a_folder_that_is_moved_while_its_loss_is_drawn_is_noticed(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, elsewhere = tmp_path / "run", tmp_path / "elsewhere"

    def drawn(*given: Any) -> bool:
        out.rename(elsewhere)
        write_text(out / "loss.png", "")
        return True

    monkeypatch.setattr(fitting, "draw_loss", drawn)
    assert "was moved, deleted or replaced" in sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    monkeypatch.undo()
    assert train.main(resumed(elsewhere)) == 0


# the lock


def test_two_runs_in_one_directory_never_both_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "refca.train", *SHORT, "--steps", "400", "--out", str(out)]
    runs = [
        subprocess.Popen([*command, "--seed", str(seed)], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
        for seed in (0, 1)
    ]
    said = [process.communicate(timeout=240)[1].splitlines()[-1] for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) == [0, 2]
    assert re.search("is in use by another run|already holds a run", said[codes.index(2)])
    with (out / "settings.toml").open() as file:
        assert f"seed = {codes.index(0)}\n" in file.readlines()


def test_a_directory_in_use_is_refused_and_left_as_it_is(stopped: Path, capsys: Capture) -> None:
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}
    with locked(stopped):
        assert "is in use by another run" in sentence(capsys, lambda: train.main(resumed(stopped)))
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before
    assert train.main(resumed(stopped)) == 0


def test_a_forked_child_keeps_no_lock_of_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\nfrom pathlib import Path\nfrom refca.training.run_directory import locked\n"
        "folder = Path(sys.argv[1])\n"
        "with locked(folder):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(300)\n"
        "        os._exit(0)\n"
        "try:\n"
        "    with locked(folder): print('locked again')\n"
        "finally:\n"
        "    os.kill(child, signal.SIGKILL)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "locked again\n", done.stderr


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom refca.training.run_directory import locked\n"
        "with locked(Path(sys.argv[1])):\n    print(1, flush=True)\n    time.sleep(99)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"1\n"
    with pytest.raises(InvalidInput, match="is in use"), locked(tmp_path):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("wait", [0, 0.2])
def test_a_system_that_locks_no_folders_locks_a_file_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wait: float
) -> None:
    pytest.importorskip("filelock")
    monkeypatch.setattr("refca.training.run_directory.AVAILABLE", False)
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom refca.training import run_directory\n"
        "run_directory.AVAILABLE = False\n"
        "with run_directory.locked(Path(sys.argv[1])):\n    print(1, flush=True)\n    time.sleep(99)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], env=ENVIRONMENT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"1\n"
    with pytest.raises(InvalidInput, match="is in use by another run"), locked(tmp_path, wait):
        pass
    process.kill()
    process.communicate()
    with locked(tmp_path, wait):
        pass


# evaluations


def test_an_evaluation_that_is_stopped_leaves_the_older_one_as_it_was(
    stopped: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [str(stopped), "--samples", "4", "--steps", "3"]
    assert evaluate.main(first) == 0
    before = {path.name: path.read_bytes() for path in stopped.iterdir()}

    def killed(*given: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("refca.digits.rollout.write_pictures", killed)
        assert evaluate.main([*first[:-1], "5"]) == 130
    assert {path.name: path.read_bytes() for path in stopped.iterdir()} == before


@pytest.mark.parametrize("after", range(6))
def test_an_evaluation_killed_while_its_files_are_put_in_place_has_no_numbers(tmp_path: Path, after: int) -> None:
    owned = ("evaluation.json", "curves.png", "adversarial.png")
    for name in owned:
        write_text(tmp_path / name, "old")
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom refca.training.run_directory import publishing\n"
        "left, real = int(sys.argv[2]), os.replace\n"
        "def act(event, arguments):\n"
        "    global left\n"
        "    if event in ('os.remove', 'os.rename'):\n"
        "        left -= 1\n"
        "        if left < 0: os.kill(os.getpid(), 9)\n"
        "out = Path(sys.argv[1])\n"
        f"with publishing(out, {owned}) as folder:\n"
        "    (folder / 'evaluation.json').write_text('new'); (folder / 'curves.png').write_text('new')\n"
        "    sys.addaudithook(act)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path), str(after)], env=ENVIRONMENT, check=False)
    found = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    if "evaluation.json" in found:
        assert found == dict.fromkeys(owned, "old") or found == dict.fromkeys(owned[:2], "new")
    with publishing(tmp_path, owned):
        assert len(list(tmp_path.glob(".evaluation-*"))) == 1, "what the killed one left is removed"


# files


def test_a_killed_write_leaves_the_file_of_before_and_the_next_removes_what_it_left(tmp_path: Path) -> None:
    path = tmp_path / "some.file.txt"
    write_text(path, "before")
    code = (
        "import os, sys\nfrom refca.atomic import atomic_write\n"
        "with atomic_write(sys.argv[1]) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(path)], env=ENVIRONMENT, check=False).returncode == -9
    assert path.read_text() == "before"
    assert len(list(tmp_path.iterdir())) == 2
    mine = tmp_path / ".some.file.notes.txt"
    mine.write_text("not a temporary file")
    with atomic_write(path) as being_written:
        write_text(path, "another process, meanwhile")
        assert being_written.exists()
        being_written.write_text("after")
    assert {each.name for each in tmp_path.iterdir()} == {path.name, mine.name}
    assert path.read_text() == "after"


def test_a_link_is_written_through_and_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    write_text(tmp_path / "target" / "real.txt", "old")
    (tmp_path / "link.txt").symlink_to(tmp_path / "target" / "real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "target" / "real.txt").read_text() == "new"
    with pytest.raises(IsADirectoryError, match=re.escape(f"'{tmp_path / 'target'}'")):
        write_text(tmp_path / "target", "")


def test_a_renamed_file_and_its_folder_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a.txt", "x")
    assert synced[1:] == [str(tmp_path)]
    assert Path(synced[0]).parent == tmp_path


# what is said at the end


def test_a_short_run_says_what_it_reached_and_what_a_useful_one_needs(tmp_path: Path, capsys: Capture) -> None:
    assert train.main([*SHORT, "--out", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert re.search(r"done: accuracy \d+% in the last batches of 30 training steps, which is too little to be", said)
    assert "a useful run on MNIST takes some 10,000 steps" in said
    few = [*SHORT, "--steps", "1", "--out", str(tmp_path / "few")]
    assert train.main(few) == 0
    assert "done: accuracy" in capsys.readouterr().out


def test_a_finished_run_asked_for_more_steps_names_the_remedy_and_it_works(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    assert train.main([*SHORT, "--out", str(out)]) == 0
    said = sentence(capsys, lambda: train.main(resumed(out, "--steps", "40")))
    remedy = said.partition("python -m refca.train ")[2].split()
    assert train.main(remedy) == 0
    assert "steps = 40\n" in (tmp_path / "run-further" / "settings.toml").read_text()


# threads, signals and streams


def test_programs_work_outside_the_main_thread(tmp_path: Path) -> None:
    out, codes = str(tmp_path / "run"), []

    def all_of_them() -> None:
        few = ["--samples", "2", "--steps", "2"]
        codes.append(train.main([*SHORT, "--out", out]))
        codes.append(evaluate.main([out, *few]))
        codes.append(robustness.main([out, *few, "--chimeras", "1"]))
        with stoppable() as asked:
            codes.append(int(asked()))

    thread = threading.Thread(target=all_of_them)
    thread.start()
    thread.join()
    assert codes == [0, 0, 0, 0]


@pytest.mark.parametrize("program", ["train", "evaluate", "robustness"])
def test_ctrl_c_at_any_time_is_said_in_a_word(tmp_path: Path, program: str) -> None:
    flags = {
        "train": [*SHORT, "--steps", "99999"],
        "evaluate": ["digits-large-batch"],
        "robustness": ["digits-large-batch"],
    }
    extra = [] if program == "train" else ["--dataset", "optdigits-28"]
    for delay in (0.3, 0.6, 1.2, 2.5):
        command = [
            sys.executable,
            "-m",
            f"refca.{program}",
            *flags[program],
            *extra,
            "--out",
            str(tmp_path / f"{delay}"),
        ]
        process = subprocess.Popen(command, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        try:
            said = process.communicate(timeout=60)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        if process.returncode != 130 and "refca/" not in said:
            continue  # Python itself had not yet come to refca
        assert process.returncode == 130, said
        assert "Traceback" not in said
        assert "stopped" in said


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "cp437"])
@pytest.mark.parametrize("flags", [["--list"], ["--help"], ["--experiment", "\u00d7\u2603"]])
def test_output_in_any_encoding(encoding: str, flags: list[str]) -> None:
    environment = ENVIRONMENT | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "refca.train", *flags]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == (2 if "--experiment" in flags else 0), done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-", "> /dev/full", "2> /dev/full", "| head -c 1"])
def test_closed_and_full_streams_are_no_traceback_and_no_file_takes_their_place(tmp_path: Path, closed: str) -> None:
    out = tmp_path / "run"
    command = f"{sys.executable} -m refca.train {' '.join(SHORT)} --out {out} {closed}"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], env=ENVIRONMENT, capture_output=True, check=False
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    assert done.returncode in (0, 2)
    if done.returncode == 0:
        assert train.main(resumed(out)) == 0


def test_a_long_or_strange_argument_is_answered_in_one_short_line(capsys: Capture) -> None:
    with pytest.raises(SystemExit) as exit:
        Parser("p").parse_args(["--" + "x" * 100_000 + "\x1b[31m\n"])
    assert exit.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.isprintable()
    assert len(last) < LONGEST + 100


def test_an_error_of_the_file_system_names_the_file(capsys: Capture) -> None:
    def program() -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some\nfile")

    assert exit_code(program) == 2
    assert capsys.readouterr().err == "refca: No space left on device (some\\nfile)\n"


# numbers


@pytest.mark.parametrize("flag", ["steps", "unroll", "pool", "batch", "unroll-max", "loss-steps", "checkpoint-every"])
@pytest.mark.parametrize("number", [10**18, 2**63, 2**64, 10**30])
def test_enormous_numbers_are_refused_or_harmless(tmp_path: Path, capsys: Capture, flag: str, number: int) -> None:
    flags = [*SHORT, f"--{flag}", str(number), "--out", str(tmp_path / "run")]
    if flag == "checkpoint-every":
        assert train.main(flags) == 0
    else:
        assert flag.replace("-", "_") in sentence(capsys, lambda: train.main(flags))


@pytest.mark.parametrize("flag", ["state", "hidden", "size", "horizon", "unroll", "batch"])
def test_enormous_cells_are_refused(tmp_path: Path, capsys: Capture, flag: str) -> None:
    flags = ["--experiment", "pets-48-small", f"--{flag}", str(10**18), "--out", str(tmp_path / "run")]
    assert f"{flag} must be at most" in sentence(capsys, lambda: train.main(flags))


@pytest.mark.parametrize("flag", ["--steps", "--samples", "--seed"])
def test_enormous_numbers_are_refused_by_reports(tmp_path: Path, capsys: Capture, flag: str) -> None:
    flags = ["digits-large-batch", "--dataset", "optdigits-28", "--samples", "2", "--out", str(tmp_path / "e")]
    for program in (evaluate, robustness):
        assert "got 1" in sentence(capsys, lambda: program.main([*flags, flag, str(10**20)]))  # noqa: B023


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [("pool", 900_000, "--pool 450000"), ("batch", 60_000, "--batch 30000")],
)
def test_memory_that_is_used_up_is_blamed_on_the_setting_that_needs_most(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, setting: str, value: int, remedy: str
) -> None:
    def full(*given: object) -> None:
        raise MemoryError

    monkeypatch.setattr("refca.digits.training.begin", full)
    flags = [*SHORT, "--pool", "70000", f"--{setting}", str(value), "--out", str(tmp_path / "run")]
    assert f"begin another run with {remedy}, which" in sentence(capsys, lambda: train.main(flags))


# settings from files


@pytest.mark.parametrize(
    "text",
    [
        "steps = " + "1" * 4301,
        "steps = 0x" + "f" * 5000,
        "a = " + "[" * 5000,
        "\x00",
        "steps = [1]",
        "task = ['digits']",
    ],
)
def test_settings_files_of_any_content_are_refused_by_name(tmp_path: Path, capsys: Capture, text: str) -> None:
    (tmp_path / "s.toml").write_text(text)
    flags = ["--experiment", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run")]
    said = sentence(capsys, lambda: train.main(flags))
    assert str(tmp_path / "s.toml") in said
    assert len(said) < LONGEST + 100


def test_settings_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("\ufeffdataset = 'optdigits'\nsteps = 1\n", "utf-8")
    assert train.main(["--experiment", str(tmp_path / "s.toml"), "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "settings.toml").read_text().splitlines()[2].split("= ")[1]) == 1
