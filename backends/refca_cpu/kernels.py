"""One step of a shard, a few samples, in phases; the gradient of a step; and whole unrolls of them.

Functions carry the names of the definition: neighbourhood and perceive, normalise, hidden_layer, propose,
gate, reset, fire; a gradient adds `_grad`. A phase ends where the norm of a cell needs statistics of all rows
of a layer: the rows of the shard, or, for a norm over the batch, the rows of all shards, which then wait for
each other between phases (`lockstep.py`). No function holds Python's lock, so that threads can work on
different shards.

The rows of a layer are the cells that the layer is computed for: those that update, or every cell of the
shard where a norm needs them all. Rows are processed in blocks that stay in the cache.

Letters: C = E+D channels of a pixel, D state channels, P hidden width, n hidden layers, R rows, U updates.
"""

from __future__ import annotations

import numpy as np

from refca_cpu.arrays import Ints, Reals
from refca_cpu.compiled import njit
from refca_cpu.depthwise import depthwise, depthwise_grad
from refca_cpu.gemm import add_product, multiply, multiply_back
from refca_cpu.layers import (
    add_bias,
    add_grad_sums,
    add_moments,
    add_rows,
    biased_relu,
    biased_relu_in_place,
    flat,
    inverse_deviations,
    neighbourhood,
    neighbourhood_grad,
    normalise,
    normalise_channels,
    normalise_channels_grad,
    normalise_grad,
    relu,
    relu_grad,
)
from refca_cpu.layout import BLOCK, CHANNEL, NO_NORM, TOGETHER, Form, Packed, Shard
from refca_cpu.pixels import add_padded, unpad
from refca_cpu.vectors import extent, load, passed, store


@njit(nogil=True, cache=True)
def forward(shard: Shard, params: Packed) -> None:
    """Move the pixels through all steps of the shard, in place. Not for a norm over the batch."""
    for i in range(len(shard.updates.offsets) - 1):
        perceive(shard, params, i)
        for j in range(len(params.hidden)):
            hidden_layer(shard, params, i, j, shard.moments, shard.cells)
        update_states(shard, params, i, shard.moments, shard.cells)


@njit(nogil=True, cache=True)
def backward(shard: Shard, params: Packed, grads: Packed, to_environment: bool) -> None:
    """Add the gradients to `grads`, and take the pixels back to where they started.

    `shard.grad`, the gradient of the pixels, ends as the gradient of the environment and the first state if
    `to_environment`, else one step short of it. For each step the tape keeps the states that the step
    replaced, so that neighbourhoods can be gathered again: a ninth of the memory.
    """
    for i in range(len(shard.updates.offsets) - 2, -1, -1):
        update_states_grad(shard, params, grads, i)
        for j in range(len(params.hidden), 0, -1):
            hidden_layer_grad(shard, params, grads, i, j, shard.grad_sums, shard.cells)
        perceive_grad(shard, params, grads, i, shard.grad_sums, shard.cells, to_environment)


@njit(nogil=True, cache=True)
def rows_of_step(shard: Shard, i: int) -> tuple[Ints, int]:
    """The corners of the rows of step i, and the place of the first of them on the tape."""
    if shard.form.norm == TOGETHER:
        return shard.corners, i * len(shard.corners) if shard.form.taped else 0
    a, b = shard.updates.offsets[i], shard.updates.offsets[i + 1]
    return shard.updates.corner[a:b], a if shard.form.taped else 0


@njit(forceinline=True)
def place(shard: Shard, j: int) -> int:
    """The place of layer j on the tape; without a backward pass all layers have one."""
    return j if shard.form.taped else 0


@njit(nogil=True, cache=True)
def perceive(shard: Shard, params: Packed, i: int) -> None:
    """Gather the neighbourhoods, and compute the sums of the first layer from them."""
    corner, base = rows_of_step(shard, i)
    shard.moments[:] = 0
    if shard.form.depthwise and len(corner):
        multiply(shard.pixels, params.perceive, shard.mixed, 0)
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        sums = shard.tape.preact[0, base + a : base + b]
        if shard.form.depthwise:
            depthwise(shard.mixed, shard.row_stride, corner[a:b], params.filters, sums)
        else:
            neighbourhood(shard.pixels, shard.row_stride, corner[a:b], shard.seen)
            multiply(shard.seen[: b - a], params.perceive, sums, 0)
        add_bias_and_moments(shard, params, 0, sums, a)


