"""python -m refca.sweep: train a table of experiments and seeds, as a local queue or a Slurm job array.

There is no scheduler here: the local queue starts a few processes, Slurm schedules its array by itself. What is
done is skipped, what was stopped is resumed.

Source: `docs/cluster.md`.
"""

from __future__ import annotations

import csv
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import tomllib
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NoReturn

from refca.atomic import atomic_write, make_folder, write_text
from refca.cli import STOPPED, Parser, run_program
from refca.data import full_path, is_path
from refca.errors import InvalidInput
from refca.fitting import SETTINGS_FILE, add_train_flags, check_seeds, own_experiment
from refca.reading import reading
from refca.tasks import all_tasks, change, load_experiment
from refca.threads import processors
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE
from refca.training.experiment import Experiment
from refca.training.flags import settings as settings_of_tasks
from refca.training.flags import shown
from refca.training.metrics_log import LOG_FILE, last_values

EXAMPLES = """examples:
  python -m refca.sweep TABLE.toml                     train what is not done yet, one run after the other
  python -m refca.sweep TABLE.toml --jobs 4            four runs at a time
  python -m refca.sweep TABLE.toml --slurm             write sweep.sbatch and submit it as a job array
  python -m refca.sweep TABLE.toml --collect           write and print the summary of what is done

The table:
  out = "runs/sweep"                # the folder of all runs
  seeds = [0, 1, 2]
  settings = {steps = 2000}         # for all runs, as the flags of refca.train
  flags = ["--backend", "cpu"]      # flags of refca.train that are no settings
  [runs.plain]                      # runs/sweep/plain-seed0 ...
  experiment = "demo"               # the default, unless the data is your own
  [runs.fast]
  experiment = "demo"
  learning_rate = 2e-3
  [slurm]                           # options of sbatch
  time = "04:00:00"
  ntasks = 8                        # more than 1: the ranks of each run, started by srun
"""
SCRIPT, SUMMARY = "sweep.sbatch", "summary.csv"
KEYS = {"out", "seeds", "settings", "flags", "runs", "slurm"}
ELSEWHERE = {  # flags of refca.train that flags of a table must not have, and where they belong
    "experiment": "runs",
    "list": "the command line",
    "out": "out",
    "resume": "no table: a run that has begun is resumed",
    "seed": "seeds",
    "seeds": "seeds",
}


@dataclass(frozen=True)
class Run:
    """One run of a table."""

    name: str
    seed: int
    experiment: str
    settings: dict[str, Any]
    out: Path

    @property
    def done(self) -> bool:
        """Return whether the run has reached its last step."""
        return (self.out / WEIGHTS_FILE).exists()

    def arguments(self, flags: Sequence[str]) -> list[str]:
        """Return the arguments of refca.train that begin the run, or resume it if it has a checkpoint."""
        if (self.out / CHECKPOINT_FILE).exists():
            return ["--out", str(self.out), "--resume", *flags]
        settings = [word for name, value in self.settings.items() for word in flag_of(name, value)]
        return ["--experiment", self.experiment, "--out", str(self.out), "--seed", str(self.seed), *settings, *flags]


@dataclass(frozen=True)
class Table:
    """The runs of a sweep, in the order of their numbers in a job array."""

    path: Path
    out: Path
    runs: list[Run]
    flags: list[str]
    slurm: dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), sweep, arguments)


def parser() -> ArgumentParser:
    p = Parser(
        "sweep",
        description="Train a table of experiments and seeds, and collect a summary.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    p.add_argument("table", type=Path, metavar="TABLE.toml", help="the experiments, seeds and settings")
    p.add_argument("--jobs", metavar="N", type=int, default=1, help="runs at a time in the local queue; default: 1")
    p.add_argument("--slurm", action="store_true", help="submit a Slurm job array of the runs that are not done")
    p.add_argument("--write", action="store_true", help="with --slurm: write the script, but do not submit it")
    p.add_argument("--collect", action="store_true", help="only collect the summary")
    p.add_argument("--task", metavar="N", type=int, help="train run number N only, as a task of the job array does")
    return p


def sweep(flags: Namespace) -> int:
    """Do what the flags ask for; return the exit code: 1 if a run failed."""
    table = read_table(flags.table)
    if flags.jobs < 1:
        raise InvalidInput(f"--jobs must be at least 1, got {flags.jobs}")
    if flags.write and not flags.slurm:
        raise InvalidInput("--write needs --slurm, whose script it writes")
    if flags.collect and flags.slurm:
        raise InvalidInput("--collect trains nothing, and --slurm does; give one of them")
    if flags.task is not None:
        if not 0 <= flags.task < len(table.runs):
            raise InvalidInput(f"--task must be from 0 to {len(table.runs) - 1}, got {flags.task}")
        return become(table, table.runs[flags.task])
    if flags.slurm:
        return submit(table, flags.write)
    failed = [] if flags.collect else train_locally(table, flags.jobs)
    print(collect(table))
    for run, code in failed:
        print(f"refca: {run.out} ended with exit code {code}; see {log_of(run)}", file=sys.stderr)
    return 1 if failed else 0


def read_table(path: Path) -> Table:
    """Read a table. Raises InvalidInput, naming the file, for one that cannot be used."""
    with reading(path, "a TOML table of a sweep", "correct it, or use another"):
        content = tomllib.loads(path.read_text("utf-8-sig"))
        try:
            return table_of(path, content)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error}") from error


