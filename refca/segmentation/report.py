"""Measuring photographs: IoU of the test set, curves while photographs change, and the paper's pictures.

Source: the paper, section 5 and appendix; `spec/programs.md`.
"""

from __future__ import annotations

import json
import sys
from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import write_text
from refca.cli import (
    announce,
    choose_backend,
    counting_bar,
    describe_backend,
    memory_for,
    progress_bar,
)
from refca.data import CLASSES, Photographs, load
from refca.errors import InvalidInput
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import SLICE, WAYS, Curves, curves, iou_at, summary, unmeasured
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.training import split_validation
from refca.training.run_directory import measured_in
from refca.training.train_state import Weights
from refca.training.warm_up import warm_up

PICTURES = (
    "curves.png",
    "curves-magnitudes.png",
    "segmentation.png",
    "hidden.png",
    "replaced.png",
    "animation.gif",
)


DEFAULTS: Mapping[str, Any] = {
    "size": None,
    "at": "40",
    "curve_samples": None,
    "every": 40,
    "shift": 4,
    "adversarial": None,
    "compare": None,
    "validation": False,
    "steps": 400,
}


def add_flags(group: _ArgumentGroup) -> None:
    group.add_argument("--size", metavar="N", type=int, help="pixels of a side; default: the one trained on")
    group.add_argument(
        "--at", metavar="N,N", help="steps after which all --samples are measured, as 40,400; default: 40"
    )
    group.add_argument(
        "--curve-samples", metavar="N", type=int, help="photographs of the curves; default: 64, or --samples"
    )
    group.add_argument(
        "--every",
        metavar="N",
        type=int,
        help="steps after which photographs change in the curves; default: 40",
    )
    group.add_argument(
        "--validation",
        action="store_true",
        default=None,
        help="measure the training photographs that were held out, not the test photographs",
    )
    group.add_argument("--shift", metavar="N", type=int, help="pixels by which they shift; default: 4")
    group.add_argument(
        "--adversarial",
        nargs="?",
        const=CLASSES[0],
        choices=CLASSES,
        help="change a corner of a few photographs until cells say this label, background if none is named",
    )
    group.add_argument(
        "--compare",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="measure nothing: draw the curves of this run and of these, all measured before",
    )


def run(flags: Namespace, weights: Weights, out: Path) -> None:
    """Measure, draw, and write everything into `out`."""
    if flags.compare:
        compare([(model, measured_in(model)) for model in (flags.model, *flags.compare)], out)
        return
    params, done = weights.params, weights.done
    experiment: Any = weights.experiment
    if flags.dataset:
        experiment = experiment.with_(dataset=flags.dataset)
    cell, size = experiment.cell, experiment.size if flags.size is None else flags.size
    if size % cell.stride:
        raise InvalidInput(f"--size must be a multiple of the stride of these cells, {cell.stride}; got {size}")
    photographs = load_samples(experiment, flags, size)
    samples = number(flags, "samples", len(photographs), len(photographs))
    curve_samples = number(flags, "curve_samples", min(64, samples), len(photographs))
    at = steps_of(flags.at)
    if flags.every < 1:
        raise InvalidInput(f"--every must be at least 1, got {flags.every}")
    if not 0 <= flags.shift < size:
        raise InvalidInput(f"--shift goes from 0 to {size - 1} on photographs of {size}×{size}, got {flags.shift}")
    kind = "validation" if flags.validation else "test"
    name, backend = choose_backend(flags.backend, flags.device)
    announce(describe_backend(name, backend), flags.model, done, experiment.steps)
    print(f"{experiment.dataset} at {size}×{size}, {samples:,} {kind} photographs; writing to {out}")
    out.mkdir(parents=True, exist_ok=True)

    at_once = min(SLICE, max(samples, curve_samples))
    moved = samples * at[-1] + len(WAYS) * curve_samples * flags.steps
    fewer = f"measure fewer, with --samples {max(1, at_once // 2)}, or use another --backend"
    with memory_for(f"{at_once} photographs of {size}×{size} at a time", fewer):
        warm_up(backend, cell, at_once, size, "ce" if flags.adversarial else None, label_map=True)
        with progress_bar(moved, unit="photograph-steps") as bar:
            ious = iou_at(
                cell,
                params,
                backend,
                photographs,
                samples=samples,
                at=at,
                seed=flags.seed,
                on_progress=bar.update,
            )
            measured = curves(
                cell,
                params,
                backend,
                photographs,
                samples=curve_samples,
                steps=flags.steps,
                every=flags.every,
                shift=flags.shift,
                seed=flags.seed,
                on_progress=bar.update,
            )
    if sentence := unmeasured(at, ious, measured):
        print(f"refca: {sentence}", file=sys.stderr)
    values: dict[str, Any] = summary(at, ious)
    setting = {
        "model": str(flags.model),
        "dataset": experiment.dataset,
        "size": size,
        "samples": samples,
        "at": at,
    }
    setting |= {"curve_samples": curve_samples, "steps": flags.steps, "every": flags.every}
    setting |= {"shift": flags.shift, "seed": flags.seed, "backend": name, "training_steps": done}
    setting |= {"split": kind}
    write_values(out, values | setting)
    write_curves(out / "evaluation.csv", measured)
    draw({"": measured}, out, "curves")
    film(experiment, params, backend, photographs, out, flags)
    print(table(at, ious))
    if flags.adversarial:
        values |= adversarial(experiment, params, backend, photographs, out, flags)
        write_values(out, values | setting)
    drawn = [*PICTURES, *(["adversarial.png"] if flags.adversarial else [])]
    print(f"see in {out}: {', '.join(drawn)}")


