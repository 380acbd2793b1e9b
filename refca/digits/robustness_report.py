"""The robustness of a digits automaton: numbers and pictures of inputs unlike its training data.

Digits of other sizes, with thicker and thinner strokes, elsewhere on a larger grid, from another source,
chimeras of two digits, and digits that are erased and drawn again.

Source: the article, "Observed robustness and limitations"; `spec/programs.md`.
"""

from __future__ import annotations

import csv
import json
from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import atomic_write, write_text
from refca.cli import (
    memory_for,
    progress_bar,
)
from refca.data import Split, load
from refca.definition.state import mutate
from refca.definition.step import alive
from refca.digits import robustness_figures as figures
from refca.digits.evaluation import slice_of
from refca.digits.perturbations import without_lower_half
from refca.digits.report import begin
from refca.digits.robustness import (
    PAIRS,
    PARTS,
    Automaton,
    LabelShares,
    Row,
    automaton,
    count_label_switches,
    erase_and_redraw,
    label_shares,
    mixed,
    oscillation,
    perturbed,
    row,
)
from refca.digits.settings import DigitsExperiment
from refca.drawing.palette import PALETTES, Palette, get_palette, predicted_labels
from refca.errors import InvalidInput
from refca.training.train_state import Weights
from refca.training.warm_up import warm_up

SAMPLES = 1000  # digits, unless asked for others
SHOWN = 6  # of them in a picture
OTHERS = "optdigits-28"  # digits from another source
LONGER = 3  # times as many steps for chimeras
SHOWN_STEPS = (1, 5, 20, 100)  # of each part, while digits are erased

DEFAULTS: Mapping[str, Any] = {"chimeras": 100, "noise": None, "palette": "article", "steps": 200}


def add_flags(group: _ArgumentGroup) -> None:
    group.add_argument("--chimeras", metavar="N", type=int, help="chimeras of each kind; default: 100")
    group.add_argument(
        "--noise", metavar="X", type=float, help="residual noise; default: as in training, 0.02 if unknown"
    )
    group.add_argument("--palette", choices=tuple(PALETTES), help="default: article")


def run(flags: Namespace, weights: Weights, out: Path) -> None:
    """Measure, draw, and write everything into `out`."""
    for name in ("steps", "chimeras"):
        if getattr(flags, name) < 1:
            raise InvalidInput(f"--{name} must be at least 1, got {getattr(flags, name)}")
    experiment, digits, samples, backend, setting = begin(flags, weights, out, SAMPLES)
    some, others = first(digits, samples), other_source(experiment, samples)

    at_once = min(slice_of(backend), samples)
    palette = get_palette(flags.palette)
    fewer = "measure fewer --samples or --chimeras, or use another --backend"
    with memory_for(f"{at_once} digits or {flags.chimeras} chimeras at a time", fewer):
        warm_up(backend, experiment.cell, at_once, digits.pixels.shape[-1])
        with progress_bar(digit_steps(some, others, flags), unit="digit-steps") as bar:
            of = automaton(experiment.cell, weights.params, backend, flags.seed, bar.update)
            rows = measure_perturbations(of, some, others, flags.steps, out, palette)
            found: dict[str, Any] = {"disturbances": [each._asdict() for each in rows]}
            found["chimeras"] = measure_chimeras(of, digits, flags, out, palette)
            found["erased"] = measure_erasing(of, some, flags.steps, out, palette)
            bar.total = bar.n  # fewer chimeras may have been found than were asked for
    write_text(out / "robustness.json", json.dumps(without_nan(found | setting), indent=2) + "\n")
    print(table(rows, found["chimeras"], found["erased"]))
    print(f"see the pictures in {out}")


def other_source(experiment: DigitsExperiment, samples: int) -> Split | None:
    """The first digits of a source that the cells did not learn from; None if they learned from it."""
    if experiment.dataset.startswith("optdigits"):
        return None
    others = load(OTHERS)
    return first(others.test if samples <= len(others.test) else everything(others), samples)


