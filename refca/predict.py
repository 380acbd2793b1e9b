"""python -m refca.predict: apply a trained automaton to pictures and films.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
import time
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import atomic_write
from refca.automaton import Automaton, load
from refca.cli import (
    STOPPED,
    Parser,
    add_backend_flags,
    add_model,
    choose_backend,
    complete,
    describe_backend,
    note,
    print_above_bar,
    progress_bar,
    run_program,
    stoppable,
    warn,
)
from refca.contract.registry import PROGRAM
from refca.data import full_path
from refca.data.camera import is_camera
from refca.data.inputs import Source, apart, expand, is_film, open_film, pages
from refca.definition.randomness import Streams
from refca.distributed import current
from refca.drawing.film import film_writer
from refca.errors import InvalidInput
from refca.tasks import all_tasks
from refca.training.run_directory import model_name
from refca.training.warm_up import warm_up
from refca.weights.load import load_weights

EXAMPLES = """examples:
  python -m refca.predict digits seven.png                      a digit, drawn or photographed
  python -m refca.predict pets cat.jpg --out cat                labels of all pixels, written to the folder cat
  python -m refca.predict runs/nuclei slides/ --tile 64         pictures at their own scale, with a run of your own
  python -m refca.predict pets dog.mp4                          a film: states continue from frame to frame
  python -m refca.predict digits 'scans/*.png' --json           a line of JSON for each picture
  python -m refca.predict pets camera:0 --frames 200            the first camera of this machine
  python -m refca.predict runs/animals --dataset animals        the pictures that were held out of training

