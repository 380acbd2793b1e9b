"""The readout of a shard, its loss, and the gradient of the loss.

Letters: S counted steps, b samples, H×W grid, s stride, D state channels, L labels.
"""

from __future__ import annotations

import numpy as np

from refca.contract.strided_vjp import decoded, decoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.step import alive
from refca_cpu.arrays import Ints, Reals
from refca_cpu.compiled import njit
from refca_cpu.gemm import add_product, multiply, multiply_back


def loss_of_states(
    cell: Cell, loss: str, params: Params, image: Array, target: Array, weights: Array, states: Array
) -> tuple[float, Array, Params]:
    """The weighted loss of states (S, b, H, W, D), its gradient with respect to them, and to the readout.

    image (b, sH, sW, K), target (b,) or (b, sH, sW), weights (S, b), as in `refca.contract.objective`.
    """
    b, rows, columns, _ = image.shape
    if target.ndim == 1:
        labels = np.repeat(target, rows * columns)
        share = alive(cell, image).reshape(-1).astype(states.dtype)
    else:
        labels = target.reshape(-1)
        share = np.full(b * rows * columns, 1 / (rows * columns), states.dtype)
    weight = np.repeat(weights.astype(states.dtype), rows * columns, axis=1) * share
    squared = loss == "l2"
    grads: Params = {}
    if cell.stride > 1:
        activations = decoded(cell, params, states.reshape(-1, *states.shape[2:]), np)
        logits_grad = np.empty(activations[-1].shape, states.dtype)
        value = loss_and_grad(flat(activations[-1]).copy(), labels, weight, squared, flat(logits_grad))
        grads, states_grad = decoded_grad(cell, params, activations, logits_grad, np)
        return value, states_grad.reshape(states.shape), grads
    if cell.linear_readout:
        readout, each = np.ascontiguousarray(params["readout.weight"]), flat(states)
        logits, logits_grad = np.empty((2, len(each), cell.labels), states.dtype)
        multiply(each, readout, logits, 0)
        value = loss_and_grad(logits, labels, weight, squared, logits_grad)
        grads = {"readout.weight": np.zeros_like(readout)}
        add_product(each, logits_grad, grads["readout.weight"])
        states_grad = np.empty(states.shape, states.dtype)
        multiply_back(logits_grad, readout, flat(states_grad), 0)
        return value, states_grad, grads
    logits_grad = np.empty((len(flat(states)), cell.labels), states.dtype)
    logits = np.ascontiguousarray(flat(states)[:, -cell.labels :])
    value = loss_and_grad(logits, labels, weight, squared, logits_grad)
    states_grad = np.zeros(states.shape, states.dtype)
    flat(states_grad)[:, -cell.labels :] = logits_grad
    return value, states_grad, grads


def flat(x: Array) -> Array:
    """Rows of channels; a view of an array in C order."""
    return x.reshape(-1, x.shape[-1])


def loss_and_grad(logits: Reals, label: Ints, weight: Reals, squared: bool, grad: Reals) -> float:
    """Return the weighted loss of logits (S·m, L), half the squared error or cross-entropy, and fill grad (S·m, L).

    label (m,), weight (S, m). The logits of a cross-entropy are overwritten.
    """
    if squared:
        return squared_error(logits, label, weight, grad)
    subtract_top(logits)
    with np.errstate(all="ignore"):  # NumPy makes vector instructions of exp and log, the compiler does not
        np.exp(logits, out=grad)
        total = row_sums(grad)
        return cross_entropy(logits, label, weight, np.log(total), total, grad)


@njit(nogil=True, cache=True)
def squared_error(logits: Reals, label: Ints, weight: Reals, grad: Reals) -> float:
    """Half the weighted squared error; its gradient goes to grad."""
    loss, real = 0.0, logits.dtype.type
    for i in range(len(weight)):
        for j in range(len(label)):
            k, w = i * len(label) + j, weight[i, j]
            for l in range(logits.shape[1]):
                error = logits[k, l] - real(l == label[j])
                grad[k, l] = w * error if w else real(0)
                loss += w * error * error / 2 if w else 0.0
    return loss


@njit(nogil=True, cache=True)
def subtract_top(logits: Reals) -> None:
    """Subtract each row's largest number from the row, so that no exponential is too large."""
    for k in range(len(logits)):
        top = logits[k, 0]
        for l in range(1, logits.shape[1]):
            top = max(top, logits[k, l])
        for l in range(logits.shape[1]):
            logits[k, l] -= top


@njit(nogil=True, cache=True)
def row_sums(x: Reals) -> Reals:
    """The sum of each row of x."""
    sums = np.zeros(len(x), x.dtype)
    for k in range(len(x)):
        for l in range(x.shape[1]):
            sums[k] += x[k, l]
    return sums


@njit(nogil=True, cache=True)
def cross_entropy(logits: Reals, label: Ints, weight: Reals, log_total: Reals, total: Reals, grad: Reals) -> float:
    """The weighted cross-entropy; its gradient replaces the exponentials, whose sums are `total`, in grad."""
    loss = 0.0
    for i in range(len(weight)):
        for j in range(len(label)):
            k, w = i * len(label) + j, weight[i, j]
            if w == 0:
                grad[k] = 0
                continue
            loss += w * (log_total[k] - logits[k, label[j]])
            share = w / total[k]
            for l in range(logits.shape[1]):
                grad[k, l] *= share
            grad[k, label[j]] -= w
    return loss
