"""Parameters as PyTorch stores them: other orders of the dimensions, and prefixes of wrapped modules.

PyTorch has convolutions as (out, in, height, width) and linear layers as (out, in); refca has
(height, width, in, out) and (in, out). Where names and shapes leave no doubt, arrays are converted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.params import param_shapes
from refca.errors import InvalidInput

PREFIXES = ("_orig_mod.", "module.")  # of compiled and of distributed modules
STRIDED = ("encode.", "decode.")


class Layout(NamedTuple):
    """The name of a parameter, and how its array is brought into refca's order."""

    name: str
    convert: Callable[[Array], Array]
    foreign: bool  # whether it is in PyTorch's order


def layouts_of(cell: Cell, declared: Mapping[str, np.ndarray]) -> dict[str, Layout]:
    """The layout of each array, by its name in the file. Raises InvalidInput where it cannot be told."""
    shapes = param_shapes(cell)
    found: dict[str, Layout] = {}
    for stored, array in declared.items():
        name = stored
        while name.startswith(PREFIXES):
            name = name.removeprefix(next(prefix for prefix in PREFIXES if name.startswith(prefix)))
        twice = next((other for other, each in found.items() if each.name == name), None)
        if twice is not None:
            raise InvalidInput(f"{twice} and {stored} both name the parameter {name}; leave one of them out")
        found[stored] = layout(name, array.shape, shapes.get(name))
    foreign = [each.name for each in found.values() if each.foreign]
    for stored, each in found.items():
        shape = declared[stored].shape
        if foreign and not each.foreign and len(shape) == 2 and shape[0] == shape[1]:
            raise InvalidInput(
                f"{foreign[0]} is in PyTorch's order of dimensions, and whether {each.name} {shape} is cannot be "
                "told from its shape; store it as (in, out), in PyTorch with weight.T.contiguous(), "
                "and the others as (height, width, in, out), with weight.permute(2, 3, 1, 0).contiguous()"
            )
        if each.foreign and each.name.startswith(STRIDED):
            raise InvalidInput(
                f"{each.name} is in PyTorch's order of dimensions, and strided layers are not converted; store "
                f"it with the shape {shapes[each.name]} and the meaning in the chapters encode and decode of the spec"
            )
    return found


def layout(name: str, shape: tuple[int, ...], needed: tuple[int, ...] | None) -> Layout:
    """Return the layout that turns an array of this shape into the parameter of this name, of shape `needed`."""
    if needed is None or shape == needed:
        return Layout(name, lambda x: x, False)
    if len(needed) == 4 and shape == (needed[3], needed[2], *needed[:2]):
        return Layout(name, lambda x: x.transpose(2, 3, 1, 0), True)
    if len(needed) == 3 and shape == (needed[2], 1, *needed[:2]):  # depthwise
        return Layout(name, lambda x: x[:, 0].transpose(1, 2, 0), True)
    if len(needed) == 2 and shape == (*needed[::-1], 1, 1):
        return Layout(name, lambda x: x[:, :, 0, 0].T, True)
    if len(needed) == 2 and shape == needed[::-1]:
        return Layout(name, lambda x: x.T, True)
    return Layout(name, lambda x: x, False)
