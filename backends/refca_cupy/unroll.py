"""Whole unrolls on a device: what is asked of the kernels, and what they need for it.

A device is a GPU, or a processor in its place for checking (`gpu.py`, `emulator.py`). Nothing here waits for it,
but for what the caller keeps on it and this has to know: which steps count, and what `refca.check` looks at.

Source: the contract of `spec/backends.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refca.cell import Array, Cell, Params, frozen, grid
from refca.check import check_targets, check_unroll
from refca.randomness import Randomness, Recorded, Streams
from refca.strides_grad import decoded, decoded_grad, encoded, encoded_grad
from refca_cupy.layout import OTHERS, REALS, Packed, Unroll, fours, settings, sizes
from refca_cupy.schedule import Schedule

JUDGES = 256  # blocks of `judge`, at most


class Call:
    """One unroll: the arrays that its kernels share, made as they are needed."""

    def __init__(
        self,
        device: Any,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        draws: Randomness,
        start: int,
        steps: int,
        taped: bool,
    ) -> None:
        self.device, self.xp, self.cell, self.dtype = device, device.xp, cell, state.dtype
        self.B, self.H, self.W, _ = environment.shape
        self.steps, self.taped = steps, taped
        self.schedule = Schedule.of(device, cell, self.B, self.H * self.W)
        self.module = device.module(cell, str(state.dtype), self.schedule.team)
        self.arrays: dict[str, Array] = {}
        self.u = Unroll(**settings(cell), b=self.B, h=self.H, w=self.W, steps=steps, start=start)
        self.u.grids, self.u.scaled = (steps + 1, steps) if taped else (2, 1)
        self.u.team, self.u.blocks = self.schedule.team, self.schedule.blocks
        self.u.cap, self.u.weights = self.schedule.cap, sum(sizes(cell))
        self.u.sigma, self.u.alive_above = cell.noise, np.float32(cell.alive_above or 0)
        self.packed = Packed.of(cell, params, self.xp)
        self.share(environment=environment, state=state, **self.packed._asdict())
        self.draw(draws, start)

    def share(self, **arrays: Array) -> None:
        """Give arrays to the kernels."""
        for name, x in arrays.items():
            if name == "flat":
                continue
            self.arrays[name] = self.xp.ascontiguousarray(x)
            setattr(self.u, name, self.device.address(self.arrays[name]))

    def make(self, **shapes: tuple[int, ...]) -> None:
        """Give the kernels arrays of these shapes to write to."""
        self.share(**{name: self.device.empty(shape, self.type_of(name)) for name, shape in shapes.items()})

    def type_of(self, name: str) -> Any:
        if name in REALS:
            return self.dtype
        return {"int": np.int32, "double": np.float64}.get(OTHERS[name].split()[-1], np.uint8)

    def draw(self, draws: Randomness, start: int) -> None:
        """Have the kernels draw from streams, or give them what was drawn."""
        shape, xp = (self.B, self.H, self.W), self.xp
        if type(draws) is Streams:
            self.u.key0, self.u.key1 = draws.key
            self.u.first_sample = draws.first_sample
            self.u.fire_below = round(self.cell.fire_rate * 2**32)
            return
        drawn = [draws.at(self.cell, t, *shape) for t in range(start, start + self.steps)]
        if not drawn:
            return
        self.share(fire=xp.stack([xp.asarray(draw.fires) for draw in drawn]))
        if self.cell.noise:
            self.share(noise=xp.stack([xp.asarray(draw.noise, self.dtype) for draw in drawn]))
        if self.cell.resettable:
            self.share(reset=xp.stack([xp.asarray(draw.z, self.dtype) for draw in drawn]))

    def forward(self) -> None:
        """Make the steps."""
        u, cell, B, H, W = self.u, self.cell, self.B, self.H, self.W
        blocks, cap, N = u.blocks, u.cap, cell.hidden_layers
        P4, Q4 = fours(cell.hidden_width), fours(cell.state_channels + cell.resettable)
        C4 = fours(cell.environment_channels + cell.state_channels)
        self.make(pixels=(u.grids, B, H + 2, W + 2, C4))
        self.make(felt=(N + 1, blocks, cap, P4), proposal=(blocks, cap, Q4))
        self.make(cell=(blocks, cap), step=(blocks, cap), updates=(blocks, cap))
        self.make(used=(blocks,), rows=(blocks,), live=(B, H, W), lives=(B,))
        self.share(slot_of=self.xp.full((B, H, W), -1, np.int32))
        if cell.norm == "channel":
            self.make(row_scale=(N + 1, blocks, cap))
        if cell.norm in ("instance", "batch"):
            self.make(part=(blocks, 8, 2, P4), moments=(N + 1, blocks, 2, P4))
            self.make(scales=(u.scaled, N + 1, B, u.team, 2, P4))
        if cell.depthwise:
            self.share(mixed=self.xp.zeros((B, H + 2, W + 2, P4), self.dtype))
        self.module.write(u)
        self.module.launch("find_live_cells", B)
        self.module.launch("enter", self.device.spread(u.grids * B * (H + 2) * (W + 2)))
        if self.schedule.whole:
            self.module.launch("forward", blocks, team=True)
            return
        for i in range(self.steps):
            self.module.launch("forward_phase", blocks, 0, i)
            for j in range(N + 1):
                self.module.launch("forward_phase", blocks, 1, i, j)
            self.module.launch("forward_phase", blocks, 2, i)

    def leave(self, counted: np.ndarray | None = None) -> Array:
        """The last states, (B, H, W, D); or those after each of the steps `counted`, with one axis more."""
        shape = (self.B, self.H, self.W, self.cell.state_channels)
        if counted is not None:
            number = np.full(self.steps, -1, np.int32)
            number[counted] = range(len(counted))
            self.share(counted=self.xp.asarray(number))
            shape = (len(counted), *shape)
        self.make(states=shape)
        self.module.write(self.u)
        self.module.launch("leave", self.device.spread(int(np.prod(shape))), -1 if counted is None else 1)
        return self.arrays["states"]

    def backward(self, state_grad: Array, whole: bool) -> tuple[Packed, Array]:
        """From the gradient of the counted states (S, B, H, W, D) to those of the weights, and of the environment."""
        u, cell, B, H, W, xp = self.u, self.cell, self.B, self.H, self.W, self.xp
        blocks, cap, N = u.blocks, u.cap, cell.hidden_layers
        P4, E = fours(cell.hidden_width), cell.environment_channels
        u.whole = whole
        self.share(state_grad=state_grad, **self.packed.back(xp), zeros=xp.zeros(P4, self.dtype))
        self.share(grad=xp.zeros((B, H, W, fours(E + cell.state_channels)), self.dtype))
        self.share(weight_grad=xp.zeros((blocks, u.weights), self.dtype))
        self.make(felt_grad=(N + 1, blocks, cap, P4), proposal_grad=self.arrays["proposal"].shape)
        if cell.norm in ("instance", "batch"):
            self.make(sums=(N + 1, blocks, 2, P4))
        if cell.depthwise:
            self.make(mixed_grad=(blocks, cap, P4))
        self.module.write(u)
        if self.schedule.whole:
            self.module.launch("backward", blocks, team=True)
        else:
            for i in reversed(range(self.steps)):
                self.module.launch("backward_phase", blocks, 0, i)
                self.module.launch("backward_phase", blocks, 1, i)
                for j in range(N, -1, -1):
                    self.module.launch("backward_phase", blocks, 2, i, j)
                self.module.launch("backward_phase", blocks, 3, i)
            self.module.launch("backward_phase", blocks, 4)
        self.module.launch("sum_weights", self.device.spread(u.weights))
        return Packed.views(cell, self.arrays["weight_grad"][0]), self.arrays["grad"][..., :E]

    def judge(self, loss: str, said: Array, label: Array, weights: Array) -> tuple[Array, Array]:
        """The loss of what is said at S counted steps, (S, B, rows, columns, L), and its gradient, like it."""
        S, B, rows, columns, _ = said.shape
        self.u.counts, self.u.shown, self.u.mapped = S, rows * columns, int(label.ndim == 3)
        blocks = min(JUDGES, self.device.spread(S * B * rows * columns))
        self.share(said=said, label=label, weight=weights)
        self.make(said_grad=said.shape, losses=(blocks,))
        self.module.write(self.u)
        self.module.launch("judge", blocks, int(loss == "l2"))
        return self.arrays["losses"].sum(), self.arrays["said_grad"]


class Backend:
    """`evolve` and `loss_and_grads` of a device."""

    def __init__(self, device: Any) -> None:
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
        start: int = 0,
    ) -> Array:
        """The state (B, H, W, D) after `steps` steps, numbered from `start`. A new array."""
        check_unroll(cell, params, image, state, steps, start)
        if not state.size or not steps:
            return state.copy()
        environment = encoded(cell, params, image)[-1]
        parts = self.slices(cell, state, 1)
        moved = []
        for part in parts:
            draws = sliced(randomness, cell, state.shape[:3], part, start, steps)
            call = Call(self.device, cell, params, environment[part], state[part], draws, start, steps, False)
            call.forward()
            moved.append(call.leave())
        return moved[0] if len(moved) == 1 else self.xp.concatenate(moved)

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
        start: int = 0,
        image_grad: bool = False,
    ) -> tuple[Any, Params, Array]:
        """Unroll T steps; return the loss, its gradient for every parameter, and the last state.

        The arguments are those of `refca.reference.loss_and_grads`.
        """
        check_unroll(cell, params, image, state, len(weights), start)
        check_targets(cell, loss, image, target, weights)
        xp, dtype = self.xp, state.dtype
        asked = weights if isinstance(weights, np.ndarray) else weights.get()
        counted = np.flatnonzero(asked.any(axis=1))
        total = {name: xp.zeros_like(x) for name, x in params.items()}
        if image_grad:
            total["image"] = xp.zeros_like(image)
        if not state.size or not len(counted):
            return 0.0, total, self.evolve(cell, params, image, state, randomness, len(weights), start=start)
        value: Any = 0.0
        last = []
        weight = xp.asarray(np.ascontiguousarray(asked[counted]), dtype)
        for part in self.slices(cell, state, len(weights)):
            draws = sliced(randomness, cell, state.shape[:3], part, start, len(weights))
            levels = encoded(cell, params, image[part])
            call = Call(
                self.device, cell, params, levels[-1], state[part], draws, start, len(weights), taped=True
            )
            call.forward()
            last.append(call.leave())
            states = call.leave(counted)
            label = xp.asarray(target[part], np.int32)
            of_part, of_readout, state_grad = judged(call, loss, params, states, label, weight[:, part])
            value = value + of_part
            whole = image_grad or cell.stride > 1
            packed, environment_grad = call.backward(state_grad, whole)
            grads = {**packed.named(cell), **of_readout}
            if whole:
                of_layers, of_image = encoded_grad(cell, params, levels, environment_grad, image_grad)
                grads |= of_layers
                if image_grad:
                    total["image"][part] = of_image
            for name, grad in grads.items():
                total[name] += grad.reshape(total[name].shape)
        for name in frozen(cell):
            total[name][...] = 0
        return value, total, last[0] if len(last) == 1 else xp.concatenate(last)

    def slices(self, cell: Cell, state: Array, steps: int) -> list[slice]:
        """The batch in slices whose pixels, kept for `steps` steps, fit in the device's memory."""
        B, H, W, D = state.shape
        each = (steps + 1) * (H + 2) * (W + 2) * fours(cell.environment_channels + D) * state.dtype.itemsize
        size = B if cell.norm == "batch" else max(1, min(B, self.device.room() // each))
        return [slice(first, min(B, first + size)) for first in range(0, B, size)]


def judged(
    call: Call, loss: str, params: Params, states: Array, label: Array, weight: Array
) -> tuple[Array, Params, Array]:
    """The loss at states (S, B, H, W, D), the readout's gradients, and that of the states."""
    cell, xp = call.cell, call.xp
    S, B, H, W, D = states.shape
    shape = (S, B, cell.stride * H, cell.stride * W, cell.labels)
    if cell.stride > 1:
        levels = decoded(cell, params, states.reshape(-1, H, W, D))
        value, grad = call.judge(loss, levels[-1].reshape(shape), label, weight)
        of_readout, state_grad = decoded_grad(cell, params, levels, grad.reshape(levels[-1].shape))
        return value, of_readout, state_grad.reshape(states.shape)
    if cell.linear_readout:
        readout, flat = params["readout.weight"], states.reshape(-1, D)
        value, grad = call.judge(loss, (flat @ readout).reshape(shape), label, weight)
        grad = grad.reshape(-1, cell.labels)
        return value, {"readout.weight": flat.T @ grad}, (grad @ readout.T).reshape(states.shape)
    value, grad = call.judge(loss, states[..., -cell.labels :], label, weight)
    state_grad = xp.zeros_like(states)
    state_grad[..., -cell.labels :] = grad
    return value, {}, state_grad


def sliced(
    randomness: Randomness, cell: Cell, shape: tuple[int, ...], part: slice, start: int, steps: int
) -> Randomness:
    """The randomness of a slice of the batch."""
    if part.stop - part.start == shape[0]:
        return randomness
    if type(randomness) is Streams:
        return replace(randomness, first_sample=(randomness.first_sample + part.start) % 2**32)
    return Slice(randomness, cell, shape, part)


class Slice(NamedTuple):
    """The draws of some of the samples of a batch."""

    randomness: Randomness
    cell: Cell
    shape: tuple[int, ...]
    part: slice

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Any:
        drawn = self.randomness.at(cell, t, *self.shape)
        return type(drawn)(*(None if x is None else x[self.part] for x in drawn))
