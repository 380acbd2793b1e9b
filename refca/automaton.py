"""Trained automata by name: `refca.load("digits").predict(picture)`.

Letters: B samples, H×W grid, s stride, K image channels, D state channels, L labels.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from refca.contract.checks import check_arrays
from refca.contract.protocol import Backend
from refca.contract.registry import as_backend, get_backend
from refca.definition.cell import Array, Cell, Params
from refca.definition.errors import check_integer
from refca.definition.metrics import predict
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.doubts import doubt
from refca.errors import InvalidInput, did_you_mean
from refca.outputs import check_outputs
from refca.tasks import task_of
from refca.training.experiment import Experiment
from refca.weights.load import load_weights


@dataclass(frozen=True, eq=False)
class Automaton:
    """A cell and its trained parameters, on a backend.

    `experiment` holds the settings of its training, including the names of its labels.
    """

    name: str
    cell: Cell
    params: Params  # float32 NumPy arrays
    experiment: Experiment
    backend: Backend

    @property
    def names(self) -> tuple[str, ...]:
        """The name of each label."""
        return self.experiment.names

    @property
    def task(self) -> Any:
        """The task that the automaton was trained for."""
        return task_of(self.experiment)

    def evolve(
        self, image: Array, steps: int, state: Array | None = None, *, seed: int = 0, first_step: int = 0
    ) -> Array:
        """Return the state after `steps` steps, (B, H, W, D), a float32 NumPy array.

        image (B, sH, sW, K) has the values of training: from 0 to 1 for digits, from -1 to 1 for photographs. The
        default of `state` is the initial state. `first_step` numbers the first step: evolve(image, 10) followed by
        5 steps with first_step=10 equals evolve(image, 15).
        Raises InvalidInput for another shape, for values outside the range, and for NaN.
        """
        image = checked_image(self, image)
        streams = Streams(seed)
        if state is None:
            state = self.backend.initial_state(self.cell, image, streams)
        move = self.backend.asarray
        params = {name: move(x) for name, x in self.params.items()}
        state = move(checked_state(self, state))
        state = self.backend.evolve(self.cell, params, move(image), state, streams, steps, first_step=first_step)
        found: np.ndarray = self.backend.asnumpy(state)
        return found

    def readout(self, state: Array) -> np.ndarray:
        """Return logits (B, sH, sW, L) from a state (B, H, W, D)."""
        found: np.ndarray = readout(self.cell, self.params, checked_state(self, state))
        return found

    def labels(self, state: Array) -> np.ndarray:
        """Return the predicted label of each pixel, (B, sH, sW) integers, from a state (B, H, W, D).

        Raises InvalidInput for states whose logits are NaN or infinite.
        """
        found: np.ndarray = predict(check_outputs(self.readout(state)))
        return found

    def paint(self, image: Array, state: Array) -> np.ndarray:
        """Return pictures of the labels that cells predict, (B, sH, sW, 3) uint8.

        image (B, sH, sW, K) as in `evolve`, state (B, H, W, D). Live cells of a digit have the colour of their label,
        and are black before they have one; a photograph is gray under the colours of its pixels' labels.
        Raises InvalidInput for another shape, for values outside the range, and for logits that are NaN or infinite.
        """
        image, logits = checked_image(self, image), check_outputs(self.readout(state))
        if logits.shape[:3] != image.shape[:3]:
            got = f"{tuple(np.shape(state))} for an image {image.shape}"
            raise InvalidInput(f"state must have the samples, rows and columns of the image, got {got}")
        found: np.ndarray = self.task.prediction.paint_labels(self, image, logits)
        return found

    def predict(self, picture: Any, **options: Any) -> Any:
        """Return the prediction for one picture: a path, a Pillow image or an array.

        Options: `steps`, `size` and `seed`; for digits also `raw`, for photographs `tile`. Raises InvalidInput for
        an invalid picture, TypeError for an option that there is not.
        """
        result = next(predictions(self, [picture], options))
        warn_of(result)
        return result

    def predict_all(self, pictures: Iterable[Any], **options: Any) -> Iterator[Any]:
        """Yield the prediction for each picture, a few at a time, so that any number fits in memory."""
        if isinstance(pictures, str | PathLike):
            raise InvalidInput(f"pictures must be a list of pictures, got the one {pictures}; predict() takes one")
        return with_warnings(predictions(self, pictures, options))

    def start(self, image: np.ndarray, seed: int, first_sample: int = 0) -> tuple[Array, Array, Params, Streams]:
        """Return image, initial state and parameters on the backend, and the streams of these samples."""
        streams, move = Streams(seed, first_sample), self.backend.asarray
        state = self.backend.initial_state(self.cell, image, streams)
        return move(image), state, {name: move(x) for name, x in self.params.items()}, streams

    def settled(self, image: np.ndarray, steps: int, seed: int, first_sample: int = 0) -> np.ndarray:
        """Return the logits of images (B, sH, sW, K) after a number of steps, (B, sH, sW, L)."""
        moved, state, params, streams = self.start(image, seed, first_sample)
        return self.readout(self.backend.evolve(self.cell, params, moved, state, streams, steps))

    def __repr__(self) -> str:
        """Return a one-line description."""
        count = sum(x.size for x in self.params.values())
        return f"<Automaton {self.name}: {self.task.name}, {len(self.names)} labels, {count:,} parameters>"


def load(name_or_path: Path | str, backend: str | Any | None = None) -> Automaton:
    """Return a trained automaton by the name of shipped weights, or from a run directory or a weights file.

    "digits" is the best shipped model for digits, "pets" for photographs of pets. `backend` is the name of a backend
    or a backend; the default is cpu, or reference where numba is missing.
    Raises InvalidInput for an unknown name and for a file that cannot be read.
    """
    weights = load_weights(name_or_path)
    experiment = weights.experiment or task_of(None).experiment()
    chosen = get_backend(backend) if backend is None or isinstance(backend, str) else as_backend(backend)
    return Automaton(str(name_or_path), experiment.cell, weights.params, experiment, chosen)


def predictions(automaton: Automaton, pictures: Iterable[Any], options: Mapping[str, Any]) -> Iterator[Any]:
    """Return the predictions for pictures. Raises InvalidInput or TypeError for options, before the first."""
    predict_all = automaton.task.prediction.predict_all
    known = list(signature(predict_all).parameters)[2:]  # after automaton and pictures
    for name in options:
        if name not in known:
            meant = did_you_mean(name, known) or f"; there are {', '.join(known)}"
            raise TypeError(f'predict has no option "{name}" for {automaton.experiment.samples}{meant}')
    for name in ("steps", "size", "seed", "tile"):
        if name == "seed" or options.get(name) is not None:
            check_integer(name, options.get(name, 0))
    return map(result_of, predict_all(automaton, pictures, **options))


def result_of(found: Any) -> Any:
    """Return a result. Raises the error that stands in the place of one."""
    if isinstance(found, InvalidInput):
        raise found
    return found


def with_warnings(results: Iterable[Any]) -> Iterator[Any]:
    """Yield results; warn of those that say that their picture is unlike the training data."""
    for result in results:
        warn_of(result)
        yield result


def warn_of(result: Any) -> None:
    """Warn the caller's caller if a result says that its picture is unlike the training data."""
    if getattr(result, "doubt", None):
        warnings.warn(result.doubt, stacklevel=3)


