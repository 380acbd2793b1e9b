"""Command-line flags for the settings of experiments."""

from __future__ import annotations

from argparse import ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from typing import Any

from refca.training.task import Task


def add_setting_flags(parser: ArgumentParser, tasks: Sequence[Task]) -> None:
    """Add a flag for each setting: one group for the settings that tasks share, then one for each task."""
    shared = parser.add_argument_group("settings of every run (they replace the settings of the experiment)")
    own = {task.name: parser.add_argument_group(f"settings of {task.name} runs") for task in tasks}
    headed: dict[str, Any] = {}
    for name, fields_of in settings(tasks).items():
        task, field = next(iter(fields_of.items()))
        heading = field.metadata["group"]
        if heading:
            group = headed.setdefault(heading, None) or parser.add_argument_group(f"settings of {heading}")
            headed[heading] = group
        else:
            group = shared if len(fields_of) > 1 else own[task]
        add_flag(group, name, fields_of)


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
    if field.metadata["detected"]:
        default = "found in the data"
    elif len(set(defaults.values())) == 1:
        default = next(iter(defaults.values()))
    else:
        default = ", ".join(f"{task} {value}" for task, value in defaults.items())
    options = f": {', '.join(dict.fromkeys(choices))}" if choices else ""
    help = f"{field.metadata['help']}{options} [{default}]"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(field.default, bool):
        group.add_argument(flag, action=BooleanOptionalAction, help=help)
    else:
        group.add_argument(flag, metavar="X", type=reader(field), help=help)


def reader(field: Field[Any]) -> Callable[[str], Any]:
    """Return the function that turns the text of a flag into the setting's value."""
    kind: type = field.metadata["kind"]
    if kind is tuple:
        return lambda text: tuple(part.strip() for part in text.split(",") if part.strip())

    def read(text: str) -> Any:
        return text if field.metadata["optional"] and text == "none" else kind(text)

    read.__name__ = kind.__name__  # argparse names it in its messages
    return read


def shown(value: Any) -> str:
    """Return a setting's value as text for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return f"{value:,}" if isinstance(value, int) else str("" if value is None else value) or "none"
