"""The files of the page by name: its own, the engine's, and the weights with a list of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from importlib.resources import files
from importlib.resources.abc import Traversable
from itertools import chain, count
from pathlib import Path

from safetensors.numpy import save

from refca.definition.cell import Cell
from refca.digits.cell import digits_cell
from refca.errors import InvalidInput
from refca.training.run_directory import model_name
from refca.training.train_state import Weights
from refca.weights.load import ANY_SIZE, BEST, load_shipped, load_weights, shipped_names

PREFERRED = (ANY_SIZE, BEST["pets"])  # the page starts with these: hands draw in many sizes and strokes
PAGE_SUFFIXES = (".html", ".css", ".js", ".json", ".svg", ".jpg")


def make_catalogue(own: Iterable[Path] = ()) -> dict[str, bytes]:
    """Return every file of the page by its path, `catalogue.json` and the weights included.

    `own` are further weights, as `load_weights` takes them; they come first, and the first is shown first.
    Raises InvalidInput for weights that cannot be read, or of a cell that the page cannot show.
    """
    page = folder(files("refca.playground_page") / "site")
    engine = folder(files("refca_js"))
    pages = page | {f"engine/{name}": content for name, content in engine.items()}
    return pages | model_files(own)


def folder(top: Traversable, prefix: str = "") -> dict[str, bytes]:
    """Return the files of a folder and its folders that a page can ask for, by path."""
    found: dict[str, bytes] = {}
    for entry in sorted(top.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found |= folder(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(PAGE_SUFFIXES) and entry.name != "package.json":
            found[prefix + entry.name] = entry.read_bytes()
    return found


def model_files(own: Iterable[Path]) -> dict[str, bytes]:
    """Return weights of the user's own and the shipped ones as safetensors, and `catalogue.json`, which lists them."""
    mine: dict[str, Weights] = {}
    given: dict[str, Path] = {}
    for path in own:  # by names without folders, because links have them too
        names = chain([model_name(path)], (f"{model_name(path)}-{i}" for i in count(2)))
        taken = {*mine, *(shipped_names() if path.exists() else ())}  # an own run does not hide a shipped model
        name = next(name for name in names if name not in taken)
        mine[name], given[name] = load_weights(path), path
    models = mine | {name: load_shipped(name) for name in shipped_names() if name not in mine}
    entries, found = [], {}
    for number, (name, weights) in enumerate(models.items()):
        cell = weights.experiment.cell if weights.experiment else digits_cell()
        task = page_of(cell)
        if task is None:
            if name in mine:
                raise InvalidInput(
                    f"{given[name]}: the page shows cells of gray pictures with ten labels, the last state channels, "
                    f"or of colour photographs with three; these have image_channels "
                    f"{cell.image_channels} and labels {cell.labels}"
                )
            continue
        file = f"weights/{number}.safetensors"
        found[file] = save(weights.params)
        entries.append(
            {
                "name": name,
                "file": file,
                "task": task,
                "summary": summary(weights),
                "cell": asdict(cell),
                "preferred": name in mine or name in PREFERRED,
            }
        )
    return found | {"catalogue.json": json.dumps({"models": entries}, indent=1).encode()}


def page_of(cell: Cell) -> str | None:
    """Return the part of the page that shows this cell, None if there is none."""
    if cell.image_channels == 1 and cell.last_channels and cell.labels == 10:
        return "digits"
    if cell.image_channels == 3 and cell.labels == 3:
        return "segmentation"
    return None


def summary(weights: Weights) -> str:
    """Return one line on how the weights were trained."""
    experiment, done = weights.experiment, weights.done
    if experiment is None:
        return "weights without settings, taken for the article's cell"
    cell = experiment.cell
    how = f"{cell.state_channels} state channels, {cell.hidden_width} hidden"
    how += f", noise {cell.noise:g}" if cell.noise else ""
    how += f", norm {cell.norm}" if cell.norm != "none" else ""
    if done is not None:
        how += f"; trained for {done:,} steps of {experiment.batch} pictures of {experiment.dataset}"
    return how + (", from earlier weights" if getattr(experiment, "init_from", "") else "")
