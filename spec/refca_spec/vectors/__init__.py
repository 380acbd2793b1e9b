"""Frozen vectors: JSON files that any language can read, and never change unless the specification does.

`read(name)` returns the contents of a file. `spec/chapters/vectors.md` says what is in each.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

UNROLLS = ("unroll", "unroll_instance", "unroll_batch", "unroll_channel", "unroll_strided")
NAMES = ("philox", "streams", *UNROLLS)


def read(name: str) -> Any:
    """The vectors of this name, as lists, dicts and numbers. Raises FileNotFoundError for an unknown one."""
    return json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
