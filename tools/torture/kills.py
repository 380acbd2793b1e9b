"""Training that is killed, stopped, run twice in one folder, or loses its folder: what remains must be right.

After every kill the run is resumed, or started again where it has no checkpoint; when it has ended, all its files
must be those of an undisturbed run, and there must be no others.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
from functools import partial
from pathlib import Path

from torture.children import Child, Outcome, run
from torture.runs import CHECKPOINT, Act, Run, died, known, moment, removed, unsynced
from torture.tally import Deadline, Tally, shortened

KILLS, OTHERS = "kills", "interruptions"
MOST_IN_A_ROW = 3  # kills of one run, before it is left to end


def torture(runs: list[Run], folder: Path, count: int, rng: random.Random, tally: Tally, deadline: Deadline) -> None:
    """Kill `count` times: first at every event of every run and of its continuation, then at random."""
    for run_ in runs:
        for event in unsynced(run_.events):
            tally.fault(OTHERS, "renamed before it was synced", f"{run_.name}: {known(event)}")
    others(runs, folder / "others", max(2, count // 50), rng, tally, deadline.share(0.3))
    plans = [(run_, number) for run_ in runs for number in range(1, len(run_.events) + 1)]
    rng.shuffle(plans)
    while tally.total(KILLS, "killed") < count and deadline.left:
        run_, number = plans.pop() if plans else (rng.choice(runs), 0)
        killed_run(run_, number, folder / "killed", rng, tally)


def killed_run(run_: Run, number: int, out: Path, rng: random.Random, tally: Tally) -> None:
    """Kill a run at an event (0: at a random time), kill what goes on from there, and let it end."""
    removed(out)
    how = [f"{run_.name}: " + (f"event {number}, {known(run_.events[number - 1])}" if number else "")]
    for again in range(1 + rng.randrange(MOST_IN_A_ROW)):
        if again or not number:
            number = rng.choice([0, rng.randint(1, len(run_.events))])
            how.append(f"event {number}" if number else "a random time")
        signals = [] if number else [(moment(rng, run_), signal.SIGKILL)]
        outcome = run(partial(run_.go_on, out, kill_at(number) if number else None), signals=signals)
        tally.peak(KILLS, outcome.peak)
        if died(outcome, signal.SIGKILL) and not outcome.hung:
            tally.count(KILLS, "killed")
            tally.count(KILLS, "at an event" if number else "at a random time")
        elif wrong := outcome.unfit([0]):
            return tally.fault(KILLS, wrong, f"{'; '.join(how)}: {shortened(outcome.output)}")
    end(run_, out, "; ".join(how), KILLS, tally)
    return None


def kill_at(event: int) -> Act:
    """Kill this process at an event."""
    return lambda number, what: os.kill(os.getpid(), signal.SIGKILL) if number == event else None


def end(run_: Run, out: Path, how: str, part: str, tally: Tally) -> bool:
    """Let a run go on to its end; return whether all its files are as after an undisturbed run."""
    outcome = run(lambda: run_.go_on(out))
    tally.peak(part, outcome.peak)
    if wrong := outcome.unfit([0]):
        tally.fault(part, wrong, f"{how}: {shortened(outcome.output)}")
    elif differing := run_.differing(out):
        tally.fault(part, "wrong result", f"{how}: {', '.join(differing)}")
    else:
        tally.count(part, "ended as undisturbed")
        return True
    return False


def others(runs: list[Run], folder: Path, count: int, rng: random.Random, tally: Tally, deadline: Deadline) -> None:
    """Everything else that can happen to a run, `count` times each."""
    ways = (stopped, stopped_twice, two_in_one_folder, moved, deleted)
    for number in range(count):
        for way in ways:
            if deadline.left:
                removed(folder)
                folder.mkdir(parents=True)
                way(runs[number % len(runs)], folder, rng, tally)


def stopped(run_: Run, folder: Path, rng: random.Random, tally: Tally) -> None:
    """SIGTERM or Ctrl-C at a random time."""
    number, out = rng.choice([signal.SIGTERM, signal.SIGINT]), folder / "run"
    outcome = run(lambda: run_.start(out), signals=[(moment(rng, run_), number)])
    after_a_stop(run_, out, outcome, number.name, tally)


def stopped_twice(run_: Run, folder: Path, rng: random.Random, tally: Tally) -> None:
    """Ctrl-C twice at random times."""
    out = folder / "run"
    times = sorted((moment(rng, run_), moment(rng, run_)))
    outcome = run(lambda: run_.start(out), signals=[(time, signal.SIGINT) for time in times])
    after_a_stop(run_, out, outcome, "SIGINT twice", tally)


def after_a_stop(run_: Run, out: Path, outcome: Outcome, what: str, tally: Tally) -> None:
    """The program says that it was stopped, and the run can go on. SIGTERM before training ends it without a word."""
    tally.count(OTHERS, what)
    wrong = outcome.unfit([0, 130] if "SIGINT" in what else [0, 130, -signal.SIGTERM])
    if wrong:
        tally.fault(OTHERS, wrong, f"{run_.name}, {what}: {shortened(outcome.output)}")
    else:
        end(run_, out, f"{run_.name}, {what}", OTHERS, tally)


def two_in_one_folder(run_: Run, folder: Path, rng: random.Random, tally: Tally) -> None:
    """Two runs that differ, started into one folder at about the same time: one of them does not begin."""
    out = folder / "run"
    first = Child(lambda: run_.start(out))
    second = Child(lambda: Run(run_.name, [*run_.flags, "--seed", "1"], {}, [], 0).start(out))
    outcomes = [second.wait(), first.wait()][::-1]
    tally.count(OTHERS, "two in one folder")
    codes = [outcome.code for outcome in outcomes]
    for outcome in outcomes:
        if wrong := outcome.unfit([0, 2]):
            return tally.fault(OTHERS, wrong, f"{run_.name}, two in one folder: {shortened(outcome.output)}")
    if sorted(codes) != [0, 2]:
        return tally.fault(OTHERS, "both ran", f"{run_.name}, two in one folder: exit codes {codes}")
    if codes[0] == 0 and (differing := run_.differing(out)):
        return tally.fault(OTHERS, "wrong result", f"{run_.name}, two in one folder: {', '.join(differing)}")
    return None


def moved(run_: Run, folder: Path, rng: random.Random, tally: Tally) -> None:
    """The folder gets another name while the run goes on: it can be resumed there."""
    out, elsewhere, rename, number = folder / "run", folder / "elsewhere", os.rename, an_event(run_, rng)

    def act(event: int, what: str) -> None:
        if event == number:
            rename(out, elsewhere)

    outcome = run(lambda: run_.start(out, act))
    tally.count(OTHERS, "folder moved")
    how = f"{run_.name}, moved before event {number}, {known(run_.events[number - 1])}"
    if wrong := outcome.unfit([0, 2]):
        return tally.fault(OTHERS, wrong, f"{how}: {shortened(outcome.output)}")
    whole = [place for place in (elsewhere, out) if place.exists() and not run_.differing(place)]
    if outcome.code == 0 and not whole:
        split = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
        return tally.fault(OTHERS, "ends well without its files", f"{how}: {sorted(split)}")
    if not whole and (elsewhere / CHECKPOINT).exists():
        end(run_, elsewhere, how, OTHERS, tally)
    return None


def deleted(run_: Run, folder: Path, rng: random.Random, tally: Tally) -> None:
    """The folder is deleted while the run goes on: it says so, or makes all files again."""
    out, number = folder / "run", an_event(run_, rng)

    def act(event: int, what: str) -> None:
        if event == number:
            shutil.rmtree(out)

    outcome = run(lambda: run_.start(out, act))
    tally.count(OTHERS, "folder deleted")
    how = f"{run_.name}, deleted before event {number}, {known(run_.events[number - 1])}"
    if wrong := outcome.unfit([0, 2]):
        return tally.fault(OTHERS, wrong, f"{how}: {shortened(outcome.output)}")
    if outcome.code == 0 and run_.differing(out):
        return tally.fault(OTHERS, "ends well without its files", f"{how}: {', '.join(run_.differing(out))}")
    return None


def an_event(run_: Run, rng: random.Random) -> int:
    """An event after the folder was made."""
    return rng.randint(3, len(run_.events))
