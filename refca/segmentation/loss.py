"""Cross-entropy in which pixels can be ignored and labels can have weights.

A function for `loss_and_grads`, see `refca/contract/objective.py`: with its gradient, over the arrays of any library.

Letters: N samples, H×W pixels, L labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from refca.contract.objective import cross_entropies, one_hot
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
        hot = one_hot(readout, target, xp)
        weight = sum(w * hot[..., label] for label, w in enumerate(weights))  # (N, H, W)
        total = weight.sum((1, 2))
        weight = weight / xp.where(total > 0, total, xp.ones_like(total))[:, None, None]
        of_pixels, grad = cross_entropies(readout, hot, xp)
        return (weight * of_pixels).sum((1, 2)), grad * weight[..., None]

    return loss
