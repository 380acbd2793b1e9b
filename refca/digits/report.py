"""The report on digits: the table, the curves and the pictures of the article.

Source: the article, experiment 1; `spec/programs.md`.
"""

from __future__ import annotations

from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.atomic import write_text
from refca.cli import (
    announce,
    choose_backend,
    counting_bar,
    describe_backend,
    memory_for,
    note,
    progress_bar,
    warn,
)
from refca.confusion import to_json
from refca.data import Split, full_path, load
from refca.digits.confusions import Votes
from refca.digits.curves_csv import read_line, write_curves
from refca.digits.evaluation import (
    CURVES,
    FINITE,
    MUTATIONS,
    Curves,
    evaluate,
    prefixes,
    slice_size,
    summary,
    unmeasured,
)
from refca.digits.prediction import all_like_training, handwritten
from refca.digits.settings import DigitsExperiment
from refca.distributed import current, first_of_machine
from refca.doubts import LOOKED_AT, doubt
from refca.drawing.confusion import confusion_matrices
from refca.drawing.palette import PALETTES, for_names, get_palette
from refca.errors import InvalidInput
from refca.training.run_directory import publishing
from refca.training.train_state import Weights
from refca.training.warm_up import warm_up
from refca.weights.load import ANY_SIZE, load_shipped, shipped_names

ANIMATED = 24  # digits of the animation
DRAWN = ("curves.png", "confusion.png", "digits.png", "digits-28.png", "animation.gif")
FILES = ("evaluation.json", "evaluation.csv", *DRAWN)
SMALL, ENLARGED = "optdigits", "optdigits-28"  # the same digits at 8x8 and at 28x28
AFTER = {"carry": "states carried over", "restart": "restarted from zero"}


DEFAULTS: Mapping[str, Any] = {"mutation": "carry", "noise": None, "palette": "colorblind", "steps": 200}


def add_flags(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--mutation",
        choices=MUTATIONS,
        help="after --steps steps each digit becomes another one: carry its state over, restart from zero, "
        "measure both, or none; default: carry",
    )
    group.add_argument(
        "--noise",
        metavar="X",
        type=float,
        help="standard deviation of the residual noise; default: as in training, or 0.02 if unknown",
    )
    group.add_argument("--palette", choices=tuple(PALETTES), help="colours of the labels; default: colorblind")


class Measured(NamedTuple):
    """The experiment, the digits and the backend of a measurement."""

    experiment: DigitsExperiment  # the article's L2 + noise for weights without settings
    digits: Split
    samples: int
    backend: Any
    setting: dict[str, Any]  # the settings of the measurement, for its JSON file


def begin(flags: Namespace, weights: Weights, out: Path, samples: int | None = None) -> Measured:
    """Load the digits and the backend of a measurement and announce it; `samples` is the default of --samples.

    Raises InvalidInput for flags that do not fit the weights or the data set.
    """
    experiment: Any = weights.experiment or DigitsExperiment()
    if flags.noise is not None:
        experiment = experiment.with_(noise=flags.noise)
    dataset = full_path(flags.dataset) if flags.dataset else experiment.dataset
    trained, experiment = experiment, experiment.on_data(dataset)
    with counting_bar("pictures") as show:
        digits: Split = all_like_training(trained, experiment.load_data(flags.data, on_progress=show).test)
    count = min(samples or len(digits), len(digits)) if flags.samples is None else flags.samples
    if not 1 <= count <= len(digits):
        raise InvalidInput(f"--samples must be from 1 to {len(digits)}, the test digits of {dataset}, got {count}")
    name, backend = choose_backend(flags.backend, flags.device)
    announce(describe_backend(name, backend), flags.model, weights.done, experiment.steps)
    prepared = "prepared like the training data, " if digits.files and handwritten(trained) else ""
    note(f"{dataset}, {count:,} test digits, {prepared}{digits.side}x{digits.side}; writing to {out}")
    if warning := doubt(experiment.cell, digits.images(slice(min(count, LOOKED_AT)))):
        warn(f"{dataset}: {warning}")
    setting: dict[str, Any] = {"model": str(flags.model), "dataset": dataset, "samples": count}
    setting |= {"steps": flags.steps, "noise": experiment.noise, "seed": flags.seed, "backend": name}
    setting |= {"training_steps": weights.done}
    return Measured(experiment, digits, count, backend, setting)