def checked_state(automaton: Automaton, state: Array) -> np.ndarray:
    """Return a state as float32. Raises InvalidInput for an invalid one."""
    if not hasattr(state, "dtype"):
        raise InvalidInput(
            f"state must be an array of shape (B, H, W, {automaton.cell.state_channels}), got {type(state).__name__}"
        )
    state = automaton.backend.asnumpy(state)
    check_arrays({"state": (state, ("B", "H", "W", automaton.cell.state_channels))})
    if state.dtype.kind != "f":
        raise InvalidInput(f"state must have floats, got {state.dtype}")
    return np.asarray(state, np.float32)


def checked_image(automaton: Automaton, image: Array) -> np.ndarray:
    """Return an image as float32. Raises InvalidInput, naming shape or range, for an invalid one."""
    cell, low = automaton.cell, automaton.task.prediction.LOWEST
    image = np.asarray(automaton.backend.asnumpy(image))
    if image.ndim != 4 or image.shape[-1] != cell.image_channels:
        raise InvalidInput(
            f"image must have shape (B, H, W, {cell.image_channels}), got {tuple(image.shape)}; "
            "predict() takes pictures of other shapes"
        )
    if not image.size:
        raise InvalidInput(f"image must have at least one pixel, got shape {tuple(image.shape)}")
    if image.dtype.kind != "f":
        raise InvalidInput(f"image must have floats from {low} to 1, got {image.dtype}; predict() also takes bytes")
    if not np.isfinite(image).all():
        raise InvalidInput(f"image must have values from {low} to 1, got NaN or infinity")
    if not low <= float(image.min()) <= float(image.max()) <= 1:
        got = f"{float(image.min()):g} to {float(image.max()):g}"
        raise InvalidInput(f"image must have values from {low} to 1, got {got}")
    if image.shape[1] % cell.stride or image.shape[2] % cell.stride:
        shape = f"{image.shape[1]}x{image.shape[2]}"
        raise InvalidInput(f"image must have sides divisible by the stride {cell.stride}, got {shape}")
    image = image.astype(np.float32)
    if low == 0 and (warning := doubt(cell, image)):
        warnings.warn(f"{warning}; refca.digit(picture) prepares any picture", stacklevel=3)
    return image
