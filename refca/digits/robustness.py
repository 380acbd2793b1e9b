"""Robustness of a digits automaton: measurements on inputs unlike its training data.

Letters: N digits, T steps, L labels.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.state import mutate
from refca.definition.step import alive, readout
from refca.digits.evaluation import rates, slices
from refca.digits.perturbations import (
    chimeras,
    dilate_or_erode,
    placed,
    rescale_same_stroke,
    rescaled,
    without_lower_half,
)
from refca.distributed import shared_map
from refca.drawing.palette import predicted_labels
from refca.outputs import check_outputs

SIZES = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0)  # scale factors
STROKES = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # pixels wider
SHIFTS = (-14, -7, 0, 7, 14)  # pixels to the right and down, from the middle of a grid twice as large
PAIRS = ((3, 5), (8, 9), (6, 9))  # digits whose halves make chimeras
CANDIDATES = 4  # digits to choose from for each chimera
SWITCH_MARGIN = 0.1  # fraction of cells by which another label must be ahead to become the leading label
PARTS = ("whole", "erased", "drawn again")

OnProgress = Callable[[int], object]


class Row(NamedTuple):
    """The measurement under one perturbation: fractions from 0 to 1, NaN without live cells."""

    perturbation: str
    amount: str
    digits: int  # number of digits with a live cell
    cells: float  # mean number of live cells of such a digit
    accuracy: float
    agreement: float


class LabelShares(NamedTuple):
    """The predicted labels of digits over time."""

    image: np.ndarray  # (N, H, W, 1)
    live: np.ndarray  # (N, H, W)
    labels: np.ndarray  # (T, N, H, W) int8, predicted labels for pictures; -1 for cells without a label yet
    shares: np.ndarray  # (T, N, L), fraction of live cells that predict each label


class Runner(NamedTuple):
    """A cell and its parameters on a backend, with the seed of its random numbers and a progress callback."""

    cell: Cell
    params: Params
    backend: Any
    seed: int
    on_progress: OnProgress

    def run(self, image: np.ndarray, state: Array | None, steps: int, first_step: int, first: int) -> Array:
        """Return the state after `steps` steps from a state (None: zero); the first digit has the number `first`."""
        backend, cell = self.backend, self.cell
        image = backend.asarray(image)
        streams = Streams(self.seed, first_sample=first)
        state = backend.initial_state(cell, image, streams) if state is None else state
        state = backend.evolve(cell, self.params, image, state, streams, steps, first_step=first_step)
        self.on_progress(steps * len(image))
        return state

    def logits(self, state: Array) -> np.ndarray:
        """Return the readout of each cell, (N, H, W, L), as a NumPy array. Raises InvalidInput for NaN and infinity."""
        logits: np.ndarray = self.backend.asnumpy(readout(self.cell, self.params, state))
        return check_outputs(logits)


def make_runner(cell: Cell, params: Params, backend: Any, seed: int, on_progress: OnProgress) -> Runner:
    """Return a runner of parameters given as NumPy arrays."""
    on_backend = {name: backend.asarray(x) for name, x in params.items()}
    return Runner(cell, on_backend, backend, seed, on_progress)


def perturbed(images: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the name and the amount of each perturbation, and the perturbed digits (N, H, W, 1)."""
    for factor in SIZES:
        yield "size", f"{factor:g}", rescaled(images, factor)
    for factor in SIZES:
        yield "drawn", f"{factor:g}", rescale_same_stroke(images, factor)
    for more in STROKES:
        yield "strokes", f"{more:+g}" if more else "0", dilate_or_erode(images, more)
    side = 2 * images.shape[1]
    for shift in SHIFTS:
        shift = int(shift * images.shape[1] / 28)  # towards 0, so that digits of an odd side stay in the grid
        corner = (side - images.shape[1]) // 2 + shift
        yield "shift", f"{shift:+d}" if shift else "0", placed(images, side, corner, corner)


