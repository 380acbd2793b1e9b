"""An experiment: every setting of a training run, from a file of `refca/experiments`, another file, or flags.

There are two kinds, told apart by their dataset: with digits, the article's, and with photographs, the
paper's. What they share is in `Experiment`.

Source: the article and its training notebook; the paper, sections 3 to 5; the files name their experiments.
"""

from __future__ import annotations

import json
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar, Self, TypeAlias

from refca.adam import SCHEDULES
from refca.cell import NORMS, STRIDES, Cell, digits_cell, segmentation_cell
from refca.data import NAMES
from refca.loss import LOSSES
from refca.pool import REGIMES, shares
from refca.refused import Refused

PETS = "pets"
DIGITS = tuple(name for name in NAMES if name != PETS)


def setting(default: Any, help: str, choices: tuple[Any, ...] = ()) -> Any:
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True)
class Experiment(ABC):
    """The settings that every training run has. Raises Refused, naming the setting, for what cannot be."""

    learned: ClassVar[str]  # what is learned from, in the plural

    dataset: str
    steps: int
    unroll: int
    batch: int
    rate: float
    seed: int
    start: str

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = getattr(self, setting.name), type(setting.default)
            if kind is float and type(value) is int and abs(value) < 2**53:
                object.__setattr__(self, setting.name, float(value))
            elif type(value) is not kind:
                raise Refused(f"{setting.name} must be {kind.__name__}, got {value!r}")
            choices = setting.metadata["choices"]
            if choices and value not in choices:
                known = ", ".join(map(str, choices))
                raise Refused(f'unknown {setting.name} "{value}"; known are {known}')
        self.at_least_one("steps", "unroll", "batch")
        if not 0 < self.rate < float("inf"):
            raise Refused(f"rate must be a positive number, got {self.rate}")
        if not 0 <= self.seed < 2**64:
            raise Refused(f"seed must be from 0 to 2**64 - 1, got {self.seed}")
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raises Refused for settings of this kind that cannot be."""

    @property
    @abstractmethod
    def cell(self) -> Cell:
        """The cell that is trained."""

    def at_least_one(self, *names: str) -> None:
        for name in names:
            if getattr(self, name) < 1:
                raise Refused(f"{name} must be at least 1, got {getattr(self, name)}")

    def with_(self, **settings: Any) -> Self:
        """The same with other settings. Raises Refused for one that does not exist or cannot be."""
        known = [f.name for f in fields(self)]
        for name in settings:
            others = [kind.learned for kind in KINDS if name in {f.name for f in fields(kind)}]
            if others and name not in known:
                raise Refused(f"{name} is a setting of experiments with {others[0]}, not with {self.learned}")
            if name not in known:
                raise Refused(f'"{name}" is not a setting; known are {", ".join(known)}')
        dataset = settings.get("dataset", self.dataset)
        if dataset in (*DIGITS, PETS) and not isinstance(self, kind_of(dataset)):
            raise Refused(
                f"{dataset} needs an experiment with {kind_of(dataset).learned}, not with {self.learned}; "
                "--list shows all"
            )
        return replace(self, **settings)

    def toml(self) -> str:
        """The settings as a file that `load_experiment` reads."""
        lines = (f"{name} = {json.dumps(value)}" for name, value in asdict(self).items())
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class DigitsExperiment(Experiment):
    """The settings of a run on digits. The defaults are the article's "L2 + noise"."""

    learned: ClassVar[str] = "digits"

    dataset: str = setting("mnist", "what to learn from", DIGITS)
    steps: int = setting(100_000, "training steps")
    unroll: int = setting(20, "steps of the automaton in a training step")
    batch: int = setting(16, "samples in a training step")
    rate: float = setting(1e-3, "learning rate; with digits it falls, see spec/adam.md")
    seed: int = setting(0, "of initial weights, choices and randomness")
    start: str = setting("", "weights to begin with, by their name or path, instead of random ones")
    loss: str = setting("l2", "half the squared error, or cross-entropy", tuple(LOSSES))
    noise: float = setting(0.02, "standard deviation of the residual noise; 0: none")
    regime: str = setting("mutating", "how the digits of a batch start, see spec/pool.md", REGIMES)
    pool: int = setting(160, "digits whose states are kept between training steps")
    renewal: int = setting(4, "one sample in so many starts anew, and as many mutate, see spec/pool.md")
    unroll_most: int = setting(0, "unroll is drawn anew from unroll to this, see spec/unroll.md; 0: is not")
    last: int = setting(1, "of an unroll, how many of its last steps count in the loss")
    schedule: str = setting("article", "how the learning rate falls, see spec/adam.md", SCHEDULES)

    def check(self) -> None:
        self.at_least_one("pool", "last")
        if self.unroll_most and self.unroll_most < self.unroll:
            raise Refused(f"unroll_most must be 0 or at least unroll, {self.unroll}, got {self.unroll_most}")
        if self.last > self.unroll:
            raise Refused(f"last must be at most unroll, {self.unroll}, got {self.last}")
        if not any(shares(self.regime, self.renewal, self.batch)):
            raise Refused(
                f"batch must be at least renewal, {self.renewal}, for {self.regime} digits, got {self.batch}"
            )
        if self.batch > self.pool:
            raise Refused(f"a batch of {self.batch} does not fit in a pool of {self.pool}")
        if not 0 <= self.noise < float("inf"):
            raise Refused(f"noise must be a finite number that is not negative, got {self.noise}")

    @property
    def cell(self) -> Cell:
        return digits_cell(noise=self.noise)


