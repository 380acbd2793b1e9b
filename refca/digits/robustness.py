"""Measuring what cells do on digits that no one learned from.

Letters: N digits, T steps, L labels.

Source: the article, "Observed robustness and limitations"; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.metrics import count_agreeing_digits, count_correct_cells, predict
from refca.definition.randomness import Streams
from refca.definition.state import init_state, mutate
from refca.definition.step import alive, readout
from refca.digits.evaluation import slice_of
from refca.digits.perturbations import (
    chimeras,
    dilate_or_erode,
    placed,
    rescale_same_stroke,
    resized,
    without_lower_half,
)
from refca.drawing.palette import predicted_labels

SIZES = (0.6, 0.8, 1.0, 1.25, 1.5, 2.0)  # times as large
STROKES = (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)  # pixels wider
SHIFTS = (-14, -7, 0, 7, 14)  # pixels to the right and down, from the middle of a grid twice as large
PAIRS = ((3, 5), (8, 9), (6, 9))  # digits of which chimeras are put together
CANDIDATES = 4  # digits looked at for each chimera
SWITCH_MARGIN = 0.1  # of the cells, by which a label has to be ahead to take the lead
PARTS = ("whole", "erased", "drawn again")

Tick = Callable[[int], object]


class Row(NamedTuple):
    """What cells say of digits under one disturbance: shares from 0 to 1, NaN where there is no cell."""

    disturbance: str
    amount: str
    digits: int  # that have a cell
    cells: float  # live ones of such a digit, on average
    accuracy: float
    agreement: float


class LabelShares(NamedTuple):
    """What the cells of chimeras say over time."""

    image: np.ndarray  # (N, H, W, 1)
    live: np.ndarray  # (N, H, W)
    labels: np.ndarray  # (T, N, H, W) int8, what each cell says, for pictures: -1, nothing yet
    shares: np.ndarray  # (T, N, L), of a chimera's live cells, which say each digit


class Automaton(NamedTuple):
    """A cell, its parameters, and the backend that moves it; seed of the randomness; called for progress."""

    cell: Cell
    params: Params
    backend: Any
    seed: int
    on_progress: Tick

    def move(self, image: np.ndarray, state: Array | None, steps: int, first_step: int, first: int) -> Array:
        """The state after `steps` more of these digits, numbered from `first`; from zero if there is none."""
        backend, cell = self.backend, self.cell
        image = backend.asarray(image)
        state = init_state(cell, image) if state is None else state
        streams = Streams(self.seed, first_sample=first)
        state = backend.evolve(cell, self.params, image, state, streams, steps, first_step=first_step)
        self.on_progress(steps * len(image))
        return state

    def outputs(self, state: Array) -> np.ndarray:
        """The outputs of each cell, (N, H, W, L)."""
        found: np.ndarray = self.backend.asnumpy(readout(self.cell, self.params, state))
        return found


def automaton(cell: Cell, params: Params, backend: Any, seed: int, on_progress: Tick) -> Automaton:
    """The automaton of these parameters, NumPy arrays."""
    moved = {name: backend.asarray(x) for name, x in params.items()}
    return Automaton(cell, moved, backend, seed, on_progress)


def perturbed(images: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Each disturbance, how much of it, and the digits (N, H, W, 1) under it."""
    for factor in SIZES:
        yield "size", f"{factor:g}", resized(images, factor)
    for factor in SIZES:
        yield "drawn", f"{factor:g}", rescale_same_stroke(images, factor)
    for more in STROKES:
        yield "strokes", f"{more:+g}" if more else "0", dilate_or_erode(images, more)
    side = 2 * images.shape[1]
    for shift in SHIFTS:
        shift = shift * images.shape[1] // 28
        corner = (side - images.shape[1]) // 2 + shift
        yield "shift", f"{shift:+d}" if shift else "0", placed(images, side, corner, corner)


