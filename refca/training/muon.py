"""Muon: each weight matrix moves by its momentum, made orthogonal; Adam updates all other parameters.

It is computed in NumPy for every backend. Source: Jordan and others, "Muon: an optimizer for hidden layers in neural
networks", 2024; Liu and others, "Muon is scalable for LLM training", 2025; `spec/chapters/muon.md`.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from refca.contract.adam import adam_step, normalised
from refca.definition.cell import Array, Params

OPTIMISERS = ("adam", "muon")
MOMENTUM = 0.95
POLYNOMIAL = 3.4445, -4.7750, 2.0315  # of a singular value s: the factors of s, s³ and s⁵
ITERATIONS = 5
NORM_EPSILON = 1e-7  # added to the norm of a matrix
UPDATE_SIZE = 0.2  # root mean square of a matrix's change, in learning rates; about the same as Adam's


def is_matrix(shape: tuple[int, ...]) -> bool:
    """Return whether Muon updates a parameter of this shape as a matrix: at least two rows and two columns."""
    return len(shape) > 1 and prod(shape[:-1]) > 1 and shape[-1] > 1


def muon_step(
    params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
) -> Params:
    """Return the parameters after update i (from 0), new NumPy arrays, and update the moments `m` and `v`.

    The arguments are those of `adam_step`. `v` holds the second moments of the parameters that Adam updates.
    """
    grads = normalised(grads) if normalise else grads
    matrices = [name for name, param in params.items() if is_matrix(param.shape)]
    others = {name: param for name, param in params.items() if name not in matrices}
    updated = adam_step(others, grads, m, v, i, learning_rate, False)
    for name in matrices:
        param, grad = params[name], grads[name]
        m[name] = MOMENTUM * m.get(name, 0 * grad) + (1 - MOMENTUM) * grad
        ahead = (MOMENTUM * m[name] + (1 - MOMENTUM) * grad).reshape(-1, param.shape[-1])
        size = learning_rate * UPDATE_SIZE * sqrt(max(ahead.shape))
        updated[name] = param - size * orthogonal(ahead).reshape(param.shape)
    return {name: updated[name] for name in params}


def orthogonal(u: Array) -> Array:
    """Return a matrix (R, C) with the singular vectors of u (R, C) and singular values near 1; zero for zero."""
    x = u / (sqrt((u**2).sum()) + NORM_EPSILON)
    if x.shape[0] > x.shape[1]:
        return polynomial(x.T).T
    return polynomial(x)


def polynomial(x: Array) -> Array:
    """Return x (R, C), R ≤ C, after the iterations of the polynomial."""
    a, b, c = POLYNOMIAL
    for _ in range(ITERATIONS):
        square = product(x, x.T)
        x = a * x + product(b * square + c * product(square, square), x)
    return x


def product(x: Array, y: Array) -> Array:
    """Return x @ y, summed in an order that does not depend on the number of threads."""
    return np.einsum("ij,kj->ik", x, np.ascontiguousarray(y.T), optimize=False)
