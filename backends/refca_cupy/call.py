"""One unroll on a device: the arrays that its kernels share, and their launches.

Nothing here waits for the device.
"""

from __future__ import annotations

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import Randomness, Streams
from refca.definition.step import alive
from refca_cupy.layout import GROUPS, OTHERS, REALS, Packed, Unroll, round_up4, settings, sizes
from refca_cupy.machine import Device
from refca_cupy.schedule import Schedule

DTYPES = {"int": np.int32, "long long": np.int64, "double": np.float64, "unsigned char": np.uint8}
LOSS_BLOCKS = 256  # blocks of `loss_and_grad`, at most
STEP, BEGIN, LAYER, UPDATE, NEIGHBOURHOOD, WEIGHTS = range(6)  # phases of a step, of `kernels.cu`


class Call:
    """One unroll: the arrays that its kernels share."""

    def __init__(
        self,
        device: Device,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        draws: Randomness,
        first_step: int,
        steps: int,
        taped: bool = False,
        kept: bool = False,
    ) -> None:
        self.device, self.xp, self.cell, self.dtype = device, device.xp, cell, state.dtype
        self.B, self.H, self.W, _ = environment.shape
        self.schedule = Schedule.of(device, cell, self.B, self.H * self.W)
        self.module = device.module("unroll", str(state.dtype), cell, self.schedule.cluster, self.schedule.whole)
        self.packed = Packed.of(cell, params, self.xp)
        self.arrays: dict[str, Array] = {}
        self.u = u = Unroll(**settings(cell), b=self.B, h=self.H, w=self.W, steps=steps, first_step=first_step)
        u.team, u.blocks, u.cap = self.schedule.team, self.schedule.blocks, self.schedule.cap
        u.weights = sum(sizes(cell))
        u.kept, u.slots = kept, u.cap * (steps * -(-self.B // self.schedule.teams) if kept else 1)
        u.grids, u.scaled = (steps + 1, steps) if taped else (2, 1)
        u.sigma, u.alive_above = cell.noise, np.float32(cell.alive_above or 0)
        self.give(environment=environment, state=state, **self.packed.arrays())
        self.draw(draws)
        self.make_rows()

    @property
    def rounded(self) -> tuple[int, int, int]:
        """E+D, P and Q, rounded up."""
        cell = self.cell
        C = cell.environment_channels + cell.state_channels
        return round_up4(C), round_up4(cell.hidden_width), round_up4(cell.state_channels + cell.resettable)

    def give(self, **arrays: Array) -> None:
        """Give arrays to the kernels."""
        for name, x in arrays.items():
            self.arrays[name] = self.xp.ascontiguousarray(x)
            setattr(self.u, name, self.device.address(self.arrays[name]))

    def give_empty(self, **shapes: tuple[int, ...]) -> None:
        """Give the kernels arrays of these shapes to write to."""
        self.give(**{name: self.device.empty(shape, self.type_of(name)) for name, shape in shapes.items()})

    def type_of(self, name: str) -> np.dtype:
        """The dtype of an array of the kernels."""
        return np.dtype(self.dtype if name in REALS else DTYPES[OTHERS[name].removeprefix("const ")])

    def draw(self, draws: Randomness) -> None:
        """Let the kernels draw from streams, or give them what was drawn."""
        cell, xp, u = self.cell, self.xp, self.u
        if type(draws) is Streams:
            u.key0, u.key1 = draws.key
            u.first_sample, u.fire_below = draws.first_sample, round(cell.fire_rate * 2**32)
            return
        drawn = [draws.at(cell, t, self.B, self.H, self.W) for t in range(u.first_step, u.first_step + u.steps)]
        self.give(fire=xp.stack([xp.asarray(draw.fire_mask) for draw in drawn]))
        if cell.noise:
            self.give(noise=xp.stack([xp.asarray(draw.noise, self.dtype) for draw in drawn]))
        if cell.resettable:
            self.give(reset_noise=xp.stack([xp.asarray(draw.reset_noise, self.dtype) for draw in drawn]))

    def make_rows(self) -> None:
        """Allocate what a step needs: pixels, the rows of each block, and statistics."""
        u, cell, (C4, P4, Q4), layers = self.u, self.cell, self.rounded, self.cell.hidden_layers + 1
        grid, slots = (self.B, self.H, self.W), (u.blocks, u.slots)
        padded = (self.B, self.H + 2, self.W + 2)
        self.give_empty(pixels=(u.grids, *padded, C4), last=(*grid, cell.state_channels))
        self.give_empty(preact=(layers, *slots, P4), proposal=(*slots, Q4))
        self.give_empty(site=slots, pixel=slots, corner=slots, updates=slots, used=(u.blocks,), rows=(u.blocks,))
        self.give_empty(live=grid, live_count=(self.B,))
        self.give_empty(starts=(self.B, u.steps, u.team), ends=(u.blocks,))
        self.give(source_of=self.xp.full(grid, -1, np.int32))
        if cell.norm == "channel":
            self.give_empty(row_scale=(layers, *slots))
        if cell.norm in ("instance", "batch"):
            self.give_empty(group_sums=(u.blocks, GROUPS, 2, P4), moments=(layers, u.blocks, 2, P4))
            self.give_empty(scales=(u.scaled, layers, self.B, u.team, 2, P4))
        if cell.depthwise:
            self.give(mixed=self.xp.zeros((*padded, P4), self.dtype))

    def prepare_backward(self, in_loss: np.ndarray, to_environment: bool) -> None:
        """Allocate what a loss after the steps `in_loss` and the backward pass need."""
        u, cell, xp, (C4, P4, Q4) = self.u, self.cell, self.xp, self.rounded
        layers, slots, S = cell.hidden_layers + 1, (u.blocks, u.slots), len(in_loss)
        index = np.full(u.steps, -1, np.int32)
        index[in_loss] = range(S)
        u.to_environment, u.loss_steps = to_environment, S
        self.give(loss_index=xp.asarray(index))
        states = (S, self.B, self.H, self.W, cell.state_channels)
        self.give_empty(states=states)
        self.give(state_grad=xp.zeros(states, self.dtype))
        self.give(grad=xp.zeros((self.B, self.H, self.W, C4), self.dtype), **self.packed.back(xp))
        self.give(weight_grad=xp.zeros((u.blocks, u.weights), self.dtype))
        self.give_empty(preact_grad=(layers, *slots, P4), proposal_grad=(*slots, Q4))
        if cell.norm in ("instance", "batch"):
            self.give_empty(grad_sums=(layers, u.blocks, 2, P4))
        if cell.depthwise:
            self.give_empty(mixed_grad=(u.blocks, u.cap, P4), filter_sums=(u.blocks, GROUPS, 9, P4))
        else:
            self.give_empty(seen_grad=(u.blocks, u.cap, 9, C4))

    def prepare_loss(self, target: Array, weights: np.ndarray) -> None:
        """Allocate what the kernel of a loss needs: labels or a label map, weights (S, B), and logits."""
        u, cell, xp, S = self.u, self.cell, self.xp, len(weights)
        logits = (S, self.B, cell.stride * self.H, cell.stride * self.W, cell.labels)
        u.label_map, u.readout_pixels = target.ndim == 3, logits[2] * logits[3]
        self.give(label=xp.asarray(target, np.int32), weight=xp.asarray(weights, self.dtype))
        self.give_empty(logits=logits, logits_grad=logits)
        self.give_empty(losses=(min(LOSS_BLOCKS, self.device.spread(S * self.B * u.readout_pixels)),))

    def forward(self) -> Array:
        """Make the steps. Return the last states, (B, H, W, D)."""
        u, launch, layers = self.u, self.module.launch, self.cell.hidden_layers + 1
        self.module.write("u", u)
        launch("find_live_cells", self.B)
        launch("pad", self.device.spread(self.arrays["pixels"].size // 4))
        if self.schedule.whole:
            launch("forward", u.blocks)
        for i in range(0 if self.schedule.whole else u.steps):
            for phase, j in self.phases(*((LAYER, j) for j in range(layers)), (UPDATE, 0)):
                launch("forward_phase", u.blocks, phase, i, j)
        launch("unpad", self.device.spread(self.arrays["last"].size))
        return self.arrays["last"]

    def phases(self, *rest: tuple[int, int]) -> list[tuple[int, int]]:
        """The phases of a step, each with its layer, or one where blocks need not wait within a step."""
        waits = self.cell.depthwise or self.cell.norm in ("instance", "batch")
        return [(BEGIN, 0), *rest] if waits else [(STEP, 0)]

    def loss_and_grad(self, loss: str, logits: Array) -> tuple[Array, Array]:
        """The loss of logits (S, B, rows, columns, L), and its gradient."""
        self.arrays["logits"][...] = logits.reshape(self.arrays["logits"].shape)
        self.module.launch("loss_and_grad", len(self.arrays["losses"]), loss == "l2")
        return self.arrays["losses"].sum(), self.arrays["logits_grad"]

    def backward(self) -> tuple[Params, tuple[Array, ...]]:
        """From `state_grad` to the gradients of the weights, and if wanted of the environment and the first state."""
        u, launch = self.u, self.module.launch
        if self.schedule.whole:
            launch("backward", u.blocks)
        for i in reversed(range(0 if self.schedule.whole else u.steps)):
            layers = reversed(range(self.cell.hidden_layers + 1))
            for phase, j in (*self.phases((UPDATE, 0), *((LAYER, j) for j in layers)), (NEIGHBOURHOOD, 0)):
                launch("backward_phase", u.blocks, phase, i, j)
        if not self.schedule.whole:
            launch("backward_phase", u.blocks, WEIGHTS)
        launch("sum_weights", self.device.spread(u.weights))
        packed = Packed.views(self.cell, self.arrays["weight_grad"][0])
        if not u.to_environment:
            return packed.named(self.cell), ()
        E, D, grad = self.cell.environment_channels, self.cell.state_channels, self.arrays["grad"]
        dead = ~alive(self.cell, self.arrays["environment"])[..., None]  # cells whose state never changes
        state_grad = grad[..., E : E + D] + dead * self.arrays["state_grad"].sum(axis=0)
        return packed.named(self.cell), (grad[..., :E], state_grad)
