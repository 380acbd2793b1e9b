"""The checks of a backend's arguments: each error is one sentence that names the argument and what is allowed.

Arrays may come from any library: the checks use only shapes, and kind and size of dtypes.

Source: the contract of `spec/chapters/backends.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from autograd.tracer import Box

from refca.definition.cell import Array, Cell
from refca.definition.errors import check_integer
from refca.definition.params import param_shapes
from refca.definition.state import grid
from refca.errors import InvalidInput

FLOATS = ("float32", "float64")
NOT_GIVEN: Any = object()


def dtype_name(x: Array) -> str:
    """Return the name of an array's dtype without its library: "float32" for torch.float32."""
    return str(x.dtype).rpartition(".")[2]


def dtype_kind(x: Array) -> str:
    """Return NumPy's letter for the kind of an array's dtype: "f", "i", "u", "b"; "V" if NumPy has no such dtype."""
    try:
        return np.dtype(dtype_name(x)).kind
    except TypeError:
        return "V"


def check_cell(cell: Any) -> None:
    """Raise InvalidInput unless this is a cell."""
    if not isinstance(cell, Cell):
        raise InvalidInput(f"cell must be a refca.Cell, such as refca.digits_cell(), got {type(cell).__name__}")


def check_arrays(given: Mapping[str, tuple[Array, tuple[int | str, ...] | None]]) -> None:
    """Raise InvalidInput, naming the argument, unless each is an array of its shape; None allows any shape.

    A letter in a shape is any size, and the same one wherever it occurs.
    """
    sizes: dict[int | str, int] = {}
    for name, (x, shape) in given.items():
        wanted = "an array" if shape is None else f"an array of shape {written(shape, sizes)}"
        if not all(hasattr(x, attribute) for attribute in ("shape", "dtype", "ndim")):
            raise InvalidInput(f"{name} must be {wanted}, got {type(x).__name__}")
        if shape is None:
            continue
        fits = len(x.shape) == len(shape)
        for size, got in zip(shape, tuple(x.shape), strict=False):
            fits &= sizes.setdefault(size, int(got)) == got if isinstance(size, str) else size == got
        if not fits:
            raise InvalidInput(
                f"{name} must have shape {written(shape, {})}, got {tuple(x.shape)}{others(given, name)}"
            )


def written(shape: tuple[int | str, ...], sizes: Mapping[int | str, int]) -> str:
    """Return a shape as text, with known sizes in place of letters."""
    return f"({', '.join(str(sizes.get(size, size)) for size in shape)}{',' if len(shape) == 1 else ''})"


def others(given: Mapping[str, tuple[Array, Any]], name: str) -> str:
    """Return the shapes of the arguments before this one, which it has to fit."""
    before = list(given)[: list(given).index(name)]
    return "".join(f"; {each} has {tuple(given[each][0].shape)}" for each in before)


def check_numpy(arrays: Mapping[str, Array]) -> None:
    """Raise InvalidInput, naming the argument, if NumPy's functions do not compute with an array, as with PyTorch's.

    They do with CuPy's, and with those that autograd differentiates.
    """
    for name, x in arrays.items():
        if not (hasattr(x, "__array_function__") or isinstance(x, Box)):
            kind, remedy = f"{type(x).__name__} of {x.dtype}", "numpy.asarray(x)"
            if hasattr(x, "detach"):
                remedy = "x.detach().cpu().numpy()"
            raise InvalidInput(f"{name} must be a NumPy array, got a {kind}; {remedy} makes one of it")


def check_params(cell: Cell, params: Mapping[str, Array]) -> None:
    """Raise InvalidInput unless params has exactly the cell's names and shapes, in one float dtype."""
    if not isinstance(params, Mapping):
        raise InvalidInput(f"params must be a dict of arrays by name, got {type(params).__name__}")
    shapes = param_shapes(cell)
    for name in sorted(shapes.keys() | params.keys()):
        if name not in params:
            raise InvalidInput(f"params must have {name} {shapes[name]}, which is missing")
        if name not in shapes:
            raise InvalidInput(f"{name} is not a parameter of this cell, which has {', '.join(shapes)}")
        check_arrays({name: (params[name], None)})
        if tuple(params[name].shape) != shapes[name]:
            raise InvalidInput(f"{name} must have shape {shapes[name]} for this cell, got {tuple(params[name].shape)}")
    check_dtypes(params)