def row(of: Automaton, disturbance: str, amount: str, images: np.ndarray, labels: np.ndarray, steps: int) -> Row:
    """What cells say of these digits after this many steps from zero."""
    counts = np.zeros(4, int)
    for first, image, label in in_slices(of, images, labels):
        counts += counted(of, of.move(image, None, steps, 0, first), image, label)
    return Row(disturbance, amount, *shares(counts))


def in_slices(of: Automaton, images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """As many digits as are moved at a time: the number of the first, images and labels."""
    size = slice_of(of.backend)
    for first in range(0, len(images), size):
        yield first, images[first : first + size], labels[first : first + size]


def counted(of: Automaton, state: Array, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Right cells, live cells, agreeing digits, digits: (4,)."""
    live, named = alive(of.cell, image), predict(of.outputs(state))
    return np.array([*count_correct_cells(named, label, live), *count_agreeing_digits(named, live)])


def shares(counts: np.ndarray) -> tuple[int, float, float, float]:
    """Digits, live cells of one, accuracy and agreement, of what was counted."""
    right, cells, agreeing, digits = map(int, counts)
    nan = float("nan")
    return (
        digits,
        cells / digits if digits else nan,
        right / cells if cells else nan,
        agreeing / digits if digits else nan,
    )


def erase_and_redraw(of: Automaton, images: np.ndarray, labels: np.ndarray, steps: int) -> np.ndarray:
    """Accuracy and agreement at each step, (3·steps, 2): whole digits, their lower half erased, drawn again.

    What is erased loses its state, what is drawn starts from zero, and all other cells go on.
    """
    counts = np.zeros((len(PARTS) * steps, 4), int)
    for first, whole, label in in_slices(of, images, labels):
        state: Array | None = None
        for part, image in enumerate((whole, without_lower_half(whole), whole)):
            if state is not None:
                state = mutate(of.cell, state, of.backend.asarray(image))
            for t in range(part * steps, (part + 1) * steps):
                state = of.move(image, state, 1, t, first)
                counts[t] += counted(of, state, image, label)
    return np.array([shares(each)[2:] for each in counts])


def mixed(images: np.ndarray, labels: np.ndarray, above: int, below: int, count: int) -> np.ndarray:
    """Chimeras of the upper half of one digit and the lower half of another, (≤ count, H, W, 1)."""
    some = CANDIDATES * count
    return chimeras(images[labels == above][:some], images[labels == below][:some], count)


def label_shares(of: Automaton, images: np.ndarray, steps: int) -> LabelShares:
    """Which share of each digit's live cells says what, after each step from zero."""
    live = alive(of.cell, images)
    cells = np.maximum(live.sum(axis=(1, 2)), 1)
    labels, shares, state = [], [], None
    for t in range(steps):
        state = of.move(images, state, 1, t, 0)
        outputs = of.outputs(state)
        labels.append(predicted_labels(outputs).astype(np.int8))
        named = predict(outputs)
        say = [((named == label) & live).sum(axis=(1, 2)) / cells for label in range(of.cell.labels)]
        shares.append(np.stack(say, axis=-1))
    return LabelShares(images, live, np.stack(labels), np.stack(shares))


def oscillation(shares: np.ndarray) -> dict[str, float]:
    """How cells keep changing their minds, of shares (T, N, L), in the second half of the steps.

    `oscillating` is the share of digits whose leading label changes at all, `changes_per_100_steps` how
    often that is on average, and `agreeing` the share whose cells all say the same after the last step.
    NaN without digits.
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
    """How often the leading label changes in the second half of the steps, of shares (T, N, L): (N,).

    A label leads until another is said by LEAD more of the cells: in two parts of about one size, a few
    cells at their border would change it otherwise.
    """
    half = shares[len(shares) // 2 :]
    leading = half[0].argmax(axis=-1)
    changes = np.zeros(len(leading), int)
    for now in half[1:]:
        ahead = now.max(axis=-1) - np.take_along_axis(now, leading[:, None], axis=-1)[:, 0]
        changed = ahead >= SWITCH_MARGIN
        changes += changed
        leading = np.where(changed, now.argmax(axis=-1), leading)
    return changes
