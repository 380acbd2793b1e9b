"""python tools/results/worst.py NAME: measure and draw the test digits that a model of `results/` gets most wrong.

The program evolves all test digits as refca.evaluate does, chooses those with the smallest fraction of live cells
that predict the correct label, and follows each of them until step 1,000 with the same random numbers. It also follows
the connected digits whose cells disagree. It writes into results/NAME/worst/

    worst.csv       a row for each chosen digit, the worst first
    disagree.csv    a row for each connected digit whose cells disagree, the worst first
    worst.json      counts over all test digits, and the settings
    worst.png       the chosen digits, and the predicted labels of their cells

Source: the article, experiment 1 and "A note on digit topology"; `spec/programs.md`.

Letters: N digits, H×W grid, L labels, T steps.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
from measuring import begin_measuring, parser
from scipy.ndimage import label as label_pieces

from refca.atomic import atomic_write, write_csv, write_text
from refca.cli import exit_code, progress_bar
from refca.data import Split
from refca.definition.metrics import predict
from refca.definition.step import alive
from refca.digits.figures import drawn
from refca.digits.robustness import Runner, in_slices, leading_labels, make_runner
from refca.drawing.canvas import INK, QUIET, card, enlarge, legend, page, write
from refca.drawing.palette import COLORBLIND, paint

COUNT = 100  # digits that are chosen
STEPS = 200  # after which they are chosen
FOLLOWED = (100, 1000)  # first and last step of the time in which they are watched
GROUPS = ("agree, right", "agree, wrong", "disagree, most right", "disagree, most wrong")  # by their live cells
DISAGREE = 2  # first of GROUPS whose cells disagree
COLUMNS = (
    *("digit", "label", "live_cells", "pieces", "outside", "correct", "predicted", "share"),
    *("switches", "changing", "changed", "late_correct", "leading"),
)
ACROSS, SCALE, GAP, CAPTION = 10, 2, 12, 20  # digits in a row; pixels of a cell, between digits, and of a caption


def main(arguments: list[str] | None = None) -> int:
    p = parser("worst.py", "Measure and draw the worst test digits of a run.", samples=None)
    return exit_code(lambda: run(p.parse_args(arguments)))


def run(flags: Namespace) -> int:
    folder: Path = flags.into / flags.name
    out = folder / "worst"
    params, experiment, digits, samples, backend, setting = begin_measuring(flags, STEPS, out)
    digits = digits.part(0, samples)
    with progress_bar(samples * STEPS, unit="digit-steps") as bar:
        runner = make_runner(experiment.cell, params, backend, setting["seed"], bar.update)
        votes, margins, predicted = measure(runner, digits)
        order, groups = ranked(votes, margins, digits.labels), group(votes, digits.labels)
        pieces = np.array([count_pieces(live(runner, digits, n))[0] for n in range(samples)])
        disagreeing = order[(groups[order] >= DISAGREE) & (pieces[order] == 1)]
        chosen = order[:COUNT]
        bar.total += FOLLOWED[1] * len(np.union1d(chosen, disagreeing))
        rows = {int(n): describe(runner, digits, votes, int(n)) for n in np.union1d(chosen, disagreeing)}
    counts = {
        name: {"digits": int((groups == i).sum()), "disconnected": int(((groups == i) & (pieces > 1)).sum())}
        for i, name in enumerate(GROUPS)
    }
    out.mkdir(exist_ok=True)
    for name, numbers in {"worst": chosen, "disagree": disagreeing}.items():
        write_csv(out / f"{name}.csv", COLUMNS, [rows[int(n)] for n in numbers], digits=6)
    draw(out / "worst.png", runner, digits, chosen, predicted)
    about = setting | {"followed": list(FOLLOWED), "groups": counts}
    write_text(out / "worst.json", json.dumps(about, indent=2) + "\n")
    print(f"wrote {out}; rebuild tables and figures with make results")
    return 0


def measure(runner: Runner, digits: Split) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return after STEPS steps from zero the votes of each digit's live cells, (N, L), margins (N,), labels (N, H, W).

    The margin is the mean over live cells of the highest output minus the output of the correct label.
    """
    votes, margins, predicted = [], [], []
    for first, image, label in in_slices(runner, digits.images(slice(None)), digits.labels):
        logits = runner.logits(runner.run(image, None, STEPS, 0, first))
        cells, now = alive(runner.cell, image), predict(logits)
        votes.append(np.stack([((now == k) & cells).sum(axis=(1, 2)) for k in range(logits.shape[-1])], axis=-1))
        short = logits.max(axis=-1) - np.take_along_axis(logits, label[:, None, None, None], axis=-1)[..., 0]
        margins.append((short * cells).sum(axis=(1, 2)) / np.maximum(cells.sum(axis=(1, 2)), 1))
        predicted.append(now)
    return np.concatenate(votes), np.concatenate(margins), np.concatenate(predicted)


