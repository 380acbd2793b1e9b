"""The tasks by name, and the experiments that come with refca.

Other packages add a task through the entry-point group `refca.tasks`; it names a `Task`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from refca import data
from refca.errors import InvalidInput, Unavailable, did_you_mean
from refca.plugins import load as load_plugin
from refca.plugins import registered
from refca.reading import reading
from refca.training.experiment import Experiment
from refca.training.task import Task

GROUP = "refca.tasks"
OURS = {"digits": "refca.digits.task:TASK", "segmentation": "refca.segmentation.task:TASK"}
DEFAULT = "digits"


def task_names() -> list[str]:
    """Return the names of refca's own tasks, then the names of tasks that other packages registered."""
    return list(dict.fromkeys([*OURS, *registered(GROUP)]))


def get_task(name: str) -> Task:
    """Return the task of this name. Raises InvalidInput for an unknown one."""
    if name in OURS:
        module, _, attribute = OURS[name].partition(":")
        found: Task = getattr(import_module(module), attribute)
    elif name in registered(GROUP):
        found = load_plugin(GROUP, name)
    else:
        raise InvalidInput(f'task must be one of {", ".join(task_names())}, got "{name}"')
    return found


def all_tasks() -> list[Task]:
    """Return all tasks that can be loaded, refca's own first."""
    found = []
    for name in task_names():
        with suppress(Unavailable):
            found.append(get_task(name))
    return found


def task_of(experiment: Experiment | None) -> Task:
    """Return the task of an experiment; weights without an experiment are taken for digits, as the article's are."""
    return get_task(DEFAULT if experiment is None else experiment.task)


def lookup(settings: Mapping[str, Any]) -> tuple[Experiment, Task]:
    """Return the experiment with these settings, and its task. Raises InvalidInput as `make_experiment`."""
    experiment = make_experiment(settings)
    return experiment, task_of(experiment)


def make_experiment(settings: Mapping[str, Any]) -> Experiment:
    """Return the experiment with these settings; the others have the defaults of its task.

    Without the setting `task`, the task is the one that has the dataset.
    Raises InvalidInput for an unknown or invalid setting.
    """
    settings = dict(settings)
    name = settings.pop("task", None) or task_for_dataset(settings.get("dataset")) or DEFAULT
    return change(get_task(name).experiment(), settings)


def change(experiment: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """Return the experiment with some settings changed. Raises InvalidInput for an unknown or invalid one,
    naming the task that has it if another one does."""
    known = {f.name for f in fields(experiment)}
    for name in settings.keys() - known:
        for other in all_tasks():
            if name in {f.name for f in fields(other.settings)}:
                raise InvalidInput(f"{name} is a setting of {other.name} experiments, not of {experiment.task}")
    dataset = settings.get("dataset", experiment.dataset)
    if (other_name := task_for_dataset(dataset)) not in (None, experiment.task):
        raise InvalidInput(
            f"{dataset} needs a {other_name} experiment, not {experiment.task}: --experiment NAME; --list shows all"
        )
    return experiment.with_(**settings)


def task_for_dataset(dataset: Any) -> str | None:
    """Return the name of the task that learns from datasets of this one's kind; None if it is unknown."""
    kind = data.kind_of(dataset) if isinstance(dataset, str) else None
    return next((task.name for task in all_tasks() if kind and task.settings.kind == kind), None)


def experiment_names() -> list[str]:
    """The names of the experiments that come with the package."""
    return sorted(experiment_files())


def experiment_files() -> dict[str, Any]:
    """The files of the experiments that come with the package, by name."""

    def toml_files(folder: Any) -> Iterator[Any]:
        for entry in folder.iterdir():
            if entry.is_dir():
                yield from toml_files(entry)
            elif entry.name.endswith(".toml"):
                yield entry

    return {file.name.removesuffix(".toml"): file for file in toml_files(files("refca") / "experiments")}


def describe_experiment(name: str) -> str:
    """Return the description on the first line of an experiment's file."""
    first: str = experiment_files()[name].read_text("utf-8").splitlines()[0]
    return first.removeprefix("# ")


def load_experiment(name: str | Path) -> Experiment:
    """Return the experiment of this name, or of this .toml file.

    Raises InvalidInput if it is unknown, cannot be read or has an invalid setting.
    """
    known = experiment_files()
    name = str(name)
    path = Path(name) if name.endswith(".toml") else known.get(name)
    if path is None or not path.is_file():
        meant = did_you_mean(name, known)
        raise InvalidInput(
            f'unknown experiment "{name}"{meant or ";"} --list shows all; a path to a .toml file works too'
        )
    with reading(path, "a TOML file of settings", "correct it, or use another"):
        settings = tomllib.loads(path.read_text("utf-8-sig"))
        if isinstance(settings.get("dataset"), str):
            settings["dataset"] = data.full_path(settings["dataset"])
        try:
            return make_experiment(settings)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error}") from error