The program writes predictions.csv with a row for each picture, and for each picture a PNG of the predicted labels
of its cells; for photographs also the labels as an indexed PNG and as .npy.
"""
TABLE = "predictions.csv"
FEW = 20  # pictures whose results are printed one by one


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), predict, arguments)


def parser() -> ArgumentParser:
    p = Parser(
        "predict",
        description="Apply a trained automaton to pictures and films.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_model(p)
    p.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="*",
        help="a picture, a TIFF with several pages, a film or GIF, a folder of these, a pattern such as '*.png', or a "
        "camera such as camera:0",
    )
    p.add_argument(
        "--dataset",
        metavar="NAME",
        help="instead of INPUT: the test samples of a data set, a name or the path of your own data",
    )
    p.add_argument("--data", metavar="DIR", help="folder with the files of --dataset; default: as in training")
    p.add_argument("--frames", metavar="N", type=int, help="number of frames of a film or a camera; default: all")
    p.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the results; default: runs/NAME-predictions, or "
        "-2 and so on after it if there are predictions already",
    )
    p.add_argument("--json", action="store_true", help="print a line of JSON for each picture, and nothing else")
    p.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="steps of the automaton; default: 200 for digits, as in training for photographs, and 5 for each further "
        "frame of a film",
    )
    p.add_argument(
        "--size", metavar="N", type=int, help="side in pixels of the image that cells perceive; default: as in training"
    )
    p.add_argument(
        "--no-pictures",
        action="store_true",
        help="write no files for single pictures, only predictions.csv, legend.json and overlays of films",
    )
    p.add_argument("--seed", metavar="N", type=int, default=0, help="seed of all random numbers; default: 0")
    add_backend_flags(p, "start under an MPI launcher, where the first process does all the work")
    for task in all_tasks():
        task.prediction.add_flags(p.add_argument_group(f"for {task.samples}"))
    return p


def predict(flags: Namespace) -> int:
    if bool(flags.inputs) == bool(flags.dataset):
        raise InvalidInput("name pictures, films or folders to predict, or --dataset; one of them, not both")
    sources, missing = expand(flags.inputs)
    load_weights(flags.model)  # before a backend is started
    name, backend = choose_backend(flags.backend, flags.device)
    if current().rank:
        return 0  # rank 0 predicts
    automaton = load(flags.model, backend)
    Streams(flags.seed)  # raises InvalidInput for an invalid seed
    for option, least in (("steps", 1), ("size", 1), ("frames", 1)):
        value = getattr(flags, option)
        if value is not None and value < least:
            raise InvalidInput(f"--{option} must be at least {least}, got {value}")
    predictions = [each.prediction for each in all_tasks()]
    complete(flags, automaton.task.prediction, predictions, automaton.task.samples)
    out = Path(flags.out) if flags.out else predictions_folder(flags.model)
    if not flags.json:
        note(f"{describe_backend(name, backend)}; {automaton!r}; writing to {out}")
    if not name.startswith(PROGRAM):  # a program prepares itself
        warm_up(backend, automaton.cell, 1, 8 * automaton.cell.stride)
    return Program(flags, automaton, out, sources, missing).run()


def predictions_folder(model: Path) -> Path:
    """Return a folder for predictions, named after the model: one that holds none yet."""
    first = Path("runs") / f"{model_name(model)}-predictions"
    others = (first.with_name(f"{first.name}-{i}") for i in itertools.count(2))
    return next(out for out in itertools.chain([first], others) if not (out / TABLE).exists())


class Program:
    """One call of the program: pictures or the samples of a data set are predicted in one stream, then films one by
    one. What is done when a stop is requested is kept, and listed in predictions.csv."""

    def __init__(
        self, flags: Namespace, automaton: Automaton, out: Path, sources: list[Source], missing: list[InvalidInput]
    ) -> None:
        self.flags, self.automaton, self.out, self.sources = flags, automaton, out, sources
        self.task = automaton.task.prediction
        self.waiting: deque[tuple[str, Path, str, str]] = deque()  # name, file, page, true label of what is worked on
        self.stop_asked: Callable[[], bool] = lambda: False
        self.right = self.labelled = 0
        self.films: list[Source] = []
        self.used: set[str] = set()  # names of results
        self.missing = missing  # errors of inputs that name no file
        self.failed = len(missing)
        self.count = len(sources)  # of pictures, films and folders named, or of samples
        self.begun = False  # whether cells have been given a picture
        self.options: dict[str, Any] = {"steps": flags.steps, "size": flags.size, "seed": flags.seed}
        self.options |= self.task.options_of(flags)

    def run(self) -> int:
        """Predict everything; return the exit code: 2 if a file could not be used."""
        count, failure = 0, None
        several = len(self.sources) != 1
        for error in self.missing:
            print(f"refca: {error}; skipped", file=sys.stderr)
        with (
            atomic_write(self.out / TABLE) as temporary,
            temporary.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
            progress_bar(len(self.sources), unit="pictures", shown=several and not self.flags.json) as bar,
            stoppable() as self.stop_asked,
        ):
            rows = csv.writer(file, lineterminator="\n")
            has_labels = bool(self.flags.dataset) and self.automaton.experiment.kind == "classification"
            expected = ["expected"] if has_labels else []
            rows.writerow(["file", "name", "label", "agreement", *self.automaton.names, *expected])
            prepared = self.samples(bar) if self.flags.dataset else self.prepared(bar)
            try:
                for result in self.task.predict_all(self.automaton, prepared, **self.options):
                    name, path, page, true = self.waiting.popleft()
                    if isinstance(result, InvalidInput):
                        self.skip(Source(path if path.is_file() else path / name, name), result)
                        continue
                    self.tell(path, name, page, result)
                    if not self.flags.no_pictures:
                        self.task.write_result(result, self.out, name)
                    rows.writerow([*self.row(path, name, result), *([true] if has_labels else [])])
                    self.labelled += bool(true)
                    self.right += bool(true) and result.label == true
                    count += 1
                for source in itertools.takewhile(lambda source: not self.stop_asked(), self.films):
                    try:
                        self.film(source, rows)
                        count += 1
                    except InvalidInput as error:
                        self.skip(source, error)
            except (InvalidInput, MemoryError, OSError) as error:
                if not count:
                    raise
                failure = error  # raised once what is done is listed
            stopped = self.stop_asked() and not any(is_camera(source.path) for source in self.sources)
            if not count and not stopped:  # nothing is written over what was there
                raise InvalidInput("none of the files could be used")
            self.task.write_legend(self.automaton, self.out)
        if failure:
            raise failure
        if not self.flags.json:
            skipped = f", {self.failed} skipped" if self.failed else ""
            right = f", {self.right / self.labelled:.1%} labelled right" if self.labelled else ""
            note(f"{'stopped: ' * stopped}{count:,} done{skipped}{right}; see {self.out / TABLE}")
        return STOPPED if stopped else 2 if self.failed else 0

    def samples(self, bar: Any) -> Iterator[Any]:
        """Yield each test sample of the data set, prepared for the cells."""
        dataset = full_path(self.flags.dataset)
        experiment = self.automaton.experiment.on_data(dataset)
        samples = experiment.load_data(self.flags.data, ("test",)).test
        self.count = len(samples)
        bar.reset(self.count)
        found = self.task.samples_of(self.automaton, samples, **self.options)
        for name, file, ready, label in itertools.takewhile(lambda _: not self.stop_asked(), found):
            true = "" if label is None else self.automaton.names[label]
            self.waiting.append((name, file or Path(dataset), "", true))
            yield ready
            bar.update()

    def prepared(self, bar: Any) -> Iterator[Any]:
        """Yield each picture, prepared for the cells; report and skip a file that cannot be used."""
        for source in itertools.takewhile(lambda source: not self.stop_asked(), self.sources):
            try:
                if self.task.FILMS and is_film(source.path):
                    self.films.append(Source(source.path, apart(source.name, "", self.used)))
                    bar.update()
                    continue
                for page, pixels in self.limited(pages(source.path), source.path):
                    ready = self.task.prepare(self.automaton, pixels, **self.options)
                    self.waiting.append((apart(source.name, page, self.used), source.path, page, ""))
                    self.begun = True
                    yield ready
            except InvalidInput as error:
                self.skip(source, error)
            bar.update()

    def limited(self, frames: Iterable[Any], path: Path) -> Iterator[Any]:
        """Yield the frames of a film up to --frames and until a stop is requested; all pages of other files."""
        most = self.flags.frames if self.flags.frames and is_film(path) else None
        return itertools.takewhile(lambda frame: not self.stop_asked(), itertools.islice(frames, most))

    def skip(self, source: Source, error: InvalidInput) -> None:
        """Report why a file is skipped; raise InvalidInput if it is the only one, and nothing in it could be used."""
        if len(self.sources) == 1 and not self.begun:
            raise InvalidInput(self.named(source, error)) from error
        self.failed += 1
        print_above_bar(f"refca: {self.named(source, error)}; skipped", sys.stderr)

    @staticmethod
    def named(source: Source, error: InvalidInput) -> str:
        """Return an error's sentence with the name of the file."""
        text = str(error)
        return text if str(source.path) in text else f"{source.path}: {text}"

    def row(self, path: Path, name: str, result: Any) -> list[Any]:
        """Return a row of predictions.csv; empty where there is no number."""
        agreement = getattr(result, "agreement", float("nan"))
        numbers = [agreement, *result.shares.values()]
        return [path, name, result.label or "", *("" if x != x else f"{x:.6g}" for x in numbers)]

    def tell(self, path: Path, name: str, page: str, result: Any) -> None:
        """Print a result: as JSON, or as a line if there are few; and a warning of a picture unlike the others."""
        if getattr(result, "doubt", None):
            warn(f"{path}: {result.doubt}")
        if self.flags.json:
            print(json.dumps({"file": str(path), "name": name, **result.summary()}), flush=True)
        elif self.count <= FEW:
            print_above_bar(f"{path}{page}: {result}" if path.is_file() else f"{name}: {result}")

    def film(self, source: Source, rows: Any) -> None:
        """Predict a film, with the state carried from frame to frame; write it with the labels over it."""
        film = open_film(source.path)
        suffix = ".gif" if source.path.suffix.lower() in (".gif", ".webp", ".png", ".apng") else ".mp4"
        path = self.out / f"{source.name}-overlay{suffix}"
        shares, count, cells = np.zeros(len(self.automaton.names)), 0, 0.0
        begun = time.perf_counter()
        frames = self.limited(film.frames, source.path)
        total = min(filter(None, (film.count, self.flags.frames)), default=0)
        with (
            film_writer(path, film.rate) as writer,
            progress_bar(total, unit="frames", shown=not self.flags.json) as bar,
        ):
            for result, seconds in self.task.follow(self.automaton, frames, **self.options):
                writer.add(result.overlay())
                shares += list(result.shares.values())
                count, cells = count + 1, cells + seconds
                bar.update()
            if not count:  # nothing is written over what was there
                raise InvalidInput(f"{source.path} has no frames")
        seconds = time.perf_counter() - begun
        means = dict(zip(self.automaton.names, map(float, shares / count), strict=True))
        label = max(means, key=lambda name: means[name])
        rows.writerow([source.path, source.name, label, "", *(f"{x:.6g}" for x in means.values())])
        rates = {"frames_per_second": count / seconds, "cells_per_second": count / max(cells, 1e-9)}
        if self.flags.json:
            rounded = {name: round(share, 6) for name, share in means.items()}
            found = {"file": str(source.path), "frames": count, **rates, "film": str(path), "shares": rounded}
            print(json.dumps(found), flush=True)
        else:
            whole, alone = rates.values()
            print_above_bar(
                f"{source.path}: {count} frames at {whole:.1f} a second ({alone:.1f} by the cells alone); it plays at "
                f"{film.rate:.1f}; see {path}"
            )


if __name__ == "__main__":
    sys.exit(main())
