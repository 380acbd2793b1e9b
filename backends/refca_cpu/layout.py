"""The memory layout of parameters and samples for the kernels: contiguous, padded, live cells only.

Letters: b samples, H×W grid, E environment channels, D state channels, P hidden width, n hidden layers,
U updates, R rows that a step computes, S steps in the loss.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import param_shapes
from refca.definition.step import alive
from refca_cpu.arrays import Ints, Reals
from refca_cpu.pixels import pad
from refca_cpu.workspace import Workspace

BLOCK = 512  # rows that the kernels process at a time
NO_NORM, CHANNEL, TOGETHER = range(3)  # TOGETHER: over the cells of a sample, or of the batch
NORMS = {"none": NO_NORM, "channel": CHANNEL, "instance": TOGETHER, "batch": TOGETHER}


class Packed(NamedTuple):
    """The parameters of a step, or their gradients. Arrays that the cell does not have are zero or empty."""

    perceive: Reals  # (9·(E+D), P); of a depthwise cell (E+D, P), the mix
    filters: Reals  # (9, P) of a depthwise cell
    hidden: Reals  # (n, P, P)
    biases: Reals  # (n+1, P), row 0 for the first layer
    update: Reals  # (P, D); of a resettable cell (P, D+1), the gate's weight in the last column
    update_bias: Reals  # (D,)

    @classmethod
    def zeros(cls, cell: Cell, dtype: np.dtype) -> Packed:
        """Zeros in the shapes of a cell's parameters."""
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

    site: Ints  # y·W+x
    sample: Ints
    corner: Ints  # the padded pixel where the neighbourhood starts

    @classmethod
    def of(cls, cell: Cell, environment: Reals) -> Live:
        """List the live cells of an environment (b, H, W, E), sample by sample."""
        _, H, W, _ = environment.shape
        sample, y, x = np.nonzero(alive(cell, environment))
        return cls(y * W + x, sample, (sample * (H + 2) + y) * (W + 2) + x)


class Updates(NamedTuple):
    """The cells that update, step by step: step i has the updates offsets[i] to offsets[i+1]."""

    corner: Ints  # (U,), as in Live
    row: Ints  # (U,) the cell's row where every cell is computed: sample·H·W + site
    offsets: Ints  # (T+1,)
    noise: Reals  # (U, D); no rows where the cell has no noise
    reset_noise: Reals  # (U, D); no rows where the cell has no reset gate


class Form(NamedTuple):
    """The cell's settings, and whether a tape is kept."""

    norm: int
    biases: bool
    depthwise: bool
    residual: bool
    resettable: bool
    frozen: bool
    sigma: np.floating  # of the dtype computed in
    taped: bool

    @classmethod
    def of(cls, cell: Cell, dtype: np.dtype, taped: bool) -> Form:
        """The form of a cell in one dtype."""
        sigma = np.dtype(dtype).type(cell.noise)
        flags = cell.biases, cell.depthwise, cell.residual, cell.resettable, cell.frozen_filters
        return cls(NORMS[cell.norm], *flags, sigma, taped)


class Tape(NamedTuple):
    """The data of each step for the backward pass; without a backward pass, space for one layer of a step."""

    before: Reals  # (U, D), the state that was replaced
    candidate: Reals  # (U, D), what a gate weighs against noise
    gate: Reals  # (U,)
    preact: Reals  # (layers, rows, P), the hidden values; with a norm, the normalised sums
    row_scale: Reals  # (layers, rows), the factor of a norm over channels
    scale: Reals  # (n+1, steps, P), the factor of a norm over cells

    @classmethod
    def of(cls, cell: Cell, form: Form, updates: Updates, cells: int, mixed: Reals, workspace: Workspace) -> Tape:
        """A tape for these updates of a shard of so many cells.

        Without a backward pass the layers of a depthwise cell take the place of the mixed pixels (pixels, P). The first
        layer's sums may be written there, because row k is never after pixel corner[k], and later cells read only from
        later pixels.
        """
        n, D, P, T = cell.hidden_layers + 1, cell.state_channels, cell.hidden_width, len(updates.offsets) - 1
        together, replaced = form.norm == TOGETHER, len(updates.corner) if form.taped else 0
        if form.taped:
            layers, rows = n, T * cells if together else replaced
        else:
            layers = 1
            rows = cells if together else int(np.diff(updates.offsets).max(initial=0))
        in_mixed = cell.depthwise and not form.taped
        shapes = (
            (replaced, D),
            (replaced if cell.resettable else 0, D),
            (replaced if cell.resettable else 0,),
            (layers, 0 if in_mixed else rows, P),
            (layers, rows if form.norm == CHANNEL else 0),
            (n, (T if form.taped else 1) if together else 0, P),
        )
        named = zip(cls._fields, shapes, strict=True)
        tape = cls(*(workspace.empty(f"tape.{name}", shape, mixed.dtype) for name, shape in named))
        return tape._replace(preact=mixed[None, :rows]) if in_mixed else tape


