"""Damaged and crafted files of every kind that is read: refused in a sentence with its name, or loaded as it was.

Most cases call what the programs call, many in one process; some go through the programs. A case is repeated by
its kind, its number and the seed.
"""

from __future__ import annotations

import json
import os
import random
import resource
import select
import shutil
import signal
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refca.definition.errors import one_line
from refca.errors import InvalidInput, ProgramFailed
from torture.children import LONGEST, fit, limit_memory, run
from torture.kills import kill_at
from torture.kinds import Kind, digest, foreign, kinds
from torture.mutations import damaged
from torture.runs import Run, contents, died
from torture.tally import Deadline, Tally, shortened

FILES, PROGRAMS = "files", "programs on files"
HANG = 300.0  # seconds
MEMORY = 2 * 2**30  # bytes that reading one file may address
GROWTH = 1_200 * 10**6  # bytes by which one file may raise the most memory that was used
CRAFTED = 0.35  # of the cases
SHARE = 0.05  # of the cases go through a program
BATCH = 50  # cases of a kind between those of others


@dataclass(frozen=True)
class Case:
    """A damaged file: what was done to it, and whether checksums were made again."""

    how: str
    sealed: bool


def torture(runs: list[Run], folder: Path, count: int, seed: int, tally: Tally, deadline: Deadline) -> None:
    """Try `count` files, as many of each kind, and a share of them with the programs."""
    folder.mkdir(parents=True, exist_ok=True)
    validated = next(run_ for run_ in runs if "validation" in run_.name)
    halves = stopped(runs[0], folder / "stopped"), stopped(validated, folder / "validated")
    all_kinds = kinds(halves[0], runs[0].files, halves[1])
    makers = [Whole(kind, folder / f"kind{i}") for i, kind in enumerate(all_kinds)]
    others = [whole.content for whole in makers] + foreign(folder)
    each = -(-count // len(makers))
    with_programs = max(1, round(SHARE * each))
    for first in range(0, each, BATCH):
        for whole in makers:
            if not deadline.left:
                return
            fuzz(whole, range(first, min(each, first + BATCH)), seed, others, tally)
            if whole.kind.command:
                share = range(first * with_programs // each, min(first + BATCH, each) * with_programs // each)
                for number in share:
                    if deadline.left:
                        through_program(whole, number, seed, others, tally)


def stopped(run_: Run, out: Path) -> dict[str, bytes]:
    """The files of a run that was killed in its middle."""
    written = [i for i, event in enumerate(run_.events) if event.startswith("replace .checkpoint")]
    outcome = run(lambda: run_.start(out, kill_at(written[2] + 3)))
    if not died(outcome, signal.SIGKILL):
        raise SystemExit(f"{run_.name} was not killed at its event but ended with {outcome.code}: {outcome.output}")
    return {name: content for name, content in contents(out).items() if not name.startswith(".")}


class Whole:
    """A whole file of a kind, in its own folder."""

    def __init__(self, kind: Kind, folder: Path) -> None:
        self.kind, self.folder = kind, folder
        self.path = self.restore()
        self.content = self.path.read_bytes()

    def restore(self) -> Path:
        """Make the folder anew."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        return self.kind.make(self.folder)

    def damage(self, rng: random.Random, others: list[bytes]) -> Case:
        """Put something else in the file's place."""
        remove(self.path)
        what = rng.random()
        if what < 0.02:
            return self.no_file(rng)
        if self.kind.craft and what < CRAFTED:
            content = self.kind.craft(self.content, rng)
            self.path.write_bytes(content)
            return Case("crafted", self.sealed(content))
        how, content = damaged(self.content, rng, others)
        self.path.write_bytes(content)
        return Case(how, how in ("another kind", "half another kind"))

    def sealed(self, crafted: bytes) -> bool:
        """Return whether a crafted file has no checksum that speaks against it: refca's own hashes stay."""
        if self.kind.name in ("checkpoint", "weights"):
            begin = self.content.index(b'\\"hashes\\"')
            return self.content[begin : begin + 200] not in crafted
        return not self.kind.name.endswith("log")

    def no_file(self, rng: random.Random) -> Case:
        what = rng.choice(["a folder", "nothing", "a link to nothing", "a link to itself", "a device"])
        if what == "a folder":
            self.path.mkdir()
        elif what != "nothing":
            target = {"a link to nothing": "nowhere", "a link to itself": self.path.name, "a device": "/dev/null"}[what]
            self.path.symlink_to(target)
        return Case(f"{what} in its place", True)

    def put_back(self) -> None:
        remove(self.path)
        self.path.write_bytes(self.content)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def case_rng(seed: int, whole: Whole, number: int, part: str) -> random.Random:
    return random.Random(f"{seed} {part} {whole.kind.name} {number}")


def fuzz(whole: Whole, numbers: range, seed: int, others: list[bytes], tally: Tally) -> None:
    """Read damaged files in a child; of a case that hangs or crashes go on with the next in another child."""
    todo = list(numbers)
    while todo:
        done = 0
        for report in reports(whole, todo, seed, others, tally):
            if "broken" in report:
                raise SystemExit(report["broken"])
            done += 1
            count(whole, report, tally)
        if done < len(todo):
            count(whole, {"number": todo[done], "verdict": "fault", "kind": "hang or crash", "how": "?"}, tally)
            done += 1
        todo = todo[done:]


def reports(whole: Whole, todo: list[int], seed: int, others: list[bytes], tally: Tally) -> Iterator[dict[str, Any]]:
    """Yield what came of each case, until the last or one that is not survived."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read)
            os.setpgid(0, 0)
            nowhere = os.open(os.devnull, os.O_RDWR)
            for descriptor in range(3):
                os.dup2(nowhere, descriptor)
            limit_memory(MEMORY)
            worker(whole, todo, seed, others, write)
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    try:
        buffer = b""
        while select.select([read], [], [], HANG)[0] and (more := os.read(read, 2**16)):
            *lines, buffer = (buffer + more).split(b"\n")
            yield from map(json.loads, lines)
    finally:
        os.close(read)
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        _, _, usage = os.wait4(pid, 0)
        tally.peak(FILES, usage.ru_maxrss * 1024)


def worker(whole: Whole, todo: list[int], seed: int, others: list[bytes], pipe: int) -> None:
    """Read the damaged files and report on each in a line of JSON."""
    whole.restore()
    try:
        expected = digest(whole.kind.read(whole.path))
    except Exception as error:
        os.write(
            pipe, json.dumps({"broken": f"a whole file of {whole.kind.name} is not read: {error!r}"}).encode() + b"\n"
        )
        return
    whole.restore()
    for number in todo:
        try:
            case = whole.damage(case_rng(seed, whole, number, FILES), others)
        except Exception as error:
            broken = f"case {number} of {whole.kind.name} cannot be made: {error!r}"
            os.write(pipe, json.dumps({"broken": broken}).encode() + b"\n")
            return
        before = peak()
        report = judged(whole, case, expected)
        growth = peak() - before
        if growth > GROWTH and report["verdict"] != "fault":
            report = {"verdict": "fault", "kind": "memory", "words": f"{growth / 1e6:,.0f} MB more than before"}
        report |= {"number": number, "how": case.how, "growth": growth}
        os.write(pipe, json.dumps(report).encode() + b"\n")
        whole.put_back()


def peak() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def judged(whole: Whole, case: Case, expected: str) -> dict[str, Any]:
    """Read a damaged file; return the verdict."""
    path = whole.path
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            found = digest(whole.kind.read(path))
        except (InvalidInput, ProgramFailed, OSError, MemoryError) as error:
            text = said(error)
            report: dict[str, Any] = {"verdict": "refused", "length": len(text)}
            if not fit(text):
                report |= {"verdict": "fault", "kind": "sentence too long or with control characters"}
            elif path.name not in text and str(whole.folder) not in text:
                report |= {"verdict": "fault", "kind": "file not named"}
            return report | {"words": text[:LONGEST]}
        except BaseException as error:  # a panic of Rust too
            frame = error.__traceback__
            while frame and frame.tb_next:
                frame = frame.tb_next
            where = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else ""
            return {"verdict": "fault", "kind": "traceback", "words": f"{error!r:.200} at {where}"}
    if warned:
        return {"verdict": "fault", "kind": "warning", "words": f"{warned[0].message!s:.200} at {warned[0].filename}"}
    if found == expected:
        return {"verdict": "loaded as it was"}
    if whole.kind.checked and not case.sealed:
        return {"verdict": "fault", "kind": "wrong load", "words": ""}
    return {"verdict": "loaded other content"}


def said(error: Exception) -> str:
    """The sentence that `refca.cli.exit_code` makes of an error."""
    if isinstance(error, OSError):
        return one_line(f"{error.strerror or error} ({error.filename})")
    return f"out of memory ({error})" if isinstance(error, MemoryError) else str(error)


LONGEST_SEEN: Counter[str] = Counter()


def count(whole: Whole, report: dict[str, Any], tally: Tally) -> None:
    tally.count(f"{FILES}: {whole.kind.name}", "tried")
    LONGEST_SEEN["sentence"] = max(LONGEST_SEEN["sentence"], report.get("length", 0))
    LONGEST_SEEN["growth"] = max(LONGEST_SEEN["growth"], report.get("growth", 0))
    if report["verdict"] == "fault":
        words = report.get("words", "")
        how = f"case {report['number']} of {whole.kind.name}, {report['how']}: {words}"
        tally.fault(f"{FILES}: {whole.kind.name}", report["kind"], how)
    else:
        tally.count(f"{FILES}: {whole.kind.name}", report["verdict"])
        if "memory" in report.get("words", ""):
            tally.count(f"{FILES}: {whole.kind.name}", "of these for want of memory")


def through_program(whole: Whole, number: int, seed: int, others: list[bytes], tally: Tally) -> None:
    """Give a damaged file to the program that reads such files."""
    assert whole.kind.command
    expected = EXPECTED.get(whole.kind.name)
    if expected is None:
        expected = EXPECTED[whole.kind.name] = started(whole, "whole", tally)[1]
    whole.restore()
    case = whole.damage(case_rng(seed, whole, number, PROGRAMS), others)
    how = f"case {number} of {whole.kind.name} with a program, {case.how}"
    output, found, wrong = started(whole, how, tally)
    tally.count(PROGRAMS, "tried")
    if wrong:
        tally.fault(PROGRAMS, wrong, f"{how}: {shortened(output)}")
    elif found is None:
        tally.count(PROGRAMS, "refused")
    elif found == expected:
        tally.count(PROGRAMS, "the same result")
    elif whole.kind.checked and not case.sealed:
        tally.fault(PROGRAMS, "wrong load", f"{how}: {shortened(output)}")
    else:
        tally.count(PROGRAMS, "another result")
    whole.restore()


EXPECTED: dict[str, Any] = {}  # what the program of each kind writes about a whole file


def started(whole: Whole, how: str, tally: Tally) -> tuple[str, Any, str]:
    """Run the program of a kind: its output, what it wrote (None: it refused), and what is wrong with its end."""
    assert whole.kind.command
    out = whole.folder.parent / "out"
    with suppress(FileNotFoundError):
        shutil.rmtree(out)
    program, flags = whole.kind.command(whole.path, out)
    outcome = run(lambda: program(flags), folder=whole.folder, hang=HANG)
    tally.peak(PROGRAMS, outcome.peak)
    wrong = outcome.unfit([0, 2])
    if how == "whole" and (wrong or outcome.code):
        raise SystemExit(f"a whole file is not read, of {whole.kind.name}: {outcome.output}")
    named = [s for s in outcome.sentences if whole.path.name in s or str(whole.folder) in s]
    if not wrong and outcome.code == 2 and not named:
        wrong = "file not named"
    written = contents(out) if out.exists() else contents(whole.folder)
    return outcome.output, None if outcome.code else digest(written), wrong
