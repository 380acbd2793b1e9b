"""The backend on a device: what the contract asks for, slice by slice of a batch.

Nothing here waits for the device, except for arrays of the caller that it has to look into: weights, and what
`refca.contract.checks` looks at.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca.contract.checks import check_unroll
from refca.contract.objective import Objective
from refca.contract.protocol import BaseBackend, ObjectiveFunction, UnrollGrads
from refca.contract.strided_vjp import decoded, decoded_grad, encoded
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Randomness, Streams
from refca.definition.state import grid
from refca_cupy.adam import adam_step
from refca_cupy.call import Call
from refca_cupy.layout import Unroll, round_up4
from refca_cupy.machine import Device
from refca_cupy.slices import fit, sliced


class Gradients(NamedTuple):
    """Results for a slice of a batch: the objective's value, gradients of parameters and of inputs, last states."""

    value: Array
    params: Params
    inputs: tuple[Array, ...]  # of the environment and the first state, or nothing
    last: Array

    def merge(self, more: Gradients, xp: Any) -> Gradients:
        """The results for this slice and the slice after it."""
        params = {name: grad + more.params[name] for name, grad in self.params.items()}
        inputs = tuple(xp.concatenate(pair) for pair in zip(self.inputs, more.inputs, strict=True))
        return Gradients(self.value + more.value, params, inputs, xp.concatenate([self.last, more.last]))


class DeviceBackend(BaseBackend):
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
        environment = encoded(cell, params, image, self.xp)[-1]
        last = []
        for part in fit(self.device, cell, state, 1, 1)[0]:
            draws = sliced(randomness, state.shape[:3], part)
            given = environment[part], state[part], draws, first_step, steps
            last.append(Call(self.device, cell, params, *given).forward())
        return last[0] if len(last) == 1 else self.xp.concatenate(last)

    def unroll_grads(
        self,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        randomness: Randomness,
        in_loss: np.ndarray,
        objective: ObjectiveFunction,
        *,
        first_step: int = 0,
        inputs_grad: bool = True,
    ) -> UnrollGrads:
        """Unroll T steps and differentiate an objective of the states after those that count.

        The arguments are those of `BaseBackend.unroll_grads`. The objective is called for each slice of the
        batch that fits in memory; losses that have a name are a kernel.
        """
        xp, T, counted = self.xp, len(in_loss), np.flatnonzero(in_loss)
        done: Gradients | None = None
        slices, kept = fit(self.device, cell, state, T, len(counted))
        for part in slices:
            given = environment[part], state[part], sliced(randomness, state.shape[:3], part), first_step, T
            more = self.gradients(cell, params, *given, counted, objective, part, inputs_grad, kept)
            done = more if done is None else done.merge(more, xp)
        assert done is not None
        grads = {name: xp.ascontiguousarray(x).reshape(params[name].shape) for name, x in done.params.items()}
        environment_grad, state_grad = map(xp.ascontiguousarray, done.inputs) if done.inputs else (None, None)
        return xp.asarray(done.value, state.dtype), grads, environment_grad, state_grad, done.last

    def gradients(
        self,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        draws: Randomness,
        first_step: int,
        steps: int,
        in_loss: np.ndarray,
        objective: ObjectiveFunction,
        part: slice,
        inputs_grad: bool,
        kept: bool,
    ) -> Gradients:
        """The results for a slice of a batch. Its memory is free again when this returns."""
        call = Call(self.device, cell, params, environment, state, draws, first_step, steps, True, kept)
        call.prepare_backward(in_loss, inputs_grad)
        fused = objective if isinstance(objective, Objective) and not callable(objective.loss) else None
        if fused:
            call.prepare_loss(fused.target[part], fused.weights[:, part])
        last = call.forward()
        if fused:
            value, grads = readout_loss(call, fused.loss, params)
            fused.parts.append((part.start, grads))
        else:
            value, call.arrays["state_grad"][...] = objective(call.arrays["states"], part)
        return Gradients(value, *call.backward(), last)

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

    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32, drawn on the device."""
        (B, H, W), D = grid(cell, image), cell.state_channels
        if not cell.normal_start:
            return self.xp.zeros((B, H, W, D), np.float32)
        if streams is None or not B * H * W:
            return super().initial_state(cell, image, streams)
        state = self.device.empty((B, H, W, D), np.float32)
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
        activations = decoded(cell, params, states.reshape(-1, *states.shape[2:]), call.xp)
        value, grad = call.loss_and_grad(loss, activations[-1])
        grads, grad = decoded_grad(cell, params, activations, grad.reshape(activations[-1].shape), call.xp)
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