class LossStates(NamedTuple):
    """The states after the steps that the loss counts; in the backward pass, the loss's gradient there."""

    slot: Ints  # (T,) the index of a step's states; -1: the loss does not count the step
    states: Reals  # (S, b, H, W, D)

    @classmethod
    def of(cls, in_loss: Array, shape: tuple[int, ...], dtype: np.dtype, workspace: Workspace) -> LossStates:
        """Space for the steps in the loss, (T,) boolean, of a shard with states of shape (b, H, W, D)."""
        slot = np.where(in_loss, np.cumsum(in_loss) - 1, -1)
        return cls(slot, workspace.empty("states", (int(in_loss.sum()), *shape), dtype))


class Shard(NamedTuple):
    """A few samples, the updates of their steps, and memory to work in."""

    form: Form
    row_stride: int  # padded pixels from one row of a grid to the next
    cells: int  # b·H·W
    pixels: Reals  # (b·(H+2)·(W+2), E+D) within a border of zeros, environment first
    grad: Reals  # the gradient of the pixels; empty without a tape
    corners: Ints  # (cells,) the corners of all cells, where a norm needs them all
    updates: Updates
    tape: Tape
    in_loss: LossStates
    moments: Reals  # (2, P): mean of a layer's sums, and summed squared distance to it
    grad_sums: Reals  # (2, P): Σ grad and Σ grad·preact of a layer
    seen: Reals  # (BLOCK, 9·(E+D)), neighbourhoods, for a full first layer
    hidden: Reals  # (BLOCK, P)
    proposal: Reals  # (BLOCK, D or D+1)
    mixed: Reals  # (pixels, P) of a depthwise first layer
    mixed_grad: Reals
    preact_grad: Reals  # (n+1, rows of a step, P)

    @classmethod
    def of(
        cls,
        cell: Cell,
        form: Form,
        environment: Reals,
        state: Reals,
        samples: Ints,
        updates: Updates,
        in_loss: LossStates,
        workspace: Workspace,
        pixels: Reals | None = None,
    ) -> Shard:
        """Some samples of a batch. `pixels` go on from the shard's earlier steps, if there were any."""
        _, H, W, E = environment.shape
        dtype, D, P, b = state.dtype, cell.state_channels, cell.hidden_width, len(samples)
        if pixels is None:
            padded = workspace.empty("pixels", (b, H + 2, W + 2, E + D), dtype)
            pad(padded, environment, state, samples)
            pixels = padded.reshape(-1, E + D)
        together, taped = form.norm == TOGETHER, form.taped
        cells = b * H * W
        widest = cells if together else int(np.diff(updates.offsets).max(initial=0))
        mixed = workspace.empty("mixed", (len(pixels) if cell.depthwise else 0, P), dtype)
        grad = workspace.empty("grad", (len(pixels) if taped else 0, E + D), dtype)
        grad[...] = 0
        return cls(
            form,
            W + 2,
            cells,
            pixels,
            grad,
            corners(b, H, W) if together else np.zeros(0, np.int64),
            updates,
            Tape.of(cell, form, updates, cells, mixed, workspace),
            in_loss,
            np.zeros((2, P), dtype),
            np.zeros((2, P), dtype),
            workspace.empty("seen", (0 if cell.depthwise else BLOCK, 9 * (E + D)), dtype),
            workspace.empty("hidden", (BLOCK, P), dtype),
            workspace.empty("proposal", (BLOCK, D + cell.resettable), dtype),
            mixed,
            workspace.empty("mixed_grad", mixed.shape if taped else (0, P), dtype),
            workspace.empty("preact_grad", (cell.hidden_layers + 1, widest if taped else 0, P), dtype),
        )


def corners(b: int, H: int, W: int) -> Ints:
    """The corner of every cell of b samples, (b·H·W,)."""
    sample, y, x = (axis.reshape(-1) for axis in np.indices((b, H, W)))
    return (sample * (H + 2) + y) * (W + 2) + x
