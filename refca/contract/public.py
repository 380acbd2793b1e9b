"""The functions of the definition as `refca` exports them: with their arguments checked.

The definition itself checks no shapes, because backends call it with arrays that are checked already.

Letters: B samples, H×W grid, s stride, K image channels, E environment channels, D state channels, L labels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any, TypeVar, cast

import numpy as np

from refca.contract.checks import (
    check_arrays,
    check_cell,
    check_dtypes,
    check_image,
    check_labels,
    check_numpy,
    check_params,
    dtype_kind,
    dtype_name,
)
from refca.definition import losses, metrics, params, state
from refca.definition import step as definition
from refca.definition.cell import Array, Cell
from refca.definition.errors import check_count, check_integer
from refca.errors import InvalidInput

F = TypeVar("F", bound=Callable[..., Any])
GRID = ("B", "H", "W")


def guarded(function: F, check: Callable[..., None]) -> F:
    """Return a function that calls `check` with its arguments, and their defaults, before it computes."""
    parameters = signature(function)

    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        bound = parameters.bind(*args, **named)
        bound.apply_defaults()
        check(*bound.args, **bound.kwargs)
        return function(*args, **named)

    return cast(F, call)


def check_dtype_kind(name: str, x: Array, kinds: str, words: str) -> None:
    """Raise InvalidInput unless the dtype of an array is of one of NumPy's kinds, which `words` name."""
    if dtype_kind(x) not in kinds:
        raise InvalidInput(f"{name} must be {words}, got {dtype_name(x)}")


def check_counted(readout: Array, live: Array) -> None:
    check_arrays({"readout": (readout, (*GRID, "L")), "live": (live, GRID)})
    check_numpy({"readout": readout, "live": live})
    check_dtypes({"readout": readout})
    if not all(readout.shape[1:]):
        raise InvalidInput(f"readout must have a row, a column and a label at least, got shape {tuple(readout.shape)}")
    check_dtype_kind("live", live, "b", "boolean")


def check_step(
    cell: Cell, params: Any, environment: Array, state: Array, fire_mask: Array, noise: Any, reset_noise: Any
) -> None:
    check_cell(cell)
    check_params(cell, params)
    given: dict[str, Any] = {
        "environment": (environment, (*GRID, cell.environment_channels)),
        "state": (state, (*GRID, cell.state_channels)),
        "fire_mask": (fire_mask, GRID),
    }
    normal = {"noise": noise if cell.noise else None, "reset_noise": reset_noise if cell.resettable else None}
    given |= {name: (x, (*GRID, cell.state_channels)) for name, x in normal.items() if x is not None}
    check_arrays(given)
    check_numpy({**params, **{name: x for name, (x, _) in given.items()}})
    check_dtype_kind("fire_mask", fire_mask, "b", "boolean")
    for name, x in normal.items():
        if x is not None:
            check_dtype_kind(name, x, "f", "real numbers")
    check_dtypes({"environment": environment, "state": state, "update.weight": params["update.weight"]})


def check_alive(cell: Cell, environment: Array) -> None:
    check_cell(cell)
    check_arrays({"environment": (environment, (*GRID, "C"))})
    check_dtypes({"environment": environment})


def check_init_state(cell: Cell, image: Array, streams: Any) -> None:
    check_cell(cell)
    check_image(cell, image)
    check_numpy({"image": image})
    check_dtypes({"image": image})
    if streams is not None and not hasattr(streams, "initial"):
        raise InvalidInput(f"streams must be Streams(seed) or None, got {type(streams).__name__}")


def check_mutate(cell: Cell, state: Array, image: Array, xp: Any) -> None:
    check_cell(cell)
    if cell.stride > 1:
        raise InvalidInput(f"cell must have stride 1 to mutate, got {cell.stride}")
    given = {"state": (state, (*GRID, cell.state_channels)), "image": (image, (*GRID, cell.image_channels))}
    check_arrays(given)
    for name, (x, _) in given.items():
        check_dtypes({name: x})
        if xp is np:
            check_numpy({name: x})


def check_init_params(cell: Cell, seed: int) -> None:
    check_cell(cell)
    check_count("seed", seed, 64)


def check_accuracy(readout: Array, labels: Array, live: Array) -> None:
    check_counted(readout, live)
    check_arrays({"readout": (readout, (*GRID, "L")), "labels": (labels, ("B",))})
    check_numpy({"labels": labels})
    check_dtype_kind("labels", labels, "iu", "integers")
    check_labels(labels, readout.shape[-1])


def check_loss(readout: Array, target: Array, live: Array) -> None:
    check_counted(readout, live)
    B, H, W, _ = readout.shape
    if getattr(target, "ndim", 0) == 3:
        check_arrays({"target": (target, (B, H, W))})
    else:
        check_arrays({"target": (target, (B,))})
    check_numpy({"target": target})
    check_dtype_kind("target", target, "iu", "integers")
    check_labels(target, readout.shape[-1])


def check_iou(predicted: Array, target: Array, labels: int) -> None:
    for name, x in (("predicted", predicted), ("target", target)):
        check_arrays({name: (x, None)})
        check_numpy({name: x})
        check_dtype_kind(name, x, "iu", "integers")
    check_integer("labels", labels)


step = guarded(definition.step, check_step)
alive = guarded(definition.alive, check_alive)
init_state = guarded(state.init_state, check_init_state)
mutate = guarded(state.mutate, check_mutate)
init_params = guarded(params.init_params, check_init_params)
cell_accuracy = guarded(metrics.cell_accuracy, check_accuracy)
total_agreement = guarded(metrics.total_agreement, check_counted)
iou = guarded(metrics.iou, check_iou)
l2 = guarded(losses.l2, check_loss)
cross_entropy = guarded(losses.cross_entropy, check_loss)
