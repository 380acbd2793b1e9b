"""python tools/results/keep.py RUN: add a measured run to `results/`.

The run must have been measured: `python -m refca.evaluate RUN --mutation both`. Curves are rounded to six digits,
the training log is reduced to at most 1,000 rows of means, and no file holds a path of the machine. Weights that the
run began with are kept beside it as init.safetensors, unless they come with refca.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from kept import FOLDER, MEASURING, flags_of, read_columns, read_evaluation, read_json
from words import PUBLISHED

from refca.atomic import atomic_write, write_csv, write_text
from refca.cli import exit_code
from refca.definition.cell import Params
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.tasks import experiment_names, load_experiment
from refca.training.checkpoint import WEIGHTS_FILE, save_weights
from refca.training.experiment import Experiment
from refca.training.train_state import Weights
from refca.weights.load import load_weights, shipped_names

ROWS = 1000  # at most, of a training log
PICTURE = "digits.png"
INIT_FILE = "init.safetensors"
ROBUSTNESS = ("*.json", "*.csv", "*.png")
MEASURED = ("evaluation.json", "long/evaluation.json", "robustness/robustness.json")

E = TypeVar("E", bound=Experiment)


def main(arguments: list[str] | None = None) -> int:
    return exit_code(lambda: keep(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = ArgumentParser("python tools/results/keep.py", description="Add a measured run to results/.")
    p.add_argument("run", type=Path, help="a run directory, or a folder that refca.evaluate wrote for weights")
    p.add_argument("--name", help="name of the folder in results/; default: the name of the run")
    time = p.add_mutually_exclusive_group()
    time.add_argument("--seconds", metavar="N", type=float, help="wall time of training; default: not measured")
    time.add_argument(
        "--file-times",
        action="store_true",
        help="take the wall time from the times of settings.toml and weights.safetensors, for a run that was never "
        "resumed",
    )
    p.add_argument(
        "--machine", metavar="WORDS", help="description of the machine used for training; default: this machine"
    )
    p.add_argument("--into", metavar="DIR", type=Path, default=FOLDER, help="folder of results; default: results/")
    return p


def keep(flags: Namespace) -> int:
    run: Path = flags.run
    if not (run / "evaluation.json").exists():
        raise InvalidInput(
            f"{run} has not been measured; run this first: python -m refca.evaluate {run} --mutation both"
        )
    read_evaluation(run)
    name = flags.name or run.resolve().name
    into: Path = flags.into / name
    settings = run / "settings.toml"
    experiment = load_experiment(settings) if settings.exists() else None
    init, experiment = initial_weights(experiment, f"results/{name}") if experiment else (None, None)
    about = describe(flags, name, experiment)
    of = experiment or DigitsExperiment()
    assert isinstance(of, DigitsExperiment)
    mine = {"training_steps": about["training_steps"], "dataset": of.dataset, "noise": of.noise}
    for file in MEASURED:
        if (run / file).exists():
            check_measured(run / file, mine)
    long = (run / "long" / "evaluation.json").exists()
    if long:
        read_evaluation(run / "long")

    others = ["long", "robustness", *([] if same_weights(run, into) else ["worst", "drawn.json"])]
    into.mkdir(parents=True, exist_ok=True)
    if experiment is not None:
        write_text(into / "settings.toml", experiment.toml())
        thin(run / "metrics.csv", into / "metrics.csv")
        keep_weights(run, into, experiment, init)
    keep_evaluation(run, into, name)
    for part in others:  # of other weights, if the run has none
        shutil.rmtree(into / part, ignore_errors=True)
        if (into / part).is_file():
            (into / part).unlink()
    if long:
        keep_evaluation(run / "long", into / "long", name)
    copy(run / PICTURE, into / PICTURE)
    for pattern in ROBUSTNESS:
        for path in sorted((run / "robustness").glob(pattern)):
            copy(path, into / "robustness" / path.name)
    if (into / "robustness" / "robustness.json").exists():
        rename_model(into / "robustness" / "robustness.json", name)
    write_text(into / "run.json", json.dumps(about, indent=2) + "\n")
    print(f"added {into}; rebuild tables and figures with make results")
    return 0


def check_measured(path: Path, mine: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless a JSON file was measured of these weights, whose numbers are `mine`."""
    values = read_json(path)
    for name, value in mine.items():
        if values.get(name) != value:
            raise InvalidInput(f"{path} has {name} {values.get(name)}, these weights {value}; measure them again")


def same_weights(run: Path, into: Path) -> bool:
    """Return whether a run has the weights that are kept in a folder."""
    files = run / WEIGHTS_FILE, into / WEIGHTS_FILE
    if not all(file.exists() for file in files):
        return False
    (params, _, done), (kept, _, kept_done) = map(load_weights, files)
    if done != kept_done or params.keys() != kept.keys():
        return False
    return all(np.array_equal(x, kept[name]) for name, x in params.items())


