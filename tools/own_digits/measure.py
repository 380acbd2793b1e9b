"""Measure how many pictures of people's own digits the cells name, prepared as the playground prepares them.

    python tools/own_digits/measure.py DATA/own_digits --out results/own_digits.csv

DATA/own_digits has `labels.csv` (file, label) and the pictures, by folder. Each picture is cut out, scaled and
centred by the page's own code under node, and 100 steps are made with each of the digits models that come with
refca. A picture counts as right if most living cells name its label, and as agreed if all do.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from refca import load_weights
from refca.digits.settings import DigitsExperiment
from refca.weights.load import shipped_names

PROGRAM = Path(__file__).with_name("measure.mjs")
COLUMNS = ("model", "pictures", "number", "right", "all_cells_right", "cells_right")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with labels.csv")
    parser.add_argument("--steps", type=int, default=100, help="steps of the automaton; default: 100")
    parser.add_argument("--out", type=Path, help="CSV file to write; default: print only")
    arguments = parser.parse_args()
    with (arguments.data / "labels.csv").open(encoding="utf-8") as file:
        labels = {row["file"]: int(row["label"]) for row in csv.DictReader(file)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures.safetensors"
        save_file({name: rgba(arguments.data / name) for name in labels}, pictures)
        for model in shipped_names():
            rows += measure(model, pictures, labels, arguments.steps)
    for row in rows:
        print(*row, sep=",", flush=True)
    if arguments.out:
        with arguments.out.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])


def rgba(path: Path) -> np.ndarray:
    """Return a picture as (H, W, 4) uint8."""
    with Image.open(path) as picture:
        return np.ascontiguousarray(picture.convert("RGBA"))


def measure(model: str, pictures: Path, labels: dict[str, int], steps: int) -> list[tuple[Any, ...]]:
    """Return a row of shares for each folder of pictures and one for all; none for another task's model."""
    weights = load_weights(model)
    if not isinstance(weights.experiment, DigitsExperiment):
        return []
    file = pictures.with_name(f"{model}.safetensors")
    save_file(weights.params, file, {"cell": json.dumps(asdict(weights.experiment.cell))})
    command = ["node", str(PROGRAM), str(pictures), str(file), str(steps)]
    answers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    shares = {answer["name"]: scores(answer["counts"], labels[answer["name"]]) for answer in answers}
    folders = sorted({name.split("/")[0] for name in labels})
    rows = []
    for folder in [*folders, "all"]:
        chosen = [share for name, share in shares.items() if folder in ("all", name.split("/")[0])]
        means = [round(sum(column) / len(chosen), 3) for column in zip(*chosen, strict=True)]
        rows.append((model, folder, len(chosen), *means))
    return rows


def scores(counts: list[int] | None, label: int) -> tuple[float, float, float]:
    """Return whether most living cells and whether all name the label, and the share that does."""
    if counts is None or not sum(counts):
        return 0.0, 0.0, 0.0
    share = counts[label] / sum(counts)
    return float(int(np.argmax(counts)) == label), float(share == 1), share


if __name__ == "__main__":
    main()
