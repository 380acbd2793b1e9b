"""The loss of an unroll as a function of its states, written once over the arrays of any backend.

A loss is "l2", "ce", or a function

    loss(readout, target, live, xp) -> losses (N,), or the pair (losses, gradient)

of readout (N, sH, sW, L), target (N,) or (N, sH, sW) and live (N, sH, sW) boolean, arrays of the library `xp`, as in
`refca/definition/losses.py`; N counts pairs of a counted step and a sample. If the function returns the losses alone,
the backend differentiates it. A returned gradient is (N, sH, sW, L), of each loss with respect to its readout.

Source: `spec/chapters/backends.md`, `spec/chapters/l2.md`, `spec/chapters/cross_entropy.md`.

Letters: S counted steps, b samples of a part of the batch, H×W grid, s stride, D state channels, L labels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refca.contract.strided_vjp import decoded, decoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.step import alive


class Objective:
    """The weighted loss of a batch: called with the states of some samples at all counted steps.

    `weights` (S, B) is a NumPy array. The gradients of the readout are collected. Calls may come from several
    threads, in any order.
    """

    def __init__(
        self,
        backend: Any,
        cell: Cell,
        loss: Any,
        params: Params,
        image: Array,
        target: Array,
        weights: np.ndarray,
    ) -> None:
        self.backend, self.cell, self.loss, self.params = backend, cell, loss, params
        self.image, self.target, self.weights = image, target, weights
        self.parts: list[tuple[int, Params]] = []  # the first sample, and the gradients of the readout

    def __call__(self, states: Array, samples: Any) -> tuple[Any, Array]:
        """Return the loss of states (S, b, H, W, D) and its gradient with respect to them.

        `samples` are the indices of these b samples in the batch: a slice, or NumPy integers.
        """
        image, target, weights = self.image[samples], self.target[samples], self.weights[:, samples]
        given = self.cell, self.loss, self.params, image, target, weights, states
        value, states_grad, grads = self.backend.loss_of_states(*given)
        self.parts.append((int(np.arange(self.weights.shape[1])[samples][0]), grads))
        return value, states_grad

    def grads(self) -> Params:
        """Return the gradients of the readout's parameters, summed over all calls."""
        total: Params = {}
        for _, grads in sorted(self.parts, key=lambda part: part[0]):
            total = {name: total[name] + grad if total else grad for name, grad in grads.items()}
        return total


def loss_of_states(
    backend: Any,
    cell: Cell,
    loss: Any,
    params: Params,
    image: Array,
    target: Array,
    weights: np.ndarray,
    states: Array,
) -> tuple[Any, Array, Params]:
    """Return the weighted loss of states (S, b, H, W, D), its gradient, and the readout's gradients.

    image (b, sH, sW, K), target (b,) or (b, sH, sW), weights (S, b).
    """
    xp, S = backend.xp, len(states)
    rows = states.reshape(-1, *states.shape[2:])  # (S·b, H, W, D)
    if cell.stride > 1:
        activations = decoded(cell, params, rows, xp)
        readout = activations[-1]
    elif cell.linear_readout:
        readout = rows @ params["readout.weight"]
    else:
        readout = rows[..., -cell.labels :]
    weight = backend.real(weights, states).reshape(-1)
    repeated = [xp.concatenate([x] * S) for x in (backend.asarray(target), alive(cell, image))]
    losses, readout_grad = losses_of(backend, loss, readout, *repeated)
    value, readout_grad = (weight * losses).sum(), weight[:, None, None, None] * readout_grad
    if cell.stride > 1:
        grads, rows_grad = decoded_grad(cell, params, activations, readout_grad, xp)
    elif cell.linear_readout:
        cells = rows.reshape(-1, cell.state_channels)
        grads = {"readout.weight": cells.T @ readout_grad.reshape(-1, cell.labels)}
        rows_grad = readout_grad @ params["readout.weight"].T
    else:
        others, grads = xp.zeros_like(rows[..., : -cell.labels]), {}
        rows_grad = xp.concatenate([others, readout_grad], axis=-1)
    return value, rows_grad.reshape(states.shape), grads


def losses_of(backend: Any, loss: Any, readout: Array, target: Array, live: Array) -> tuple[Array, Array]:
    """Return the loss of each sample (N,), and its gradient with respect to the readout (N, H, W, L)."""
    xp = backend.xp
    if callable(loss):
        found = loss(readout, target, live, xp)
        if isinstance(found, tuple):
            return found
        losses, pullback = backend.vjp(lambda readout, xp: loss(readout, target, live, xp), readout)
        return losses, pullback(xp.ones_like(losses))
    if loss == "l2":
        grad = readout - one_hot(readout, target, xp)
        of_cells = (grad**2).sum(-1) / 2
    else:
        of_cells, grad = cross_entropies(readout, one_hot(readout, target, xp), xp)
    if target.ndim == 3:
        pixels = of_cells.shape[1] * of_cells.shape[2]
        return of_cells.sum((1, 2)) / pixels, grad / pixels
    of_cells = xp.where(live, of_cells, xp.zeros_like(of_cells))
    return of_cells.sum((1, 2)), xp.where(live[..., None], grad, xp.zeros_like(grad))


def one_hot(readout: Array, target: Array, xp: Any) -> Array:
    """Return the one-hot target in the dtype of the readout: (N, H, W, L), or (N, 1, 1, L) for labels (N,).

    A target that is no label, as of pixels that count for nothing, has zeros alone.
    """
    of_maps = target.ndim == 3
    target, like = (target, readout[..., 0]) if of_maps else (target[:, None, None], readout[:, :1, :1, 0])
    one, zero = xp.ones_like(like), xp.zeros_like(like)
    return xp.stack([xp.where(target == label, one, zero) for label in range(readout.shape[-1])], axis=-1)


def cross_entropies(readout: Array, one_hot: Array, xp: Any) -> tuple[Array, Array]:
    """Return the cross-entropy of each cell (N, H, W), and its gradient with respect to the readout (N, H, W, L)."""
    shifted = readout - xp.amax(readout, axis=-1)[..., None]  # exp cannot overflow
    exponentials = xp.exp(shifted)
    total = exponentials.sum(-1)
    return xp.log(total) - (shifted * one_hot).sum(-1), exponentials / total[..., None] - one_hot
