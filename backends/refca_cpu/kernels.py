"""One step of a part, a few samples, in phases, and the same backwards; and whole unrolls of them.

The paragraphs are those of `refca/definition/step.py`: look, think, propose, gate, fire; on the way back in reverse.
A phase ends where a cell's norm needs statistics of all rows of a layer: of the part, or of all parts where
the norm is over the batch, which then wait for each other between phases. Every function is free of Python's
lock, so that threads work on different parts.

The rows of a layer are the cells that it is computed for: those that update, or every cell of the part where
a norm needs them all. They are worked off in blocks that stay in the cache.

Letters: C = E+D channels of a pixel, D state channels, P hidden width, n hidden layers, R rows, U updates.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from refca_cpu.gemm import add_product, multiply, multiply_back
from refca_cpu.layers import (
    add_bias,
    add_moments,
    add_rows,
    add_sums,
    biased_relu,
    depthwise,
    depthwise_grad,
    flat,
    look_grad,
    neighbourhood,
    normalise,
    normalise_channels,
    normalise_channels_grad,
    normalise_grad,
    relu,
    relu_grad,
    scales,
)

BLOCK = 512  # rows worked on at a time
NO_NORM, CHANNEL, TOGETHER = range(3)  # TOGETHER: over the cells of a sample, or of the batch


@njit(nogil=True, cache=True)
def forward(part: Any, params: Any) -> None:
    """Move the pixels through all steps of the part, in place. Not for a norm over the batch."""
    n = len(params.hidden)
    for i in range(len(part.updates.offsets) - 1):
        first_sums(part, params, i)
        for j in range(n):
            next_sums(part, params, i, j, part.moments, part.rows)
        finish(part, params, i, part.moments, part.rows)


@njit(nogil=True, cache=True)
def backward(part: Any, params: Any, grads: Any, whole: Any) -> None:
    """Add the gradients to `grads`, and take the pixels back to where they started.

    `part.grad`, of the pixels, ends as that of the environment and the first state if `whole`, else one step
    short of it. Of a step the tape keeps the states that it replaced, so that what cells saw can be looked at
    again: a ninth of the memory.
    """
    n = len(params.hidden)
    for i in range(len(part.updates.offsets) - 2, -1, -1):
        finish_grad(part, params, grads, i)
        for j in range(n, 0, -1):
            next_sums_grad(part, params, grads, i, j, part.sums, part.rows)
        first_sums_grad(part, params, grads, i, part.sums, part.rows, whole)


@njit(nogil=True, cache=True)
def rows_of(part: Any, i: Any) -> Any:
    """The corners of step i's rows, and where the tape has them."""
    if part.form.norm == TOGETHER:
        return part.every, i * len(part.every) if part.form.keep else 0
    a, b = part.updates.offsets[i], part.updates.offsets[i + 1]
    return part.updates.corner[a:b], a if part.form.keep else 0


@njit(nogil=True, cache=True)
def first_sums(part: Any, params: Any, i: Any) -> None:
    """Look, and the sums of the first layer."""
    corner, base = rows_of(part, i)
    part.moments[:] = 0
    if part.form.depthwise and len(corner):
        multiply(part.pixels, params.perceive, part.mixed, 0)
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        sums = part.tape.felt[0, base + a : base + b]
        if part.form.depthwise:
            depthwise(part.mixed, part.row, corner[a:b], params.filters, sums)
        else:
            neighbourhood(part.pixels, part.row, corner[a:b], part.seen)
            multiply(part.seen[: b - a], params.perceive, sums, 0)
        end_sums(part, params, 0, sums, a)


@njit(nogil=True, cache=True)
def end_sums(part: Any, params: Any, j: Any, sums: Any, seen: Any) -> None:
    """The bias of a block of sums, and its part of the statistics, after `seen` rows."""
    if part.form.norm != NO_NORM and part.form.biases:
        add_bias(sums, params.biases[j])
    if part.form.norm == TOGETHER:
        add_moments(sums, seen, part.moments)


@njit(nogil=True, cache=True)
def settle(part: Any, params: Any, i: Any, j: Any, a: Any, b: Any, moments: Any, count: Any) -> Any:
    """The sums of layer j in rows a to b of step i, normalised in place; without a norm, rectified."""
    _, base = rows_of(part, i)
    felt = part.tape.felt[j, base + a : base + b]
    if part.form.norm == NO_NORM:
        biased_relu(felt, params.biases[j])
    elif part.form.norm == CHANNEL:
        normalise_channels(felt, part.tape.row_scale[j, base + a : base + b])
    else:
        scale = part.tape.scale[j, i if part.form.keep else 0]
        scales(moments, count, scale)
        normalise(felt, moments[0], scale)
    return felt


