"""The names of the columns in tables of measurements.

Source: `spec/programs.md`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence


def iou_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the columns with the IoU of these classes: iou_background and so on."""
    plain = [re.sub(r"\W+", "_", name.lstrip("#")).strip("_").lower() for name in classes]
    unique = len(set(plain)) == len(plain) and all(plain)
    return tuple(f"iou_{name}" for name in (plain if unique else map(str, range(len(classes)))))
