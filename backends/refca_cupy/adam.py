"""Adam on a device, in one launch: the contract's `adam_step`.

Source: `spec/chapters/adam.md`; `refca/contract/adam.py` is the definition.
"""

from __future__ import annotations

import ctypes

from refca.contract.adam import BETA_1, BETA_2, EPSILON, NORM_EPSILON
from refca.definition.cell import Array, Params
from refca_cupy.machine import Device

MOST = 32  # tensors of a launch
ARRAYS = ("param", "grad", "m", "v", "updated")
NUMBERS = ("learning_rate", "beta_1", "beta_2", "epsilon", "norm_epsilon")


class Tensor(ctypes.Structure):
    """A parameter, its gradient, its moments, which change in place, and the updated parameter."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ARRAYS), ("size", ctypes.c_int))


class Adam(ctypes.Structure):
    """`d` of the kernel."""

    _fields_ = (*((name, ctypes.c_double) for name in NUMBERS), ("tensors", Tensor * MOST))


ADAM = "\n".join(
    (
        *("struct Tensor {", *(f"  real* {name};" for name in ARRAYS), "  int size;", "};"),
        *(
            "struct Adam {",
            *(f"  double {name};" for name in NUMBERS),
            f"  Tensor tensors[{MOST}];",
            "};",
            "",
        ),
    )
)


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
    updated: Params = {}
    alive: list[Array] = []  # until the launch
    for moments in (m, v):
        moments |= {name: xp.zeros(x.shape, x.dtype) for name, x in params.items() if name not in moments}
    for some in (names[k : k + MOST] for k in range(0, len(names), MOST)):
        adam = Adam(learning_rate, BETA_1, BETA_2, EPSILON, NORM_EPSILON)
        for tensor, name in zip(adam.tensors, some, strict=False):
            updated[name] = xp.empty(params[name].shape, params[name].dtype)
            alive += [xp.ascontiguousarray(params[name]), xp.ascontiguousarray(grads[name])]
            for field, x in zip(ARRAYS, (*alive[-2:], m[name], v[name], updated[name]), strict=True):
                setattr(tensor, field, device.address(x))
            tensor.size = params[name].size
        module = device.module("adam", str(params[some[0]].dtype))
        module.write("d", adam)
        module.launch("adam_step", len(some), normalise)
    return updated
