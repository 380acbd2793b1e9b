"""The backend on a device: what the contract asks for, slice by slice of a batch.

Nothing here waits for the device, except for arrays of the caller that it has to look into: weights, and what
`refca.contract.checks` looks at.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca.contract.checks import check_targets, check_unroll
from refca.contract.strided_vjp import decoded, decoded_grad, encoded, encoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Randomness, Streams
from refca_cupy.adam import adam_step
from refca_cupy.call import Call
from refca_cupy.layout import Unroll, round_up4
from refca_cupy.machine import Device
from refca_cupy.slices import fit, sliced


class Gradients(NamedTuple):
    """Results for a slice of a batch: loss, gradients of parameters, last states, gradient of the image."""

    loss: Array
    params: Params
    last: Array
    image: Array | None

    def merge(self, more: Gradients, xp: Any) -> Gradients:
        """The results for this slice and the slice after it."""
        params = {name: grad + more.params[name] for name, grad in self.params.items()}
        image = None if self.image is None else xp.concatenate([self.image, more.image])
        return Gradients(self.loss + more.loss, params, xp.concatenate([self.last, more.last]), image)


class Backend:
    """The contract of `spec/chapters/backends.md`, on a device."""

    def __init__(self, device: Device) -> None:
        self.device, self.xp = device, device.xp

    def evolve(
        self,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        steps: int,
        *,
        first_step: int = 0,
    ) -> Array:
        """The state (B, H, W, D) after `steps` steps, numbered from `first_step`. A new array."""
        check_unroll(cell, params, image, state, steps, first_step)
        if not state.size or not steps:
            return state.copy()
        environment = encoded(cell, params, image)[-1]
        last = []
        for part in fit(self.device, cell, state, 1, 1)[0]:
            draws = sliced(randomness, state.shape[:3], part)
            given = environment[part], state[part], draws, first_step, steps
            last.append(Call(self.device, cell, params, *given).forward())
        return last[0] if len(last) == 1 else self.xp.concatenate(last)

    def loss_and_grads(
        self,
        cell: Cell,
        loss: str,
        params: Params,
        image: Array,
        state: Array,
        target: Array,
        weights: Array,
        randomness: Randomness,
        *,
        first_step: int = 0,
        image_grad: bool = False,
    ) -> tuple[Any, Params, Array]:
        """Unroll T steps; return the loss, its gradient for every parameter, and the last state.

        The arguments are those of `refca.contract.reference.loss_and_grads`.
        """
        check_unroll(cell, params, image, state, len(weights), first_step)
        check_targets(cell, loss, image, target, weights)
        xp, T = self.xp, len(weights)
        asked = self.device.asnumpy(weights)
        in_loss = np.flatnonzero(asked.any(axis=1))
        if not state.size or not len(in_loss):
            nothing = {name: xp.zeros_like(x) for name, x in params.items()}
            nothing |= {"image": xp.zeros_like(image)} if image_grad else {}
            return 0.0, nothing, self.evolve(cell, params, image, state, randomness, T, first_step=first_step)
        done: Gradients | None = None
        slices, kept = fit(self.device, cell, state, T, len(in_loss))
        for part in slices:
            given = image[part], state[part], target[part], asked[in_loss][:, part]
            draws = sliced(randomness, state.shape[:3], part)
            more = self.gradients(cell, loss, params, *given, draws, first_step, T, in_loss, image_grad, kept)
            done = more if done is None else done.merge(more, xp)
        assert done is not None
        grads = {name: xp.ascontiguousarray(done.params[name]).reshape(x.shape) for name, x in params.items()}
        if image_grad:
            grads["image"] = xp.ascontiguousarray(done.image)
        return xp.asarray(done.loss, state.dtype), grads, done.last

    def gradients(
        self,
        cell: Cell,
        loss: str,
        params: Params,
        image: Array,
        state: Array,
        target: Array,
        weights: Array,
        draws: Randomness,
        first_step: int,
        steps: int,
        in_loss: np.ndarray,
        image_grad: bool,
        kept: bool,
    ) -> Gradients:
        """The results for a slice of a batch. Its memory is free again when this returns."""
        activations, to_environment = encoded(cell, params, image), image_grad or cell.stride > 1
        call = Call(self.device, cell, params, activations[-1], state, draws, first_step, steps, True, kept)
        call.prepare_backward(in_loss, target, weights, to_environment)
        last = call.forward()
        value, grads = readout_loss(call, loss, params)
        step_grads, grad = call.backward()
        grads |= step_grads
        if to_environment:
            encoder_grads, grad = encoded_grad(cell, params, activations, grad, image_grad)
            grads |= encoder_grads
        return Gradients(value, grads, last, grad if image_grad else None)

    def adam_step(
        self,
        params: Params,
        grads: Params,
        m: Params,
        v: Params,
        i: int,
        learning_rate: float,
        normalise: bool,
    ) -> Params:
        """The parameters after update i, new arrays; the moments change in place."""
        return adam_step(self.device, params, grads, m, v, i, learning_rate, normalise)

    def initial(self, streams: Streams, B: int, H: int, W: int, D: int) -> Array:
        """The state that streams start from, (B, H, W, D) float32."""
        state = self.device.empty((B, H, W, D), np.float32)
        if not state.size:
            return state
        key0, key1 = streams.key
        u = Unroll(d=D, b=B, h=H, w=W, key0=key0, key1=key1, first_sample=streams.first_sample)
        u.last = self.device.address(state)
        module = self.device.module("initial", "float32")
        module.write("u", u)
        module.launch("initial", self.device.spread(B * H * W * round_up4(D) // 4))
        return state


def readout_loss(call: Call, loss: str, params: Params) -> tuple[Array, Params]:
    """The loss, and the gradients of the readout; the gradient of the states goes to the call."""
    cell, states, state_grad = call.cell, call.arrays["states"], call.arrays["state_grad"]
    if cell.stride > 1:
        activations = decoded(cell, params, states.reshape(-1, *states.shape[2:]))
        value, grad = call.loss_and_grad(loss, activations[-1])
        grads, grad = decoded_grad(cell, params, activations, grad.reshape(activations[-1].shape))
        state_grad[...] = grad.reshape(states.shape)
        return value, grads
    if cell.linear_readout:
        readout, rows = params["readout.weight"], states.reshape(-1, cell.state_channels)
        value, grad = call.loss_and_grad(loss, rows @ readout)
        grad = grad.reshape(-1, cell.labels)
        state_grad[...] = (grad @ readout.T).reshape(states.shape)
        return value, {"readout.weight": rows.T @ grad}
    value, grad = call.loss_and_grad(loss, states[..., -cell.labels :])
    state_grad[..., -cell.labels :] = grad
    return value, {}