@njit(nogil=True, cache=True)
def add_bias_and_moments(shard: Shard, params: Packed, j: int, sums: Reals, rows_before: int) -> None:
    """Add the bias to a block of sums of layer j, and the block to the statistics of the rows before it."""
    if shard.form.norm != NO_NORM and shard.form.biases:
        add_bias(sums, params.biases[j])
    if shard.form.norm == TOGETHER:
        add_moments(sums, rows_before, shard.moments)


@njit(nogil=True, cache=True)
def normalise_rows(shard: Shard, i: int, j: int, a: int, b: int, moments: Reals, count: int) -> Reals:
    """Normalise the sums of layer j in rows a to b of step i, in place, and return them."""
    _, base = rows_of_step(shard, i)
    preact: Reals = shard.tape.preact[place(shard, j), base + a : base + b]
    if shard.form.norm == CHANNEL:
        normalise_channels(preact, shard.tape.row_scale[place(shard, j), base + a : base + b])
    elif shard.form.norm == TOGETHER:
        scale = shard.tape.scale[j, i if shard.form.taped else 0]
        inverse_deviations(moments, count, scale)
        normalise(preact, moments[0], scale)
    return preact


@njit(nogil=True, cache=True)
def hidden_values(shard: Shard, params: Packed, i: int, j: int, a: int, b: int, moments: Reals, count: int) -> Reals:
    """The hidden values of layer j in rows a to b of step i, from the sums, which are normalised in place.

    They stand in `shard.hidden`, or on the tape, if that keeps the values themselves: without a norm.
    """
    preact = normalise_rows(shard, i, j, a, b, moments, count)
    hidden: Reals = shard.hidden[: b - a]
    if shard.form.norm != NO_NORM:
        relu(preact, hidden)
    elif shard.form.taped:
        biased_relu_in_place(preact, params.biases[j])
        return preact
    else:
        biased_relu(preact, params.biases[j], hidden)
    return hidden


