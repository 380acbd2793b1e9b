"""The robustness report on digits: numbers and pictures of inputs unlike the training data.

The inputs are digits of other sizes, stroke widths and positions, digits from another source, chimeras of two
digits, and digits that are erased and drawn again.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.
"""

from __future__ import annotations

import json
from argparse import Namespace, _ArgumentGroup
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import write_csv, write_text
from refca.cli import (
    memory_for,
    note,
    progress_bar,
)
from refca.data import Split, load
from refca.definition.state import mutate
from refca.definition.step import alive
from refca.digits import robustness_figures as figures
from refca.digits.evaluation import slice_size
from refca.digits.perturbations import without_lower_half
from refca.digits.report import begin
from refca.digits.robustness import (
    PAIRS,
    PARTS,
    LabelShares,
    Row,
    Runner,
    count_label_switches,
    erase_and_redraw,
    label_shares,
    make_chimeras,
    make_runner,
    oscillation,
    perturbed,
    row,
)
from refca.distributed import current, first_of_machine, shared_map
from refca.drawing.palette import PALETTES, Palette, for_names, get_palette, predicted_labels
from refca.errors import InvalidInput
from refca.training.experiment import Experiment
from refca.training.run_directory import publishing
from refca.training.train_state import Weights
from refca.training.warm_up import warm_up

FILES = (
    "robustness.json",
    *(f"{name}.csv" for name in ("perturbations", "chimeras", "erased")),
    *(f"{name}.png" for name in ("perturbations", "size", "drawn", "strokes", "shift", "source")),
    *(f"{name}.png" for name in ("chimeras", "chimeras-shares", "erased-curves", "erased")),
)
SAMPLES = 1000  # default number of digits
SHOWN = 6  # digits in a picture
TRUE = "true label"
OTHER_SOURCE = "optdigits-28"
CHIMERA_FACTOR = 3  # chimeras run this many times longer
SHOWN_STEPS = (1, 5, 20, 100)  # steps of each part in erased.png

KINDS = [pair for a, b in PAIRS for pair in ((a, b), (b, a))]  # of chimeras: the digits above and below

DEFAULTS: Mapping[str, Any] = {"chimeras": 100, "noise": None, "palette": "colorblind", "steps": 200}


def add_flags(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--chimeras", metavar="N", type=int, help="number of chimeras of each kind, such as 3 over 5; default: 100"
    )
    group.add_argument(
        "--noise",
        metavar="X",
        type=float,
        help="standard deviation of the residual noise; default: as in training, or 0.02 if unknown",
    )
    group.add_argument("--palette", choices=tuple(PALETTES), help="colours of the labels; default: colorblind")


def run(flags: Namespace, weights: Weights, out: Path) -> None:
    """Measure robustness, print a table, and write tables and figures into `out`."""
    check_digits(flags.model, weights.experiment)
    experiment, digits, samples, backend, setting = begin(flags, weights, out, SAMPLES)
    digits_used, others = digits.part(0, samples), other_source(weights.experiment or experiment, samples)

    at_once = min(samples, slice_size(experiment.cell, backend))
    palette = for_names(get_palette(flags.palette), experiment.names)
    fewer = "use a smaller --samples or --chimeras, or another --backend"
    if current().rank:
        runner = make_runner(experiment.cell, weights.params, backend, flags.seed, lambda count: None)
        with first_of_machine():
            warm_up(backend, experiment.cell, at_once, digits.side)
        help_to_measure(runner, digits, digits_used, others, flags)
        return
    with publishing(out, FILES) as folder:
        with memory_for(f"{at_once} digits or {flags.chimeras} chimeras at a time", fewer):
            with first_of_machine():
                warm_up(backend, experiment.cell, at_once, digits.side)
            with progress_bar(digit_steps(digits_used, others, flags), unit="digit-steps") as bar:
                runner = make_runner(experiment.cell, weights.params, backend, flags.seed, bar.update)
                rows = measure_perturbations(runner, digits_used, others, flags.steps, folder, palette)
                found: dict[str, Any] = {"perturbations": [each._asdict() for each in rows]}
                found["chimeras"] = measure_chimeras(runner, digits, flags, folder, palette)
                found["erased"] = measure_erasing(runner, digits_used, flags.steps, folder, palette)
                bar.total = bar.n  # there may be fewer chimeras than requested
        write_text(folder / "robustness.json", json.dumps(without_nan(found | setting), indent=2) + "\n")
    print(table(rows, found["chimeras"], found["erased"]))
    note(f"see the pictures in {out}")


def help_to_measure(runner: Runner, digits: Split, used: Split, others: Split | None, flags: Namespace) -> None:
    """Do the share of a rank that writes nothing: the measurements of rank 0, in its order."""
    for kind, amount, changed in perturbed(used.images(slice(None))):
        row(runner, kind, amount, changed, used.labels, flags.steps)
    if others is not None:
        row(runner, "source", OTHER_SOURCE, others.images(slice(None)), others.labels, flags.steps)
    list(shares_of_chimeras(runner, digits, flags))
    erase_and_redraw(runner, used.images(slice(None)), used.labels, flags.steps)


