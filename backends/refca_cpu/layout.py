"""How the kernels see parameters and samples: contiguous, padded, and of the cells only those to compute.

Letters: b samples, H×W grid, E environment channels, D state channels, P hidden width, n hidden layers,
U updates, R rows that a step computes, S counted steps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import param_shapes
from refca.definition.step import alive
from refca_cpu import kernels
from refca_cpu.room import Room

NORMS = {
    "none": kernels.NO_NORM,
    "channel": kernels.CHANNEL,
    "instance": kernels.TOGETHER,
    "batch": kernels.TOGETHER,
}


class Packed(NamedTuple):
    """The parameters of a step, or their gradients; those that a cell does not have are zero or empty."""

    perceive: Array  # (9·(E+D), P); of a depthwise cell (E+D, P), the mix
    filters: Array  # (9, P) of a depthwise cell
    hidden: Array  # (n, P, P)
    biases: Array  # (n+1, P), the first layer's first
    update: Array  # (P, D); of a resettable cell (P, D+1), the gate's weight last
    update_bias: Array  # (D,)

    @classmethod
    def zeros(cls, cell: Cell, dtype: Any) -> Packed:
        C, D, P = cell.environment_channels + cell.state_channels, cell.state_channels, cell.hidden_width
        n = cell.hidden_layers
        perceive, filters = ((C, P), (9, P)) if cell.depthwise else ((9 * C, P), (0, P))
        shapes = (perceive, filters, (n, P, P), (n + 1, P), (P, D + cell.resettable), (D,))
        return cls(*(np.zeros(shape, dtype) for shape in shapes))

    @classmethod
    def of(cls, cell: Cell, params: Params) -> Packed:
        """A copy of params."""
        packed = cls.zeros(cell, params["update.weight"].dtype)
        for name, view in packed.named(cell).items():
            view[...] = params[name]
        return packed

    def named(self, cell: Cell) -> Params:
        """Views of the arrays, under the parameters' names and in their shapes."""
        D = cell.state_channels
        views = {"perceive.weight": self.perceive, "perceive.bias": self.biases[0]}
        if cell.depthwise:
            views |= {"perceive.mix": self.perceive, "perceive.depthwise": self.filters}
        for i in range(cell.hidden_layers):
            views |= {f"hidden.{i}.weight": self.hidden[i], f"hidden.{i}.bias": self.biases[i + 1]}
        views |= {"update.weight": self.update[:, :D], "update.bias": self.update_bias}
        views |= {"gate.weight": self.update[:, D:]}
        shapes = param_shapes(cell)
        return {name: x.reshape(shapes[name]) for name, x in views.items() if name in shapes}


class Live(NamedTuple):
    """The live cells of a few samples, (m,) each."""

    cell: Array  # y·W+x
    sample: Array
    corner: Array  # the padded pixel where the neighbourhood starts

    @classmethod
    def of(cls, cell: Cell, environment: Array) -> Live:
        _, H, W, _ = environment.shape
        sample, y, x = np.nonzero(alive(cell, environment))
        return cls(y * W + x, sample, (sample * (H + 2) + y) * (W + 2) + x)


class Updates(NamedTuple):
    """The cells that update, step by step: step i has rows offsets[i] to offsets[i+1]."""

    corner: Array  # (U,), as in Live
    place: Array  # (U,) its row where every cell is computed: sample·H·W + cell
    offsets: Array  # (T+1,)
    noise: Array  # (U, D); no rows where the cell has no noise
    z: Array  # (U, D); no rows where it has no reset gate


class Form(NamedTuple):
    """The cell's settings, and whether a tape is kept."""

    norm: int
    biases: bool
    depthwise: bool
    residual: bool
    resettable: bool
    frozen: bool
    sigma: Any  # of the dtype computed in
    keep: bool

    @classmethod
    def of(cls, cell: Cell, dtype: Any, keep: bool) -> Form:
        sigma = np.dtype(dtype).type(cell.noise)
        flags = cell.biases, cell.depthwise, cell.residual, cell.resettable, cell.frozen_filters
        return cls(NORMS[cell.norm], *flags, sigma, keep)


