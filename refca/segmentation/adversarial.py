"""Adversarial images: a corner of each photograph is changed until cells elsewhere predict a chosen label.

The paper shows an example with few details (A.2, Figure 20). Here the pixels of the corner follow the sign of
the gradient of the cross-entropy to the chosen label, over all pixels and the steps that count in training. The
other pixels do not change.

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
from refca.segmentation.figures import palette_of
from refca.segmentation.persistence import loss_weights
from refca.segmentation.rollout import predict_if_finite, sized

ATTACKED = 6  # number of photographs, from the first
STEPS = 40  # of the automaton
ITERATIONS = 40
RATE = 0.05  # change of a pixel in an iteration; pixels go from -1 to 1


class Attack(NamedTuple):
    """Photographs and predicted labels before and after an attack."""

    label: int  # the label that the attack aims at
    classes: tuple[str, ...]
    palette: Palette
    region: np.ndarray  # (S, S) boolean, the pixels that may change
    target: np.ndarray  # (B, S, S), the trimaps
    image: tuple[np.ndarray, np.ndarray]  # (B, S, S, 3) before and after
    predicted: tuple[np.ndarray, np.ndarray]  # (B, S, S) before and after, from the same initial states; -1: NaN


def attack(
    cell: Cell,
    params: Params,
    backend: Any,
    photographs: Photographs,
    label: int,
    *,
    seed: int = 0,
    on_progress: Callable[[int], object] = lambda done: None,
) -> Attack:
    """Attack the first photographs in their upper left corner, a third of each side.

    Iteration i unrolls with `Streams(seed).fold(i)`; labels before and after are predicted with `Streams(seed)`.
    `on_progress` is called with 1 after each iteration.
    """
    chosen = np.arange(min(ATTACKED, len(photographs)))
    before, target = photographs.images(chosen), photographs.labels(chosen)
    side = target.shape[-1]
    region: np.ndarray = np.zeros((side, side), bool)
    region[: side // 3, : side // 3] = True
    on_device = {name: backend.asarray(x) for name, x in params.items()}
    goal = np.full(target.shape, label)
    weights = loss_weights(np.zeros(len(chosen), int), STEPS, STEPS)
    after = before.copy()
    for i in range(ITERATIONS):
        streams = Streams(seed).fold(i)
        state = backend.initial_state(cell, after, streams)
        image = backend.asarray(after)
        _, grads, _ = backend.loss_and_grads(
            cell, "ce", on_device, image, state, goal, weights, streams, image_grad=True
        )
        changed = after - np.float32(RATE) * np.sign(np.nan_to_num(backend.asnumpy(grads["image"])))
        after = np.where(region[..., None], np.clip(changed, -1, 1), before)
        on_progress(1)

    def labels(image: np.ndarray) -> np.ndarray:
        state = backend.initial_state(cell, image, Streams(seed))
        state = backend.evolve(cell, on_device, backend.asarray(image), state, Streams(seed), STEPS)
        return predict_if_finite(readout(cell, params, backend.asnumpy(state)))

    return Attack(
        label,
        photographs.classes,
        palette_of(photographs),
        region,
        target,
        (before, after),
        (labels(before), labels(after)),
    )


def adversarial_summary(found: Attack) -> dict[str, Any]:
    """Return the label and the IoU of each class before and after, over all pixels outside the region.

    An IoU is None if it is undefined or logits are NaN or infinite.
    """
    outside = np.broadcast_to(~found.region, found.target.shape)
    values: dict[str, Any] = {"adversarial_label": found.classes[found.label]}
    for when, labels in zip(("before", "after"), found.predicted, strict=True):
        counted = outside & (found.target >= 0)
        ious = iou(np.maximum(labels, 0)[counted], found.target[counted], len(found.classes))
        for name, value in zip(found.classes, ious, strict=True):
            none = value != value or labels.min() < 0
            values[f"adversarial_iou_{name}_{when}"] = None if none else float(value)
    return values


def adversarial_grid(found: Attack, path: Path) -> None:
    """Write a PNG with a row for each photograph: before, after, trimap, labels before, labels after."""
    before, after = found.image
    columns = [in_colour(before), in_colour(after), lay_over(found.palette, found.target, before)]
    columns += [lay_over(found.palette, found.predicted[0], before), lay_over(found.palette, found.predicted[1], after)]
    heads = ["before", "after", "truth", "labels before", "labels after"]
    key = f"a corner changed towards {found.classes[found.label]}"
    tile_grid(path, sized(np.stack(columns)), heads, found.palette, key)
