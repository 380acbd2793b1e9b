"""Experiments: all settings of a training run, from a file in `refca/experiments`, another file, or flags.

Each task has its own settings in a subclass, for example `refca/digits/settings.py`.
"""

from __future__ import annotations

import json
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from refca import data
from refca.data.own import Found, OwnSettings, check_known, found_at, load_own
from refca.data.own.masks import INSTANCES, are_among
from refca.definition.cell import NORMS, STRIDES, Cell
from refca.errors import InvalidInput, did_you_mean
from refca.training.class_weights import POWERS
from refca.training.muon import OPTIMISERS

CELL_SETTINGS = {  # for each field of `Cell`: the name of the setting, and its help
    "image_channels": ("channels", "channels of an image (K): 1 for gray, 3 for RGB"),
    "state_channels": ("state", "state channels of a cell (D)"),
    "hidden_width": ("hidden", "width of the hidden layers (P)"),
    "labels": ("labels", "number of labels (L)"),
    "hidden_layers": ("hidden_layers", "number of 1x1 hidden layers after the 3x3 layer"),
    "noise": ("noise", "standard deviation of the residual noise; 0 for none"),
    "fire_rate": ("fire_rate", "probability that a cell updates in a step"),
    "alive_above": ("alive_above", "cells are alive where the image exceeds this number; none: all cells are alive"),
    "biases": ("biases", "give the layers biases"),
    "depthwise": ("depthwise", "make the first layer 1x1, then 3x3 within each channel; without it a full 3x3"),
    "frozen_filters": ("frozen_filters", "keep the random 3x3 weights of the first layer"),
    "norm": ("norm", "normalisation of the hidden layers"),
    "residual": ("residual", "add a cell's update to its state; without it the update replaces the state"),
    "resettable": ("resettable", "give each cell a gate that resets its state to noise"),
    "linear_readout": (
        "linear_readout",
        "read labels from the state by a linear map; without it from its last channels; above stride 1 a "
        "decoder replaces both",
    ),
    "stride": ("stride", "pixels per cell on each axis; above 1 strided layers encode the image and decode the labels"),
    "normal_start": ("normal_start", "start from normal random states; without it from zeros"),
}
MOST = {  # the largest number allowed for a setting, where that is not 10**9
    "unroll": 10_000,
    "unroll_max": 10_000,
    "horizon": 100_000,
    "batch": 65_536,
    "logical_workers": 65_536,
    "pool": 10**6,
    "size": 4096,
    "grid": 4096,
    "channels": 256,
    "state": 4096,
    "hidden": 4096,
    "hidden_layers": 64,
    "labels": 4096,
    "seed": 2**64 - 1,
}
CELL_GROUP = "the cell"
DATA_GROUP = "data of your own"
VALIDATION_GROUP = "validation during training"
MOST_HELD_OUT = 1000  # samples, unless --validation says another number
CHOICES: dict[str, tuple[Any, ...]] = {"norm": NORMS, "stride": STRIDES}


def setting(
    default: Any,
    help: str,
    choices: tuple[Any, ...] = (),
    *,
    group: str = "",
    kind: type | None = None,
    detected: bool = False,
) -> Any:
    """Return a dataclass field with its text for `--help` and its allowed values (empty: any).

    `group` is its heading in `--help`. With `detected`, `--help` says that the default is found in the data. A setting
    with a `kind`, the type of its values, may also be None, written "none".
    """
    metadata: dict[str, Any] = {"help": help, "choices": choices, "group": group, "detected": detected}
    metadata |= {"kind": kind or type(default), "optional": kind is not None}
    return field(default=default, metadata=metadata)


def data_setting(default: Any, help: str, *, detected: bool = False) -> Any:
    """Return a setting that says how data of the user's own is read."""
    return setting(default, help, group=DATA_GROUP, detected=detected)


def validation_setting(default: Any, help: str) -> Any:
    """Return a setting of validation during training."""
    return setting(default, help, group=VALIDATION_GROUP)


def cell_setting(field_name: str, default: Any, kind: type | None = None) -> Any:
    """Return the setting for a field of `Cell`, with the default of a task."""
    name, help = CELL_SETTINGS[field_name]
    return setting(default, help, CHOICES.get(name, ()), group=CELL_GROUP, kind=kind)


