"""The section of results/segmentation/README.md on figures of the paper that need no other training.

    Figure 15        the gate in training, from metrics.csv
    Figure 11        other photographs every 40 steps, from evaluation.csv
    Figures 16, 17   magnitudes over ten times the horizon, from evaluation.csv
    Figure 20        the adversarial image, from adversarial.json, if it was measured

Source: the paper, 5.5, A.1 and A.2; `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from kept import read_columns, read_json
from words import aligned, percent

from refca.segmentation.curves_csv import read_curves
from refca.segmentation.evaluation import Curves
from refca.segmentation.figures import TITLES

STEPS = (1, 10, 40, 100, 200, 400)  # columns of the table of magnitudes
WHEN = {"before": "the photograph", "gray": "animal made gray", "after": "and then changed"}
PLACES = ("inside", "outside")


def section(folder: Path, horizon: int) -> str:
    """Return the tables, the picture and the sentences of the run in a folder, trained for `horizon` steps."""
    parts = [f"### {folder.name}", *magnitudes(folder, horizon), *replacements(folder), *gate(folder)]
    parts += adversarial(folder)
    return "\n\n".join(parts)


def magnitudes(folder: Path, horizon: int) -> Iterator[str]:
    """Yield the table of gate and magnitudes at STEPS, and a sentence on ten times the horizon."""
    kept = read_curves(folder / "evaluation.csv", folder)["kept"]
    steps = [step for step in STEPS if step <= len(kept["step"])]
    names = [name for name in TITLES if not name.startswith("iou") and np.isfinite(kept[name]).any()]
    rows = [("mean, photograph kept", *(f"step {step}" for step in steps))]
    rows += [(TITLES[name].lower(), *(f"{kept[name][step - 1]:.3f}" for step in steps)) for name in names]
    yield aligned(rows)
    last = 10 * horizon
    if last > len(kept["step"]):
        return
    yield (
        f"Figures 16 and 17: from step {horizon} to {last}, ten times the horizon, the magnitude of states grows by a "
        f"factor of\n{growth(kept, 'state', horizon, last):.2f} and of logits by "
        f"{growth(kept, 'logits', horizon, last):.2f}, in the second half of these steps by "
        f"{growth(kept, 'state', last // 2, last):.3f} and {growth(kept, 'logits', last // 2, last):.3f}; the change "
        f"in a step is\n{growth(kept, 'state_change', horizon, last):.2f} and "
        f"{growth(kept, 'logits_change', horizon, last):.2f} times that at step {horizon}."
    )


def growth(curve: Curves, name: str, first: int, last: int) -> float:
    """Return the ratio of a quantity at two steps."""
    return float(curve[name][last - 1] / curve[name][first - 1])


def replacements(folder: Path) -> Iterator[str]:
    """Yield a sentence on object IoU after photographs were replaced; nothing if they were not."""
    curve, values = read_curves(folder / "evaluation.csv", folder)["replaced"], read_json(folder / "evaluation.json")
    every, count = values["every"], len(curve["step"]) // values["every"]
    iou = 100 * curve["iou_object"][: every * count].reshape(count, every)
    if count < 2 or not np.isfinite(iou).all():
        return
    ends, back = iou[1:, -1], [int(np.argmax(each >= each[-1] - 1)) + 1 for each in iou[1:]]
    yield (
        f"Figure 11: on the first {values['curve_samples']} test photographs object IoU is {iou[0, -1]:.1f} at step "
        f"{every}. They are replaced {count - 1} times, every {every} steps,\nby others: {every} steps after each "
        f"replacement it is {ends.min():.1f} to {ends.max():.1f} on the photographs of that time, {ends.mean():.1f} on "
        f"average, and\nit comes within a point of that after {min(back)} to {max(back)} steps."
    )


def gate(folder: Path) -> Iterator[str]:
    """Yield a sentence on the gate in training."""
    log = read_columns(folder / "metrics.csv")
    if "gate" in log and np.isfinite(log["gate"]).any():
        low, high = np.nanmin(log["gate"]), np.nanmax(log["gate"])
        yield (
            f"Figure 15: in the {int(log['step'][-1]):,} training steps that are kept here the mean gate stays between "
            f"{low:.3f} and {high:.3f}."
        )


def adversarial(folder: Path) -> Iterator[str]:
    """Yield the picture and the table of the adversarial image; nothing if it was not measured."""
    path = folder / "adversarial.json"
    if not path.exists():
        return
    values = read_json(path)
    label = values["adversarial_label"]
    if values["adversarial_region"] != "label":
        return
    yield f"![Figure 20: photographs, the animal made gray, and the adversarial images]({folder.name}/adversarial.png)"
    yield (
        f"It is made from {values['adversarial_samples']} photographs: the animal is made gray, and these pixels alone "
        "are changed until the cells\npredict an animal there again."
    )
    head = (
        f"Figure 20, step {values['adversarial_steps']}",
        *(f"pixels {place} that predict {label}" for place in PLACES),
    )
    rows = [head]
    for when, words in WHEN.items():
        if f"adversarial_inside_{when}" in values:
            measured = (values[f"adversarial_{place}_{when}"] for place in PLACES)
            rows.append((words, *map(percent, measured)))
    yield aligned(rows)