def table_of(path: Path, content: Mapping[str, Any]) -> Table:
    """Return the table with this content. Raises InvalidInput for unknown keys, experiments and settings."""
    for name in content:
        if name not in KEYS:
            raise InvalidInput(f"a table has {', '.join(sorted(KEYS))}, got {name}")
    out, seeds = Path(content.get("out", f"runs/{path.stem}")), content.get("seeds", [0])
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        raise InvalidInput(f"seeds must be a list of numbers, got {seeds!r}")
    check_seeds(seeds)
    flags = content.get("flags", [])
    if not isinstance(flags, list):
        raise InvalidInput(f'flags must be a list of words, such as ["--backend", "cpu"], got {flags!r}')
    check_flags(list(map(str, flags)))
    if not isinstance(content.get("runs"), dict) or not content["runs"]:
        raise InvalidInput("runs must have at least one run, such as [runs.plain]")
    runs = []
    for name, own in content["runs"].items():
        if not isinstance(own, dict):
            raise InvalidInput(f"runs.{name} must be a table of settings, got {own!r}")
        settings = {**content.get("settings", {}), **own}
        if "dataset" in settings:
            settings["dataset"] = full_path(str(settings["dataset"]))
        usual = own_experiment(settings["dataset"]) if is_path(settings.get("dataset", "")) else "demo"
        experiment = str(settings.pop("experiment", usual))
        if "seed" in settings:
            raise InvalidInput("the setting seed comes from seeds")
        for seed in seeds:
            run = Run(name, seed, experiment, settings, out / f"{name}-seed{seed}")
            try:
                check_unchanged(run, change(load_experiment(experiment), {**counted(settings), "seed": seed}))
            except InvalidInput as error:
                raise InvalidInput(f"runs.{name}: {error}") from error
            runs.append(run)
    slurm = content.get("slurm", {})
    if not isinstance(slurm, dict) or any(isinstance(value, list | dict) for value in slurm.values()):
        raise InvalidInput(f"slurm must be a table of options with one value each, got {slurm!r}")
    ntasks = slurm.get("ntasks", 1)
    if type(ntasks) is not int or ntasks < 1:
        raise InvalidInput(f"ntasks must be a number of at least 1, got {ntasks!r}")
    return Table(path, out, runs, list(map(str, flags)), slurm)


def check_flags(flags: list[str]) -> None:
    """Raise InvalidInput for flags that refca.train does not have, or that belong elsewhere."""
    train = Parser("train")
    add_train_flags(train)

    def refuse(message: str) -> NoReturn:
        raise InvalidInput(f"flags: {message}")

    train.error = refuse  # type: ignore[method-assign]
    given = vars(train.parse_args(flags))
    places = {name: f"settings, as {name} = ..." for name in settings_of_tasks(all_tasks())} | ELSEWHERE
    for name, value in given.items():
        if value != train.get_default(name) and name in places:
            raise InvalidInput(f"flags must not have --{name.replace('_', '-')}, which is for {places[name]}")