@dataclass(frozen=True)
class Experiment(ABC):
    """The settings that every training run has.

    Raises InvalidInput, naming the setting, for a value of the wrong type or out of range.
    """

    task: ClassVar[str]  # the name of the task that these settings belong to
    samples: ClassVar[str]  # plural noun for the training samples
    kind: ClassVar[str]  # kind of its data sets, one of `refca.data.KINDS`

    dataset: str
    steps: int
    unroll: int
    batch: int
    learning_rate: float
    seed: int
    init_from: str
    channels: int = cell_setting("image_channels", 1)
    state: int = cell_setting("state_channels", 19)
    hidden: int = cell_setting("hidden_width", 80)
    labels: int = cell_setting("labels", 10)
    hidden_layers: int = cell_setting("hidden_layers", 1)
    noise: float = cell_setting("noise", 0.0)
    fire_rate: float = cell_setting("fire_rate", 0.5)
    alive_above: float | None = cell_setting("alive_above", None, float)
    biases: bool = cell_setting("biases", True)
    depthwise: bool = cell_setting("depthwise", False)
    frozen_filters: bool = cell_setting("frozen_filters", False)
    norm: str = cell_setting("norm", "none")
    residual: bool = cell_setting("residual", True)
    resettable: bool = cell_setting("resettable", False)
    linear_readout: bool = cell_setting("linear_readout", False)
    stride: int = cell_setting("stride", 1)
    normal_start: bool = cell_setting("normal_start", False)
    logical_workers: int = setting(
        0,
        "parts of a batch whose gradients are summed in a fixed order, to be shared by MPI ranks; 0: as the backend "
        "splits a batch",
    )
    optimiser: str = setting(
        "adam",
        "optimiser: Adam, or Muon, which makes the updates of weight matrices orthogonal and needs a larger "
        "--learning-rate",
        OPTIMISERS,
    )
    ema_decay: float = setting(
        0.0,
        "decay of an exponential moving average of the weights over the updates, for example 0.999; the average is "
        "what is measured on held-out samples and saved. 0: no average",
    )
    size: int = setting(0, "side of a picture in pixels; 0: as the data set has them")
    classes: tuple[str, ...] = data_setting((), "names of the labels, such as cat,dog", detected=True)
    colours: tuple[str, ...] = data_setting((), "colours of the labels, as #0044aa,#ffcc00", detected=True)
    split: float = data_setting(0.2, "fraction that is held out for tests, where no test part comes with the data")
    invert: bool = data_setting(False, "exchange dark and light, for ink that is dark on light", detected=True)
    stretch: bool = data_setting(False, "stretch the values of each picture to the range from black to white")
    tiles: bool = data_setting(False, "cut pictures into tiles at their own scale; else they are resampled to --size")
    mask_values: tuple[str, ...] = data_setting(
        (), "values of the labels in masks, as 0,255 or #000000,#ff0000", detected=True
    )
    ignore: int = data_setting(
        -1, "value of masks that counts neither in the loss nor in IoU; -1 for none", detected=True
    )
    class_weights: str = setting(
        "none",
        "weights of the labels in the loss: none, inverse to the square root of their frequency (root), or inverse "
        "to it (balanced)",
        tuple(POWERS),
        group=DATA_GROUP,
    )
    validation: int = validation_setting(
        0,
        "number of training samples to hold out for validation, from the end; 0: none, or with --validate-every a "
        "tenth, at most 1000",
    )
    validate_every: int = validation_setting(0, "training steps between measurements of the held-out samples; 0: never")
    patience: int = validation_setting(
        0, "stop after this many measurements in a row without a better one; 0: train all --steps"
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value, kind = typed(setting, getattr(self, setting.name)), setting.metadata["kind"]
            object.__setattr__(self, setting.name, value)
            check_text(setting.name, value)
            choices = setting.metadata["choices"]
            if choices and value not in choices:
                known = ", ".join(map(str, choices))
                raise InvalidInput(f'{setting.name} must be one of {known}, got "{value}"')
            most = MOST.get(setting.name, 10**9)
            if kind is int and value > most:
                raise InvalidInput(f"{setting.name} must be at most {most:,}, got {value}")
        if self.dataset and data.kind_of(self.dataset) != self.kind and not data.is_path(self.dataset):
            known = ", ".join(data.names(self.kind))
            raise InvalidInput(
                f'dataset must be one of {known}, or the path of your own data, and there is no "{self.dataset}" here'
            )
        self.at_least_one("steps", "unroll", "batch")
        if not 0 < self.learning_rate < float("inf"):
            raise InvalidInput(f"learning_rate must be finite and above 0, got {self.learning_rate}")
        if not 0 <= self.ema_decay < 1:
            raise InvalidInput(f"ema_decay must be at least 0 and below 1, got {self.ema_decay}")
        if not 0 <= self.seed < 2**64:
            raise InvalidInput(f"seed must be from 0 to 2**64 - 1, got {self.seed}")
        for name in ("classes", "colours"):
            if getattr(self, name) and len(getattr(self, name)) != self.labels:
                raise InvalidInput(
                    f"{name} must have one entry for each of {self.labels} labels, got {len(getattr(self, name))}"
                )
        for colour in self.colours:
            if not re.fullmatch("#[0-9a-fA-F]{6}", colour):
                raise InvalidInput(f"colours must be written as #rrggbb, got {colour!r}")
        if not 0 <= self.split < 1:
            raise InvalidInput(f"split must be at least 0 and below 1, got {self.split}")
        if self.mask_values and self.mask_values != INSTANCES and len(self.mask_values) != self.labels:
            raise InvalidInput(f"mask_values must be as many as labels, {self.labels}, got {len(self.mask_values)}")
        if self.logical_workers < 0:
            raise InvalidInput(f"logical_workers must not be negative, got {self.logical_workers}")
        if self.size < 0:
            raise InvalidInput(f"size must not be negative, got {self.size}")
        self.check_validation()
        self.check()
        self.cell  # noqa: B018  raises InvalidInput for settings that no cell can have

    def check_validation(self) -> None:
        """Raise InvalidInput for settings of validation that contradict each other."""
        for name in ("validation", "validate_every", "patience"):
            if getattr(self, name) < 0:
                raise InvalidInput(f"{name} must not be negative, got {getattr(self, name)}")
        if self.validate_every > self.steps:
            raise InvalidInput(f"validate_every must be at most steps, {self.steps}, got {self.validate_every}")
        if self.patience and not self.validate_every:
            raise InvalidInput(f"patience needs validate_every, the steps between measurements, got {self.patience}")

    def held_out(self, samples: int) -> int:
        """Return how many of the training samples are held out for validation.

        Raises InvalidInput if none would be left to train on.
        """
        count = self.validation
        if not count and self.validate_every:
            count = max(1, min(samples // 10, MOST_HELD_OUT))
        if count >= samples:
            raise InvalidInput(
                f"validation must be less than {samples}, the number of training {self.samples}, got {count}"
            )
        return count

    @abstractmethod
    def check(self) -> None:
        """Raise InvalidInput for values that this task cannot use."""

    @property
    def cell(self) -> Cell:
        """The cell of the experiment. Raises InvalidInput, naming the setting, for an invalid one."""
        settings = {of_cell: getattr(self, name) for of_cell, (name, _) in CELL_SETTINGS.items()}
        settings["linear_readout"] = self.linear_readout and self.stride == 1
        try:
            return Cell(**settings)
        except InvalidInput as error:
            raise InvalidInput(in_words(str(error))) from None

    @property
    def own(self) -> OwnSettings:
        """The settings for data of the user's own."""
        return OwnSettings(**{name: getattr(self, name) for name in OwnSettings.__dataclass_fields__})

    @property
    def known_own(self) -> OwnSettings:
        """The settings for data of the user's own, and for other data than that trained on what is found there.

        Raises InvalidInput for data with another number of labels, or with classes of other names.
        """
        own = self.own
        if own.size and (own.mask_values or self.kind == "classification"):
            return own
        found = self.found_own()
        settings = {name: found.settings[name] for name in OwnSettings.__dataclass_fields__}
        if found.kind == self.kind == "classification":
            check_known(self.dataset, found.settings["classes"], self.names)
            return OwnSettings(**settings | {"classes": self.names})
        if found.kind != self.kind or found.settings["labels"] != self.labels:
            raise InvalidInput(
                f"{self.dataset} has {found.settings['labels']} labels for {found.kind}; these weights are for "
                f"{self.labels} labels and {self.kind}"
            )
        return OwnSettings(**settings | {name: x for name in ("classes", "colours") if (x := getattr(own, name))})

    def found_own(self) -> Found:
        """Return what is found in data of the user's own, under the settings that do not depend on its masks."""
        own = self.own
        given: dict[str, Any] = {"channels": own.channels} | ({"size": own.size} if own.size else {})
        if self.kind != "classification":
            given |= {name: getattr(own, name) for name in ("split", "invert", "stretch", "tiles")}
            given |= {"ignore": own.ignore} if own.ignore >= 0 else {}
        return found_at(self.dataset, given)

    def on_data(self, dataset: str) -> Self:
        """Return the settings for another data set, by name or path.

        Masks of the user's own have the values of training, if all of theirs are among them, and else other values in
        the same order. Raises InvalidInput for other values if the classes are named by them.
        """
        if dataset == self.dataset:
            return self
        other = self.with_(dataset=dataset, mask_values=())
        if not self.mask_values or not data.is_path(dataset):
            return other
        found = other.found_own()
        if found.kind != self.kind:
            return other
        values = found.settings["mask_values"]
        if are_among(values, self.mask_values):
            return other.with_(mask_values=self.mask_values, ignore=found.settings["ignore"])
        if self.classes == self.mask_values:
            raise InvalidInput(
                f"{dataset} has masks of {', '.join(values)}, and these weights know {', '.join(self.classes)}; give "
                "its masks these values"
            )
        return other

    def load_data(
        self,
        folder: str | None,
        splits: Collection[str] = data.SPLITS,
        on_progress: Callable[[int, int], object] = lambda done, total: None,
    ) -> Any:
        """Return the dataset of these settings. Raises InvalidInput if it is missing or damaged."""
        if not self.dataset:
            raise InvalidInput("the weights do not say what they were trained on; name a --dataset")
        if data.is_path(self.dataset):
            return load_own(self.dataset, self.known_own, self.kind, on_progress)
        found = data.load(self.dataset, folder, size=self.size or 48, splits=splits, on_progress=on_progress)
        for samples in (found.training, found.held_out):
            if not isinstance(samples, str):
                self.check_samples(samples)
        return found

    def check_samples(self, samples: Any) -> None:
        """Raise InvalidInput unless cells of these settings can perceive the samples and predict their labels."""
        if samples.channels != self.channels:
            raise InvalidInput(
                f"channels must be {samples.channels}, as many as the pictures of {self.dataset} have, got "
                f"{self.channels}"
            )
        if samples.largest_label >= self.labels:
            raise InvalidInput(
                f"labels must be at least {samples.largest_label + 1}, as many as {self.dataset} has, got {self.labels}"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each label."""
        return self.classes or tuple(map(str, range(self.labels)))

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
                meant = did_you_mean(name, known) or f", which have {', '.join(known)}"
                raise InvalidInput(f'"{name}" is not a setting of {self.task} experiments{meant}')
        return replace(self, **settings)

    def toml(self) -> str:
        """Return the settings as the text of an experiment file."""
        settings = {"task": self.task, **asdict(self)}
        return "".join(f"{name} = {in_toml(value)}\n" for name, value in settings.items())


def check_text(name: str, value: Any) -> None:
    """Raise InvalidInput for text that UTF-8 cannot encode, such as a file name that is not UTF-8."""
    for text in value if isinstance(value, tuple) else (value,):
        try:
            str(text).encode()
        except UnicodeEncodeError:
            raise InvalidInput(f"{name} must be valid Unicode, got {text!r}; rename the folder or file") from None


def in_toml(value: Any) -> str:
    """Return the value of a setting as TOML writes it; None as "none"."""
    if isinstance(value, float):
        return repr(value)  # inf and nan too
    return json.dumps("none" if value is None else value, ensure_ascii=False).replace("\x7f", "\\u007f")


def cell_settings(cell: Cell) -> dict[str, Any]:
    """Return the settings that hold the fields of a cell."""
    return {name: getattr(cell, of_cell) for of_cell, (name, _) in CELL_SETTINGS.items()}


def typed(setting: Field[Any], value: Any) -> Any:
    """Return the value of a setting, converted to its kind if possible. Raises InvalidInput for one of another kind."""
    kind, optional = setting.metadata["kind"], setting.metadata["optional"]
    value = converted(value, kind, optional)
    fits = type(value) is kind and (kind is not tuple or all(type(item) is str for item in value))
    if not fits and not (value is None and optional):
        wanted = "a list of strings or integers" if kind is tuple else kind.__name__
        raise InvalidInput(f"{setting.name} must be {wanted}, got {value!r}")
    return value


def converted(value: Any, kind: type, optional: bool) -> Any:
    """Return the value of a setting converted to its kind if possible, else unchanged."""
    if isinstance(value, np.generic):
        value = value.item()
    if optional and isinstance(value, str) and value == "none":
        return None
    if kind is float and type(value) is int and abs(value) < 2**53:
        return float(value)
    if kind is tuple and isinstance(value, list | tuple):
        return tuple(map(str, value)) if all(type(item) in (str, int) for item in value) else value
    return value


def in_words(sentence: str) -> str:
    """Return a sentence about a field of `Cell` with the name of its setting instead."""
    for of_cell, (name, _) in CELL_SETTINGS.items():
        sentence = re.sub(rf"\b{of_cell}\b", name, sentence)
    return sentence
