"""Whole unrolls on a device: what is asked of the kernels, and what they need for it.

A device is a GPU, or a processor in its place for checking (`device.py`, `emulator.py`). Nothing here waits
for it, but for what a caller keeps on it and this has to know: weights, and what `refca.check` looks at.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from refca.contract.checks import check_targets, check_unroll
from refca.contract.strided_vjp import decoded, decoded_grad, encoded, encoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Draw, Randomness, Streams
from refca_cupy.descent import adam_step
from refca_cupy.layout import GROUPS, OTHERS, REALS, Packed, Unroll, fours, settings, sizes
from refca_cupy.schedule import Schedule

JUDGES = 256  # blocks of `judge`, at most
STEP, BEGIN, FEEL, FINISH, GATHER, END = range(6)  # phases of a step, of `kernels.cu`


class Call:
    """One unroll: the arrays that its kernels share."""

    def __init__(
        self,
        device: Any,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        draws: Randomness,
        first_step: int,
        steps: int,
        taped: bool = False,
    ) -> None:
        self.device, self.xp, self.cell, self.dtype = device, device.xp, cell, state.dtype
        self.B, self.H, self.W, _ = environment.shape
        self.schedule = Schedule.of(device, cell, self.B, self.H * self.W)
        self.module = device.module("unroll", str(state.dtype), cell, self.schedule.cluster, self.schedule.whole)
        self.packed = Packed.of(cell, params, self.xp)
        self.arrays: dict[str, Array] = {}
        team, blocks, cap = self.schedule.team, self.schedule.blocks, self.schedule.cap
        self.u = u = Unroll(**settings(cell), b=self.B, h=self.H, w=self.W, steps=steps, first_step=first_step)
        u.team, u.blocks, u.cap, u.weights = team, blocks, cap, sum(sizes(cell))
        u.grids, u.scaled = (steps + 1, steps) if taped else (2, 1)
        u.sigma, u.alive_above = cell.noise, np.float32(cell.alive_above or 0)
        self.share(environment=environment, state=state, **self.packed.arrays())
        self.draw(draws)
        self.share_rows()

    @property
    def rounded(self) -> tuple[int, int, int]:
        """E+D, P and Q as rows of arrays have them."""
        cell = self.cell
        C = cell.environment_channels + cell.state_channels
        return fours(C), fours(cell.hidden_width), fours(cell.state_channels + cell.resettable)

    def share(self, **arrays: Array) -> None:
        """Give arrays to the kernels."""
        for name, x in arrays.items():
            self.arrays[name] = self.xp.ascontiguousarray(x)
            setattr(self.u, name, self.device.address(self.arrays[name]))

    def make(self, **shapes: tuple[int, ...]) -> None:
        """Give the kernels arrays of these shapes to write to."""
        self.share(**{name: self.device.empty(shape, self.type_of(name)) for name, shape in shapes.items()})

    def type_of(self, name: str) -> Any:
        if name in REALS:
            return self.dtype
        kinds = {"int": np.int32, "long long": np.int64, "double": np.float64, "unsigned char": np.uint8}
        return kinds[OTHERS[name].removeprefix("const ")]

    def draw(self, draws: Randomness) -> None:
        """Have the kernels draw from streams, or give them what was drawn."""
        cell, xp, u = self.cell, self.xp, self.u
        if type(draws) is Streams:
            u.key0, u.key1 = draws.key
            u.first_sample, u.fire_below = draws.first_sample, round(cell.fire_rate * 2**32)
            return
        drawn = [draws.at(cell, t, self.B, self.H, self.W) for t in range(u.first_step, u.first_step + u.steps)]
        self.share(fire=xp.stack([xp.asarray(draw.fire_mask) for draw in drawn]))
        if cell.noise:
            self.share(noise=xp.stack([xp.asarray(draw.noise, self.dtype) for draw in drawn]))
        if cell.resettable:
            self.share(reset=xp.stack([xp.asarray(draw.reset_noise, self.dtype) for draw in drawn]))

    def share_rows(self) -> None:
        """What a step needs: pixels, the rows of each block, and what statistics go over."""
        u, cell, (C4, P4, Q4), layers = self.u, self.cell, self.rounded, self.cell.hidden_layers + 1
        grid, slots = (self.B, self.H, self.W), (u.blocks, u.cap)
        padded = (self.B, self.H + 2, self.W + 2)
        self.make(pixels=(u.grids, *padded, C4), last=(*grid, cell.state_channels))
        self.make(felt=(layers, *slots, P4), proposal=(*slots, Q4))
        self.make(cell=slots, at=slots, updates=slots, used=(u.blocks,), rows=(u.blocks,))
        self.make(live=grid, lives=(self.B,))
        self.share(slot_of=self.xp.full(grid, -1, np.int32))
        if cell.norm == "channel":
            self.make(row_scale=(layers, *slots))
        if cell.norm in ("instance", "batch"):
            self.make(part=(u.blocks, GROUPS, 2, P4), moments=(layers, u.blocks, 2, P4))
            self.make(scales=(u.scaled, layers, self.B, u.team, 2, P4))
        if cell.depthwise:
            self.share(mixed=self.xp.zeros((*padded, P4), self.dtype))

    def share_grads(self, counted: np.ndarray, target: Array, weights: Array, whole: bool) -> None:
        """What the loss after the steps `counted`, of this target and weights, and the way back need."""
        u, cell, xp, (C4, P4, Q4) = self.u, self.cell, self.xp, self.rounded
        layers, slots, S = cell.hidden_layers + 1, (u.blocks, u.cap), len(counted)
        number = np.full(u.steps, -1, np.int32)
        number[counted] = range(S)
        shown = (S, self.B, cell.stride * self.H, cell.stride * self.W, cell.labels)
        u.onto_image, u.counts, u.shown, u.mapped = whole, S, shown[2] * shown[3], target.ndim == 3
        self.share(counted=xp.asarray(number), label=xp.asarray(target, np.int32))
        self.share(weight=xp.asarray(weights, self.dtype))
        states = (S, self.B, self.H, self.W, cell.state_channels)
        self.make(states=states, said=shown, said_grad=shown)
        self.make(losses=(min(JUDGES, self.device.spread(S * self.B * u.shown)),))
        self.share(state_grad=xp.zeros(states, self.dtype))
        self.share(grad=xp.zeros((self.B, self.H, self.W, C4), self.dtype), **self.packed.back(xp))
        self.share(weight_grad=xp.zeros((u.blocks, u.weights), self.dtype))
        self.make(felt_grad=(layers, *slots, P4), proposal_grad=(*slots, Q4))
        if cell.norm in ("instance", "batch"):
            self.make(sums=(layers, u.blocks, 2, P4))
        if cell.depthwise:
            self.make(mixed_grad=(*slots, P4))
        else:
            self.make(seen_grad=(*slots, 9, C4))

    def forward(self) -> Array:
        """Make the steps; the last states, (B, H, W, D)."""
        u, launch, layers = self.u, self.module.launch, self.cell.hidden_layers + 1
        self.module.write("u", u)
        launch("find_live_cells", self.B)
        launch("enter", self.device.spread(self.arrays["pixels"].size // 4))
        if self.schedule.whole:
            launch("forward", u.blocks)
        for i in range(0 if self.schedule.whole else u.steps):
            for phase, j in self.phases(*((FEEL, j) for j in range(layers)), (FINISH, 0)):
                launch("forward_phase", u.blocks, phase, i, j)
        launch("leave", self.device.spread(self.arrays["last"].size))
        return self.arrays["last"]

    def phases(self, *rest: tuple[int, int]) -> list[tuple[int, int]]:
        """The phases of a step, each with its layer, as far as blocks have to wait between them."""
        waits = self.cell.depthwise or self.cell.norm in ("instance", "batch")
        return [(BEGIN, 0), *rest] if waits else [(STEP, 0)]

    def judge(self, loss: str, said: Array) -> tuple[Array, Array]:
        """The loss of what is said at the counted steps, (S, B, rows, columns, L), and its gradient."""
        self.arrays["said"][...] = said.reshape(self.arrays["said"].shape)
        self.module.launch("judge", len(self.arrays["losses"]), loss == "l2")
        return self.arrays["losses"].sum(), self.arrays["said_grad"]

    def backward(self) -> tuple[Params, Array]:
        """From the gradient of the counted states to those of the weights and of the environment."""
        u, launch = self.u, self.module.launch
        if self.schedule.whole:
            launch("backward", u.blocks)
        for i in reversed(range(0 if self.schedule.whole else u.steps)):
            layers = reversed(range(self.cell.hidden_layers + 1))
            for phase, j in (*self.phases((FINISH, 0), *((FEEL, j) for j in layers)), (GATHER, 0)):
                launch("backward_phase", u.blocks, phase, i, j)
        if not self.schedule.whole:
            launch("backward_phase", u.blocks, END)
        launch("sum_weights", self.device.spread(u.weights))
        packed = Packed.views(self.cell, self.arrays["weight_grad"][0])
        return packed.named(self.cell), self.arrays["grad"][..., : self.cell.environment_channels]


class Learned(NamedTuple):
    """Of a slice of a batch: its loss, gradients of parameters, last states, and the image's gradient."""

    loss: Array
    grads: Params
    last: Array
    image: Array | None

    def and_also(self, more: Learned, xp: Any) -> Learned:
        """Together with the slice after it."""
        grads = {name: grad + more.grads[name] for name, grad in self.grads.items()}
        image = None if self.image is None else xp.concatenate([self.image, more.image])
        return Learned(self.loss + more.loss, grads, xp.concatenate([self.last, more.last]), image)


