"""The unroll of a few samples, for the cells that are alive and fire, and the same backwards.

One compiled function per direction, free of Python's lock, so that threads work on different samples. The
paragraphs are those of `refca/step.py`: look, think, propose, fire; and in reverse order on the way back.

Layout: pixels are flat, (b·(H+2)·(W+2), K+D), image channels first, with a border of zeros, so that a row of
a neighbourhood is one run of 3·(K+D) numbers. `corner` is the pixel where a cell's neighbourhood starts,
`row` = W+2 the pixels from one row to the next. The rows of the tape are the cells that update, step by
step: step i has rows offsets[i] to offsets[i+1]. The longest loops count in unsigned numbers: a signed index
may mean "from the end", and the test for that keeps the compiler from making vector instructions.

Letters: K image channels, D state channels, P hidden width, L labels, C = K+D, n hidden layers, R rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def forward(pixels: Any, row: Any, updates: Any, sigma: Any, params: Any, tape: Any, counted: Any) -> Any:
    """Move `pixels` through the steps of `updates`, in place; return the loss of the counted steps.

    A tape without rows keeps nothing for the way back.
    """
    corner, offsets, noise = updates
    perceive, hidden, biases, update, update_bias = params
    before, felt = tape
    D, n = update.shape[1], len(hidden)
    K, most, keep = pixels.shape[1] - D, widest(offsets), len(before) > 0
    seen = np.empty((most, len(perceive)), pixels.dtype)
    proposal = np.empty((most, D), pixels.dtype)
    spare = felt if keep else np.empty((n + 1, most, len(update)), pixels.dtype)
    loss = 0.0
    for i in range(len(offsets) - 1):
        a, b = offsets[i], offsets[i + 1]
        R, r = b - a, a if keep else 0
        if R > 0:
            look(pixels, row, corner[a:b], seen)
            np.dot(seen[:R], perceive, spare[0, r : r + R])
            relu(spare[0, r : r + R], biases[0])
            for j in range(n):
                np.dot(spare[j, r : r + R], hidden[j], spare[j + 1, r : r + R])
                relu(spare[j + 1, r : r + R], biases[j + 1])
            np.dot(spare[n, r : r + R], update, proposal[:R])
            if sigma > 0:
                proposal[:R] += sigma * noise[a:b]
            for k in range(R):
                state = pixels[corner[a + k] + row + 1, K:]
                for d in range(D):
                    if keep:
                        before[a + k, d] = state[d]
                    state[d] += proposal[k, d] + update_bias[d]
        loss += count(pixels, i, counted)
    return loss


@njit(nogil=True, cache=True)
def backward(
    pixels: Any,
    grad: Any,
    row: Any,
    updates: Any,
    params: Any,
    tape: Any,
    counted: Any,
    grads: Any,
    whole: bool,
) -> None:
    """Add the gradients of the loss to `grads`, and take `pixels` back to where they started.

    `grad`, of the pixels, starts as zeros and ends as that of the image and the first state if `whole`, else
    one step short of it. Of a step the tape keeps the states that it replaced, so that what cells saw can be
    looked at again: a ninth of the memory.
    """
    corner, offsets, _ = updates
    perceive, hidden, _, update, _ = params
    perceive_grad, hidden_grad, biases_grad, update_grad, update_bias_grad = grads
    before, felt = tape
    (P, D), n = update.shape, len(hidden)
    K, most, dtype = pixels.shape[1] - D, widest(offsets), pixels.dtype
    seen, seen_grad = np.empty((most, len(perceive)), dtype), np.empty((most, len(perceive)), dtype)
    felt_grad, proposal_grad = np.empty((n + 1, most, P), dtype), np.empty((most, D), dtype)
    back_update, back_perceive = np.ascontiguousarray(update.T), np.ascontiguousarray(perceive.T)
    back_hidden = np.empty_like(hidden)
    for j in range(n):
        back_hidden[j] = hidden[j].T
    square, tall, flat = np.empty((P, P), dtype), np.empty((len(perceive), P), dtype), np.empty((P, D), dtype)
    for i in range(len(offsets) - 2, -1, -1):
        count_grad(grad, i, counted)
        a, b = offsets[i], offsets[i + 1]
        R = b - a
        if R == 0:
            continue
        for k in range(R):
            centre = corner[a + k] + row + 1
            for d in range(D):
                proposal_grad[k, d] = grad[centre, K + d]
                pixels[centre, K + d] = before[a + k, d]
        look(pixels, row, corner[a:b], seen)
        np.dot(felt[n, a:b].T, proposal_grad[:R], flat)
        update_grad += flat
        add_rows(update_bias_grad, proposal_grad[:R])
        np.dot(proposal_grad[:R], back_update, felt_grad[n, :R])
        for j in range(n - 1, -1, -1):
            relu_grad(felt_grad[j + 1, :R], felt[j + 1, a:b])
            np.dot(felt[j, a:b].T, felt_grad[j + 1, :R], square)
            hidden_grad[j] += square
            add_rows(biases_grad[j + 1], felt_grad[j + 1, :R])
            np.dot(felt_grad[j + 1, :R], back_hidden[j], felt_grad[j, :R])
        relu_grad(felt_grad[0, :R], felt[0, a:b])
        np.dot(seen[:R].T, felt_grad[0, :R], tall)
        perceive_grad += tall
        add_rows(biases_grad[0], felt_grad[0, :R])
        if i > 0 or whole:
            np.dot(felt_grad[0, :R], back_perceive, seen_grad[:R])
            look_grad(grad, row, corner[a:b], seen_grad)


@njit(nogil=True, cache=True)
def enter(pixels: Any, image: Any, state: Any, part: Any) -> None:
    """Image and state of the samples `part`, side by side within a border of zeros: (b, H+2, W+2, K+D)."""
    _, H, W, K = image.shape
    for i in range(len(part)):
        b = part[i]
        for y in range(H + 2):
            for x in range(W + 2):
                if 0 < y <= H and 0 < x <= W:
                    for c in range(K):
                        pixels[i, y, x, c] = image[b, y - 1, x - 1, c]
                    for d in range(state.shape[3]):
                        pixels[i, y, x, K + d] = state[b, y - 1, x - 1, d]
                else:
                    for c in range(pixels.shape[3]):
                        pixels[i, y, x, c] = 0


@njit(nogil=True, cache=True)
def leave(array: Any, first: Any, pixels: Any, part: Any) -> None:
    """The reverse, for the channels of `array` (B, H, W, ·), which are the pixels' from `first` on."""
    _, H, W, channels = array.shape
    for i in range(len(part)):
        b = part[i]
        for y in range(H):
            for x in range(W):
                for c in range(channels):
                    array[b, y, x, c] = pixels[i, y + 1, x + 1, first + c]