def check_dtypes(arrays: Mapping[str, Array]) -> None:
    """Raise InvalidInput unless all arrays are float32 or all are float64."""
    dtypes = {name: dtype_name(x) for name, x in arrays.items()}
    for name, dtype in dtypes.items():
        if dtype not in FLOATS:
            raise InvalidInput(f"{name} must be float32 or float64, got {dtype}")
    if len(set(dtypes.values())) > 1:
        raise InvalidInput(
            "dtypes must be equal, got " + ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        )


def check_image(cell: Cell, image: Array) -> None:
    """Raise InvalidInput unless an array (B, sH, sW, K) divides into cells of the stride s."""
    check_arrays({"image": (image, None)})
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[-1] != cell.image_channels:
        raise InvalidInput(f"image must have shape (B, H, W, {cell.image_channels}) for this cell, got {shape}")
    if shape[1] % cell.stride or shape[2] % cell.stride:
        raise InvalidInput(f"image sides must be multiples of the stride {cell.stride}, got {shape[1]}x{shape[2]}")


def check_unroll(
    cell: Cell,
    params: Mapping[str, Array],
    image: Array,
    state: Array,
    steps: int,
    first_step: int,
    randomness: Any = NOT_GIVEN,
) -> None:
    """Raise InvalidInput unless an unroll of these arguments is defined."""
    check_cell(cell)
    check_params(cell, params)
    check_arrays({"image": (image, None), "state": (state, None)})
    steps, first_step = check_integer("steps", steps), check_integer("first_step", first_step)
    check_dtypes({"image": image, "state": state, "update.weight": params["update.weight"]})
    check_image(cell, image)
    if not image.shape[1] * image.shape[2]:
        raise InvalidInput(f"image must have at least one pixel, got shape {tuple(image.shape)}")
    expected = (*grid(cell, image), cell.state_channels)
    if tuple(state.shape) != tuple(expected):
        raise InvalidInput(f"state must have shape {tuple(expected)} for this image, got {tuple(state.shape)}")
    if steps < 0 or first_step < 0:
        raise InvalidInput(f"steps and first_step must not be negative, got {steps} and {first_step}")
    if first_step + steps > 2**32:
        raise InvalidInput(f"first_step + steps must be at most 2**32, got {first_step} + {steps}")
    if randomness is not NOT_GIVEN and not hasattr(randomness, "at"):
        kind = type(randomness).__name__
        raise InvalidInput(f"randomness must be Streams, Recorded or an object with their method at, got {kind}")


def count_steps(weights: Any) -> int:
    """Return the number of steps of loss weights (T, B). Raises InvalidInput for anything else."""
    check_arrays({"weights": (weights, ("T", "B"))})
    return int(weights.shape[0])


def check_labels(target: Array, labels: int) -> None:
    """Raise InvalidInput unless all integers of a target are labels, from 0 to labels - 1."""
    if prod(target.shape) and not (int(target.min()) >= 0 and int(target.max()) < labels):
        raise InvalidInput(f"labels must be from 0 to {labels - 1}, got {int(target.min())} to {int(target.max())}")


def check_targets(cell: Cell, loss: Any, image: Array, target: Array, weights: Array) -> None:
    """Raise InvalidInput unless a loss of these arguments is defined."""
    if not callable(loss) and not (isinstance(loss, str) and loss in ("l2", "ce")):
        got = f'"{loss}"' if isinstance(loss, str) else type(loss).__name__
        raise InvalidInput(f'loss must be "l2", "ce" or a function, got {got}')
    check_arrays({"target": (target, None), "weights": (weights, None)})
    B, H, W, _ = image.shape
    if tuple(target.shape) not in ((B,), (B, H, W)):
        raise InvalidInput(f"target must have shape ({B},) or {(B, H, W)}, got {tuple(target.shape)}")
    if dtype_kind(target) not in "iu":
        raise InvalidInput(f"target must have integers, got {dtype_name(target)}")
    own = callable(loss)  # a function may give other integers a meaning, such as -1 for pixels that do not count
    if not own:
        check_labels(target, cell.labels)
    if weights.ndim != 2 or weights.shape[1] != B:
        raise InvalidInput(f"weights must have shape (steps, {B}), got {tuple(weights.shape)}")
