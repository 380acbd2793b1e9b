"""Files of named arrays: writing safetensors atomically, reading and checking safetensors and .npz."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from refca.atomic import atomic_write
from refca.contract.checks import check_params
from refca.definition.cell import Cell, Params
from refca.errors import InvalidInput


def write_tensors(path: Path, tensors: Params, metadata: dict[str, Any]) -> None:
    """Write NumPy arrays and JSON metadata as a safetensors file. Raises OSError as the file system does."""
    from safetensors.numpy import save

    text = {"refca": json.dumps(metadata)}
    with atomic_write(path) as temporary:
        temporary.write_bytes(save({name: np.ascontiguousarray(x) for name, x in tensors.items()}, text))


def read_tensors(path: Path) -> tuple[Params, dict[str, str]]:
    """Return the arrays and the metadata of a safetensors file. Raises InvalidInput if it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError) as error:  # TypeError: a dtype that NumPy lacks
        raise InvalidInput(f"{path} is not a whole safetensors file of NumPy's dtypes ({error})") from error


def read_npz(path: Path) -> Params:
    """Return the arrays of an .npz file. Raises InvalidInput if it is not whole."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # zipfile, zlib and NumPy raise a dozen kinds
        raise InvalidInput(f"{path} is not a whole .npz file ({error})") from error


def check_weights(path: Path, cell: Cell, params: Params, remedy: str = "") -> None:
    """Raise InvalidInput, naming the file, unless these are finite parameters of this cell.

    `remedy` is added to the sentence about parameters of another cell.
    """
    try:
        check_params(cell, params)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}{remedy}") from error
    check_finite(path, params)


def check_finite(path: Path, arrays: Params) -> None:
    """Raise InvalidInput, naming file and array, if a number is NaN or infinite."""
    for name, x in arrays.items():
        if not np.isfinite(np.asarray(x)).all():
            raise InvalidInput(f"{path}: {name} holds NaN or infinity")
