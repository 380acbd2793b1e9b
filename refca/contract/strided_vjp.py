"""The strided layers of a cell and their gradients, for backends, in array operations that any library has.

`refca/definition/strided.py` is the definition. A decoder's layer is the adjoint of an encoder's, so each
one's gradient with respect to its input is the other. No array is written to. `xp` is the module of the
arrays' library. Source: `spec/chapters/encode.md`, `spec/chapters/decode.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import decoders, encoders

TAPS = {0: ((0, 1), (2, 0)), 1: ((1, 1),)}  # of an even and of an odd pixel: (offset, start in the padded grid)


def encoded(cell: Cell, params: Params, image: Array, xp: Any) -> list[Array]:
    """Return the image (B, sH, sW, K) and the output of each layer of the encoder, the environment last."""
    return activations(conv_stride2, [params[name] for name in encoders(cell)], image, xp)


def encoded_grad(
    cell: Cell, params: Params, activations: list[Array], grad: Array, image_grad: bool, xp: Any
) -> tuple[Params, Array | None]:
    """Return the gradients of the encoder, and on request of the image, from the gradient of the environment."""
    grads = {}
    for name, x in reversed(list(zip(encoders(cell), activations, strict=False))):
        grads[name] = weight_grad(x, grad, xp)
        if x is not activations[0] or image_grad:
            grad = conv_transpose_stride2(grad, params[name], xp)
    return grads, grad if image_grad else None


def decoded(cell: Cell, params: Params, state: Array, xp: Any) -> list[Array]:
    """Return the state (b, H, W, D) and the output of each layer of the decoder, the readout last."""
    return activations(conv_transpose_stride2, [params[name] for name in decoders(cell)], state, xp)


def decoded_grad(cell: Cell, params: Params, activations: list[Array], grad: Array, xp: Any) -> tuple[Params, Array]:
    """Return the gradients of the decoder and of the state, from the gradient of the readout."""
    grads = {}
    for name, x in reversed(list(zip(decoders(cell), activations, strict=False))):
        grads[name] = weight_grad(grad, x, xp)
        grad = conv_stride2(grad, params[name], xp)
    return grads, grad


def activations(layer: Callable[..., Array], weights: list[Array], x: Array, xp: Any) -> list[Array]:
    """Return x and the output of each layer in turn."""
    found = [x]
    for weight in weights:
        found.append(layer(found[-1], weight, xp))
    return found


def conv_stride2(x: Array, weight: Array, xp: Any) -> Array:
    """x (B, 2H, 2W, C) and weight (3, 3, C, N) give (B, H, W, N)."""
    _, rows, columns, _ = x.shape
    x = padded(x, xp, after=True)
    taps = [(i, j) for i in range(3) for j in range(3)]
    return sum(product(x[:, i : i + rows : 2, j : j + columns : 2], weight[i, j]) for i, j in taps)


def conv_transpose_stride2(x: Array, weight: Array, xp: Any) -> Array:
    """x (B, H, W, C) and weight (3, 3, N, C) give (B, 2H, 2W, N)."""
    B, H, W, _ = x.shape
    x = padded(x, xp, after=False)

    def pixels(odd_y: int, odd_x: int) -> Array:
        terms = [(i, j, y, x_) for i, y in TAPS[odd_y] for j, x_ in TAPS[odd_x]]
        return sum(product(x[:, y : y + H, x_ : x_ + W], weight[i, j].T) for i, j, y, x_ in terms)

    rows = [xp.stack([pixels(odd_y, 0), pixels(odd_y, 1)], axis=3) for odd_y in (0, 1)]  # (B, H, W, 2, N)
    return xp.stack(rows, axis=2).reshape(B, 2 * H, 2 * W, weight.shape[2])  # from (B, H, 2, W, 2, N)


def product(x: Array, weight: Array) -> Array:
    """x (…, C) @ weight (C, N), as one matrix product."""
    return (x.reshape(-1, x.shape[-1]) @ weight).reshape(*x.shape[:-1], weight.shape[1])


def weight_grad(wide: Array, narrow: Array, xp: Any) -> Array:
    """(3, 3, C, N): the sum over cells of what they see in wide (B, 2H, 2W, C) times narrow (B, H, W, N)."""
    _, rows, columns, C = wide.shape
    wide, cells = padded(wide, xp, after=True), narrow.reshape(-1, narrow.shape[-1])
    windows = [
        wide[:, i : i + rows : 2, j : j + columns : 2].reshape(-1, C).T @ cells for i in range(3) for j in range(3)
    ]
    return xp.stack(windows).reshape(3, 3, C, narrow.shape[-1])


def padded(x: Array, xp: Any, after: bool) -> Array:
    """x (B, H, W, C) with a row and a column of zeros, after the last ones or before the first."""
    for axis in (1, 2):
        border = xp.zeros_like(x[:, :1] if axis == 1 else x[:, :, :1])
        x = xp.concatenate([x, border] if after else [border, x], axis=axis)
    return x