def digit_steps(digits: Split, others: Split | None, flags: Namespace) -> int:
    """Steps of a digit that are measured and drawn, if as many chimeras are found as are asked for."""
    times = sum(1 for _ in perturbed(digits.images(slice(1)))) + len(PARTS)
    moved = times * (len(digits) + min(SHOWN, len(digits)))
    moved += 0 if others is None else len(others) + min(SHOWN, len(others))
    return flags.steps * (moved + LONGER * (2 * len(PAIRS) + 1) * flags.chimeras)


def measure_perturbations(
    of: Automaton, digits: Split, others: Split | None, steps: int, out: Path, palette: Palette
) -> list[Row]:
    """A row for each disturbance and for digits from elsewhere; size.png and the like of a few digits."""
    rows, columns = [], dict[str, dict[str, figures.Panel]]()
    for kind, amount, changed in perturbed(digits.images(slice(None))):
        rows.append(row(of, kind, amount, changed, digits.labels, steps))
        columns.setdefault(kind, {})[amount] = panel(of, changed[:SHOWN], steps)
    if others is not None:
        images = others.images(slice(None))
        rows.append(row(of, "source", OTHERS, images, others.labels, steps))
        columns["source"] = over_time(of, [images[:SHOWN]], steps)

    write_csv(out / "disturbances.csv", Row._fields, rows)
    figures.perturbations(out / "disturbances.png", rows)
    for kind, panels in columns.items():
        figures.panels(out / f"{kind}.png", panels, palette)
    return rows


def measure_chimeras(
    of: Automaton, digits: Split, flags: Namespace, out: Path, palette: Palette
) -> dict[str, dict[str, Any]]:
    """How cells of each kind of chimera keep changing their minds, and for comparison those of digits."""
    images, labels = digits.images(slice(None)), digits.labels
    steps, found, rows = LONGER * flags.steps, dict[str, dict[str, Any]](), []
    chosen: dict[str, tuple[LabelShares, int]] = {}
    for above, below in [pair for a, b in PAIRS for pair in ((a, b), (b, a))]:
        kind = f"{above} over {below}"
        of_kind = label_shares(of, mixed(images, labels, above, below, flags.chimeras), steps)
        found[kind] = {
            "count": len(of_kind.image),
            **oscillation(of_kind.shares),
            **said_at_last(of_kind),
        }
        rows += mean_shares(kind, of_kind)
        if len(of_kind.image):
            chosen[kind] = of_kind, most_oscillating(of_kind.shares)
    plain = label_shares(of, images[: flags.chimeras], steps)
    found["digits"] = {"count": len(plain.image), **oscillation(plain.shares)}
    write_csv(out / "chimeras.csv", ("chimera", "step", *map(str, range(of.cell.labels))), rows)
    if chosen:
        figures.chimera_panels(out / "chimeras.png", chosen, palette)
        figures.chimera_shares(out / "chimeras-shares.png", chosen, palette)
    return found


def measure_erasing(of: Automaton, digits: Split, steps: int, out: Path, palette: Palette) -> dict[str, float]:
    """Accuracy and agreement at the end of each part: whole, lower half erased, drawn again."""
    images = digits.images(slice(None))
    curves = erase_and_redraw(of, images, digits.labels, steps)
    rows = [(t + 1, *values) for t, values in enumerate(curves.tolist())]
    write_csv(out / "erased.csv", ("step", "accuracy", "agreement"), rows)
    figures.erased_curves(out / "erased-curves.png", curves)
    whole = images[:SHOWN]
    columns = over_time(of, [whole, without_lower_half(whole), whole], steps)
    shown = len(columns) // len(PARTS)
    figures.panels(out / "erased.png", columns, palette, {shown: "erased", 2 * shown: "drawn again"})
    ends = {part: curves[(i + 1) * steps - 1] for i, part in enumerate(PARTS)}
    found: dict[str, float] = {}
    for part, (accuracy, agreement) in ends.items():
        name = part.replace(" ", "_")
        found |= {f"accuracy_{name}": float(accuracy), f"agreement_{name}": float(agreement)}
    return found