def describe(flags: Namespace, name: str, experiment: Experiment | None) -> dict[str, Any]:
    """Return run.json: the training of a model, and the commands that reproduce it."""
    values = read_json(flags.run / "evaluation.json")
    measure = flags_of(values, MEASURING)
    if experiment is None:
        if Path(values["model"]).suffix != ".json":
            raise InvalidInput(f"{flags.run} must be a training run or an evaluation of the article's model.json")
        return {
            "trained": PUBLISHED,
            "commands": [f"python -m refca.evaluate model.json --data DIR{measure} --out runs/{name}"],
            "training_steps": None,
            "seconds": None,
            "machine": None,
        }
    weights = flags.run / WEIGHTS_FILE
    if not weights.exists():
        raise InvalidInput(f"{flags.run} is not finished: it has no weights.safetensors")
    seconds = flags.seconds
    if flags.file_times:
        seconds = weights.stat().st_mtime - (flags.run / "settings.toml").stat().st_mtime
    params, _, trained = load_weights(weights)
    source = source_of(experiment)
    setting = f"--experiment {source or f'results/{name}/settings.toml'} --seed {experiment.seed}"
    return {
        "trained": source,
        "commands": [
            f"python -m refca.train {setting} --data DIR --out runs/{name}",
            f"python -m refca.evaluate runs/{name} --data DIR{measure}",
        ],
        "training_steps": trained,
        "seconds": None if seconds is None else round(seconds),
        "machine": flags.machine or machine(),
        "parameters": sum(int(x.size) for x in params.values()),
    }


def initial_weights(experiment: E, folder: str) -> tuple[Weights | None, E]:
    """Return the weights that a run began with, and settings that name their copy, INIT_FILE in `folder`.

    Weights that come with refca, or that another run in results/ has, need no copy: these are None, and the settings
    name them. Raises InvalidInput for weights that cannot be read, and for weights that began
    with others that do not come with refca.
    """
    public = ("", *shipped_names())
    if experiment.init_from in public:
        return None, experiment
    init = load_weights(experiment.init_from)
    if name := public_name(init.params):
        return None, experiment.with_(init_from=name)
    began = None if init.experiment is None else init.experiment.init_from
    if began not in public:
        raise InvalidInput(
            f"the run began with {experiment.init_from}, and these weights with {began or 'unknown ones'}, which are "
            f"not public; they must have begun at random or with one of {', '.join(shipped_names())}"
        )
    return init, experiment.with_(init_from=f"{folder}/{INIT_FILE}")


def public_name(params: Params) -> str | None:
    """Return the name of weights that come with refca, or the folder of a run in results/, with these parameters."""
    root = FOLDER.parent
    folders = sorted(str(path.parent.relative_to(root)) for path in FOLDER.rglob(WEIGHTS_FILE))
    for name in (*shipped_names(), *folders):
        others = load_weights(name if name in shipped_names() else root / name).params
        if others.keys() == params.keys() and all(np.array_equal(x, params[key]) for key, x in others.items()):
            return name
    return None


def keep_weights(run: Path, into: Path, experiment: Experiment, init: Weights | None) -> None:
    """Copy the weights of a run, with these settings, and those that it began with unless they are public."""
    (into / INIT_FILE).unlink(missing_ok=True)
    params, settings, trained = load_weights(run / WEIGHTS_FILE)
    if settings == experiment:
        copy(run / WEIGHTS_FILE, into / WEIGHTS_FILE)
    else:
        save_weights(into / WEIGHTS_FILE, experiment, params, trained or 0)
    if init is not None and init.experiment is not None:
        save_weights(into / INIT_FILE, init.experiment, init.params, init.done or 0)


def source_of(experiment: Experiment) -> str | None:
    """Return the experiment of the package with these settings and any seed, or None."""
    for name in experiment_names():
        other = load_experiment(name)
        if type(other) is type(experiment) and other.with_(seed=experiment.seed) == experiment:
            return name
    return None


def machine() -> str:
    """Return the number of cores and the processor of this machine."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    cores = os.cpu_count() or 1
    model = models[0] if models else platform.processor() or platform.machine()
    return f"{cores} core{'s' if cores > 1 else ''} of {model}"


def keep_evaluation(source: Path, into: Path, name: str) -> None:
    """Copy evaluation.json with the model's name, and evaluation.csv rounded."""
    into.mkdir(exist_ok=True)
    copy(source / "evaluation.json", into / "evaluation.json")
    rename_model(into / "evaluation.json", name)
    write_columns(into / "evaluation.csv", read_columns(source / "evaluation.csv"))


def rename_model(path: Path, name: str) -> None:
    write_text(path, json.dumps(read_json(path) | {"model": name}, indent=2) + "\n")


def thin(source: Path, into: Path, most: int = ROWS) -> None:
    """Write a training log of at most `most` rows, each the mean of some rows with the step of the last."""
    columns = read_columns(source)
    rows = len(columns["step"])
    if not rows:
        raise InvalidInput(f"{source} has no rows")
    starts = np.arange(0, rows, -(-rows // most))
    ends = np.append(starts[1:], rows)
    shares = list(zip(starts, ends, strict=True))
    thinned = {name: np.array([mean(x[a:b]) for a, b in shares]) for name, x in columns.items()}
    write_columns(into, thinned | {"step": columns["step"][ends - 1]})


def mean(x: np.ndarray) -> float:
    """Return the mean of the numbers that are known; NaN if none is."""
    known = x[~np.isnan(x)]
    return float(known.mean()) if known.size else np.nan


def write_columns(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write a CSV file of columns with six digits; NaN becomes empty."""
    write_csv(path, list(columns), zip(*(column.tolist() for column in columns.values()), strict=True), digits=6)


def copy(source: Path, into: Path) -> None:
    """Copy a file; if it does not exist, remove an older copy."""
    if not source.exists():
        into.unlink(missing_ok=True)
    else:
        with atomic_write(into) as temporary:
            shutil.copyfile(source, temporary)


if __name__ == "__main__":
    sys.exit(main())
