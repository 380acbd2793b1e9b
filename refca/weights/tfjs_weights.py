"""The article's published weights, as its repository has them: `public/model.json`, a TensorFlow.js graph.

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
VARIABLE = "/ReadVariableOp/resource"  # how the nodes end that hold what was trained


def read_published(path: Path) -> Params:
    """The float32 parameters of the article's model.json, in the shapes of `check_params`.

    Raises InvalidInput if it is not that graph.
    """
    try:
        nodes = json.loads(path.read_text("utf-8"))["modelTopology"]["node"]
        return dict(parameter(node) for node in nodes if node["name"].endswith(VARIABLE))
    except Exception as error:  # what is not that graph can be any JSON, or none
        raise InvalidInput(f"{path} is not the article's model.json ({error!r})") from error


def parameter(node: dict[str, Any]) -> tuple[str, Array]:
    """The name and the array of one node, as sequential_1/conv2d_2/BiasAdd/ReadVariableOp/resource: a weight
    (3, 3, in, out), where the graph has (1, 1, in, out) a weight (in, out), a bias (out,)."""
    _, layer, operation, *_ = node["name"].split("/")
    tensor = node["attr"]["value"]["tensor"]
    shape = [int(dim["size"]) for dim in tensor["tensorShape"]["dim"]]
    x = np.frombuffer(b64decode(tensor["tensorContent"]), "<f4").reshape(shape).astype(np.float32)
    return f"{LAYERS[layer]}.{ARRAYS[operation]}", x[0, 0] if shape[:2] == [1, 1] else x