class Backend:
    """What `spec/chapters/backends.md` asks of a backend, and what it may have, on a device."""

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
        first_step: int = 0,
    ) -> Array:
        """The state (B, H, W, D) after `steps` steps, numbered from `start`. A new array."""
        check_unroll(cell, params, image, state, steps, first_step)
        if not state.size or not steps:
            return state.copy()
        environment = encoded(cell, params, image)[-1]
        last = []
        for part in self.slices(cell, state, 1):
            draws = sliced(randomness, state.shape[:3], part)
            given = environment[part], state[part], draws, first_step, steps
            last.append(Call(self.device, cell, params, *given).forward())
        return joined(last, self.xp)

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
        counted = np.flatnonzero(asked.any(axis=1))
        if not state.size or not len(counted):
            nothing = {name: xp.zeros_like(x) for name, x in params.items()}
            nothing |= {"image": xp.zeros_like(image)} if image_grad else {}
            return 0.0, nothing, self.evolve(cell, params, image, state, randomness, T, first_step=first_step)
        done: Learned | None = None
        for part in self.slices(cell, state, T):
            given = image[part], state[part], target[part], asked[counted][:, part]
            draws = sliced(randomness, state.shape[:3], part)
            learned = self.learn(cell, loss, params, *given, draws, first_step, T, counted, image_grad)
            done = learned if done is None else done.and_also(learned, xp)
        assert done is not None
        grads = {name: xp.ascontiguousarray(done.grads[name]).reshape(x.shape) for name, x in params.items()}
        if image_grad:
            grads["image"] = xp.ascontiguousarray(done.image)
        return xp.asarray(done.loss, state.dtype), grads, done.last

    def learn(
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
        counted: np.ndarray,
        image_grad: bool,
    ) -> Learned:
        """A slice of a batch. What it needed is free again when it returns."""
        activations, whole = encoded(cell, params, image), image_grad or cell.stride > 1
        call = Call(self.device, cell, params, activations[-1], state, draws, first_step, steps, taped=True)
        call.share_grads(counted, target, weights, whole)
        last = call.forward()
        value, grads = judged(call, loss, params)
        of_steps, grad = call.backward()
        grads |= of_steps
        if whole:
            of_layers, grad = encoded_grad(cell, params, activations, grad, image_grad)
            grads |= of_layers
        return Learned(value, grads, last, grad if image_grad else None)

    def adam_step(
        self,
        params: Params,
        grads: Params,
        first: Params,
        second: Params,
        i: int,
        rate: float,
        normalise: bool,
    ) -> Params:
        """The parameters after update i, new arrays; the moments move too. As `refca.training.adam.descend`."""
        return adam_step(self.device, params, grads, first, second, i, rate, normalise)

    def initial(self, streams: Streams, B: int, H: int, W: int, D: int) -> Array:
        """The state that streams begin with, (B, H, W, D) float32."""
        state = self.device.empty((B, H, W, D), np.float32)
        if not state.size:
            return state
        key0, key1 = streams.key
        u = Unroll(d=D, b=B, h=H, w=W, key0=key0, key1=key1, first_sample=streams.first_sample)
        u.last = self.device.address(state)
        module = self.device.module("initial", "float32")
        module.write("u", u)
        module.launch("initial", self.device.spread(B * H * W * fours(D) // 4))
        return state

    def slices(self, cell: Cell, state: Array, steps: int) -> list[slice]:
        """The batch in slices that fit in the device's memory, pixels being kept for so many steps.

        Under a norm over the batch, one.
        """
        B, H, W, D = state.shape
        P4, layers = fours(cell.hidden_width), cell.hidden_layers + 1
        pixel = fours(cell.environment_channels + D) + (P4 if cell.depthwise else 0)
        kept = steps * (pixel + 3 * D + 6 * cell.labels * cell.stride**2)
        once = 2 * pixel + 2 * (layers * P4 + fours(D + 1)) + 4 * D
        each = (H + 2) * (W + 2) * (kept + once) * state.dtype.itemsize
        size = B if cell.norm == "batch" else max(1, min(B, self.device.room() // each))
        return [slice(first, min(B, first + size)) for first in range(0, B, size)]


def judged(call: Call, loss: str, params: Params) -> tuple[Array, Params]:
    """The loss at the counted states, and the readout's gradients; that of the states goes to the call."""
    cell, states, state_grad = call.cell, call.arrays["states"], call.arrays["state_grad"]
    if cell.stride > 1:
        activations = decoded(cell, params, states.reshape(-1, *states.shape[2:]))
        value, grad = call.judge(loss, activations[-1])
        of_readout, grad = decoded_grad(cell, params, activations, grad.reshape(activations[-1].shape))
        state_grad[...] = grad.reshape(states.shape)
        return value, of_readout
    if cell.linear_readout:
        readout, rows = params["readout.weight"], states.reshape(-1, cell.state_channels)
        value, grad = call.judge(loss, rows @ readout)
        grad = grad.reshape(-1, cell.labels)
        state_grad[...] = (grad @ readout.T).reshape(states.shape)
        return value, {"readout.weight": rows.T @ grad}
    value, grad = call.judge(loss, states[..., -cell.labels :])
    state_grad[..., -cell.labels :] = grad
    return value, {}


def joined(parts: list[Array], xp: Any) -> Array:
    """The parts of a batch together."""
    return parts[0] if len(parts) == 1 else xp.concatenate(parts)


def sliced(randomness: Randomness, shape: tuple[int, ...], part: slice) -> Randomness:
    """The randomness of a slice of a batch (B, H, W)."""
    if part.stop - part.start == shape[0]:
        return randomness
    if type(randomness) is Streams:
        return replace(randomness, first_sample=(randomness.first_sample + part.start) % 2**32)
    return Slice(randomness, shape, part)


class Slice(NamedTuple):
    """The draws of some samples of a batch."""

    randomness: Randomness
    shape: tuple[int, ...]  # (B, H, W)
    part: slice

    def at(self, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
        """Those of step t."""
        whole = self.randomness.at(cell, t, *self.shape)
        return Draw(*(None if x is None else x[self.part] for x in whole))
