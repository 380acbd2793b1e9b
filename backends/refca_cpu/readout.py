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

    image (b, sH, sW, K), target (b,) or (b, sH, sW), weights (S, b), as in `refca.contract.reference`.
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
        logits_grad = np.empty_like(activations[-1])
        value = count(flat(activations[-1]), labels, weight, squared, flat(logits_grad))
        grads, states_grad = decoded_grad(cell, params, activations, logits_grad, np)
        return value, states_grad.reshape(states.shape), grads
    if cell.linear_readout:
        readout, each = params["readout.weight"], flat(states)
        logits, logits_grad = np.empty((2, len(each), cell.labels), states.dtype)
        multiply(each, readout, logits, 0)
        value = count(logits, labels, weight, squared, logits_grad)
        grads = {"readout.weight": np.zeros_like(readout)}
        add_product(each, logits_grad, grads["readout.weight"])
        states_grad = np.empty_like(states)
        multiply_back(logits_grad, readout, flat(states_grad), 0)
        return value, states_grad, grads
    logits_grad = np.empty((len(flat(states)), cell.labels), states.dtype)
    value = count(np.ascontiguousarray(flat(states)[:, -cell.labels :]), labels, weight, squared, logits_grad)
    states_grad = np.zeros_like(states)
    flat(states_grad)[:, -cell.labels :] = logits_grad
    return value, states_grad, grads


def flat(x: Array) -> Array:
    """Rows of channels, a view."""
    return x.reshape(-1, x.shape[-1])


@njit(nogil=True, cache=True)
def count(logits: Reals, label: Ints, weight: Reals, squared: bool, grad: Reals) -> float:
    """The loss of logits (S·m, L) at labels (m,) with weights (S, m), half the squared error or cross-entropy;
    its gradient goes to grad (S·m, L)."""
    L = logits.shape[1]
    loss, real = 0.0, logits.dtype.type
    for i in range(len(weight)):
        for j in range(len(label)):
            k, w = i * len(label) + j, weight[i, j]
            if w == 0:
                for l in range(L):
                    grad[k, l] = 0
            elif squared:
                for l in range(L):
                    error = logits[k, l] - real(l == label[j])
                    loss += w * error * error / 2
                    grad[k, l] = w * error
            else:
                top = logits[k, 0]
                for l in range(1, L):
                    top = max(top, logits[k, l])
                total = real(0)
                for l in range(L):
                    grad[k, l] = np.exp(logits[k, l] - top)
                    total += grad[k, l]
                loss += w * (np.log(total) - (logits[k, label[j]] - top))
                for l in range(L):
                    grad[k, l] = w * (grad[k, l] / total - real(l == label[j]))
    return loss
