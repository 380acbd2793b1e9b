"""The report on photographs: IoU of the test set, curves while photographs change, and the paper's pictures.

Source: the paper, section 5 and appendix; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import Namespace, _ArgumentGroup
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import write_text
from refca.cli import (
    MOST,
    announce,
    choose_backend,
    counting_bar,
    describe_backend,
    memory_for,
    note,
    progress_bar,
    warn,
)
from refca.confusion import accuracy_of, iou_of, mean_iou, to_json
from refca.data import Photographs, full_path
from refca.distributed import current, first_of_machine
from refca.doubts import LOOKED_AT, faint
from refca.drawing.confusion import confusion_matrices
from refca.errors import InvalidInput
from refca.segmentation.columns import iou_names
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import (
    CONDITIONS,
    SLICE,
    Curves,
    confusion_at,
    curves,
    summary,
    totals,
    unmeasured,
)
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.training import split_validation
from refca.training.run_directory import publishing
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
FILES = ("evaluation.json", "evaluation.csv", *PICTURES, "confusion.png", "adversarial.png")
MOST_MATRICES = 4  # steps whose confusion matrix is drawn


DEFAULTS: Mapping[str, Any] = {
    "size": None,
    "at": "40",
    "curve_samples": None,
    "every": 40,
    "shift": 4,
    "adversarial": None,
    "adversarial_region": None,
    "validation": False,
    "steps": 400,
}


def add_flags(group: _ArgumentGroup) -> None:
    group.add_argument(
        "--size", metavar="N", type=int, help="side of the photographs in pixels; default: as in training"
    )
    group.add_argument(
        "--at", metavar="N,N", help="steps after which IoU is measured on all samples, such as 40,400; default: 40"
    )
    group.add_argument(
        "--curve-samples", metavar="N", type=int, help="number of photographs for the curves; default: 64"
    )
    group.add_argument(
        "--every",
        metavar="N",
        type=int,
        help="steps between changes of the photographs in the curves; default: 40",
    )
    group.add_argument(
        "--shift", metavar="N", type=int, help="pixels by which photographs shift in the curves; default: 4"
    )
    group.add_argument(
        "--validation",
        action="store_true",
        default=None,
        help="measure the training photographs that were held out instead of the test photographs",
    )
    group.add_argument(
        "--adversarial",
        nargs="?",
        const="",
        metavar="LABEL",
        help="also change a region of six photographs, in 40 gradient steps, so that cells predict this label (without "
        "a label: background)",
    )
    group.add_argument(
        "--adversarial-region",
        choices=("corner", "label"),
        help="region that --adversarial changes: the upper left corner, so that cells predict the label everywhere; or "
        "all pixels with the label, made gray first, so that they are predicted as it again; default: corner",
    )


def run(flags: Namespace, weights: Weights, out: Path) -> None:
    """Measure the photographs, print a table, and write tables and figures into `out`."""
    params, done = weights.params, weights.done
    experiment: Any = weights.experiment
    if flags.dataset:
        experiment = experiment.on_data(full_path(flags.dataset))
    cell, size = experiment.cell, experiment.size if flags.size is None else flags.size
    if size % cell.stride:
        raise InvalidInput(f"--size must be a multiple of {cell.stride}, the stride of these cells, got {size}")
    photographs = load_samples(experiment, flags, size)
    samples = number(flags, "samples", len(photographs), len(photographs))
    curve_samples = number(flags, "curve_samples", min(64, samples), len(photographs))
    at = steps_of(flags.at)
    if flags.adversarial and flags.adversarial not in photographs.classes:
        known = ", ".join(photographs.classes)
        raise InvalidInput(f"--adversarial must be one of {known}, got {flags.adversarial}")
    if flags.adversarial is None and flags.adversarial_region is not None:
        raise InvalidInput("--adversarial-region needs --adversarial, which says towards which label")
    if not 0 <= flags.shift < size:
        raise InvalidInput(f"--shift must be from 0 to {size - 1} for photographs of {size}x{size}, got {flags.shift}")
    kind = "validation" if flags.validation else "test"
    name, backend = choose_backend(flags.backend, flags.device)
    announce(describe_backend(name, backend), flags.model, done, experiment.steps)
    note(f"{experiment.dataset} at {size}x{size}, {samples:,} {kind} photographs; writing to {out}")
    if warning := faint((float(photographs.images(slice(min(samples, LOOKED_AT))).max()) + 1) / 2):
        warn(f"{experiment.dataset}: {warning}")

    def measure() -> tuple[np.ndarray, dict[str, Curves]]:
        """Return confusion matrices and curves, on rank 0; the other ranks do their share."""
        at_once = min(SLICE, max(samples, curve_samples))
        moved = samples * at[-1] + len(CONDITIONS) * curve_samples * flags.steps
        fewer = f"use a smaller --samples, such as {max(1, at_once // 2)}, or another --backend"
        with memory_for(f"{at_once} photographs of {size}x{size} at a time", fewer):
            with first_of_machine():
                warm_up(backend, cell, at_once, size, "ce" if flags.adversarial is not None else None, label_map=True)
            with progress_bar(moved, unit="photograph-steps") as bar:
                given = cell, params, backend, photographs
                common: dict[str, Any] = {"seed": flags.seed}
                common |= {"on_progress": lambda count: bar.update(count * current().size)}
                counts = confusion_at(*given, samples=samples, at=at, **common)
                common |= {"every": flags.every, "shift": flags.shift}
                return counts, curves(*given, samples=curve_samples, steps=flags.steps, **common)

    if current().rank:
        measure()
        return
    with publishing(out, FILES) as folder:
        counts, measured = measure()
        ious = iou_of(counts)
        if sentence := unmeasured(at, ious, measured):
            print(f"refca: {sentence}", file=sys.stderr)
        print(table(at, counts, photographs.classes))  # before the pictures, which take long and may be interrupted
        values: dict[str, Any] = summary(at, ious, photographs.classes) | totals(at, counts)
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
        write_curves(folder / "evaluation.csv", measured)
        draw({"": measured}, folder, "curves")
        panels = {f"Step {step}": each for step, each in list(zip(at, counts, strict=True))[:MOST_MATRICES]}
        confusion_matrices(panels, photographs.classes, folder / "confusion.png", "pixels")
        draw_rollouts(experiment, params, backend, photographs, folder, flags)
        if flags.adversarial is not None:
            values |= adversarial(experiment, params, backend, photographs, folder, flags)
        write_values(folder, values | setting)
    note(f"see in {out}: {', '.join(name for name in FILES[2:] if (out / name).exists())}")


def load_samples(experiment: SegmentationExperiment, flags: Namespace, size: int) -> Photographs:
    """Load the photographs to measure. Raises InvalidInput for --validation where none were held out."""
    if flags.validation and not (experiment.validation or experiment.validate_every):
        raise InvalidInput(f"--validation needs weights whose training held photographs out; {flags.model} has none")
    split = "train" if flags.validation else "test"
    with counting_bar("photographs") as show:
        dataset = experiment.with_(size=size).load_data(flags.data, (split,), show)
    return split_validation(experiment, dataset.train)[1] if flags.validation else dataset.test


def write_values(out: Path, values: dict[str, Any]) -> None:
    write_text(out / "evaluation.json", to_json(values))


def draw_rollouts(
    experiment: SegmentationExperiment,
    params: Any,
    backend: Any,
    photographs: Photographs,
    out: Path,
    flags: Namespace,
) -> None:
    """Write segmentation.png and hidden.png of kept photographs, replaced.png and animation.gif of replaced ones."""
    from refca.segmentation import rollout as pictures

    cell, every = experiment.cell, flags.every
    stay, change = flags.steps, min(flags.steps, pictures.SEGMENTS * every)
    with progress_bar(stay + change + 2, unit="drawn steps") as bar:
        rollout = partial(pictures.rollout, cell, params, backend, photographs, seed=flags.seed, on_progress=bar.update)
        kept = rollout("kept", steps=stay)
        pictures.segmentation_grid(kept, out / "segmentation.png")
        pictures.hidden_grid(kept, out / "hidden.png")
        replaced = rollout("replaced", steps=change, every=every)
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
    """Write adversarial.png and return its numbers for evaluation.json."""
    from refca.segmentation import adversarial as attacks

    names = photographs.classes
    label = names.index(flags.adversarial or names[0])
    with progress_bar(attacks.ITERATIONS, unit="iterations") as bar:
        found = attacks.attack(
            experiment.cell,
            params,
            backend,
            photographs,
            label,
            region=flags.adversarial_region or "corner",
            seed=flags.seed,
            on_progress=bar.update,
        )
    attacks.adversarial_grid(found, out / "adversarial.png")
    values = attacks.adversarial_summary(found)
    whens = {"before": "before the attack", "gray": "with a gray region", "after": "after the attack"}
    for when in found.image:
        ious = (values[f"adversarial_{name}_{when}"] for name in iou_names(names))
        shown = (f"{name} {formatted(value)}" for name, value in zip(names, ious, strict=True))
        inside, outside = (formatted(values[f"adversarial_{where}_{when}"]) for where in ("inside", "outside"))
        print(f"IoU outside the region, {whens[when]}: {', '.join(shown)}")
        print(f"pixels that predict {names[label]}: {inside} inside the region, {outside} outside")
    return values


def compare(runs: Mapping[str, tuple[Path, Path]], out: Path) -> list[str]:
    """Write comparison.png and comparison-magnitudes.png of runs by name: a model and the folder of its evaluation.

    Raises InvalidInput for runs whose classes are not the same.
    """
    measured = {name: read_curves(folder / "evaluation.csv", model) for name, (model, folder) in runs.items()}
    classes = {
        name: ", ".join(key.removeprefix("iou_") for key in run["kept"] if key.startswith("iou_"))
        for name, run in measured.items()
    }
    if len(set(classes.values())) > 1:
        each = "; ".join(f"{name} has {labels}" for name, labels in classes.items())
        raise InvalidInput(f"--compare needs runs with the same classes, but {each}")
    draw(measured, out, "comparison")
    return ["comparison.png", "comparison-magnitudes.png"]


def draw(runs: dict[str, dict[str, Curves]], out: Path, name: str) -> None:
    """Write NAME.png with IoU, and NAME-magnitudes.png with gate and magnitudes."""
    from refca.segmentation.figures import iou_curves, magnitude_curves

    iou_curves(runs, out / f"{name}.png")
    magnitude_curves(runs, out / f"{name}-magnitudes.png")


def number(flags: Namespace, name: str, default: int, most: int) -> int:
    """Return a flag's number of photographs. Raises InvalidInput unless it is from 1 to `most`."""
    value = getattr(flags, name)
    if value is None:
        return default
    if not 1 <= value <= most:
        flag = name.replace("_", "-")
        raise InvalidInput(f"--{flag} must be from 1 to {most}, the number of photographs, got {value}")
    return int(value)


def steps_of(text: str) -> list[int]:
    """Return the ascending steps in text such as "40,400". Raises InvalidInput for other text."""
    try:
        at = sorted({int(step) for step in text.split(",")})
    except ValueError:
        at = []
    if not at or not 0 <= at[0] <= at[-1] <= MOST:
        raise InvalidInput(f"--at must be steps such as 40,400, got {text!r}")
    return at


def table(at: list[int], counts: np.ndarray, names: Sequence[str]) -> str:
    """Return a table of the IoU of each class at each step, their mean, and the accuracy of all pixels."""
    lines = [f"{'IoU':14}" + "".join(f"{name:>12}" for name in (*names, "mean", "accuracy"))]
    for step, each in zip(at, counts, strict=True):
        values = (*iou_of(each), mean_iou(each), accuracy_of(each))
        lines.append(f"{f'at step {step}':14}" + "".join(f"{formatted(value):>12}" for value in values))
    return "\n".join(lines)


def formatted(iou: float | None) -> str:
    return "none" if iou is None or iou != iou else f"{iou:.3f}"
