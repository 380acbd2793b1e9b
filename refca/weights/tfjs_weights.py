"""Reading the article's published weights: `public/model.json` of its repository, a TensorFlow.js graph.

Source: distillpub/post--selforg-mnist, CC BY 4.0; `spec/chapters/distill.md`.
"""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np

from refca.definition.cell import Array, Params
from refca.errors import InvalidInput

LAYERS = {"conv2d": "perceive", "conv2d_1": "hidden.0", "conv2d_2": "update"}
ARRAYS = {"Conv2D": "weight", "BiasAdd": "bias"}
VARIABLE = "/ReadVariableOp/resource"  # suffix of the nodes that hold trained variables


def read_published(path: Path) -> Params:
    """Return the float32 parameters of the article's model.json. Raises InvalidInput for any other file."""
    try:
        nodes = json.loads(path.read_text("utf-8"))["modelTopology"]["node"]
        return dict(parameter(node) for node in nodes if node["name"].endswith(VARIABLE))
    except Exception as error:  # other files can fail in many ways
        raise InvalidInput(f"{path} is not the article's model.json ({error!r})") from error


def parameter(node: dict[str, Any]) -> tuple[str, Array]:
    """Return the name and the array of a node such as sequential_1/conv2d_2/BiasAdd/ReadVariableOp/resource.

    A 1×1 kernel (1, 1, in, out) becomes a weight (in, out).
    """
    _, layer, operation, *_ = node["name"].split("/")
    tensor = node["attr"]["value"]["tensor"]
    shape = [int(dim["size"]) for dim in tensor["tensorShape"]["dim"]]
    x = np.frombuffer(b64decode(tensor["tensorContent"]), "<f4").reshape(shape).astype(np.float32)
    return f"{LAYERS[layer]}.{ARRAYS[operation]}", x[0, 0] if shape[:2] == [1, 1] else x
