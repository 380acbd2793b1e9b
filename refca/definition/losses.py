"""The two losses, L2 and cross-entropy: one number for each sample.

Both take readout (B, H, W, L), live (B, H, W) boolean and target, and return (B,). The target is either

    (B,) integers         one label for each sample: the loss is summed over the sample's live cells
    (B, H, W) integers    one label for each pixel: the loss is averaged over all pixels

A training loss is a weighted sum of these numbers over samples and steps.

Source: the article, experiment 1 (cross-entropy) and 2 (L2); `spec/chapters/l2.md`, `spec/chapters/cross_entropy.md`.
"""

from __future__ import annotations

import autograd.numpy as np

from refca.definition.cell import Array


def l2(readout: Array, target: Array, live: Array) -> Array:
    """Return half the squared error between readout and one-hot label, (B,). There is no softmax."""
    error = readout - one_hot(readout, target)
    return reduce_cells(np.sum(error**2, axis=-1) / 2, target, live)


def cross_entropy(readout: Array, target: Array, live: Array) -> Array:
    """Return minus the log-softmax of the readout at the label, in nats, (B,)."""
    shifted = readout - np.max(readout, axis=-1, keepdims=True)  # exp cannot overflow
    log_softmax = shifted - np.log(np.sum(np.exp(shifted), axis=-1, keepdims=True))
    return reduce_cells(-np.sum(log_softmax * one_hot(readout, target), axis=-1), target, live)


LOSSES = {"l2": l2, "ce": cross_entropy}


def one_hot(readout: Array, target: Array) -> Array:
    """Return the one-hot target in the dtype of the readout: (B, H, W, L), or (B, 1, 1, L) for labels (B,)."""
    per_cell = target if target.ndim == 3 else target[:, None, None]  # (B, H, W) or (B, 1, 1)
    return (per_cell[..., None] == np.arange(readout.shape[-1])).astype(readout.dtype)


def reduce_cells(loss: Array, target: Array, live: Array) -> Array:
    """Return the sum over live cells for labels (B,), the mean over all pixels for label maps: (B,)."""
    return np.mean(loss, axis=(1, 2)) if target.ndim == 3 else np.sum(np.where(live, loss, 0), axis=(1, 2))
