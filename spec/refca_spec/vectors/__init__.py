"""Frozen vectors: JSON files that any language can read, and never change unless the specification does.

`read(name)` returns the contents of a file. `spec/vectors.md` says what is in each, for readers without Python;
`index.json` names the version of the specification and the hash of every file.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from refca_spec import SPECIFICATION as SPECIFICATION

UNROLLS = ("unroll", "unroll_instance", "unroll_batch", "unroll_channel", "unroll_strided")
OPERATIONS = (
    *(
        "cell",
        "step",
        "encode",
        "decode",
        "readout",
        "l2",
        "cross_entropy",
        "init_state",
        "mutate",
        "adam",
        "muon",
        "ema",
    ),
    *("cell_accuracy", "total_agreement", "iou", "pool", "unroll_length", "persistence"),
)
NAMES = ("philox", "streams", *UNROLLS, *OPERATIONS)


def read(name: str) -> Any:
    """The vectors of this name, as lists, dicts and numbers. Raises FileNotFoundError for an unknown one."""
    return json.loads((files(__name__) / f"{name}.json").read_text(encoding="utf-8"))
