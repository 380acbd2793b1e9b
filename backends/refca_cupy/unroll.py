"""The backend on a device: what the contract asks for, slice by slice of a batch.

Nothing here waits for the device, except for arrays of the caller that it has to look into: weights, and what
`refca.contract.checks` looks at.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import RLock
from typing import Any, Literal, NamedTuple, TypeVar, cast

import numpy as np

from refca.contract.checks import check_cell, check_image, check_unroll
from refca.contract.objective import Objective
from refca.contract.protocol import BaseBackend, ObjectiveFunction, UnrollGrads
from refca.contract.strided_vjp import decoded, decoded_grad, encoded
from refca.definition.cell import Array, Cell, Params
from refca.definition.params import param_shapes
from refca.definition.randomness import Randomness, Streams
from refca.definition.state import grid
from refca_cupy.adam import adam_step
from refca_cupy.layout import MOST, Unroll, round_up4
from refca_cupy.machine import Device
from refca_cupy.plan import Plan
from refca_cupy.slices import fit, sliced

PLANS = 3  # whose memory stays allocated, at most


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


F = TypeVar("F", bound=Callable[..., Any])


def one_at_a_time(method: F) -> F:
    """A method that one thread at a time is in: plans and the constants of the kernels are shared."""

    @wraps(method)
    def call(self: DeviceBackend, *arguments: Any, **named: Any) -> Any:
        with self.lock:
            return method(self, *arguments, **named)

    return cast(F, call)


class DeviceBackend(BaseBackend):
    """The contract of `spec/chapters/backends.md`, on a device."""

    def __init__(self, device: Device) -> None:
        self.lock = RLock()
        self.use(device)

    def use(self, device: Device) -> None:
        """Compute on a device from now on."""
        self.device, self.xp = device, device.xp
        self.plans = OrderedDict[tuple[Any, ...], Plan]()  # the last used last

    def supports(self, cell: Cell) -> Literal[True] | str:
        """Return True, or in a few words the reason why this cell cannot be computed."""
        count = len(param_shapes(cell))
        return True if count <= MOST else f"a cell of at most {MOST} parameter arrays, and this has {count}"

    def plan(self, cell: Cell, state: Array, steps: int, taped: bool = False, kept: bool = False) -> Plan:
        """The plan of such unrolls; of the last few plans, memory stays allocated."""
        key = cell, str(state.dtype), tuple(state.shape), steps, taped, kept
        if key not in self.plans:
            while self.plans and (
                len(self.plans) >= PLANS
                or 2 * sum(plan.size for plan in self.plans.values()) > self.device.memory_budget()
            ):
                self.plans.popitem(last=False)
            self.plans[key] = Plan(self.device, cell, state, steps, taped, kept)
        self.plans.move_to_end(key)
        return self.plans[key]

    @contextmanager
    def in_use(self, plan: Plan) -> Iterator[None]:
        """Within this context the backend may be called again, as by a loss that evolves cells: not on this plan.

        Other threads may call it too: a loss may wait for one.
        """
        key = next(key for key, found in self.plans.items() if found is plan)
        del self.plans[key]
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
        self.plans[key] = plan
        plan.write_constants()

    @one_at_a_time
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
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        if not state.size or not steps:
            return state.copy()
        environment = encoded(cell, params, image, self.xp)[-1]
        last = []
        for part in fit(self.device, cell, state, 1, 1)[0]:
            draws = sliced(randomness, state.shape[:3], part)
            given = environment[part], state[part], draws, first_step
            plan = self.plan(cell, state[part], steps)
            plan.begin(params, *given)
            last.append(plan.forward())
        return last[0] if len(last) == 1 else self.xp.concatenate(last)

    @one_at_a_time
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
        grads = {name: x.reshape(params[name].shape) for name, x in done.params.items()}
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
        """The results for a slice of a batch."""
        plan = self.plan(cell, state, steps, True, kept)
        plan.begin(params, environment, state, draws, first_step)
        plan.prepare_objective(in_loss, inputs_grad)
        named = objective if isinstance(objective, Objective) and not callable(objective.loss) else None
        if named:
            plan.prepare_loss(named.target[part], named.weights[:, part], params)
        last, readout_grads = plan.forward(), dict[str, Array]()
        if named and cell.stride > 1:
            readout_grads = strided_loss(plan, named.loss, params)
        elif named:
            plan.loss(named.loss)
        else:
            with self.in_use(plan):
                value, plan.arrays["state_grad"][...] = objective(plan.arrays["states"], part)
        grads, loss = plan.backward()
        if named:
            readout_grads |= {"readout.weight": grads.pop("readout.weight")} if "readout.weight" in grads else {}
            named.parts.append((part.start, readout_grads))
            value = loss
        return Gradients(value, grads, plan.inputs_grad() if inputs_grad else (), last)

    @one_at_a_time
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

    @one_at_a_time
    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32, drawn on the device."""
        check_cell(cell)
        check_image(cell, image)
        (B, H, W), D = grid(cell, image), cell.state_channels
        if not cell.normal_start:
            return self.xp.zeros((B, H, W, D), np.float32)
        if type(streams) is not Streams or not B * H * W:
            return super().initial_state(cell, image, streams)
        state = self.device.empty((B, H, W, D), np.float32)
        key0, key1 = streams.key
        u = Unroll(d=D, b=B, h=H, w=W, key0=key0, key1=key1, first_sample=streams.first_sample)
        u.last = self.device.address(state)
        module = self.device.module("initial", "float32")
        module.write("u", u)
        module.launch("initial", self.device.spread(B * H * W * round_up4(D) // 4))
        return state


def strided_loss(plan: Plan, loss: str, params: Params) -> Params:
    """Compute the loss of a strided readout; the gradient of the states goes to the plan. Return the decoder's."""
    states, xp = plan.arrays["states"], plan.device.xp
    activations = decoded(plan.cell, params, states.reshape(-1, *states.shape[2:]), xp)
    plan.arrays["logits"][...] = activations[-1].reshape(plan.arrays["logits"].shape)
    plan.loss(loss)
    grad = plan.arrays["logits_grad"].reshape(activations[-1].shape)
    grads, grad = decoded_grad(plan.cell, params, activations, grad, xp)
    plan.arrays["state_grad"][...] = grad.reshape(states.shape)
    return grads