def row(runner: Runner, perturbation: str, amount: str, images: np.ndarray, labels: np.ndarray, steps: int) -> Row:
    """Return the measurement of digits after a number of steps from zero; ranks share them, rank 0 has the result."""

    def of_slice(part: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
        first, image, label = part
        return count(runner, runner.run(image, None, steps, 0, first), image, label)

    counts = sum(shared_map(of_slice, in_slices(runner, images, labels)), np.zeros(4, int))
    _, cells, _, digits = map(int, counts)
    return Row(perturbation, amount, digits, cells / digits if digits else float("nan"), **rates(counts))


def in_slices(runner: Runner, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield slices of digits that are evolved together: the index of the first digit, images and labels."""
    for chosen in slices(runner.cell, runner.backend, len(images)):
        yield int(chosen[0]), images[chosen], labels[chosen]


def count(runner: Runner, state: Array, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Return the numbers of correct cells, live cells, agreeing digits and digits, (4,)."""
    live, predicted = alive(runner.cell, image), predict(runner.logits(state))
    return np.array([*count_correct_cells(predicted, label, live), *count_agreeing_digits(predicted, live)])


def erase_and_redraw(runner: Runner, images: np.ndarray, labels: np.ndarray, steps: int) -> np.ndarray:
    """Return accuracy and agreement at each step, (3·steps, 2): digits whole, lower half erased, drawn again.

    Erased cells lose their state, drawn cells start from zero, and all other cells continue. Ranks share the
    digits, and rank 0 has the result.
    """

    def of_slice(chosen: tuple[int, np.ndarray, np.ndarray]) -> np.ndarray:
        first, whole, label = chosen
        counts, state = np.zeros((len(PARTS) * steps, 4), int), None
        for part, image in enumerate((whole, without_lower_half(whole), whole)):
            if state is not None:
                state = mutate(runner.cell, state, runner.backend.asarray(image), runner.backend.xp)
            for t in range(part * steps, (part + 1) * steps):
                state = runner.run(image, state, 1, t, first)
                counts[t] = count(runner, state, image, label)
        return counts

    nothing = np.zeros((len(PARTS) * steps, 4), int)
    counts = sum(shared_map(of_slice, in_slices(runner, images, labels)), nothing)
    return np.array([list(rates(each).values()) for each in counts])


def make_chimeras(images: np.ndarray, labels: np.ndarray, above: int, below: int, count: int) -> np.ndarray:
    """Return chimeras of the upper half of one digit and the lower half of another, (<= count, H, W, 1)."""
    candidates = CANDIDATES * count
    return chimeras(images[labels == above][:candidates], images[labels == below][:candidates], count)


def label_shares(runner: Runner, images: np.ndarray, steps: int) -> LabelShares:
    """Return the predicted labels of each digit's cells after each step from zero."""
    live = alive(runner.cell, images)
    cells = np.maximum(live.sum(axis=(1, 2)), 1)
    labels, shares, state = [], [], None
    for t in range(steps):
        state = runner.run(images, state, 1, t, 0)
        logits = runner.logits(state)
        labels.append(predicted_labels(logits).astype(np.int8))
        predicted = predict(logits)
        fractions = [((predicted == label) & live).sum(axis=(1, 2)) / cells for label in range(runner.cell.labels)]
        shares.append(np.stack(fractions, axis=-1))
    return LabelShares(images, live, np.stack(labels), np.stack(shares))


def oscillation(shares: np.ndarray) -> dict[str, float]:
    """Return how leading labels change in the second half of the steps, from shares (T, N, L).

    `oscillating` is the fraction of digits whose leading label changes, `changes_per_100_steps` the mean number
    of changes, and `agreeing` the fraction whose cells all predict one label after the last step. All are NaN
    without digits.
    """
    nan = float("nan")
    T, N, _ = shares.shape
    changes = count_label_switches(shares)
    return {
        "oscillating": float((changes > 0).mean()) if N else nan,
        "changes_per_100_steps": float(100 * changes.mean() / max(T - T // 2 - 1, 1)) if N else nan,
        "agreeing": float((shares[-1].max(axis=-1) == 1).mean()) if N else nan,
    }


def count_label_switches(shares: np.ndarray) -> np.ndarray:
    """Return how often the leading label changes in the second half of the steps, (N,), from shares (T, N, L)."""
    switches: np.ndarray = (np.diff(leading_labels(shares[len(shares) // 2 :]), axis=0) != 0).sum(axis=0)
    return switches


def leading_labels(shares: np.ndarray) -> np.ndarray:
    """Return the leading label of each digit at each step, (T, N), from shares (T, N, L).

    A label leads until another is ahead by SWITCH_MARGIN: otherwise a few cells at the border between two parts
    of about the same size would change it.
    """
    leading = [shares[0].argmax(axis=-1)]
    for now in shares[1:]:
        ahead = now.max(axis=-1) - np.take_along_axis(now, leading[-1][:, None], axis=-1)[:, 0]
        leading.append(np.where(ahead >= SWITCH_MARGIN, now.argmax(axis=-1), leading[-1]))
    return np.stack(leading)
