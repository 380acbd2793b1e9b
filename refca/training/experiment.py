"""Experiments: all settings of a training run, from a file in `refca/experiments`, another file, or flags.

Each task has its own settings in a subclass, for example `refca/digits/settings.py`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

from refca.definition.cell import Cell
from refca.errors import InvalidInput

FORMER_NAMES = {  # names of settings in older runs
    "rate": "learning_rate",
    "start": "init_from",
    "target": "horizon",
    "last": "loss_steps",
    "unroll_most": "unroll_max",
}


def setting(default: Any, help: str, choices: tuple[Any, ...] = ()) -> Any:
    """Return a dataclass field with its text for `--help` and its allowed values (empty: any)."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Experiment(ABC):
    """The settings that every training run has.

    Raises InvalidInput, naming the setting, for a value of the wrong type or out of range.
    """

    task: ClassVar[str]  # the name of the task that these settings belong to
    samples: ClassVar[str]  # plural noun for the training samples

    dataset: str
    steps: int
    unroll: int
    batch: int
    learning_rate: float
    seed: int
    init_from: str

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), type(setting.default)
            if kind is float and type(value) is int and abs(value) < 2**53:
                object.__setattr__(self, setting.name, float(value))
            elif type(value) is not kind:
                raise InvalidInput(f"{setting.name} must be {kind.__name__}, got {value!r}")
            choices = setting.metadata["choices"]
            if choices and value not in choices:
                known = ", ".join(map(str, choices))
                raise InvalidInput(f'{setting.name} must be one of {known}, got "{value}"')
        self.at_least_one("steps", "unroll", "batch")
        if not 0 < self.learning_rate < float("inf"):
            raise InvalidInput(f"learning_rate must be finite and above 0, got {self.learning_rate}")
        if not 0 <= self.seed < 2**64:
            raise InvalidInput(f"seed must be from 0 to 2**64 - 1, got {self.seed}")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raise InvalidInput for values that this task cannot use."""

    @property
    @abstractmethod
    def cell(self) -> Cell:
        """The cell that is trained."""

    def at_least_one(self, *names: str) -> None:
        """Raise InvalidInput unless each of these settings is at least 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise InvalidInput(f"{name} must be at least 1, got {getattr(self, name)}")

    def with_(self, **settings: Any) -> Self:
        """Return a copy with some settings changed. Raises InvalidInput for an unknown or invalid one."""
        known = [f.name for f in fields(self)]
        for name in settings:
            if name not in known:
                raise InvalidInput(
                    f'"{name}" is not a setting of {self.task} experiments, which have {", ".join(known)}'
                )
        return replace(self, **settings)

    def toml(self) -> str:
        """Return the settings as the text of an experiment file."""
        settings = {"task": self.task, **asdict(self)}
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())


def current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under their present names; older runs used other names."""
    renamed = {FORMER_NAMES.get(name, name): value for name, value in settings.items()}
    if "renewal" in renamed:  # one sample in so many
        renamed["fresh_fraction"] = 1 / renamed.pop("renewal")
    return renamed