@njit(nogil=True, cache=True)
def think(part: Any, params: Any, i: Any, j: Any, a: Any, b: Any, moments: Any, count: Any) -> Any:
    """The hidden values of layer j in rows a to b of step i, from their sums, as `settle` leaves them."""
    felt = settle(part, params, i, j, a, b, moments, count)
    if part.form.norm == NO_NORM:
        return felt
    hidden = part.hidden[: b - a]
    relu(felt, hidden)
    return hidden


@njit(nogil=True, cache=True)
def next_sums(part: Any, params: Any, i: Any, j: Any, moments: Any, count: Any) -> None:
    """The hidden values of layer j, and the sums of the 1×1 layer after it.

    moments are the statistics of layer j over `count` rows; those of the next are collected in the part's.
    """
    corner, base = rows_of(part, i)
    before = moments.copy()
    part.moments[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        hidden = think(part, params, i, j, a, b, before, count)
        sums = part.tape.felt[j + 1, base + a : base + b]
        multiply(hidden, params.hidden[j], sums, 0)
        end_sums(part, params, j + 1, sums, a)


@njit(nogil=True, cache=True)
def finish(part: Any, params: Any, i: Any, moments: Any, count: Any) -> None:
    """The last hidden values; propose, gate and fire; and the state is kept if the step counts."""
    corner, base = rows_of(part, i)
    n, first, last = len(params.hidden), part.updates.offsets[i], part.updates.offsets[i + 1]
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        if part.form.norm == TOGETHER:
            settle(part, params, i, n, a, b, moments, count)
        else:
            hidden = think(part, params, i, n, a, b, moments, count)
            multiply(hidden, params.update, part.proposal[: b - a], 0)
            fire(part, params, first + a, first + b)
    if part.form.norm == TOGETHER:
        felt = part.tape.felt[n, base : base + len(corner)]
        for a in range(first, last, BLOCK):
            b = min(a + BLOCK, last)
            choose(felt, part.updates.place[a:b], part.hidden)
            multiply(part.hidden[: b - a], params.update, part.proposal[: b - a], 0)
            fire(part, params, a, b)
    slot = part.counted.slot[i]
    if slot >= 0:
        leave(part.counted.states[slot], part.pixels.shape[1] - len(params.update_bias), part.pixels, part.row)


@njit(nogil=True, cache=True)
def choose(felt: Any, place: Any, hidden: Any) -> None:
    """The hidden values of chosen rows."""
    zero = felt.dtype.type(0)
    for k in range(len(place)):
        for p in range(felt.shape[1]):
            x = felt[place[k], p]
            hidden[k, p] = zero if x <= zero else x


@njit(nogil=True, cache=True)
def fire(part: Any, params: Any, a: Any, b: Any) -> None:
    """The new states of the updates a to b, from their proposals."""
    form, updates, tape, bias = part.form, part.updates, part.tape, params.update_bias
    C, D, Q = np.uintp(part.pixels.shape[1]), np.uintp(len(bias)), np.uintp(part.proposal.shape[1])
    pixels, proposal, noise, z = flat(part.pixels), flat(part.proposal), flat(updates.noise), flat(updates.z)
    before, candidate, one = flat(tape.before), flat(tape.candidate), bias.dtype.type(1)
    for k in range(a, b):
        state = np.uintp(updates.corner[k] + part.row + 2) * C - D
        row, first = np.uintp(k) * D, np.uintp(k - a) * Q
        if form.keep:
            for d in range(D):
                before[row + np.uintp(d)] = pixels[state + np.uintp(d)]
        if form.biases:
            for d in range(D):
                proposal[first + np.uintp(d)] += bias[np.uintp(d)]
        if form.sigma > 0:
            for d in range(D):
                proposal[first + np.uintp(d)] += form.sigma * noise[row + np.uintp(d)]
        if form.residual:
            for d in range(D):
                proposal[first + np.uintp(d)] += pixels[state + np.uintp(d)]
        if form.resettable:
            gate = one / (one + np.exp(-proposal[first + D]))
            if form.keep:
                tape.gate[k] = gate
                for d in range(D):
                    candidate[row + np.uintp(d)] = proposal[first + np.uintp(d)]
            for d in range(D):
                kept = (one - gate) * proposal[first + np.uintp(d)]
                proposal[first + np.uintp(d)] = gate * z[row + np.uintp(d)] + kept
        for d in range(D):
            pixels[state + np.uintp(d)] = proposal[first + np.uintp(d)]


@njit(nogil=True, cache=True)
def finish_grad(part: Any, params: Any, grads: Any, i: Any) -> None:
    """Back through reading, firing, gate and proposal, to the last hidden values; the states go back too."""
    corner, base = rows_of(part, i)
    tape, n, D = part.tape, len(params.hidden), len(params.update_bias)
    first, last = part.updates.offsets[i], part.updates.offsets[i + 1]
    slot = part.counted.slot[i]
    if slot >= 0:
        add_grid(part.grad, part.pixels.shape[1] - D, part.row, part.counted.states[slot])
    part.sums[:] = 0
    felt = tape.felt[n, base : base + len(corner)]
    together = part.form.norm == TOGETHER
    if together:
        part.felt_grad[n, : len(corner)] = 0
    for a in range(first, last, BLOCK):
        b = min(a + BLOCK, last)
        proposal_grad, hidden_grad = part.proposal[: b - a], part.hidden[: b - a]
        fire_grad(part, a, b)
        add_rows(grads.update_bias, proposal_grad[:, :D])
        if together:
            choose(felt, part.updates.place[a:b], part.hidden)
            add_product(part.hidden[: b - a], proposal_grad, grads.update)
            multiply_back(proposal_grad, params.update, hidden_grad, 0)
            scatter_grad(part, n, felt, part.updates.place[a:b], hidden_grad)
        else:
            mine = slice(a - first, b - first)
            if part.form.norm == NO_NORM:
                add_product(felt[mine], proposal_grad, grads.update)
            else:
                relu(felt[mine], part.hidden)
                add_product(part.hidden[: b - a], proposal_grad, grads.update)
            multiply_back(proposal_grad, params.update, part.felt_grad[n, mine], 0)
            relu_grad(part.felt_grad[n, mine], felt[mine])


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def fire_grad(part: Any, a: Any, b: Any) -> None:
    """From the gradients of the states after the updates a to b to those of proposals and states before."""
    form, updates, tape = part.form, part.updates, part.tape
    C, D = np.uintp(part.pixels.shape[1]), np.uintp(tape.before.shape[1])
    Q = np.uintp(part.proposal.shape[1])
    pixels, grad, before, z = flat(part.pixels), flat(part.grad), flat(tape.before), flat(updates.z)
    candidate, proposal_grad, real = flat(tape.candidate), flat(part.proposal), part.grad.dtype.type
    for k in range(a, b):
        state = np.uintp(updates.corner[k] + part.row + 2) * C - D
        row, first = np.uintp(k) * D, np.uintp(k - a) * Q
        if form.resettable:
            gate, gate_grad = tape.gate[k], real(0)
            for d in range(D):
                apart = z[row + np.uintp(d)] - candidate[row + np.uintp(d)]
                gate_grad += grad[state + np.uintp(d)] * apart
            proposal_grad[first + D] = gate_grad * gate * (real(1) - gate)
            for d in range(D):
                grad[state + np.uintp(d)] *= real(1) - gate
        for d in range(D):
            proposal_grad[first + np.uintp(d)] = grad[state + np.uintp(d)]
        for d in range(D):
            pixels[state + np.uintp(d)] = before[row + np.uintp(d)]
        if not form.residual:
            for d in range(D):
                grad[state + np.uintp(d)] = real(0)


@njit(nogil=True, cache=True)
def scatter_grad(part: Any, j: Any, felt: Any, place: Any, hidden_grad: Any) -> None:
    """The gradients of chosen rows in their places, where relu let them pass, and their sums."""
    grad, sums, zero = part.felt_grad[j], part.sums, hidden_grad.dtype.type(0)
    for k in range(len(place)):
        row = place[k]
        for p in range(hidden_grad.shape[1]):
            passed = zero if felt[row, p] <= zero else hidden_grad[k, p]
            grad[row, p] = passed
            sums[0, p] += passed
            sums[1, p] += passed * felt[row, p]


@njit(nogil=True, cache=True)
def norm_grad(part: Any, i: Any, j: Any, a: Any, b: Any, sums: Any, count: Any) -> Any:
    """The gradient of the sums of layer j in rows a to b, in place of that of their normalised values."""
    _, base = rows_of(part, i)
    grad, felt = part.felt_grad[j, a:b], part.tape.felt[j, base + a : base + b]
    if part.form.norm == CHANNEL:
        normalise_channels_grad(grad, felt, part.tape.row_scale[j, base + a : base + b])
    elif part.form.norm == TOGETHER:
        normalise_grad(grad, felt, part.tape.scale[j, i], sums, count)
    return grad


@njit(nogil=True, cache=True)
def next_sums_grad(part: Any, params: Any, grads: Any, i: Any, j: Any, sums: Any, count: Any) -> None:
    """From the hidden values of layer j, j > 0, to those of layer j-1.

    sums are those of `add_sums` for layer j over `count` rows; those of layer j-1 go into the part's.
    """
    corner, base = rows_of(part, i)
    after = sums.copy()
    part.sums[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        grad = norm_grad(part, i, j, a, b, after, count)
        felt = part.tape.felt[j - 1, base + a : base + b]
        if part.form.norm == NO_NORM:
            add_product(felt, grad, grads.hidden[j - 1])
        else:
            relu(felt, part.hidden)
            add_product(part.hidden[: b - a], grad, grads.hidden[j - 1])
        if part.form.biases:
            add_rows(grads.biases[j], grad)
        before = part.felt_grad[j - 1, a:b]
        multiply_back(grad, params.hidden[j - 1], before, 0)
        relu_grad(before, felt)
        if part.form.norm == TOGETHER:
            add_sums(before, felt, part.sums)


@njit(nogil=True, cache=True)
def first_sums_grad(part: Any, params: Any, grads: Any, i: Any, sums: Any, count: Any, whole: Any) -> None:
    """From the hidden values of the first layer to what the cells saw."""
    corner, _ = rows_of(part, i)
    if not len(corner):
        return
    onward = i > 0 or whole
    if part.form.depthwise:
        multiply(part.pixels, params.perceive, part.mixed, 0)
        part.mixed_grad[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        grad = norm_grad(part, i, 0, a, b, sums, count)
        if part.form.biases:
            add_rows(grads.biases[0], grad)
        if part.form.depthwise:
            depthwise_grad(part.mixed, part.mixed_grad, part.row, corner[a:b], params.filters, grads.filters, grad)
            continue
        if not part.form.frozen:
            neighbourhood(part.pixels, part.row, corner[a:b], part.seen)
            add_product(part.seen[: b - a], grad, grads.perceive)
        if onward:
            multiply_back(grad, params.perceive, part.seen[: b - a], 0)
            look_grad(part.grad, part.row, corner[a:b], part.seen)
    if part.form.depthwise:
        add_product(part.pixels, part.mixed_grad, grads.perceive)
        if onward:
            multiply_back(part.mixed_grad, params.perceive, part.grad, 1)


@njit(nogil=True, cache=True)
def enter(pixels: Any, image: Any, state: Any, part: Any) -> None:
    """Image and state of the samples `part`, side by side within a border of zeros: (b, H+2, W+2, E+D)."""
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
def leave(array: Any, first: Any, pixels: Any, row: Any) -> None:
    """The reverse: array (b, H, W, ·) becomes the channels of flat padded pixels from `first` on."""
    b, H, W, channels = array.shape
    source, target, C = flat(pixels), flat(array), pixels.shape[1]
    end, run = np.uintp(0), np.uintp(channels)
    for i in range(b):
        for y in range(H):
            for x in range(W):
                first_step = np.uintp(((i * (H + 2) + y + 1) * row + x + 1) * C + first)
                for c in range(run):
                    target[end + np.uintp(c)] = source[first_step + np.uintp(c)]
                end += run


@njit(nogil=True, cache=True)
def add_grid(pixels: Any, first: Any, row: Any, array: Any) -> None:
    """Add array (b, H, W, ·) to the channels of flat padded pixels from `first` on."""
    b, H, W, channels = array.shape
    source, target, C = flat(array), flat(pixels), pixels.shape[1]
    end, run = np.uintp(0), np.uintp(channels)
    for i in range(b):
        for y in range(H):
            for x in range(W):
                first_step = np.uintp(((i * (H + 2) + y + 1) * row + x + 1) * C + first)
                for c in range(run):
                    target[first_step + np.uintp(c)] += source[end + np.uintp(c)]
                end += run
