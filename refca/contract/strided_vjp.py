"""The strided layers of a cell and their gradients, in array operations of any library, for backends.

`strides.py` is the definition. A decoder's layer is the adjoint of an encoder's, so each one's gradient with
respect to its input is the other. Source: `spec/chapters/encode.md`, `spec/chapters/decode.md`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import decoders, encoders


def encoded(cell: Cell, params: Params, image: Array) -> list[Array]:
    """The image (B, sH, sW, K), and what each layer of the encoder makes of it; the environment last."""
    return activations(conv_stride2, [params[name] for name in encoders(cell)], image)


def encoded_grad(
    cell: Cell, params: Params, activations: list[Array], grad: Array, image_grad: bool
) -> tuple[Params, Array | None]:
    """The gradients of the encoder, and of the image if asked for, from that of the environment."""
    grads = {}
    for name, x in reversed(list(zip(encoders(cell), activations, strict=False))):
        grads[name] = weight_grad(x, grad)
        if x is not activations[0] or image_grad:
            grad = conv_transpose_stride2(grad, params[name])
    return grads, grad if image_grad else None


def decoded(cell: Cell, params: Params, state: Array) -> list[Array]:
    """The state (b, H, W, D), and what each layer of the decoder makes of it; the readout last."""
    return activations(conv_transpose_stride2, [params[name] for name in decoders(cell)], state)


def decoded_grad(cell: Cell, params: Params, activations: list[Array], grad: Array) -> tuple[Params, Array]:
    """The gradients of the decoder and of the state, from that of the readout."""
    grads = {}
    for name, x in reversed(list(zip(decoders(cell), activations, strict=False))):
        grads[name] = weight_grad(grad, x)
        grad = conv_stride2(grad, params[name])
    return grads, grad


def activations(layer: Callable[[Array, Array], Array], weights: list[Array], x: Array) -> list[Array]:
    found = [x]
    for weight in weights:
        found.append(layer(found[-1], weight))
    return found


def conv_stride2(x: Array, weight: Array) -> Array:
    """x (B, 2H, 2W, C) and weight (3, 3, C, N) give (B, H, W, N). As `strides.halve`."""
    B, rows, columns, _ = x.shape
    x = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))
    out = np.zeros_like(x, shape=(B, rows // 2, columns // 2, weight.shape[3]))
    for i in range(3):
        for j in range(3):
            out += product(x[:, i : i + rows : 2, j : j + columns : 2], weight[i, j])
    return out


def conv_transpose_stride2(x: Array, weight: Array) -> Array:
    """x (B, H, W, C) and weight (3, 3, N, C) give (B, 2H, 2W, N). As `strides.double`."""
    B, H, W, _ = x.shape
    out = np.zeros_like(x, shape=(B, 2 * H + 1, 2 * W + 1, weight.shape[2]))
    for i in range(3):
        for j in range(3):
            out[:, i : i + 2 * H : 2, j : j + 2 * W : 2] += product(x, weight[i, j].T)
    return out[:, :-1, :-1]


def product(x: Array, weight: Array) -> Array:
    """x (…, C) @ weight (C, N), as one product."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[1])


def weight_grad(wide: Array, narrow: Array) -> Array:
    """(3, 3, C, N): Σ over cells of what they see in wide (B, 2H, 2W, C) times narrow (B, H, W, N)."""
    _, rows, columns, C = wide.shape
    wide = np.pad(wide, ((0, 0), (0, 1), (0, 1), (0, 0)))
    cells = narrow.reshape(-1, narrow.shape[-1])
    grad = np.empty_like(narrow, shape=(3, 3, C, narrow.shape[-1]))
    for i in range(3):
        for j in range(3):
            grad[i, j] = wide[:, i : i + rows : 2, j : j + columns : 2].reshape(-1, C).T @ cells
    return grad
