"""Adam on a device, in one launch: the contract's `descend`.

Source: `spec/chapters/adam.md`; `refca/training/adam.py` is the definition.
"""

from __future__ import annotations

import ctypes
from typing import Any

from refca.definition.cell import Array, Params
from refca.training.adam import BETA_1, BETA_2, EPSILON, NORM_EPSILON

MOST = 32  # tensors of a launch
ARRAYS = ("param", "grad", "first", "second", "moved")
NUMBERS = ("rate", "beta_1", "beta_2", "epsilon", "least")  # least: added to the norm of a gradient


class Tensor(ctypes.Structure):
    """A parameter, its gradient, its moments, which move in place, and where the moved parameter goes."""

    _fields_ = (*((name, ctypes.c_void_p) for name in ARRAYS), ("size", ctypes.c_int))


class Descent(ctypes.Structure):
    """`d` of the kernel."""

    _fields_ = (*((name, ctypes.c_double) for name in NUMBERS), ("tensors", Tensor * MOST))


DESCENT = "\n".join(
    (
        *("struct Tensor {", *(f"  real* {name};" for name in ARRAYS), "  int size;", "};"),
        *(
            "struct Descent {",
            *(f"  double {name};" for name in NUMBERS),
            f"  Tensor tensors[{MOST}];",
            "};",
            "",
        ),
    )
)


def adam_step(
    device: Any,
    params: Params,
    grads: Params,
    first: Params,
    second: Params,
    i: int,
    rate: float,
    normalise: bool,
) -> Params:
    """The parameters after update i, new arrays; the moments move too. As `refca.training.adam.descend`."""
    rate *= (1 - BETA_2 ** (i + 1)) ** 0.5 / (1 - BETA_1 ** (i + 1))
    xp, names = device.xp, list(params)
    moved: Params = {}
    kept: list[Array] = []  # until the launch
    for moments in (first, second):
        moments |= {name: xp.zeros(x.shape, x.dtype) for name, x in params.items() if name not in moments}
    for some in (names[k : k + MOST] for k in range(0, len(names), MOST)):
        descent = Descent(rate, BETA_1, BETA_2, EPSILON, NORM_EPSILON)
        for tensor, name in zip(descent.tensors, some, strict=False):
            moved[name] = xp.empty(params[name].shape, params[name].dtype)
            kept += [xp.ascontiguousarray(params[name]), xp.ascontiguousarray(grads[name])]
            for field, x in zip(ARRAYS, (*kept[-2:], first[name], second[name], moved[name]), strict=True):
                setattr(tensor, field, device.address(x))
            tensor.size = params[name].size
        module = device.module("descend", str(params[some[0]].dtype))
        module.write("d", descent)
        module.launch("descend", len(some), normalise)
    return moved