def counted(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with the number of labels where these name classes; in data of one's own it is found out."""
    classes = settings.get("classes")
    return {"labels": len(classes), **settings} if isinstance(classes, list) else dict(settings)


def check_unchanged(run: Run, wanted: Experiment) -> None:
    """Raise InvalidInput, naming the setting, if a run was begun with other settings than the table has now."""
    file = run.out / SETTINGS_FILE
    if not file.exists():
        return
    begun = load_experiment(file)
    found_out = is_path(wanted.dataset)  # some settings of one's own data, which the table need not have
    for name in [*run.settings, "seed"] if found_out else [field.name for field in fields(wanted)]:
        before, now = getattr(begun, name, None), getattr(wanted, name)
        if before != now:
            raise InvalidInput(
                f"{run.out} was begun with {name} {shown(before)}, and the table has {shown(now)}; name another out, "
                "or remove that folder"
            )


def flag_of(name: str, value: Any) -> list[str]:
    """Return the words of the flag that gives a setting a value."""
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [flag if value else f"--no-{flag[2:]}"]
    return [flag, ",".join(map(str, value)) if isinstance(value, list) else str(value)]


def log_of(run: Run) -> Path:
    return run.out.with_name(f"{run.out.name}.log")


def command_of(table: Table, run: Run) -> list[str]:
    """Return the command that trains a run; with `ntasks` in the table, its ranks are started by Slurm."""
    launcher = ["srun", "--kill-on-bad-exit=1"] if table.slurm.get("ntasks", 1) > 1 and shutil.which("srun") else []
    return [*launcher, sys.executable, "-m", "refca.train", *run.arguments(table.flags)]


def become(table: Table, run: Run) -> int:
    """Replace this process by the training of a run, so that signals reach it; return 0 if the run is done."""
    if run.done:
        return 0
    make_folder(run.out.parent)
    command = command_of(table, run)
    sys.stdout.flush()
    os.execvp(command[0], command)


def train_locally(table: Table, jobs: int) -> list[tuple[Run, int]]:
    """Train all runs that are not done, some at a time; return those that failed with their exit codes.

    Ctrl-C and SIGTERM stop the running ones, which write checkpoints.
    """
    waiting = [run for run in table.runs if not run.done]
    print(f"{len(table.runs)} runs, {len(table.runs) - len(waiting)} done; writing to {table.out}", flush=True)
    running: set[subprocess.Popen[bytes]] = set()
    stopped, starting = threading.Event(), threading.Lock()
    environment = {"REFCA_THREADS": str(max(1, processors() // jobs)), **os.environ}  # runs share the processors
    make_folder(table.out)

    def train(run: Run) -> tuple[Run, int]:
        with log_of(run).open("ab") as log:
            with starting:
                if stopped.is_set():
                    return run, STOPPED
                process = subprocess.Popen(
                    command_of(table, run),
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environment,
                )
                running.add(process)
            code = process.wait()
            running.discard(process)
        print(f"{run.out}: {'done' if code == 0 else f'exit code {code}'}", flush=True)
        return run, code

    in_main = threading.current_thread() is threading.main_thread()  # no other thread may take signals
    before = signal.signal(signal.SIGTERM, signal.default_int_handler) if in_main else None
    pool = ThreadPoolExecutor(jobs)
    try:
        started = [pool.submit(train, run) for run in waiting]
        return [(run, code) for run, code in (each.result() for each in started) if code]
    except KeyboardInterrupt:
        with starting:
            stopped.set()
        for process in list(running):
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        if in_main:
            signal.signal(signal.SIGTERM, before)


def submit(table: Table, write_only: bool) -> int:
    """Write the script of a job array of the runs that are not done, and submit it unless `write_only`."""
    waiting = [i for i, run in enumerate(table.runs) if not run.done]
    if not waiting:
        print(f"all {len(table.runs)} runs are done; collect them with --collect")
        return 0
    script = table.out / SCRIPT
    write_text(script, script_of(table, waiting))
    if write_only:
        print(f"submit it with: sbatch {shlex.quote(str(script))}")
        return 0
    if not shutil.which("sbatch"):
        raise InvalidInput(f"there is no sbatch here; {script} is written, submit it where Slurm is")
    return subprocess.run(["sbatch", str(script)]).returncode


def script_of(table: Table, waiting: Sequence[int]) -> str:
    """Return the script of a job array. SIGTERM comes two minutes before the end, so that runs write checkpoints."""
    options = {"job-name": f"refca-{table.path.stem}", "signal": "B:TERM@120", "requeue": True, **table.slurm}
    options |= {"array": ",".join(map(str, waiting)), "output": f"{table.out}/%A_%a.out"}
    if options["requeue"] is False:  # Slurm's own default may be to requeue
        options["no-requeue"] = True
    given = {name: value for name, value in options.items() if value is not False}
    lines = [f"#SBATCH --{name}" + ("" if value is True else f"={value}") for name, value in given.items()]
    command = shlex.join([sys.executable, "-m", "refca.sweep", str(table.path.resolve()), "--task"])
    return "\n".join(
        [
            "#!/bin/bash",
            *lines,
            f"cd {shlex.quote(str(Path.cwd()))}",
            f'{command} "$SLURM_ARRAY_TASK_ID" &',
            "trap 'kill -TERM $!' TERM  # the run stops after its step and writes a checkpoint",
            "wait $!; code=$?",
            "[ $code -gt 128 ] && { wait $!; code=$?; }",
            "exit $code",
            "",
        ]
    )


def collect(table: Table) -> str:
    """Write summary.csv, a row for each run that is done, and return the means over seeds as text."""
    rows: list[dict[str, Any]] = []
    for run in table.runs:
        if run.done:
            rows.append({"run": run.name, "seed": run.seed, **last_values(run.out / LOG_FILE)})
    names = list(dict.fromkeys(name for row in rows for name in row))
    if rows:
        with atomic_write(table.out / SUMMARY) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    lines = [f"{'run':20}{'seeds':>6}" + "".join(f"{name:>24}" for name in names[2:])]
    for name in dict.fromkeys(run.name for run in table.runs):
        own = [row for row in rows if row["run"] == name]
        total = sum(run.name == name for run in table.runs)
        cells = (spread([row[column] for row in own if column in row]) for column in names[2:])
        lines.append(f"{name:20}{f'{len(own)}/{total}':>6}" + "".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text, of the values that are known."""
    values = [value for value in values if value == value]
    if not values:
        return "none"
    return f"{mean(values):.4g} +- {stdev(values):.2g}" if len(values) > 1 else f"{values[0]:.4g}"


if __name__ == "__main__":
    sys.exit(main())
