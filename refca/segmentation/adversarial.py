"""Adversarial images: a region of each photograph is changed until cells predict a chosen label.

The paper shows an example with few details (A.2, Figure 20): the pet is cut out and replaced with gray, and these
pixels are changed until cells predict a pet there. Here the pixels of the region follow the sign of the gradient of
the cross-entropy, over all pixels and the steps that count in training; the other pixels do not change. The region is

    corner    the upper left corner, a third of each side; the target is the chosen label at every pixel
    label     the pixels that have the chosen label, painted gray first, as in the paper; the target is the trimap

Source: the paper, A.2 and Figure 20; `spec/programs.md`.

Letters: B photographs, S pixels of a side, L labels, T steps.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.data import Photographs
from refca.definition.cell import Cell, Params
from refca.definition.metrics import iou
from refca.definition.randomness import Streams
from refca.definition.step import readout
from refca.drawing.palette import Palette, in_colour, lay_over
from refca.drawing.plots import tile_grid
from refca.segmentation.columns import iou_names
from refca.segmentation.figures import palette_of
from refca.segmentation.loss import weighted_cross_entropy
from refca.segmentation.persistence import loss_weights
from refca.segmentation.rollout import predict_if_finite, sized

ATTACKED = 6  # number of photographs, from the first
STEPS = 40  # of the automaton
ITERATIONS = 40
RATE = 0.05  # change of a pixel in an iteration; pixels go from -1 to 1
GRAY = 0.0  # all channels of a pixel that is made gray


class Attack(NamedTuple):
    """Photographs and predicted labels before an attack, with a gray region if it has one, and after it."""

    label: int  # the label that the attack aims at
    region: str  # corner or label
    classes: tuple[str, ...]
    palette: Palette
    mask: np.ndarray  # (B, S, S) boolean, the pixels that may change
    target: np.ndarray  # (B, S, S), the trimaps
    image: dict[str, np.ndarray]  # "before", "gray", "after": (B, S, S, 3)
    predicted: dict[str, np.ndarray]  # the same: (B, S, S), from the same initial states; -1: NaN


def attack(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    label: int,
    *,
    region: str = "corner",
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Attack:
    """Attack a region of the first photographs: "corner", or "label", the pixels that have the label.

    Iteration i unrolls with `Streams(seed).fold(i)`; labels are predicted with `Streams(seed)`. `on_progress` is
    called with 1 after each iteration.
    """
    chosen = np.arange(min(ATTACKED, len(photographs)))
    before, target = photographs.images(chosen), photographs.labels(chosen)
    mask, goal, images = target == label, target, {"before": before}
    if region == "label":
        images["gray"] = np.where(mask[..., None], np.float32(GRAY), before)
    else:
        mask, goal = np.zeros(target.shape, bool), np.full(target.shape, label)
        mask[:, : target.shape[1] // 3, : target.shape[2] // 3] = True
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    weights = loss_weights(np.zeros(len(chosen), int), STEPS, STEPS)
    loss = weighted_cross_entropy([1.0] * cell.labels) if (goal < 0).any() else "ce"  # some pixels count for nothing
    after = images.get("gray", before)
    for i in range(ITERATIONS):
        streams = Streams(seed).fold(i)
        state = backend.initial_state(cell, after, streams)
        image = backend.asarray(after)
        _, grads, _ = backend.loss_and_grads(
            cell, loss, on_device, image, state, goal, weights, streams, image_grad=True
        )
        changed = after - np.float32(RATE) * np.sign(np.nan_to_num(backend.asnumpy(grads["image"])))
        after = np.where(mask[..., None], np.clip(changed, -1, 1), before)
        on_progress(1)

    def labels(image: np.ndarray) -> np.ndarray:
        state = backend.initial_state(cell, image, Streams(seed))
        state = backend.evolve(cell, on_device, backend.asarray(image), state, Streams(seed), STEPS)
        return predict_if_finite(readout(cell, params, backend.asnumpy(state)))

    images["after"] = after
    predicted = {when: labels(image) for when, image in images.items()}
    palette = palette_of(photographs)
    return Attack(label, region, photographs.classes, palette, mask, target, images, predicted)


def adversarial_summary(found: Attack) -> dict[str, Any]:
    """Return the numbers of evaluation.json: label, region, and for each image IoU and success.

    IoU of each class is taken over all pixels outside the region; "inside" and "outside" are the fractions of
    pixels in the region and out of it that predict the label. Undefined values are None. So is every IoU if
    logits are NaN or infinite, and the IoU of the label if all its pixels are in the region.
    """
    outside = ~found.mask & (found.target >= 0)
    values: dict[str, Any] = {"adversarial_label": found.classes[found.label], "adversarial_region": found.region}
    values |= {
        "adversarial_samples": len(found.target),
        "adversarial_steps": STEPS,
        "adversarial_iterations": ITERATIONS,
    }
    for when, labels in found.predicted.items():
        ious = iou(np.maximum(labels, 0)[outside], found.target[outside], len(found.classes))
        for label, (name, value) in enumerate(zip(iou_names(found.classes), ious, strict=True)):
            inside = found.region == "label" and label == found.label
            none = value != value or labels.min() < 0 or inside
            values[f"adversarial_{name}_{when}"] = None if none else float(value)
        for where, pixels in (("inside", found.mask), ("outside", ~found.mask)):
            predicted = labels[pixels] == found.label
            values[f"adversarial_{where}_{when}"] = float(predicted.mean()) if predicted.size else None
    return values


def adversarial_grid(found: Attack, path: Path) -> None:
    """Write a PNG with a row for each photograph: it at each time, its trimap, and the predicted labels each time."""
    painted = {when: lay_over(found.palette, labels, found.image[when]) for when, labels in found.predicted.items()}
    columns = [*map(in_colour, found.image.values()), lay_over(found.palette, found.target, found.image["before"])]
    heads = [*found.image, "truth", *(f"labels {when}" for when in painted)]
    name = found.classes[found.label]
    key = f"a corner changed towards {name}" if found.region == "corner" else f"{name} made gray and then changed"
    tile_grid(path, sized(np.stack([*columns, *painted.values()])), heads, found.palette, key)