def first(digits: Split, count: int) -> Split:
    """The first of them."""
    return Split(digits.pixels[:count], digits.labels[:count], digits.white)


def everything(dataset: Any) -> Split:
    """The test digits of a dataset, and after them those to train on, new to cells that learned elsewhere."""
    test, train = dataset.test, dataset.train
    pixels = np.concatenate([test.pixels, train.pixels])
    return Split(pixels, np.concatenate([test.labels, train.labels]), test.white)


def panel(of: Automaton, images: np.ndarray, steps: int) -> figures.Panel:
    """Digits after this many steps from zero."""
    return seen(of, images, of.move(images, None, steps, 0, 0))


def seen(of: Automaton, images: np.ndarray, state: Any) -> figures.Panel:
    return figures.Panel(predicted_labels(of.outputs(state)), alive(of.cell, images), images)


def over_time(of: Automaton, parts: Sequence[np.ndarray], steps: int) -> dict[str, figures.Panel]:
    """Digits at chosen steps of each part; from one to the next they change, and states are kept."""
    found: dict[str, figures.Panel] = {}
    state = None
    for part, images in enumerate(parts):
        if state is not None:
            state = mutate(of.cell, state, of.backend.asarray(images))
        for t in range(1, steps + 1):
            state = of.move(images, state, 1, part * steps + t - 1, 0)
            if t in SHOWN_STEPS or t == steps:
                head = f"{part * steps + t}"
                found[head if found else f"step {head}"] = seen(of, images, state)
    return found


def most_oscillating(shares: np.ndarray) -> int:
    """The digit whose leading label changes most often; of several, the one with most that cells say anew."""
    moved = abs(np.diff(shares[len(shares) // 2 :], axis=0)).sum(axis=(0, 2))
    return int(np.lexsort((moved, count_label_switches(shares)))[-1])


def said_at_last(of_kind: LabelShares) -> dict[str, float]:
    """The share of cells that say each digit after the last step, of those that one in a hundred says."""
    mean = of_kind.shares[-1].mean(axis=0) if len(of_kind.image) else np.zeros(0)
    return {f"say_{label}": float(share) for label, share in enumerate(mean) if share >= 0.01}


def mean_shares(kind: str, of_kind: LabelShares) -> list[tuple[Any, ...]]:
    """A row a step: the share of cells that say each digit, the mean over chimeras of one kind."""
    if not len(of_kind.image):
        return []
    return [(kind, t + 1, *each) for t, each in enumerate(of_kind.shares.mean(axis=1).tolist())]


def write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A CSV file; numbers that are not whole with six digits, nothing for NaN."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        for each in rows:
            writer.writerow(written(value) for value in each)


def written(value: Any) -> Any:
    if isinstance(value, float):
        return "" if value != value else f"{value:.6g}"
    return value


def without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def table(rows: Sequence[Row], chimeras: dict[str, dict[str, Any]], erased: dict[str, float]) -> str:
    """The numbers in words and per cent."""
    lines = [f"{'':22}{'accuracy':>10}{'agreement':>11}"]
    lines += [f"{r.disturbance + ' ' + r.amount:22}{r.accuracy:>10.1%}{r.agreement:>11.1%}" for r in rows]
    for part in PARTS:
        name = part.replace(" ", "_")
        lines.append(f"{part:22}{erased[f'accuracy_{name}']:>10.1%}{erased[f'agreement_{name}']:>11.1%}")
    lines.append(f"\n{'':22}{'oscillating':>12}{'changes in 100 steps':>22}")
    for kind, of_kind in chimeras.items():
        lines.append(f"{kind:22}{of_kind['oscillating']:>12.1%}{of_kind['changes_per_100_steps']:>22.1f}")
    return "\n".join(lines)
