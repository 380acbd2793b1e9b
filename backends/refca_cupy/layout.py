"""The memory layout of one call: the structure in constant memory, and parameters in padded rows.

Letters: B samples, H×W grid, E environment channels, D state channels, P hidden width, N hidden layers, Q
numbers of a proposal, L labels, T steps, S steps in the loss. A size with a 4 is rounded up to a multiple of 4.
`blocks` are the blocks of a launch; `team` of them share a sample.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import NamedTuple

from refca.definition.cell import Cell
from refca.definition.params import param_shapes
from refca.definition.step import EPSILON

READOUTS = {"last channels": 0, "linear": 1, "given": 2}
MOST = 32  # tensors of a cell
PLACE = ("taps", "rows", "columns", "padded_rows", "padded_columns", "at", "back", "back_stride")
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
    *("readout", "loss_blocks"),  # one of READOUTS; blocks of `loss_and_grad`
    *("tensor_count", "parameters"),  # tensors and numbers of the parameters of a step
    *("weights", "weights_back"),  # numbers of these, packed; and of the transposes
    *("part", "shared"),  # rows of a step, and numbers, that a block has in shared memory
)
WORDS = ("key0", "key1", "first_sample", "first_step")
REALS = (
    "environment",  # (B, H, W, E)
    "state",  # (B, H, W, D)
    "pixels",  # (grids, B, H+2, W+2, E+D to 4)
    *("noise", "reset_noise"),  # (T, B, H, W, D), or nothing
    *("packed", "perceive", "filters", "hidden", "bias", "update", "update_bias"),  # as in `Layout`
    *("packed_back", "perceive_back", "hidden_back", "update_back"),  # each matrix transposed
    "gradients",  # (parameters + D·L of a linear readout + 1,), the loss last
    *("readout_weight", "readout_grad"),  # (D, L); (loss_blocks, D, L)
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


class Tensor(ctypes.Structure):
    """A parameter of the step, and its `Place`."""

    _fields_ = (("param", ctypes.c_void_p), *((name, ctypes.c_int) for name in ("first", *PLACE)))


class Unroll(ctypes.Structure):
    """`u` of the kernels. Pointers are addresses; 0 is nothing."""

    _fields_ = (
        *((name, ctypes.c_int) for name in INTEGERS),
        *((name, ctypes.c_uint) for name in WORDS),
        ("fire_below", ctypes.c_ulonglong),
        ("sigma", ctypes.c_double),
        ("alive_above", ctypes.c_float),
        *((name, ctypes.c_void_p) for name in (*REALS, *OTHERS)),
        ("tensors", Tensor * MOST),
    )


def declaration() -> str:
    """The structure in C++, and the numbers that the kernels share with the definition."""
    lines = [f"#define EPSILON {EPSILON}", f"#define GROUPS {GROUPS}"]
    lines += [f"enum {{ {', '.join(name.replace(' ', '_').upper() for name in READOUTS)} }};", "struct Tensor {"]
    lines += ["  const real* param;", f"  int first, {', '.join(PLACE)};", "};", "struct Unroll {"]
    lines += [f"  int {name};" for name in INTEGERS] + [f"  unsigned {name};" for name in WORDS]
    lines += ["  unsigned long long fire_below;", "  double sigma;", "  float alive_above;"]
    lines += [f"  real* {name};" for name in REALS] + [f"  {kind}* {name};" for name, kind in OTHERS.items()]
    lines += [f"  Tensor tensors[{MOST}];"]
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


class Place(NamedTuple):
    """A parameter of the step in the packed arrays: taps of rows × columns, in padded rows."""

    name: str
    taps: int
    rows: int
    columns: int
    padded_rows: int
    padded_columns: int
    at: int  # its first number in `packed`
    back: int = -1  # the first number of its transpose in `packed_back`; -1: none is needed
    back_stride: int = 0  # from one row of the transpose to the next

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.taps * self.rows * self.columns


class Layout(NamedTuple):
    """The packed parameters of a cell."""

    starts: dict[str, int]  # where the arrays for the kernels begin in `packed`
    size: int  # of `packed`
    back_starts: dict[str, int]  # the same of the transposed matrices
    back_size: int
    places: tuple[Place, ...]

    @property
    def weights(self) -> int:
        """The numbers of both packed arrays."""
        return self.size + self.back_size


@cache
def layout(cell: Cell) -> Layout:
    """Lay out the parameters of a cell, each row of a matrix in `row_stride` numbers.

    perceive (9, C4, P4), of a depthwise cell (1, C4, P4), the mix; filters (9, P4) of a depthwise cell; hidden
    (N, P4, P4); bias (N+1, P4); update (P4, Q4), the gate's weight in column D; update_bias (Q4,).
    """
    C, D, P, N = (
        cell.environment_channels + cell.state_channels,
        cell.state_channels,
        cell.hidden_width,
        cell.hidden_layers,
    )
    C4, P4, Q4, taps = round_up4(C), round_up4(P), round_up4(D + cell.resettable), 1 if cell.depthwise else 9
    p, q, c = row_stride(P4), row_stride(Q4), row_stride(taps * C4)
    sizes = {"perceive": taps * C4 * p, "filters": 9 * P4 if cell.depthwise else 0, "hidden": N * P4 * p}
    sizes |= {"bias": (N + 1) * P4, "update": P4 * q, "update_bias": Q4}
    starts = first_of(sizes)
    back_sizes = {"perceive_back": P4 * c, "hidden_back": N * P4 * p, "update_back": Q4 * p}
    back = first_of(back_sizes)

    def vector(name: str, size: int, at: int) -> Place:
        return Place(name, 1, 1, size, 1, size, at)

    first = "perceive.mix" if cell.depthwise else "perceive.weight"
    found = [
        Place(first, taps, C, P, C4, p, 0, 0, c),
        Place("perceive.depthwise", 1, 9, P, 9, P4, starts["filters"]),
        vector("perceive.bias", P, starts["bias"]),
    ]
    for i in range(N):
        at, transposed = starts["hidden"] + i * P4 * p, back["hidden_back"] + i * P4 * p
        found.append(Place(f"hidden.{i}.weight", 1, P, P, P4, p, at, transposed, p))
        found.append(vector(f"hidden.{i}.bias", P, starts["bias"] + (i + 1) * P4))
    at, transposed = starts["update"], back["update_back"]
    found += [
        Place("update.weight", 1, P, D, P4, q, at, transposed, p),
        vector("update.bias", D, starts["update_bias"]),
        Place("gate.weight", 1, P, 1, P4, q, at + D, transposed + D * p, p),
    ]
    shapes = param_shapes(cell)
    places = tuple(place for place in found if place.name in shapes)
    return Layout(starts, sum(sizes.values()), back, sum(back_sizes.values()), places)


def row_stride(columns: int) -> int:
    """The numbers from one row of a packed matrix to the next; as in `weights.h`, which says why."""
    return columns + 4 if columns % 8 == 0 else columns


def first_of(sizes: dict[str, int]) -> dict[str, int]:
    """The first index of each of some arrays, one after another."""
    found, first = {}, 0
    for name, size in sizes.items():
        found[name] = first
        first += size
    return found