@dataclass(frozen=True)
class PetsExperiment(Experiment):
    """The settings of a run on photographs. The defaults are the paper's, with its smallest full cell."""

    learned: ClassVar[str] = "photographs"

    dataset: str = setting(PETS, "what to learn from", (PETS,))
    steps: int = setting(1_000_000, "training steps")
    unroll: int = setting(10, "steps of the automaton in a training step")
    batch: int = setting(32, "samples in a training step")
    rate: float = setting(3e-4, "learning rate; with digits it falls, see spec/adam.md")
    seed: int = setting(0, "of initial weights, choices and randomness")
    start: str = setting("", "weights to begin with, by their name or path, instead of random ones")
    size: int = setting(48, "pixels of a photograph's side")
    state: int = setting(32, "D, channels that a cell sends to its neighbours")
    hidden: int = setting(48, "P, channels of the hidden layers")
    norm: str = setting("instance", "over what each hidden layer's sums are normalised", NORMS)
    depthwise: bool = setting(False, "the first layer is 1×1, then 3×3 within each channel")
    frozen_filters: bool = setting(False, "the first layer's 3×3 weights stay random, as they began")
    residual: bool = setting(True, "a cell's proposal is added to its state; else it takes its place")
    resettable: bool = setting(True, "a gate in each cell can reset its state to noise")
    stride: int = setting(1, "pixels from one cell to the next", STRIDES)
    target: int = setting(40, "T, steps that a state is to last, of which those after T/3 are counted")
    persistence: bool = setting(True, "states go on in the next training step; if not, unroll is target")
    keep_image: float = setting(0.5, "probability that a photograph stays for T steps")
    keep_state: float = setting(0.5, "probability that a state is not begun anew within T steps")

    def check(self) -> None:
        self.at_least_one("size", "state", "hidden", "target")
        if self.target % self.unroll:
            raise Refused(f"target must be a multiple of unroll, {self.unroll}, got {self.target}")
        if not self.persistence and self.unroll != self.target:
            raise Refused(f"without persistence unroll must be target, {self.target}, got {self.unroll}")
        for name in ("keep_image", "keep_state"):
            if not 0 < getattr(self, name) <= 1:
                raise Refused(f"{name} must be above 0 and at most 1, got {getattr(self, name)}")
        if self.size % self.stride:
            raise Refused(f"size must be a multiple of stride, {self.stride}, got {self.size}")

    @property
    def cell(self) -> Cell:
        return segmentation_cell(
            state=self.state,
            hidden=self.hidden,
            norm=self.norm,
            depthwise=self.depthwise,
            resettable=self.resettable,
            residual=self.residual,
            stride=self.stride,
            frozen_filters=self.frozen_filters,
        )


Kind: TypeAlias = type[DigitsExperiment] | type[PetsExperiment]
KINDS: tuple[Kind, ...] = (DigitsExperiment, PetsExperiment)


def kind_of(dataset: Any) -> Kind:
    """The kind of experiment that a dataset belongs to; of one that is not known, digits."""
    return PetsExperiment if dataset == PETS else DigitsExperiment


def make_experiment(settings: Mapping[str, Any]) -> Experiment:
    """The experiment with these settings, of the kind of its dataset, and defaults for the others.

    Raises Refused for a setting that does not exist or cannot be.
    """
    return kind_of(settings.get("dataset"))().with_(**settings)


def experiment_names() -> list[str]:
    """The names of the experiments that come with the package."""
    return sorted(Path(file.name).stem for file in folder().iterdir() if file.name.endswith(".toml"))


def describe_experiment(name: str) -> str:
    """What the first line of this experiment's file says of it."""
    first: str = (folder() / f"{name}.toml").read_text("utf-8").splitlines()[0]
    return first.removeprefix("# ")


def load_experiment(name: str | Path) -> Experiment:
    """The experiment of this name, or of this .toml file. Raises Refused if it cannot be read or used."""
    path = Path(name) if str(name).endswith(".toml") else folder() / f"{name}.toml"
    if not path.is_file():
        near = get_close_matches(str(name), experiment_names(), 3)
        nearest = f"the nearest are {', '.join(near)}; " if near else ""
        raise Refused(f'no experiment "{name}"; {nearest}--list shows all; or name a .toml file')
    try:
        return make_experiment(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, Refused) as error:
        raise Refused(f"{path}: {error}") from error


def folder() -> Any:
    return files("refca") / "experiments"