class Tape(NamedTuple):
    """What the way back needs of each step; without one, room for one step of the rows that it computes."""

    before: Array  # (U, D), the state that was replaced
    candidate: Array  # (U, D), what a gate weighs against noise
    gate: Array  # (U,)
    felt: Array  # (n+1, rows, P), the hidden values; with a norm, the normalised sums
    row_scale: Array  # (n+1, rows), what a norm over channels divided by, inverted
    scale: Array  # (n+1, steps, P), the same of a norm over cells

    @classmethod
    def of(cls, cell: Cell, form: Form, updates: Updates, cells: int, dtype: Any, room: Room) -> Tape:
        """For these updates of a part of so many cells."""
        n, D, P, T = cell.hidden_layers + 1, cell.state_channels, cell.hidden_width, len(updates.offsets) - 1
        together, kept = form.norm == kernels.TOGETHER, len(updates.corner) if form.keep else 0
        if form.keep:
            rows = T * cells if together else kept
        else:
            rows = cells if together else int(np.diff(updates.offsets).max(initial=0))
        shapes = (
            (kept, D),
            (kept if cell.resettable else 0, D),
            (kept if cell.resettable else 0,),
            (n, rows, P),
            (n, rows if form.norm == kernels.CHANNEL else 0),
            (n, (T if form.keep else 1) if together else 0, P),
        )
        named = zip(cls._fields, shapes, strict=True)
        return cls(*(room.empty(f"tape.{name}", shape, dtype) for name, shape in named))


class Counted(NamedTuple):
    """The states of the steps that the loss counts; on the way back, its gradients with respect to them."""

    slot: Array  # (T,) where a step's state is kept; -1: the step does not count
    states: Array  # (S, b, H, W, D)

    @classmethod
    def of(cls, counts: Array, shape: tuple[int, ...], dtype: Any, room: Room) -> Counted:
        """For the steps that count, (T,) boolean, of a part whose state has this shape (b, H, W, D)."""
        slot = np.where(counts, np.cumsum(counts) - 1, -1)
        return cls(slot, room.empty("states", (int(counts.sum()), *shape), dtype))


class Part(NamedTuple):
    """A few samples, what is known of their steps, and room to work in."""

    form: Form
    row: int  # padded pixels from one row to the next
    rows: int  # cells of the part, where a norm needs them all
    pixels: Array  # (b·(H+2)·(W+2), E+D) within a border of zeros, environment first
    grad: Array  # the same for gradients; empty without a tape
    every: Array  # (rows,) the corners of all cells, where a norm needs them all
    updates: Updates
    tape: Tape
    counted: Counted
    moments: Array  # (2, P): mean and summed squared distance to it of a layer's sums
    sums: Array  # (2, P): Σ grad and Σ grad·felt of a layer
    seen: Array  # (block, 9·(E+D)) of a full first layer
    hidden: Array  # (block, P)
    proposal: Array  # (block, D or D+1)
    mixed: Array  # (pixels, P) of a depthwise first layer
    mixed_grad: Array
    felt_grad: Array  # (n+1, rows of a step, P)

    @classmethod
    def of(
        cls,
        cell: Cell,
        form: Form,
        environment: Array,
        state: Array,
        part: Array,
        updates: Updates,
        counted: Counted,
        room: Room,
        pixels: Array | None = None,
    ) -> Part:
        """The samples `part` of a batch; `pixels` are those of the part's steps before, if there were any."""
        _, H, W, E = environment.shape
        dtype, D, P, b = state.dtype, cell.state_channels, cell.hidden_width, len(part)
        if pixels is None:
            padded = room.empty("pixels", (b, H + 2, W + 2, E + D), dtype)
            kernels.enter(padded, environment, state, part)
            pixels = padded.reshape(-1, E + D)
        together, keep = form.norm == kernels.TOGETHER, form.keep
        cells = b * H * W
        block = kernels.BLOCK
        widest = cells if together else int(np.diff(updates.offsets).max(initial=0))
        mixed = (len(pixels) if cell.depthwise else 0, P)
        grad = room.empty("grad", (len(pixels) if keep else 0, E + D), dtype)
        grad[...] = 0
        return cls(
            form,
            W + 2,
            cells,
            pixels,
            grad,
            corners(b, H, W) if together else np.zeros(0, np.int64),
            updates,
            Tape.of(cell, form, updates, cells, dtype, room),
            counted,
            np.zeros((2, P), dtype),
            np.zeros((2, P), dtype),
            room.empty("seen", (0 if cell.depthwise else block, 9 * (E + D)), dtype),
            room.empty("hidden", (block, P), dtype),
            room.empty("proposal", (block, D + cell.resettable), dtype),
            room.empty("mixed", mixed, dtype),
            room.empty("mixed_grad", mixed if keep else (0, P), dtype),
            room.empty("felt_grad", (cell.hidden_layers + 1, widest if keep else 0, P), dtype),
        )


def corners(b: int, H: int, W: int) -> Array:
    """The corner of every cell of b samples, (b·H·W,)."""
    sample, y, x = (axis.reshape(-1) for axis in np.indices((b, H, W)))
    return (sample * (H + 2) + y) * (W + 2) + x
