"""Measure how many pictures of people's own digits the cells name.

    python tools/own_digits/measure.py DATA/own_digits --out results/own-digits.csv

DATA/own_digits has `labels.csv` (file, label) and the pictures, by folder. Each picture is prepared as `refca.digit`
and the playground do it, and 100 steps are made with each of the digits models that come with refca. A picture counts
as right if most living cells name its label, and as agreed if all do.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import refca
from refca.atomic import write_csv
from refca.digits.settings import DigitsExperiment
from refca.weights.load import shipped_names

COLUMNS = ("model", "pictures", "number", "right", "all_cells_right", "cells_right")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with labels.csv")
    parser.add_argument("--steps", type=int, default=100, help="steps of the automaton; default: 100")
    parser.add_argument("--out", type=Path, help="CSV file to write; default: print only")
    arguments = parser.parse_args()
    with (arguments.data / "labels.csv").open(encoding="utf-8") as file:
        labels = {row["file"]: row["label"] for row in csv.DictReader(file)}
    digits = [refca.digit(arguments.data / name) for name in labels]
    rows = []
    for model in shipped_names():
        automaton = refca.load(model)
        if isinstance(automaton.experiment, DigitsExperiment):
            results = automaton.predict_all(digits, steps=arguments.steps)
            scores = [scores_of(result, label) for result, label in zip(results, labels.values(), strict=True)]
            rows += means(model, dict(zip(labels, scores, strict=True)))
    for row in rows:
        print(*row, sep=",", flush=True)
    if arguments.out:
        write_csv(arguments.out, COLUMNS, rows)


def scores_of(result: Any, label: str) -> tuple[float, float, float]:
    """Return whether most living cells and whether all name the label, and the share that does."""
    share = result.shares[label]
    return float(result.label == label), float(share == 1), share


def means(model: str, scores: dict[str, tuple[float, float, float]]) -> list[tuple[Any, ...]]:
    """Return a row of mean scores for each folder of pictures and one for all."""
    rows = []
    for folder in [*sorted({name.split("/")[0] for name in scores}), "all"]:
        chosen = [score for name, score in scores.items() if folder in ("all", name.split("/")[0])]
        rows.append((model, folder, len(chosen), *(round(sum(x) / len(chosen), 3) for x in zip(*chosen, strict=True))))
    return rows


if __name__ == "__main__":
    main()