def shares_of_chimeras(runner: Runner, digits: Split, flags: Namespace) -> Iterator[LabelShares]:
    """Yield the predicted labels of each kind of chimera, then of digits; ranks share the kinds, rank 0 gets all."""
    images, labels = digits.images(slice(None)), digits.labels

    def of_kind(kind: tuple[int, int] | None) -> LabelShares:
        chosen = make_chimeras(images, labels, *kind, flags.chimeras) if kind else images[: flags.chimeras]
        return label_shares(runner, chosen, CHIMERA_FACTOR * flags.steps)

    return shared_map(of_kind, [*KINDS, None])


def check_digits(model: Path, experiment: Experiment | None) -> None:
    """Raise InvalidInput for weights of other things than digits: sizes, strokes and chimeras are of ink."""
    if experiment is None or (experiment.channels, experiment.names) == (1, tuple("0123456789")):
        return
    kinds = f"{experiment.channels} channels and the labels {', '.join(experiment.names[:4])}"
    raise InvalidInput(
        f"robustness changes the size, the strokes and the halves of digits from 0 to 9 in one channel; {model} holds "
        f"weights for {kinds}{', ...' if experiment.labels > 4 else ''}; python -m refca.evaluate measures these"
    )


def other_source(experiment: Experiment, samples: int) -> Split | None:
    """Return the first `samples` digits of another source: its test digits, followed by its training digits.

    For cells trained on mnist-optdigits these are test digits alone; for cells trained on optdigits alone, None.
    """
    if experiment.dataset.startswith("optdigits"):
        return None
    others = load(OTHER_SOURCE)
    unseen = others.test if experiment.dataset == "mnist-optdigits" else everything(others)
    return unseen.part(0, samples)


def digit_steps(digits: Split, others: Split | None, flags: Namespace) -> int:
    """Return the number of digit-steps of a report, if all requested chimeras are found."""
    times = sum(1 for _ in perturbed(digits.images(slice(1)))) + len(PARTS)
    runs = times * (len(digits) + min(SHOWN, len(digits)))
    runs += 0 if others is None else len(others) + min(SHOWN, len(others))
    return flags.steps * (runs + CHIMERA_FACTOR * (2 * len(PAIRS) + 1) * flags.chimeras)


def measure_perturbations(
    runner: Runner, digits: Split, others: Split | None, steps: int, out: Path, palette: Palette
) -> list[Row]:
    """Return a row for each perturbation and the other source; write perturbations.csv and pictures."""
    rows, columns = [], dict[str, dict[str, figures.Panel]]()
    for kind, amount, changed in perturbed(digits.images(slice(None))):
        rows.append(row(runner, kind, amount, changed, digits.labels, steps))
        columns.setdefault(kind, {})[amount] = panel(runner, changed[:SHOWN], steps)
    if others is not None:
        images = others.images(slice(None))
        rows.append(row(runner, "source", OTHER_SOURCE, images, others.labels, steps))
        columns["source"] = over_time(runner, [images[:SHOWN]], steps)

    write_csv(out / "perturbations.csv", Row._fields, rows, digits=6)
    figures.perturbations(out / "perturbations.png", rows)
    for kind, panels in columns.items():
        shown = others if kind == "source" and others is not None else digits
        figures.panels(out / f"{kind}.png", panels, palette, names=true_labels(shown, palette), names_head=TRUE)
    return rows


def measure_chimeras(
    runner: Runner, digits: Split, flags: Namespace, out: Path, palette: Palette
) -> dict[str, dict[str, Any]]:
    """Return the oscillation of each kind of chimera, and of digits for comparison; write chimeras.csv and pictures."""
    found, rows = dict[str, dict[str, Any]](), []
    chosen: dict[str, tuple[LabelShares, int]] = {}
    shares = shares_of_chimeras(runner, digits, flags)
    for above, below in KINDS:
        kind, of_kind = f"{above} over {below}", next(shares)
        found[kind] = {
            "count": len(of_kind.image),
            **oscillation(of_kind.shares),
            **last_shares(of_kind),
        }
        rows += mean_shares(kind, of_kind)
        if len(of_kind.image):
            chosen[kind] = of_kind, most_oscillating(of_kind.shares)
    (plain,) = shares
    found["digits"] = {"count": len(plain.image), **oscillation(plain.shares)}
    write_csv(out / "chimeras.csv", ("chimera", "step", *map(str, range(runner.cell.labels))), rows, digits=6)
    if chosen:
        figures.chimera_panels(out / "chimeras.png", chosen, palette)
        figures.chimera_shares(out / "chimeras-shares.png", chosen, palette)
    return found


