"""Adam on a device, in two launches: the contract's `adam_step`.

Source: `spec/chapters/adam.md`; `refca/contract/adam.py` is the definition.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from refca.contract.adam import BETA_1, BETA_2, EPSILON, NORM_EPSILON
from refca.definition.cell import Array, Params
from refca_cupy.machine import Device

MOST = 32  # tensors of a launch
CHUNK = 1024  # numbers of a block
ARRAYS = ("param", "grad", "m", "v", "updated")
NUMBERS = ("learning_rate", "beta_1", "beta_2", "epsilon", "norm_epsilon")


class Tensor(ctypes.Structure):
    """A parameter, its gradient, its moments, which change in place, and the updated parameter."""

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ARRAYS),
        ("size", ctypes.c_int),
        ("first_block", ctypes.c_int),
    )


class Adam(ctypes.Structure):
    """`d` of the kernels."""

    _fields_ = (
        *((name, ctypes.c_double) for name in NUMBERS),
        ("squares", ctypes.c_void_p),
        ("count", ctypes.c_int),
        ("tensors", Tensor * MOST),
    )


ADAM = f"""#define CHUNK {CHUNK}
struct Tensor {{
{chr(10).join(f"  real* {name};" for name in ARRAYS)}
  int size, first_block;
}};
struct Adam {{
{chr(10).join(f"  double {name};" for name in NUMBERS)}
  double* squares;  // one for each block
  int count;
  Tensor tensors[{MOST}];
}};
"""


def adam_step(
    device: Device,
    params: Params,
    grads: Params,
    m: Params,
    v: Params,
    i: int,
    learning_rate: float,
    normalise: bool,
) -> Params:
    """The parameters after update i, new arrays; the moments change in place. As `refca.contract.adam`."""
    learning_rate *= (1 - BETA_2 ** (i + 1)) ** 0.5 / (1 - BETA_1 ** (i + 1))
    xp, names = device.xp, list(params)
    for moments in (m, v):
        moments |= {name: xp.zeros(x.shape, x.dtype) for name, x in params.items() if name not in moments}
    updated: Params = {}
    for some in (names[k : k + MOST] for k in range(0, len(names), MOST)):
        new = empty_like(device, [params[name] for name in some])
        adam = Adam(learning_rate, BETA_1, BETA_2, EPSILON, NORM_EPSILON, count=len(some))
        blocks, held = 0, []  # held: arrays that are needed until the launch
        for tensor, name, x in zip(adam.tensors, some, new, strict=False):
            given = xp.ascontiguousarray(params[name]), xp.ascontiguousarray(grads[name])
            held += [*given]
            for field, array in zip(ARRAYS, (*given, m[name], v[name], x), strict=True):
                setattr(tensor, field, device.address(array))
            tensor.size, tensor.first_block = x.size, blocks
            blocks += -(-x.size // CHUNK)
            updated[name] = x
        squares = device.empty((blocks,), np.float64)
        adam.squares = device.address(squares)
        module = device.module("adam", str(params[some[0]].dtype))
        module.write("d", adam)
        if normalise:
            module.launch("add_squares", blocks)
        module.launch("adam_step", blocks, normalise)
    return updated


def empty_like(device: Device, arrays: Sequence[Array]) -> list[Array]:
    """Uninitialised arrays of the shapes of others, in one piece of memory."""
    flat = device.empty((sum(x.size for x in arrays),), arrays[0].dtype)
    found, first = [], 0
    for x in arrays:
        found.append(flat[first : first + x.size].reshape(x.shape))
        first += x.size
    return found