def ranked(votes: np.ndarray, margins: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the digits with a live cell, those with the smallest fraction of correct cells first.

    Among equals the digit with the largest margin comes first.
    """
    cells = votes.sum(axis=-1)
    correct = votes[np.arange(len(votes)), labels] / np.maximum(cells, 1)
    order = np.lexsort((-margins, correct))
    return order[cells[order] > 0]


def group(votes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the index in GROUPS of each digit, (N,), -1 without live cells; the lowest label leads among equals."""
    cells, right = votes.sum(axis=-1), votes.argmax(axis=-1) == labels
    found = 2 * (votes.max(axis=-1) < cells) + ~right
    return np.where(cells > 0, found, -1)


def describe(runner: Runner, digits: Split, votes: np.ndarray, n: int) -> tuple[Any, ...]:
    """Return the COLUMNS of digit n.

    `pieces` is the number of 8-connected pieces of live cells, and `outside` the number of cells outside the largest.
    `correct` and `share` are the fractions of live cells that predict the true label and the label that most cells
    predict. Between the steps FOLLOWED `switches` counts changes of the leading label, `changing` is the mean
    fraction of live cells whose label changes in a step, and `changed` the fraction whose label ever changes;
    `late_correct` and `leading` are `correct` and the leading label at the end.
    """
    truth, cells = int(digits.labels[n]), int(votes[n].sum())
    predicted = int(votes[n].argmax())
    pieces, largest = count_pieces(live(runner, digits, n))
    fractions = (float(votes[n, truth]) / cells, predicted, float(votes[n, predicted]) / cells)
    return n, truth, cells, pieces, cells - largest, *fractions, *follow(runner, digits, n)


def follow(runner: Runner, digits: Split, n: int) -> tuple[int, float, float, float, int]:
    """Return `switches`, `changing`, `changed`, `late_correct` and `leading` of digit n.

    The digit is evolved alone, with the random numbers that it has among all digits.
    """
    first, last = FOLLOWED
    image, cells = digits.images([n]), live(runner, digits, n)
    state = runner.run(image, None, first, 0, n)
    labels = [predict(runner.logits(state))[0][cells]]
    for t in range(first, last):
        state = runner.run(image, state, 1, t, n)
        labels.append(predict(runner.logits(state))[0][cells])
    predicted = np.stack(labels)  # (T, cells)
    shares = np.stack([(predicted == k).mean(axis=1) for k in range(runner.cell.labels)], axis=-1)  # (T, L)
    leading = leading_labels(shares[:, None])[:, 0]
    changes = predicted[1:] != predicted[:-1]
    switches = int((leading[1:] != leading[:-1]).sum())
    late = float(shares[-1, digits.labels[n]])
    return switches, float(changes.mean()), float(changes.any(axis=0).mean()), late, int(leading[-1])


def live(runner: Runner, digits: Split, n: int) -> np.ndarray:
    """Return the live cells of digit n, (H, W)."""
    cells: np.ndarray = alive(runner.cell, digits.images([n]))[0]
    return cells


def count_pieces(cells: np.ndarray) -> tuple[int, int]:
    """Return the number of 8-connected pieces of cells (H, W), and the size of the largest; 0 and 0 without cells."""
    numbered, count = label_pieces(cells, np.ones((3, 3)))
    return int(count), int(np.bincount(numbered[cells]).max()) if count else 0


def draw(path: Path, runner: Runner, digits: Split, chosen: np.ndarray, predicted: np.ndarray) -> None:
    """Write a PNG of the chosen digits: each in its ink and in the colours of its cells, and its true label above."""
    images = digits.images(chosen)
    H, W = images.shape[1:3]
    painted = enlarge(paint(COLORBLIND, predicted[chosen], alive(runner.cell, images), images), SCALE)
    tiles = np.concatenate([drawn(images, SCALE, COLORBLIND), painted], axis=2)
    across, down = 2 * SCALE * W + GAP, SCALE * H + GAP + CAPTION
    rows = -(-len(chosen) // ACROSS)
    picture = page(ACROSS * across + GAP, rows * down + 48)
    for i, (n, tile) in enumerate(zip(chosen, tiles, strict=True)):
        x, y = GAP + i % ACROSS * across, CAPTION + i // ACROSS * down
        write(picture, x, y - CAPTION // 2 + 2, f"{digits.labels[n]}", 16, INK)
        write(picture, x + tile.shape[1], y - CAPTION // 2 + 2, f"number {n}", 12, QUIET, "rm")
        card(picture, x, y, tile)
    key = "above: true label, number in the test set; colours: predicted label of each cell"
    write(picture, GAP, rows * down + 24, key, 16, QUIET)
    legend(picture, COLORBLIND, GAP + 9 * len(key), rows * down + 24)
    with atomic_write(path) as temporary:
        picture.save(temporary, "PNG", optimize=True)


if __name__ == "__main__":
    sys.exit(main())