def measure_erasing(runner: Runner, digits: Split, steps: int, out: Path, palette: Palette) -> dict[str, float]:
    """Return accuracy and agreement at the end of each part: whole, lower half erased, drawn again."""
    images = digits.images(slice(None))
    curves = erase_and_redraw(runner, images, digits.labels, steps)
    rows = [(t + 1, *values) for t, values in enumerate(curves.tolist())]
    write_csv(out / "erased.csv", ("step", "accuracy", "agreement"), rows, digits=6)
    figures.erased_curves(out / "erased-curves.png", curves)
    whole = images[:SHOWN]
    columns = over_time(runner, [whole, without_lower_half(whole), whole], steps)
    shown = len(columns) // len(PARTS)
    divided = {shown: "erased", 2 * shown: "drawn again"}
    figures.panels(out / "erased.png", columns, palette, divided, true_labels(digits, palette), TRUE)
    ends = {part: curves[(i + 1) * steps - 1] for i, part in enumerate(PARTS)}
    found: dict[str, float] = {}
    for part, (accuracy, agreement) in ends.items():
        name = part.replace(" ", "_")
        found |= {f"accuracy_{name}": float(accuracy), f"agreement_{name}": float(agreement)}
    return found


def true_labels(digits: Split, palette: Palette) -> list[str]:
    """Return the true labels of the digits in pictures, by name."""
    return [palette.names[label] for label in digits.labels[:SHOWN]]


def everything(dataset: Any) -> Split:
    """Return the test digits of a data set followed by its training digits."""
    test, train = dataset.test, dataset.train
    pixels = np.concatenate([test.pixels, train.pixels])
    return Split(pixels, np.concatenate([test.labels, train.labels]), test.white)


def panel(runner: Runner, images: np.ndarray, steps: int) -> figures.Panel:
    """Return the panel of digits after a number of steps from zero."""
    return panel_of(runner, images, runner.run(images, None, steps, 0, 0))


def panel_of(runner: Runner, images: np.ndarray, state: Any) -> figures.Panel:
    """Return the panel of digits in a state."""
    return figures.Panel(predicted_labels(runner.logits(state)), alive(runner.cell, images), images)


def over_time(runner: Runner, parts: Sequence[np.ndarray], steps: int) -> dict[str, figures.Panel]:
    """Return panels at chosen steps of each part; between parts the images change and states are kept."""
    found: dict[str, figures.Panel] = {}
    state = None
    for part, images in enumerate(parts):
        if state is not None:
            state = mutate(runner.cell, state, runner.backend.asarray(images), runner.backend.xp)
        for t in range(1, steps + 1):
            state = runner.run(images, state, 1, part * steps + t - 1, 0)
            if t in SHOWN_STEPS or t == steps:
                head = f"{part * steps + t}"
                found[head if found else f"step {head}"] = panel_of(runner, images, state)
    return found


def most_oscillating(shares: np.ndarray) -> int:
    """Return the digit whose leading label changes most often; among several, the one whose shares change most."""
    change = abs(np.diff(shares[len(shares) // 2 :], axis=0)).sum(axis=(0, 2))
    return int(np.lexsort((change, count_label_switches(shares)))[-1])


def last_shares(of_kind: LabelShares) -> dict[str, float]:
    """Return the mean share of each label after the last step, for labels with a share of at least 0.01."""
    mean = of_kind.shares[-1].mean(axis=0) if len(of_kind.image) else np.zeros(0)
    return {f"share_{label}": float(share) for label, share in enumerate(mean) if share >= 0.01}


def mean_shares(kind: str, of_kind: LabelShares) -> list[tuple[Any, ...]]:
    """Return a row for each step: the share of each label, mean over the chimeras of one kind."""
    if not len(of_kind.image):
        return []
    return [(kind, t + 1, *each) for t, each in enumerate(of_kind.shares.mean(axis=1).tolist())]


def without_nan(value: Any) -> Any:
    """Return a value with None in place of NaN, which JSON lacks."""
    if isinstance(value, dict):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value


def table(rows: Sequence[Row], chimeras: dict[str, dict[str, Any]], erased: dict[str, float]) -> str:
    """Return the table that is printed, in per cent."""
    lines = [f"{'':22}{'accuracy':>10}{'agreement':>11}"]
    lines += [f"{r.perturbation + ' ' + r.amount:22}{r.accuracy:>10.1%}{r.agreement:>11.1%}" for r in rows]
    for part in PARTS:
        name = part.replace(" ", "_")
        lines.append(f"{part:22}{erased[f'accuracy_{name}']:>10.1%}{erased[f'agreement_{name}']:>11.1%}")
    lines.append(f"\n{'':22}{'oscillating':>12}{'changes in 100 steps':>22}")
    for kind, of_kind in chimeras.items():
        lines.append(f"{kind:22}{of_kind['oscillating']:>12.1%}{of_kind['changes_per_100_steps']:>22.1f}")
    return "\n".join(lines)
