"""Adam with normalised gradients, over the arrays of any backend.

The code uses operators alone; a backend may override `adam_step`. Source: the article's training notebook;
`spec/chapters/adam.md`.
"""

from __future__ import annotations

from refca.definition.cell import Params

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7
NORM_EPSILON = 1e-8  # added to the norm by which a gradient is divided


def adam_step(
    params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
) -> Params:
    """Return the parameters after update i (from 0), new arrays, and update the moments `m` and `v`.

    i counts updates, not training steps, so that a training step without an update leaves the bias correction
    alone. As in Keras, the learning rate carries the bias correction and epsilon is added afterwards.
    """
    learning_rate *= (1 - BETA_2 ** (i + 1)) ** 0.5 / (1 - BETA_1 ** (i + 1))
    grads = normalised(grads) if normalise else grads
    updated = {}
    for name, param in params.items():
        grad = grads[name]
        m_t = m[name] = BETA_1 * m.get(name, 0 * grad) + (1 - BETA_1) * grad
        v_t = v[name] = BETA_2 * v.get(name, 0 * grad) + (1 - BETA_2) * grad**2
        updated[name] = param - learning_rate * m_t / (v_t**0.5 + EPSILON)
    return updated


def normalised(grads: Params) -> Params:
    """Return the gradient of each parameter divided by (its L2 norm + 1e-8)."""
    return {name: grad / ((grad**2).sum() ** 0.5 + NORM_EPSILON) for name, grad in grads.items()}