def load_samples(experiment: SegmentationExperiment, flags: Namespace, size: int) -> Photographs:
    """Load the photographs to measure. Raises InvalidInput for --validation where none were held out."""
    if flags.validation and not experiment.validation:
        raise InvalidInput(f"--validation needs weights whose training held photographs out; {flags.model} has none")
    split = "train" if flags.validation else "test"
    with counting_bar("photographs") as show:
        dataset = load(experiment.dataset, flags.data, size=size, splits=(split,), on_progress=show)
    return split_validation(experiment, dataset.train)[1] if flags.validation else dataset.test


def write_values(out: Path, values: dict[str, Any]) -> None:
    write_text(out / "evaluation.json", json.dumps(values, indent=2) + "\n")


def film(
    experiment: SegmentationExperiment,
    params: Any,
    backend: Any,
    photographs: Photographs,
    out: Path,
    flags: Namespace,
) -> None:
    """segmentation.png and hidden.png of photographs that stay; replaced.png and animation.gif of others."""
    from refca.segmentation import rollout as pictures

    cell, every = experiment.cell, flags.every
    stay, change = flags.steps, min(flags.steps, pictures.SEGMENTS * every)
    with progress_bar(stay + change + 2, unit="filmed steps") as bar:
        record = partial(pictures.record, cell, params, backend, photographs, seed=flags.seed, on_progress=bar.update)
        kept = record("kept", steps=stay)
        pictures.segmentation_grid(kept, out / "segmentation.png")
        pictures.hidden_grid(kept, out / "hidden.png")
        replaced = record("replaced", steps=change, every=every)
        pictures.replaced_grid(replaced, out / "replaced.png", every)
        pictures.write_animation(replaced, out / "animation.gif")


def adversarial(
    experiment: SegmentationExperiment,
    params: Any,
    backend: Any,
    photographs: Photographs,
    out: Path,
    flags: Namespace,
) -> dict[str, Any]:
    """adversarial.png, and what evaluation.json holds of it."""
    from refca.segmentation import adversarial as attacks

    label = CLASSES.index(flags.adversarial)
    with progress_bar(attacks.ITERATIONS, unit="iterations") as bar:
        found = attacks.attack(
            experiment.cell, params, backend, photographs, label, seed=flags.seed, on_progress=bar.update
        )
    attacks.adversarial_grid(found, out / "adversarial.png")
    values = attacks.adversarial_summary(found)
    for when in ("before", "after"):
        ious = (values[f"adversarial_iou_{name}_{when}"] for name in CLASSES)
        shown = (f"{name} {in_words(value)}" for name, value in zip(CLASSES, ious, strict=True))
        print(f"IoU {when} a corner has changed, outside it: {', '.join(shown)}")
    return values


def compare(measured: list[tuple[Path, Path]], out: Path) -> None:
    """comparison.png and comparison-magnitudes.png of these models, each with where its evaluation is."""
    runs = {path.name: read_curves(path / "evaluation.csv", model) for model, path in measured}
    if len(runs) < len(measured):
        raise InvalidInput("--compare names each run by its directory, and two of these have the same name")
    draw(runs, out, "comparison")
    print(f"see {out / 'comparison.png'} and {out / 'comparison-magnitudes.png'}")


def draw(runs: dict[str, dict[str, Curves]], out: Path, name: str) -> None:
    """NAME.png with IoU, and NAME-magnitudes.png with the gate and the paper's norms."""
    from refca.segmentation.figures import iou_curves, magnitude_curves

    iou_curves(runs, out / f"{name}.png")
    magnitude_curves(runs, out / f"{name}-magnitudes.png")


def number(flags: Namespace, name: str, default: int, most: int) -> int:
    """How many photographs a flag asks for. Raises InvalidInput for more than there are, or none."""
    value = getattr(flags, name)
    if value is None:
        return default
    if not 1 <= value <= most:
        flag = name.replace("_", "-")
        raise InvalidInput(f"--{flag} goes from 1 to {most}, the number of photographs to measure; got {value}")
    return int(value)


def steps_of(text: str) -> list[int]:
    """The steps in text as "40,400", ascending, each once. Raises InvalidInput for other text."""
    try:
        at = sorted({int(step) for step in text.split(",")})
    except ValueError:
        at = []
    if not at or at[0] < 0:
        raise InvalidInput(f"--at needs steps as 40,400; got {text!r}")
    return at


def table(at: list[int], ious: np.ndarray) -> str:
    """IoU of each class at each step."""
    lines = [f"{'IoU':14}" + "".join(f"{name:>12}" for name in CLASSES)]
    for step, row in zip(at, ious, strict=True):
        lines.append(f"{f'at step {step}':14}" + "".join(f"{in_words(value):>12}" for value in row))
    return "\n".join(lines)


def in_words(iou: float | None) -> str:
    return "none" if iou is None or iou != iou else f"{iou:.3f}"
