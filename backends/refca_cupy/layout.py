"""The memory layout of one call: the structure in constant memory, and parameters in padded rows.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width, N hidden layers, Q
numbers of a proposal, L labels, T steps, S steps in the loss. A size with a 4 is rounded up to a multiple of 4.
`blocks` are the blocks of a launch; `team` of them share a sample.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

from refca.definition.cell import Array, Cell, Params
from refca.definition.params import param_shapes
from refca.definition.step import EPSILON

NORMS = {"none": 0, "channel": 1, "instance": 2, "batch": 3}
INTEGERS = (
    *("e", "d", "p", "n"),  # E, D, P, N
    *("norm", "depthwise", "residual", "resettable", "noisy"),  # settings that a module can be built for
    *("biased", "frozen", "all_alive"),  # and others
    *("b", "h", "w", "steps"),  # B, H, W, T
    *("grids", "scaled"),  # steps whose pixels, and whose statistics, are kept
    *("team", "blocks", "cap", "slots"),  # of a block: the most rows of a step, and slots
    "kept",  # whether the slots of all steps are kept for the backward pass
    *("to_environment", "loss_steps"),  # whether the gradient of the environment is wanted; S
    *("labels", "readout_pixels", "label_map"),  # L; pixels of a sample; whether a target is a label map
    "weights",  # numbers of a packed set of parameters
)
WORDS = ("key0", "key1", "first_sample", "first_step")
REALS = (
    "environment",  # (B, H, W, E)
    "state",  # (B, H, W, D)
    "pixels",  # (grids, B, H+2, W+2, E+D to 4)
    *("noise", "reset_noise"),  # (T, B, H, W, D), or nothing
    *("perceive", "filters", "hidden", "bias", "update", "update_bias"),  # as in `Packed`
    *("perceive_back", "hidden_back", "update_back"),  # each matrix transposed
    *("preact", "preact_grad"),  # (N+1, blocks, slots, P4)
    "row_scale",  # (N+1, blocks, slots)
    *("proposal", "proposal_grad"),  # (blocks, slots, Q4)
    *("mixed", "mixed_grad"),  # (B, H+2, W+2, P4); (blocks, cap, P4)
    "group_sums",  # (blocks, GROUPS, 2, P4)
    *("moments", "grad_sums"),  # (N+1, blocks, 2, P4)
    "scales",  # (scaled, N+1, B, team, 2, P4)
    "last",  # (B, H, W, D)
    *("states", "state_grad"),  # (S, B, H, W, D)
    "grad",  # (B, H, W, E+D to 4)
    "seen_grad",  # (blocks, cap, 9, E+D to 4), of a cell that is not depthwise
    "filter_sums",  # (blocks, GROUPS, 9, P4), of a depthwise cell
    "weight_grad",  # (blocks, weights)
    *("logits", "logits_grad"),  # (S, B, pixels, L)
    "weight",  # (S, B)
)
OTHERS = {
    "fire": "const unsigned char",  # (T, B, H, W), or nothing
    **dict.fromkeys(("live", "live_count"), "int"),  # (B, H·W) sites of live cells; (B,)
    "source_of": "int",  # (B, H, W): where the gradient of a neighbourhood is, -1: the cell is no row
    "site": "int",  # (blocks, slots)
    "pixel": "int",  # (blocks, slots): the corner of a neighbourhood, numbered in a padded grid
    "corner": "long long",  # (blocks, slots): where a neighbourhood starts in `pixels`
    "updates": "unsigned char",  # (blocks, slots)
    "starts": "int",  # (B, T, team): the first slot of a step, where slots are kept
    "ends": "int",  # (blocks,): the slots of a sample end here
    **dict.fromkeys(("used", "rows"), "int"),  # (blocks,): slots used before this step, and by it
    "loss_index": "const int",  # (T,): the index of a step in the loss, or -1
    "label": "const int",  # (B,) or (B, pixels)
    "losses": "double",  # one for each block of `loss_and_grad`
}
GROUPS = 8  # groups of rows that are added up first
FIXED = INTEGERS[: INTEGERS.index("biased")]


class Unroll(ctypes.Structure):
    """`u` of the kernels. Pointers are addresses; 0 is nothing."""

    _fields_ = (
        *((name, ctypes.c_int) for name in INTEGERS),
        *((name, ctypes.c_uint) for name in WORDS),
        ("fire_below", ctypes.c_ulonglong),
        ("sigma", ctypes.c_double),
        ("alive_above", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (*REALS, *OTHERS)),
    )


def declaration() -> str:
    """The structure in C++, and the numbers that the kernels share with the definition."""
    lines = [f"#define EPSILON {EPSILON}", f"#define GROUPS {GROUPS}", "struct Unroll {"]
    lines += [f"  int {name};" for name in INTEGERS] + [f"  unsigned {name};" for name in WORDS]
    lines += ["  unsigned long long fire_below;", "  double sigma;", "  float alive_above;"]
    lines += [f"  real* {name};" for name in REALS] + [f"  {kind}* {name};" for name, kind in OTHERS.items()]
    return "\n".join([*lines, "};", ""])


def settings(cell: Cell) -> dict[str, int]:
    """The fields of `u` that follow from the cell."""
    return {
        "e": cell.environment_channels,
        "d": cell.state_channels,
        "p": cell.hidden_width,
        "n": cell.hidden_layers,
        "norm": NORMS[cell.norm],
        "depthwise": int(cell.depthwise),
        "residual": int(cell.residual),
        "resettable": int(cell.resettable),
        "noisy": int(cell.noise > 0),
        "biased": int(cell.biases),
        "frozen": int(cell.frozen_filters),
        "all_alive": int(cell.alive_above is None),
        "labels": cell.labels,
    }


def round_up4(size: int) -> int:
    """Round a size up to a multiple of 4."""
    return -(-size // 4) * 4


class Packed(NamedTuple):
    """The parameters of a step, or their gradients: an array, and views of it that are padded with zeros."""

    flat: Array
    perceive: Array  # (9, (E+D)4, P4); of a depthwise cell (1, (E+D)4, P4), the mix
    filters: Array  # (9, P4) of a depthwise cell
    hidden: Array  # (N, P4, P4)
    bias: Array  # (N+1, P4)
    update: Array  # (P4, Q4), the gate's weight in column D
    update_bias: Array  # (Q4,)

    @classmethod
    def views(cls, cell: Cell, flat: Array) -> Packed:
        """The views of an array of `packed_size` numbers."""
        arrays, first = [], 0
        for shape, size in zip(packed_shapes(cell), sizes(cell), strict=True):
            arrays.append(flat[first : first + size].reshape(shape))
            first += size
        return cls(flat, *arrays)

    @classmethod
    def of(cls, cell: Cell, params: Params, xp: Any) -> Packed:
        """A copy of params."""
        packed = cls.views(cell, xp.zeros(sum(sizes(cell)), params["update.weight"].dtype))
        for name, view in packed.named(cell).items():
            view[...] = params[name].reshape(view.shape)
        return packed

    def named(self, cell: Cell) -> Params:
        """Views of the arrays without padding, under the parameters' names; a 3×3 is one axis of 9."""
        C, D, P = cell.environment_channels + cell.state_channels, cell.state_channels, cell.hidden_width
        if cell.depthwise:
            views = {"perceive.mix": self.perceive[0, :C, :P], "perceive.depthwise": self.filters[:, :P]}
        else:
            views = {"perceive.weight": self.perceive[:, :C, :P]}
        views |= {"perceive.bias": self.bias[0, :P]}
        for i in range(cell.hidden_layers):
            views |= {
                f"hidden.{i}.weight": self.hidden[i, :P, :P],
                f"hidden.{i}.bias": self.bias[i + 1, :P],
            }
        views |= {"update.weight": self.update[:P, :D], "update.bias": self.update_bias[:D]}
        views |= {"gate.weight": self.update[:P, D : D + 1]}
        return {name: view for name, view in views.items() if name in param_shapes(cell)}

    def arrays(self) -> dict[str, Array]:
        """The arrays for the kernels."""
        return {name: x for name, x in self._asdict().items() if name != "flat"}

    def back(self, xp: Any) -> dict[str, Array]:
        """Each matrix transposed, for the backward pass."""
        perceive = self.perceive.reshape(-1, self.perceive.shape[-1])  # all taps at once
        arrays = {"perceive_back": perceive, "hidden_back": self.hidden, "update_back": self.update}
        return {name: xp.ascontiguousarray(x.swapaxes(-1, -2)) for name, x in arrays.items()}


def packed_shapes(cell: Cell) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays of `Packed`, in their order."""
    C4 = round_up4(cell.environment_channels + cell.state_channels)
    P4, Q4, N = round_up4(cell.hidden_width), round_up4(cell.state_channels + cell.resettable), cell.hidden_layers
    taps, filters = (1, (9, P4)) if cell.depthwise else (9, (0, P4))
    return (taps, C4, P4), filters, (N, P4, P4), (N + 1, P4), (P4, Q4), (Q4,)


def sizes(cell: Cell) -> list[int]:
    """The number of elements of each array of `Packed`."""
    found = []
    for shape in packed_shapes(cell):
        size = 1
        for side in shape:
            size *= side
        found.append(size)
    return found
