"""The arrays and launches of all unrolls of one cell, shape and number of steps.

Arrays are allocated once, and used again by the next call; results are arrays of their own. A call enqueues few
kernels, and waits for none: prepare, forward, unpad, the loss, backward, and the sums of gradients.
"""

from __future__ import annotations

from math import prod

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Draw, Randomness, Streams
from refca.definition.step import alive
from refca_cupy.layout import GROUPS, OTHERS, PLACE, READOUTS, REALS, Unroll, layout, round_up4, settings
from refca_cupy.machine import Device
from refca_cupy.schedule import Schedule, Shared

DTYPES = {"int": np.int32, "long long": np.int64, "double": np.float64, "unsigned char": np.uint8}
LOSS_BLOCKS = 256  # blocks of `loss_and_grad`, at most
STEP, BEGIN, LAYER, UPDATE, NEIGHBOURHOOD, WEIGHTS = range(6)  # phases of a step, of `kernels.cu`


class Plan:
    """The arrays that the kernels share, and `u`, which tells the kernels where they are."""

    def __init__(
        self, device: Device, cell: Cell, state: Array, steps: int, taped: bool = False, kept: bool = False
    ) -> None:
        self.device, self.cell, self.dtype, self.taped = device, cell, np.dtype(str(state.dtype)), taped
        self.B, self.H, self.W, _ = state.shape
        self.schedule = Schedule.of(device, cell, self.B, self.H * self.W)
        self.layout, self.arrays, self.memory = layout(cell), dict[str, Array](), dict[str, Array]()
        given = device, self.schedule, cell, self.H, self.W, self.dtype.itemsize
        self.shared = Shared.of(*given, kept or not taped)
        if self.shared.what == "states":
            self.schedule = self.schedule.alone(device)
        how = self.schedule.cluster, self.schedule.whole, self.shared.what
        self.module = device.module("unroll", str(state.dtype), cell, *how)
        self.u = u = Unroll(**settings(cell), b=self.B, h=self.H, w=self.W, steps=steps)
        u.team, u.blocks, u.cap = self.schedule.team, self.schedule.blocks, self.schedule.cap
        u.kept, u.slots = kept, u.cap * (steps * -(-self.B // self.schedule.teams) if kept else 1)
        u.grids, u.scaled = (steps + 1, steps) if taped else (2, 1)
        u.part, u.shared = self.shared.part, max(self.shared.forward, self.shared.backward) // self.dtype.itemsize
        u.sigma, u.alive_above = cell.noise, np.float32(cell.alive_above or 0)
        u.fire_below = round(cell.fire_rate * 2**32)
        self.place_parameters()
        self.make_rows()
        if taped:
            self.make_grads()

    @property
    def size(self) -> int:
        """The bytes of all arrays."""
        return sum(x.nbytes for x in self.memory.values())

    @property
    def rounded(self) -> tuple[int, int, int]:
        """E+D, P and Q, rounded up."""
        cell = self.cell
        C = cell.environment_channels + cell.state_channels
        return round_up4(C), round_up4(cell.hidden_width), round_up4(cell.state_channels + cell.resettable)

    def give(self, **arrays: Array) -> None:
        """Give arrays of this call to the kernels."""
        for name, x in arrays.items():
            self.arrays[name] = self.device.xp.ascontiguousarray(x)
            setattr(self.u, name, self.device.address(self.arrays[name]))

    def make(self, **shapes: tuple[int, ...]) -> None:
        """Give the kernels arrays of these shapes to write to, in memory that grows where it has to."""
        for name, shape in shapes.items():
            size = prod(shape)
            if name not in self.memory or self.memory[name].size < size:
                self.memory[name] = self.device.empty((size,), self.type_of(name))
            self.give(**{name: self.memory[name][:size].reshape(shape)})

    def type_of(self, name: str) -> np.dtype:
        """The dtype of an array of the kernels."""
        return np.dtype(self.dtype if name in REALS else DTYPES[OTHERS[name].removeprefix("const ")])

    def place_parameters(self) -> None:
        """Allocate the packed parameters, with zeros between them."""
        u, where, first = self.u, self.layout, 0
        sizes = {"packed": where.size} | ({"packed_back": where.back_size} if self.taped else {})
        for name, size in sizes.items():
            self.memory[name] = self.device.xp.zeros(size, self.dtype)
            self.give(**{name: self.memory[name]})
            starts = where.starts if name == "packed" else where.back_starts
            for part, start in starts.items():
                setattr(u, part, getattr(u, name) + start * self.dtype.itemsize)
        for tensor, place in zip(u.tensors, where.places, strict=False):
            tensor.first = first
            for field in PLACE:
                setattr(tensor, field, getattr(place, field))
            first += place.size
        u.tensor_count, u.parameters = len(where.places), first
        u.weights, u.weights_back = where.size, where.back_size

    def make_rows(self) -> None:
        """Allocate what a step needs: pixels, the rows of each block, and statistics."""
        u, cell, (C4, P4, Q4), layers = self.u, self.cell, self.rounded, self.cell.hidden_layers + 1
        grid, slots = (self.B, self.H, self.W), (u.blocks, u.slots)
        padded = (self.B, self.H + 2, self.W + 2)
        self.make(pixels=(u.grids, *padded, C4))
        self.make(preact=(layers, *slots, P4), proposal=(*slots, Q4))
        self.make(site=slots, pixel=slots, corner=slots, updates=slots, used=(u.blocks,), rows=(u.blocks,))
        self.make(live=grid, live_count=(self.B,), source_of=grid)
        self.make(starts=(self.B, u.steps, u.team), ends=(u.blocks,))
        if cell.norm == "channel":
            self.make(row_scale=(layers, *slots))
        if cell.norm in ("instance", "batch"):
            self.make(group_sums=(u.blocks, GROUPS, 2, P4), moments=(layers, u.blocks, 2, P4))
            self.make(scales=(u.scaled, layers, self.B, u.team, 2, P4))
        if cell.depthwise:  # its border stays zero
            self.memory["mixed"] = self.device.xp.zeros((*padded, P4), self.dtype)
            self.give(mixed=self.memory["mixed"])

    def make_grads(self) -> None:
        """Allocate what the backward pass needs."""
        u, cell, (C4, P4, Q4) = self.u, self.cell, self.rounded
        layers, slots = cell.hidden_layers + 1, (u.blocks, u.slots)
        self.make(grad=(self.B, self.H, self.W, C4), weight_grad=(u.blocks, u.weights))
        self.make(preact_grad=(layers, *slots, P4), proposal_grad=(*slots, Q4))
        if cell.norm in ("instance", "batch"):
            self.make(grad_sums=(layers, u.blocks, 2, P4))
        if cell.depthwise:
            self.make(mixed_grad=(u.blocks, u.cap, P4), filter_sums=(u.blocks, GROUPS, 9, P4))
        else:
            self.make(seen_grad=(u.blocks, u.cap, 9, C4))

    def begin(self, params: Params, environment: Array, state: Array, draws: Randomness, first_step: int) -> None:
        """Give the kernels the arguments of an unroll."""
        self.arrays = {}
        self.u.first_step = first_step
        self.give(environment=environment, state=state)
        for tensor, place in zip(self.u.tensors, self.layout.places, strict=False):
            self.arrays[place.name] = param = self.device.xp.ascontiguousarray(params[place.name])
            tensor.param = self.device.address(param)
        self.draw(draws)

    def draw(self, draws: Randomness) -> None:
        """Let the kernels draw from streams, or give them what was drawn."""
        cell, xp, u = self.cell, self.device.xp, self.u
        u.fire = u.noise = u.reset_noise = 0
        if type(draws) is Streams:
            u.key0, u.key1 = draws.key
            u.first_sample = draws.first_sample
            return
        steps = range(u.first_step, u.first_step + u.steps)
        drawn = [Draw(*draws.at(cell, t, self.B, self.H, self.W)) for t in steps]
        self.give(fire=xp.stack([xp.asarray(draw.fire_mask) for draw in drawn]))
        if cell.noise:
            self.give(noise=xp.stack([xp.asarray(draw.noise, self.dtype) for draw in drawn]))
        if cell.resettable:
            self.give(reset_noise=xp.stack([xp.asarray(draw.reset_noise, self.dtype) for draw in drawn]))

    def prepare_objective(self, in_loss: np.ndarray, to_environment: bool) -> None:
        """Prepare for an objective of the states after the steps `in_loss`."""
        u, S = self.u, len(in_loss)
        index = np.full(u.steps, -1, np.int32)
        index[in_loss] = range(S)
        states = (S, self.B, self.H, self.W, self.cell.state_channels)
        u.to_environment, u.loss_steps, u.losses = to_environment, S, 0
        self.give(loss_index=self.device.xp.asarray(index))
        self.make(states=states, state_grad=states)

    def prepare_loss(self, target: Array, weights: np.ndarray, params: Params) -> None:
        """Prepare for the kernel of a loss: labels or a label map, weights (S, B), and the readout's weight."""
        u, cell, xp, S = self.u, self.cell, self.device.xp, len(weights)
        logits = (S, self.B, cell.stride * self.H, cell.stride * self.W, cell.labels)
        u.label_map, u.readout_pixels = target.ndim == 3, logits[2] * logits[3]
        u.readout = READOUTS["given" if cell.stride > 1 else "linear" if cell.linear_readout else "last channels"]
        u.loss_blocks = min(LOSS_BLOCKS, self.device.spread(prod(logits[:-1])))
        self.give(label=xp.asarray(target, np.int32), weight=xp.asarray(weights, self.dtype))
        self.make(logits=logits, logits_grad=logits, losses=(u.loss_blocks,))
        if u.readout == READOUTS["linear"]:
            self.give(readout_weight=params["readout.weight"])
            self.make(readout_grad=(u.loss_blocks, cell.state_channels, cell.labels))

    def forward(self) -> Array:
        """Make the steps. Return the last states, (B, H, W, D), a new array."""
        u, launch, layers = self.u, self.module.launch, self.cell.hidden_layers + 1
        last = self.device.empty((self.B, self.H, self.W, self.cell.state_channels), self.dtype)
        self.give(last=last)
        if self.taped:
            readout = self.cell.state_channels * self.cell.labels
            self.give(gradients=self.device.empty((u.parameters + readout + 1,), self.dtype))
        self.write_constants()
        launch("prepare", self.device.spread(self.memory["pixels"].size // 4))
        if self.schedule.whole:
            launch("forward", u.blocks, shared=self.shared.forward)
        for i in range(0 if self.schedule.whole else u.steps):
            for phase, j in self.phases(*((LAYER, j) for j in range(layers)), (UPDATE, 0)):
                launch("forward_phase", u.blocks, phase, i, j)
        launch("unpad", self.device.spread(last.size))
        return last

    def write_constants(self) -> None:
        """Tell the kernels where the arrays of this plan are."""
        self.module.write("u", self.u)

    def phases(self, *rest: tuple[int, int]) -> list[tuple[int, int]]:
        """The phases of a step, each with its layer, or one where blocks need not wait within a step."""
        waits = self.cell.depthwise or self.cell.norm in ("instance", "batch")
        return [(BEGIN, 0), *rest] if waits else [(STEP, 0)]

    def loss(self, loss: str) -> None:
        """Compute a loss, and the gradient of the states, or where logits were given of these."""
        self.module.launch("loss_and_grad", self.u.loss_blocks, loss == "l2")

    def backward(self) -> tuple[Params, Array | None]:
        """From the gradient of the states to those of the parameters of the step; and the loss, if it was computed.

        The gradient of a linear readout is among those of the parameters. All are views of one new array.
        """
        u, launch = self.u, self.module.launch
        if self.schedule.whole:
            launch("backward", u.blocks, shared=self.shared.backward)
        for i in reversed(range(0 if self.schedule.whole else u.steps)):
            layers = reversed(range(self.cell.hidden_layers + 1))
            for phase, j in (*self.phases((UPDATE, 0), *((LAYER, j) for j in layers)), (NEIGHBOURHOOD, 0)):
                launch("backward_phase", u.blocks, phase, i, j)
        if not self.schedule.whole:
            launch("backward_phase", u.blocks, WEIGHTS)
        gradients, end = self.arrays["gradients"], u.parameters
        launch("sum_gradients", self.device.spread(gradients.size))
        places = zip(u.tensors, self.layout.places, strict=False)
        found = {place.name: gradients[tensor.first : tensor.first + place.size] for tensor, place in places}
        if not u.losses:
            return found, None
        if u.readout == READOUTS["linear"]:
            end += self.cell.state_channels * self.cell.labels
            found["readout.weight"] = gradients[u.parameters : end].reshape(-1, self.cell.labels)
        return found, gradients[end]

    def inputs_grad(self) -> tuple[Array, Array]:
        """The gradients of the environment and of the first state, after `backward`; new arrays."""
        E, D = self.cell.environment_channels, self.cell.state_channels
        grad = self.memory["grad"].reshape(self.B, self.H, self.W, -1)
        state_grad = grad[..., E : E + D].copy()
        if self.cell.norm not in ("instance", "batch"):  # else the kernels go through dead cells too
            dead = ~alive(self.cell, self.arrays["environment"])[..., None]  # cells whose state never changes
            state_grad += dead * self.arrays["state_grad"].sum(axis=0)
        return grad[..., :E].copy(), state_grad
