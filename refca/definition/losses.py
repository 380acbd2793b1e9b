"""The two losses: how far the readout is from the labels, for each sample.

Both take readout (B, H, W, L), live (B, H, W) boolean and target, which is either

    (B,) integers         one label, asked of every live cell of a sample; summed over its live cells
    (B, H, W) integers    a label map; the mean over all pixels

and return (B,). A training loss is the weighted sum of them over samples and steps.

Source: the article, experiment 1 (cross-entropy) and 2 (L2); `spec/chapters/l2.md`, `spec/chapters/cross_entropy.md`.
"""

from __future__ import annotations

import autograd.numpy as np

from refca.definition.cell import Array


def l2(readout: Array, target: Array, live: Array) -> Array:
    """Half the squared error to the one-hot label over the L readout channels. No softmax."""
    error = readout - one_hot(readout, target)
    return over_cells(np.sum(error**2, axis=-1) / 2, target, live)


def cross_entropy(readout: Array, target: Array, live: Array) -> Array:
    """Minus the log-softmax of the readout at the label, in nats."""
    shifted = readout - np.max(readout, axis=-1, keepdims=True)  # exp cannot overflow
    log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return over_cells(-np.sum(log_softmax * one_hot(readout, target), axis=-1), target, live)


LOSSES = {"l2": l2, "ce": cross_entropy}


def one_hot(readout: Array, target: Array) -> Array:
    """The target as numbers like the readout's: (B, H, W, L), or (B, 1, 1, L) for one label a sample."""
    per_cell = target if target.ndim == 3 else target[:, None, None]
    return (per_cell[..., None] == np.arange(readout.shape[-1])).astype(readout.dtype)


def over_cells(loss: Array, target: Array, live: Array) -> Array:
    """The sum over live cells for one label a sample; the mean over all pixels for a label map."""
    return np.mean(loss, axis=(1, 2)) if target.ndim == 3 else np.sum(np.where(live, loss, 0), axis=(1, 2))
