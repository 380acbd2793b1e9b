"""An experiment: every setting of a training run, from a file of `refca/experiments`, another file, or flags.

Source: the article and its training notebook; the files name the experiments of the article.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from refca.cell import Cell, digits_cell
from refca.data import NAMES
from refca.loss import LOSSES
from refca.pool import REGIMES
from refca.refused import Refused


def setting(default: Any, help: str, choices: tuple[str, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Experiment:
    """The settings of a run. The defaults are the article's "L2 + noise"."""

    dataset: str = setting("mnist", "what to learn from", NAMES)
    loss: str = setting("l2", "half the squared error, or cross-entropy", tuple(LOSSES))
    noise: float = setting(0.02, "standard deviation of the residual noise; 0: none")
    regime: str = setting("mutating", "how the digits of a batch start, see spec/pool.md", REGIMES)
    steps: int = setting(100_000, "training steps; the rate is divided by 10 twice, see spec/adam.md")
    unroll: int = setting(20, "steps of the automaton in a training step")
    batch: int = setting(16, "digits in a training step")
    pool: int = setting(160, "digits whose states are kept between training steps")
    rate: float = setting(1e-3, "learning rate at the start")
    seed: int = setting(0, "of initial weights, choices and randomness")

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), type(setting.default)
            if kind is float and type(value) is int and abs(value) < 2**53:
                object.__setattr__(self, setting.name, float(value))
            elif type(value) is not kind:
                raise Refused(f"{setting.name} must be {kind.__name__}, got {value!r}")
            choices = setting.metadata["choices"]
            if choices and value not in choices:
                raise Refused(f'unknown {setting.name} "{value}"; known are {", ".join(choices)}')
        for name in ("steps", "unroll", "batch", "pool"):
            if getattr(self, name) < 1:
                raise Refused(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.batch < 4 and self.regime != "naive":
            raise Refused(f"the regime {self.regime} needs a batch of at least 4, got {self.batch}")
        if self.batch > self.pool:
            raise Refused(f"a batch of {self.batch} does not fit in a pool of {self.pool}")
        if not 0 < self.rate < float("inf"):
            raise Refused(f"rate must be a positive number, got {self.rate}")
        if not 0 <= self.noise < float("inf"):
            raise Refused(f"noise must be a finite number that is not negative, got {self.noise}")
        if not 0 <= self.seed < 2**64:
            raise Refused(f"seed must be from 0 to 2**64 - 1, got {self.seed}")

    @property
    def cell(self) -> Cell:
        return digits_cell(noise=self.noise)

    def with_(self, **settings: Any) -> Experiment:
        """The same with other settings. Raises Refused for one that does not exist or cannot be."""
        known = [f.name for f in fields(self)]
        for name in settings:
            if name not in known:
                raise Refused(f'"{name}" is not a setting; known are {", ".join(known)}')
        return replace(self, **settings)

    def toml(self) -> str:
        """The settings as a file that `load_experiment` reads."""
        lines = (f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in asdict(self).items())
        return "\n".join(lines) + "\n"


def experiment_names() -> list[str]:
    """The names of the experiments that come with the package."""
    return sorted(Path(file.name).stem for file in folder().iterdir() if file.name.endswith(".toml"))


def load_experiment(name: str | Path) -> Experiment:
    """The experiment of this name, or of this .toml file. Raises Refused if it cannot be read or used."""
    path = Path(name) if str(name).endswith(".toml") else folder() / f"{name}.toml"
    if not path.is_file():
        raise Refused(f'no experiment "{name}"; known are {", ".join(experiment_names())}, or a .toml file')
    try:
        return Experiment().with_(**tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, Refused) as error:
        raise Refused(f"{path}: {error}") from error


def folder() -> Any:
    return files("refca") / "experiments"
