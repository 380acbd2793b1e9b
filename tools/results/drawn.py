"""python tools/results/drawn.py NAME: measure a run of `results/` on digits as people draw them.

The program reads the weights in results/NAME and writes results/NAME/drawn.json. It measures the first test digits at
other sizes and with other strokes, digits from another source, and the pictures in the folder own_digits of the data,
if it is there: only inverted if they are dark on light, and as `refca.digit` prepares them. `rebuild.py` puts the
table and the curves on the page.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.

Letters: N digits, H×W grid, L labels.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from argparse import Namespace
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from measuring import begin_measuring, parser

import refca
from refca.atomic import write_text
from refca.cli import exit_code, progress_bar
from refca.data.decode import open_picture, pixels_of
from refca.definition.metrics import predict
from refca.definition.step import alive
from refca.digits.perturbations import dilate_or_erode, rescaled
from refca.digits.robustness import Runner, in_slices, make_runner
from refca.digits.robustness_report import OTHER_SOURCE, other_source

FILE = "drawn.json"
AT = (200, 400)  # steps after which cells are measured: through a large digit information takes longer
SIZES = (0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5)
STROKES = (-1.0, -0.5, 0.5, 1.0, 2.0)
OWN = ("only inverted", "as refca.digit prepares them")
SIDE = 100  # of the largest pictures that are measured as they are
SITES = 64 * 28 * 28  # most sites of pictures that are evolved together

Slice = tuple[int, np.ndarray, np.ndarray]  # index of the first digit, images (N, H, W, 1), labels (N,)


def main(arguments: list[str] | None = None) -> int:
    p = parser("drawn.py", "Measure a run on digits as people draw them.", samples=250)
    return exit_code(lambda: run(p.parse_args(arguments)))


def run(flags: Namespace) -> int:
    folder: Path = flags.into / flags.name
    params, experiment, digits, samples, backend, setting = begin_measuring(flags, AT[-1], folder)
    used, others = digits.part(0, samples), other_source(experiment, samples)
    own = Path(flags.data or os.environ.get("REFCA_DATA", ""), "own_digits", "labels.csv")
    runner = make_runner(experiment.cell, params, backend, setting["seed"], lambda count: None)
    rows = []
    with progress_bar(len(SIZES) + len(STROKES), unit="rows") as bar:
        for kind, amount, images in changed(used.images(slice(None))):
            rows.append(row(runner, kind, amount, in_slices(runner, images, used.labels)))
            bar.update(1)
    if others is not None:
        parts = in_slices(runner, others.images(slice(None)), others.labels)
        rows.append(row(runner, "source", OTHER_SOURCE, parts))
    if own.is_file():
        rows += list(own_rows(runner, own))
    del setting["steps"]
    write_text(folder / FILE, json.dumps(setting | {"at": AT, "rows": rows}, indent=2) + "\n")
    print(f"wrote {folder / FILE}; rebuild tables and figures with make results")
    return 0


def changed(images: np.ndarray) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield the kind and the amount of each change, and the changed digits (N, H, W, 1)."""
    for factor in SIZES:
        yield "size", f"{factor:g}", rescaled(images, factor)
    for more in STROKES:
        yield "strokes", f"{more:+g}", dilate_or_erode(images, more)


def own_rows(runner: Runner, labels: Path) -> Iterator[dict[str, Any]]:
    """Yield a row for each folder of people's own digits, for each of OWN.

    Pictures of more than SIDE pixels are measured after `refca.digit` alone: these are photographs, on whose paper all
    cells live, and a canvas on which digits are 14 times as large as MNIST's.
    """
    with labels.open(encoding="utf-8") as file:
        digits = [(labels.parent / row["file"], int(row["label"])) for row in csv.DictReader(file)]
    folders = sorted({path.relative_to(labels.parent).parts[0] for path, _ in digits})
    for kind, prepare in zip(OWN, (light_on_dark, prepared), strict=True):
        for folder in folders:
            mine = [(prepare(path), label) for path, label in digits if labels.parent / folder in path.parents]
            if max(image.shape[0] for image, _ in mine) <= SIDE:
                yield row(runner, kind, folder, of_one_shape(mine))


def light_on_dark(path: Path) -> np.ndarray:
    """Return the pixels of a picture, (H, W, 1), inverted if most of them are light."""
    pixels = pixels_of(open_picture(path), 1)
    return 1 - pixels if np.median(pixels) > 0.5 else pixels


def prepared(path: Path) -> np.ndarray:
    """Return a picture as `refca.digit` prepares it, (28, 28, 1)."""
    return refca.digit(path).pixels


def of_one_shape(digits: Sequence[tuple[np.ndarray, int]]) -> Iterator[Slice]:
    """Yield slices of digits of one shape, of at most SITES sites together."""
    done = 0
    for (H, W, _), same in groupby(digits, lambda digit: digit[0].shape):
        images, labels = zip(*same, strict=True)
        size = max(1, SITES // (H * W))
        for i in range(0, len(images), size):
            yield done, np.stack(images[i : i + size]), np.array(labels[i : i + size])
            done += len(images[i : i + size])


def row(runner: Runner, kind: str, amount: str, parts: Iterable[Slice]) -> dict[str, Any]:
    """Return the measurement of digits after each of AT steps from zero.

    `accuracy` is the fraction of live cells that predict the label, `named` the fraction of digits whose label more
    live cells predict than any other, `cells` the mean number of live cells.
    """
    votes = [of_slice(runner, *part) for part in parts]
    right = np.concatenate([x[0] for x in votes], axis=1)
    cells, leads = np.concatenate([x[1] for x in votes]), np.concatenate([x[2] for x in votes], axis=1)
    return {
        "kind": kind,
        "amount": amount,
        "digits": len(cells),
        "cells": round(float(cells.mean()), 1),
        "accuracy": [round(float(x.sum() / cells.sum()), 5) for x in right],
        "named": [round(float(x.mean()), 5) for x in leads],
    }


def of_slice(runner: Runner, number: int, image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return correct cells (len(AT), N), live cells (N,), and whether the correct label leads, (len(AT), N)."""
    live, labels = alive(runner.cell, image), np.arange(runner.cell.labels)
    right, leads, state, done = [], [], None, 0
    for step in AT:
        state, done = runner.run(image, state, step - done, done, number), step
        predicted = predict(runner.logits(state))
        votes = ((predicted[..., None] == labels) & live[..., None]).sum(axis=(1, 2))  # (N, L)
        right.append(votes[np.arange(len(label)), label])
        leads.append((votes.argmax(axis=-1) == label) & (votes.max(axis=-1) > 0))
    return np.stack(right), live.sum(axis=(1, 2)), np.stack(leads)


if __name__ == "__main__":
    sys.exit(main())