@njit(nogil=True, cache=True)
def hidden_layer(shard: Shard, params: Packed, i: int, j: int, moments: Reals, count: int) -> None:
    """The hidden values of layer j, and the sums of the 1×1 layer after it.

    moments are the statistics of layer j over `count` rows; the statistics of the next layer go to `shard.moments`.
    """
    corner, base = rows_of_step(shard, i)
    before = moments.copy()
    shard.moments[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        hidden = hidden_values(shard, params, i, j, a, b, before, count)
        sums = shard.tape.preact[place(shard, j + 1), base + a : base + b]
        multiply(hidden, params.hidden[j], sums, 0)
        add_bias_and_moments(shard, params, j + 1, sums, a)


@njit(nogil=True, cache=True)
def update_states(shard: Shard, params: Packed, i: int, moments: Reals, count: int) -> None:
    """The last hidden values, then propose, gate, reset and fire; keep the states of steps in the loss."""
    corner, base = rows_of_step(shard, i)
    n, first, last = len(params.hidden), shard.updates.offsets[i], shard.updates.offsets[i + 1]
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        if shard.form.norm == TOGETHER:
            normalise_rows(shard, i, n, a, b, moments, count)
        else:
            update(shard, params, hidden_values(shard, params, i, n, a, b, moments, count), first + a, first + b)
    if shard.form.norm == TOGETHER:
        preact = shard.tape.preact[place(shard, n), base : base + len(corner)]
        for a in range(first, last, BLOCK):
            b = min(a + BLOCK, last)
            hidden_of(preact, shard.updates.row[a:b], shard.hidden)
            update(shard, params, shard.hidden[: b - a], a, b)
    slot = shard.in_loss.slot[i]
    if slot >= 0:
        D = len(params.update_bias)
        unpad(shard.in_loss.states[slot], shard.pixels.shape[1] - D, shard.pixels, shard.row_stride)


@njit(nogil=True, cache=True)
def hidden_of(preact: Reals, rows: Ints, hidden: Reals) -> None:
    """Rectify some rows of normalised sums into the first rows of `hidden`."""
    P, whole, lanes = extent(preact)
    source, target, zero = flat(preact), flat(hidden), preact.dtype.type(0)
    for k in range(len(rows)):
        first, end = rows[k] * P, k * P
        for p in range(0, whole, lanes):
            x = load(source, first + p)
            store(target, end + p, passed(x, x))
        for p in range(whole, P):
            y = source[first + p]
            target[end + p] = zero if y <= zero else y


@njit(nogil=True, cache=True)
def update(shard: Shard, params: Packed, hidden: Reals, a: int, b: int) -> None:
    """Propose, gate, reset and fire for the updates a to b, from their hidden values."""
    multiply(hidden, params.update, shard.proposal[: b - a], 0)
    form, updates, tape, bias = shard.form, shard.updates, shard.tape, params.update_bias
    C, D, Q = np.uintp(shard.pixels.shape[1]), np.uintp(len(bias)), np.uintp(shard.proposal.shape[1])
    pixels, proposal = flat(shard.pixels), flat(shard.proposal)
    noise, reset_noise = flat(updates.noise), flat(updates.reset_noise)
    before, candidate = flat(tape.before), flat(tape.candidate)
    for k in range(a, b):
        state = np.uintp(updates.corner[k] + shard.row_stride + 2) * C - D
        row, first = np.uintp(k) * D, np.uintp(k - a) * Q
        if form.taped:
            copy(pixels, state, before, row, D)
        propose(form, bias, noise, row, proposal, first)
        if form.residual:
            add_state(pixels, state, proposal, first, D)
        if form.resettable:
            r = gate(proposal, first + D)
            if form.taped:
                tape.gate[k] = r
                copy(proposal, first, candidate, row, D)
            reset(r, reset_noise, row, proposal, first, D)
        copy(proposal, first, pixels, state, D)  # fire


@njit(forceinline=True)
def copy(source: Reals, start: np.uintp, target: Reals, end: np.uintp, count: np.uintp) -> None:
    """Copy `count` numbers of a flat array to a place in another."""
    for d in range(count):
        target[end + np.uintp(d)] = source[start + np.uintp(d)]


@njit(forceinline=True)
def propose(form: Form, bias: Reals, noise: Reals, row: np.uintp, proposal: Reals, first: np.uintp) -> None:
    """Add bias and residual noise to the product that stands in the proposal of one update."""
    D = np.uintp(len(bias))
    if form.biases:
        for d in range(D):
            proposal[first + np.uintp(d)] += bias[np.uintp(d)]
    if form.sigma > 0:
        for d in range(D):
            proposal[first + np.uintp(d)] += form.sigma * noise[row + np.uintp(d)]


@njit(forceinline=True)
def add_state(pixels: Reals, state: np.uintp, proposal: Reals, first: np.uintp, D: np.uintp) -> None:
    """Add the state to the proposal of one update, which makes it the candidate."""
    for d in range(D):
        proposal[first + np.uintp(d)] += pixels[state + np.uintp(d)]


@njit(forceinline=True)
def gate(proposal: Reals, place: np.uintp) -> np.floating:
    """The reset gate of one update, from 0 (keep) to 1 (reset)."""
    one = proposal.dtype.type(1)
    return one / (one + np.exp(-proposal[place]))


@njit(forceinline=True)
def reset(r: np.floating, noise: Reals, row: np.uintp, candidate: Reals, first: np.uintp, D: np.uintp) -> None:
    """Replace the candidate of one update by noise as far as its gate r is open, in place."""
    one = candidate.dtype.type(1)
    for d in range(D):
        kept = (one - r) * candidate[first + np.uintp(d)]
        candidate[first + np.uintp(d)] = r * noise[row + np.uintp(d)] + kept


@njit(nogil=True, cache=True)
def update_states_grad(shard: Shard, params: Packed, grads: Packed, i: int) -> None:
    """From the gradient of the states after step i to the gradient of the last sums; undo the step's writes.

    The gradient of the loss with respect to these states is added first, if the loss counts the step.
    """
    corner, base = rows_of_step(shard, i)
    tape, n, D = shard.tape, len(params.hidden), len(params.update_bias)
    first, last = shard.updates.offsets[i], shard.updates.offsets[i + 1]
    slot = shard.in_loss.slot[i]
    if slot >= 0:
        add_padded(shard.grad, shard.pixels.shape[1] - D, shard.row_stride, shard.in_loss.states[slot])
    shard.grad_sums[:] = 0
    preact = tape.preact[n, base : base + len(corner)]
    together = shard.form.norm == TOGETHER
    if together:
        shard.preact_grad[n, : len(corner)] = 0
    for a in range(first, last, BLOCK):
        b = min(a + BLOCK, last)
        proposal_grad, hidden_grad = shard.proposal[: b - a], shard.hidden[: b - a]
        update_grad(shard, a, b)
        add_rows(grads.update_bias, proposal_grad[:, :D])
        if together:
            hidden_of(preact, shard.updates.row[a:b], shard.hidden)
            add_product(shard.hidden[: b - a], proposal_grad, grads.update)
            multiply_back(proposal_grad, params.update, hidden_grad, 0)
            scatter_grad(shard, n, preact, shard.updates.row[a:b], hidden_grad)
        else:
            mine = slice(a - first, b - first)
            if shard.form.norm == NO_NORM:
                add_product(preact[mine], proposal_grad, grads.update)
            else:
                relu(preact[mine], shard.hidden)
                add_product(shard.hidden[: b - a], proposal_grad, grads.update)
            multiply_back(proposal_grad, params.update, shard.preact_grad[n, mine], 0)
            relu_grad(shard.preact_grad[n, mine], preact[mine])


@njit(nogil=True, cache=True, fastmath={"reassoc"})
def update_grad(shard: Shard, a: int, b: int) -> None:
    """Fire, reset, gate and propose in reverse: from the gradients of states to the gradients of proposals.

    The proposals of the updates a to b get their gradients in `shard.proposal`; the pixels get the earlier
    states back. One function, because the order in which the sum is vectorised depends on where it stands.
    """
    form, updates, tape = shard.form, shard.updates, shard.tape
    C, D = np.uintp(shard.pixels.shape[1]), np.uintp(tape.before.shape[1])
    Q = np.uintp(shard.proposal.shape[1])
    pixels, grad, before = flat(shard.pixels), flat(shard.grad), flat(tape.before)
    candidate, noise, proposal_grad = flat(tape.candidate), flat(updates.reset_noise), flat(shard.proposal)
    real = shard.grad.dtype.type
    for k in range(a, b):
        state = np.uintp(updates.corner[k] + shard.row_stride + 2) * C - D
        row, first = np.uintp(k) * D, np.uintp(k - a) * Q
        if form.resettable:
            r, gate_grad = tape.gate[k], real(0)  # gate_grad, of the sum that the gate is the sigmoid of
            for d in range(D):
                distance = noise[row + np.uintp(d)] - candidate[row + np.uintp(d)]
                gate_grad += grad[state + np.uintp(d)] * distance
            proposal_grad[first + D] = gate_grad * r * (real(1) - r)
            for d in range(D):  # reset_grad
                grad[state + np.uintp(d)] *= real(1) - r
        copy(grad, state, proposal_grad, first, D)  # propose_grad
        copy(before, row, pixels, state, D)
        if not form.residual:
            for d in range(D):
                grad[state + np.uintp(d)] = real(0)


@njit(nogil=True, cache=True)
def scatter_grad(shard: Shard, j: int, preact: Reals, rows: Ints, hidden_grad: Reals) -> None:
    """Put the gradients of some rows in their places, through relu, and add them to the sums."""
    grad, sums, zero = shard.preact_grad[j], shard.grad_sums, hidden_grad.dtype.type(0)
    for k in range(len(rows)):
        row = rows[k]
        for p in range(hidden_grad.shape[1]):
            passed = zero if preact[row, p] <= zero else hidden_grad[k, p]
            grad[row, p] = passed
            sums[0, p] += passed
            sums[1, p] += passed * preact[row, p]


@njit(nogil=True, cache=True)
def normalise_rows_grad(shard: Shard, i: int, j: int, a: int, b: int, grad_sums: Reals, count: int) -> Reals:
    """The gradient of the sums of layer j in rows a to b, replacing the gradient of their normalised values."""
    _, base = rows_of_step(shard, i)
    grad, preact = shard.preact_grad[j, a:b], shard.tape.preact[j, base + a : base + b]
    if shard.form.norm == CHANNEL:
        normalise_channels_grad(grad, preact, shard.tape.row_scale[j, base + a : base + b])
    elif shard.form.norm == TOGETHER:
        normalise_grad(grad, preact, shard.tape.scale[j, i], grad_sums, count)
    return grad


@njit(nogil=True, cache=True)
def hidden_layer_grad(
    shard: Shard, params: Packed, grads: Packed, i: int, j: int, grad_sums: Reals, count: int
) -> None:
    """From the gradient of the hidden values of layer j, j > 0, to the gradient of layer j-1.

    grad_sums are the sums of layer j over `count` rows; the sums of layer j-1 go to `shard.grad_sums`.
    """
    corner, base = rows_of_step(shard, i)
    after = grad_sums.copy()
    shard.grad_sums[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        grad = normalise_rows_grad(shard, i, j, a, b, after, count)
        preact = shard.tape.preact[j - 1, base + a : base + b]
        if shard.form.norm == NO_NORM:
            add_product(preact, grad, grads.hidden[j - 1])
        else:
            relu(preact, shard.hidden)
            add_product(shard.hidden[: b - a], grad, grads.hidden[j - 1])
        if shard.form.biases:
            add_rows(grads.biases[j], grad)
        before = shard.preact_grad[j - 1, a:b]
        multiply_back(grad, params.hidden[j - 1], before, 0)
        relu_grad(before, preact)
        if shard.form.norm == TOGETHER:
            add_grad_sums(before, preact, shard.grad_sums)


@njit(nogil=True, cache=True)
def perceive_grad(
    shard: Shard,
    params: Packed,
    grads: Packed,
    i: int,
    grad_sums: Reals,
    count: int,
    to_environment: bool,
) -> None:
    """From the gradient of the hidden values of the first layer to the gradient of the pixels."""
    corner, _ = rows_of_step(shard, i)
    if not len(corner):
        return
    to_pixels = i > 0 or to_environment
    if shard.form.depthwise:
        multiply(shard.pixels, params.perceive, shard.mixed, 0)
        shard.mixed_grad[:] = 0
    for a in range(0, len(corner), BLOCK):
        b = min(a + BLOCK, len(corner))
        grad = normalise_rows_grad(shard, i, 0, a, b, grad_sums, count)
        if shard.form.biases:
            add_rows(grads.biases[0], grad)
        if shard.form.depthwise:
            depthwise_grad(
                shard.mixed,
                shard.mixed_grad,
                shard.row_stride,
                corner[a:b],
                params.filters,
                grads.filters,
                grad,
            )
            continue
        if not shard.form.frozen:
            neighbourhood(shard.pixels, shard.row_stride, corner[a:b], shard.seen)
            add_product(shard.seen[: b - a], grad, grads.perceive)
        if to_pixels:
            multiply_back(grad, params.perceive, shard.seen[: b - a], 0)
            neighbourhood_grad(shard.grad, shard.row_stride, corner[a:b], shard.seen)
    if shard.form.depthwise:
        add_product(shard.pixels, shard.mixed_grad, grads.perceive)
        if to_pixels:
            multiply_back(shard.mixed_grad, params.perceive, shard.grad, 1)