@njit(nogil=True, cache=True)
def widest(offsets: Any) -> Any:
    """The most cells that update in one step."""
    most = 0
    for i in range(len(offsets) - 1):
        most = max(most, offsets[i + 1] - offsets[i])
    return most


@njit(nogil=True, cache=True)
def look(pixels: Any, row: Any, corner: Any, seen: Any) -> None:
    """seen (R, 9·C): the neighbourhoods of the cells, three runs of 3·C numbers each."""
    run, source, target = np.uintp(3 * pixels.shape[1]), pixels.reshape(-1), seen.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            start = np.uintp((corner[k] + dy * row) * pixels.shape[1])
            for c in range(run):
                target[end + np.uintp(c)] = source[start + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def look_grad(pixels_grad: Any, row: Any, corner: Any, seen_grad: Any) -> None:
    """Add each neighbourhood's gradient to the pixels that it was read from."""
    run, source, target = np.uintp(3 * pixels_grad.shape[1]), seen_grad.reshape(-1), pixels_grad.reshape(-1)
    end = np.uintp(0)
    for k in range(len(corner)):
        for dy in range(3):
            start = np.uintp((corner[k] + dy * row) * pixels_grad.shape[1])
            for c in range(run):
                target[start + np.uintp(c)] += source[end + np.uintp(c)]
            end += run


@njit(nogil=True, cache=True)
def relu(x: Any, bias: Any) -> None:
    """x + bias where that is above 0, else 0; NaN stays NaN."""
    zero = x.dtype.type(0)
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total = x[k, p] + bias[p]
            x[k, p] = zero if total <= zero else total


@njit(nogil=True, cache=True)
def relu_grad(grad: Any, felt: Any) -> None:
    """Keep the gradient where relu let its input pass."""
    zero = grad.dtype.type(0)
    for k in range(grad.shape[0]):
        for p in range(grad.shape[1]):
            grad[k, p] = zero if felt[k, p] <= zero else grad[k, p]


@njit(nogil=True, cache=True)
def add_rows(total: Any, x: Any) -> None:
    for k in range(x.shape[0]):
        for p in range(x.shape[1]):
            total[p] += x[k, p]


@njit(nogil=True, cache=True)
def count(pixels: Any, i: Any, counted: Any) -> Any:
    """The loss of step i if it counts, and its gradient with respect to each readout, kept in its slot.

    counted is (slot (T,), -1: does not count; centre (m,), the pixels that are asked; label (m,);
    weight (T, m); readout_grad (slots, m, L); squared, whether the loss is L2 or cross-entropy).
    """
    slot, centre, label, weight, readout_grad, squared = counted
    if slot[i] < 0:
        return 0.0
    L = readout_grad.shape[2]
    first = pixels.shape[1] - L
    loss = 0.0
    for k in range(len(centre)):
        said = pixels[centre[k], first:]
        grad = readout_grad[slot[i], k]
        w = weight[i, k]
        if squared:
            for l in range(L):
                grad[l] = said[l] - (l == label[k])
                loss += w * grad[l] * grad[l] / 2
                grad[l] *= w
        else:
            top = np.max(said)
            total = 0.0
            for l in range(L):
                grad[l] = np.exp(said[l] - top)
                total += grad[l]
            loss += w * (np.log(total) - (said[label[k]] - top))
            for l in range(L):
                grad[l] = w * (grad[l] / total - (l == label[k]))
    return loss


@njit(nogil=True, cache=True)
def count_grad(pixels_grad: Any, i: Any, counted: Any) -> None:
    slot, centre, _, _, readout_grad, _ = counted
    if slot[i] >= 0:
        first = pixels_grad.shape[1] - readout_grad.shape[2]
        for k in range(len(centre)):
            for l in range(readout_grad.shape[2]):
                pixels_grad[centre[k], first + l] += readout_grad[slot[i], k, l]
