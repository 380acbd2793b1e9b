"""Command-line flags for the settings of experiments."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Sequence
from dataclasses import Field, fields
from typing import Any

from refca.training.task import Task


def add_setting_flags(parser: ArgumentParser, tasks: Sequence[Task]) -> None:
    """Add a flag for each setting: one group for the settings that tasks share, then one for each task."""
    found = settings(tasks)
    shared = parser.add_argument_group("settings of every run (they change those of the experiment)")
    own = {task.name: parser.add_argument_group(f"settings of {task.name} runs") for task in tasks}
    for name, fields_of in found.items():
        add_flag(shared if len(fields_of) > 1 else own[next(iter(fields_of))], name, fields_of)


def settings(tasks: Sequence[Task]) -> dict[str, dict[str, Field[Any]]]:
    """Return for each setting its dataclass field in each task that has it: {setting: {task: field}}."""
    found: dict[str, dict[str, Field[Any]]] = {}
    for task in tasks:
        for field in fields(task.settings):
            found.setdefault(field.name, {})[task.name] = field
    return found


def add_flag(group: Any, name: str, fields_of: dict[str, Field[Any]]) -> None:
    """Add the flag of one setting; a boolean setting also gets a --no- flag."""
    field = next(iter(fields_of.values()))
    choices = [str(choice) for f in fields_of.values() for choice in f.metadata["choices"]]
    defaults = {task: shown(f.default) for task, f in fields_of.items()}
    if len(set(defaults.values())) == 1:
        default = next(iter(defaults.values()))
    else:
        default = ", ".join(f"{task} {value}" for task, value in defaults.items())
    options = f": {', '.join(dict.fromkeys(choices))}" if choices else ""
    help = f"{field.metadata['help']}{options} [{default}]"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(field.default, bool):
        group.add_argument(flag, action=BooleanOptionalAction, help=help)
    else:
        group.add_argument(flag, metavar="X", type=type(field.default), help=help)


def shown(value: Any) -> str:
    """Return a setting's value as text for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"