def run(flags: Namespace, weights: Weights, out: Path) -> None:
    """Measure the digits, print a table, and write tables and figures into `out`."""
    params = weights.params
    experiment, digits, samples, backend, setting = begin(flags, weights, out)
    at_once = min(samples, slice_size(experiment.cell, backend))
    parts = {"none": 1, "both": 3}.get(flags.mutation, 2)
    fewer = f"use a smaller --samples, such as {max(1, at_once // 2)}, or another --backend"
    votes = Votes(digits.labels, experiment.names)

    def measure() -> dict[str, Curves]:
        """Return the curves, on rank 0; the other ranks do their share."""
        with memory_for(f"{at_once} digits at a time", fewer):
            with first_of_machine():
                warm_up(backend, experiment.cell, at_once, digits.side)
            with progress_bar(samples * parts * flags.steps, unit="digit-steps") as bar:
                return evaluate(
                    experiment.cell,
                    params,
                    backend,
                    digits,
                    samples=samples,
                    steps=flags.steps,
                    mutation=flags.mutation,
                    seed=flags.seed,
                    on_progress=lambda count: bar.update(count * current().size),
                    on_votes=votes.add,
                )

    if current().rank:
        measure()
        return
    with publishing(out, FILES) as folder:
        curves = measure()
        values = summary(curves)
        if lost := unmeasured(curves):
            warn(lost)
        votes.keep([part for part in curves if curves[part][FINITE][-1]])
        print(table(values, curves, flags.steps))  # before the pictures, which take long and may be interrupted
        print(votes.sentence())
        setting |= {"mutation": flags.mutation}
        write_curves(folder / "evaluation.csv", curves)
        draw(folder, curves)
        if panels := votes.panels():
            confusion_matrices(panels, experiment.names, folder / "confusion.png", "cells or digits")
        animate(experiment, params, backend, digits, samples, folder, flags)
        write_text(folder / "evaluation.json", to_json(values | setting | votes.summary(prefixes(curves), flags.steps)))
    if (out / "digits-28.png").exists():
        note(
            f"{out / 'digits-28.png'} shows the same digits at 28x28 with the weights {ANY_SIZE}, which come with refca"
        )
    note(f"see in {out}: {', '.join(name for name in DRAWN if (out / name).exists())}")


def compare(runs: Mapping[str, tuple[Path, Path]], out: Path) -> list[str]:
    """Write comparison.png with a line for each run, by its name: its model and the folder of its evaluation."""
    from refca.digits.figures import curves as draw_curves

    draw_curves({name: read_line(folder, model) for name, (model, folder) in runs.items()}, out / "comparison.png")
    return ["comparison.png"]


def draw(out: Path, curves: Mapping[str, Curves]) -> None:
    """Draw curves.png: the article's four panels, one line for each kind of mutation."""
    from refca.digits.figures import curves as draw_curves

    lines = {words: line(curves, part) for part, words in AFTER.items() if part in curves}
    alone = lines if len(lines) > 1 else next(iter([*lines.values(), line(curves, "before")]))
    draw_curves(alone, out / "curves.png")


def line(curves: Mapping[str, Curves], part: str) -> dict[str, Any]:
    """Return the curves before a mutation, and after it if `part` is one of AFTER, for `figures.curves`."""
    parts = ["before"] if part == "before" else ["before", part]
    found: dict[str, Any] = {key: np.concatenate([curves[each][key] for each in parts]) for key in CURVES}
    found["step"] = np.arange(1, len(found["accuracy"]) + 1)
    return found | {"mutation": len(curves["before"]["accuracy"]) if len(parts) > 1 else None}


def animate(
    experiment: DigitsExperiment, params: Any, backend: Any, digits: Any, samples: int, out: Path, flags: Namespace
) -> None:
    """Write animation.gif and digits.png; of small digits also digits-28.png, which is easier to read."""
    from refca.digits.rollout import ROLLOUT, ROWS, of_all_labels, rollout, write_grid, write_pictures

    chosen = range(min(ANIMATED, samples))
    with progress_bar(ROLLOUT, unit="drawn steps") as bar:
        frames = rollout(experiment.cell, params, backend, digits, chosen, seed=flags.seed, on_step=bar.update)
    palette = for_names(get_palette(flags.palette), experiment.names)
    write_pictures(frames, out, palette)
    if experiment.dataset == SMALL and ANY_SIZE in shipped_names():
        shipped, large = load_shipped(ANY_SIZE), load(ENLARGED).test
        rows = of_all_labels(large.labels[:ANIMATED], ROWS)
        cell = shipped.experiment.cell if shipped.experiment else experiment.cell
        write_grid(rollout(cell, shipped.params, backend, large, rows, seed=flags.seed), out / "digits-28.png", palette)


def table(values: dict[str, Any], curves: dict[str, Curves], steps: int) -> str:
    """Return the article's table: the best and the last value of each curve, in per cent."""
    names = {"": "from zero", "after_mutation_": "after mutation", "after_restart_": "after restart"}
    lines = [f"{'':16}{'top accuracy':>20}{f'at {steps}':>8}{'top agreement':>20}{f'at {steps}':>8}"]
    for prefix in prefixes(curves).values():
        line = f"{names[prefix]:16}"
        for key in ("accuracy", "agreement"):
            top, last = values[f"{prefix}top_{key}"], values[f"{prefix}{key}_at_{steps}"]
            best = "none" if top is None else f"{top:.1%} at step {values[f'{prefix}top_{key}_step']}"
            line += f"{best:>20}{'none' if last is None else f'{last:.1%}':>8}"
        lines.append(line)
    return "\n".join(lines)
