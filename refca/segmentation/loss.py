"""Cross-entropy in which pixels can be ignored and labels can have weights.

A function for `loss_and_grads`, see `refca/contract/objective.py`: with its gradient, over the arrays of any library.

Letters: N samples, H×W pixels, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from refca.data import Photographs
from refca.definition.cell import Array
from refca.segmentation.settings import SegmentationExperiment
from refca.training.class_weights import class_weights

Loss = Callable[[Array, Array, Array, Any], tuple[Array, Array]]


def loss_of(experiment: SegmentationExperiment, photographs: Photographs) -> Any:
    """Return the loss of an experiment: "ce", or a function where pixels are ignored or labels have weights."""
    if experiment.class_weights != "none":
        counts = photographs.label_counts[: experiment.labels]
        return weighted_cross_entropy(class_weights(counts, experiment.class_weights).tolist())
    if experiment.ignore >= 0 or experiment.tiles:
        return weighted_cross_entropy([1.0] * experiment.labels)
    return "ce"


def weighted_cross_entropy(weights: Sequence[float]) -> Loss:
    """Return the loss function: the mean cross-entropy over the pixels of a sample, weighted by their labels.

    Pixels with the target -1 count for nothing. A sample of such pixels alone has the loss 0.
    """

    def loss(readout: Array, target: Array, live: Array, xp: Any) -> tuple[Array, Array]:
        """Return the losses (N,) of a readout (N, H, W, L) and their gradient; target (N, H, W)."""
        one, zero = xp.ones_like(readout[..., 0]), xp.zeros_like(readout[..., 0])
        of_labels = [xp.where(target == label, one, zero) for label in range(len(weights))]  # none of an ignored pixel
        one_hot = xp.stack(of_labels, axis=-1)
        weight = sum(w * x for w, x in zip(weights, of_labels, strict=True))  # (N, H, W)
        total = weight.sum((1, 2))
        weight = weight / xp.where(total > 0, total, xp.ones_like(total))[:, None, None]
        shifted = readout - xp.amax(readout, axis=-1)[..., None]
        exponentials = xp.exp(shifted)
        sums = exponentials.sum(-1)
        of_pixels = xp.log(sums) - (shifted * one_hot).sum(-1)
        grad = (exponentials / sums[..., None] - one_hot) * weight[..., None]
        return (weight * of_pixels).sum((1, 2)), grad

    return loss
