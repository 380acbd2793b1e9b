"""Outputs of cells whose largest means no label: they are errors, of one picture and not of those beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from refca.errors import InvalidInput


def check_outputs(outputs: np.ndarray) -> np.ndarray:
    """Return the outputs. Raises InvalidInput if any is NaN or infinite."""
    if not np.isfinite(outputs).all():
        raise InvalidInput("the states of these cells became NaN or infinite; try fewer steps or other weights")
    return outputs


def result_or_error(result: Callable[..., Any], *arguments: Any) -> Any:
    """Return the result of one picture, or the InvalidInput that it raises."""
    try:
        return result(*arguments)
    except InvalidInput as error:
        return error
