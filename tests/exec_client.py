"""A client of the exec: protocol (`spec/exec.md`), as small as a test needs."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import refca_js
from safetensors.numpy import load, save

from refca import Cell, Recorded, Streams


def node() -> str:
    """The path of node. Skips the test where node is not installed."""
    path = shutil.which("node")
    if path is None:
        pytest.skip("node is not installed: the JavaScript engine is not checked")
    return path


class Client:
    """A running program that answers messages."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def close(self) -> None:
        self.requests.close()
        self.process.wait(timeout=10)
        self.answers.close()

    def ask(self, tensors: dict[str, np.ndarray], **settings: Any) -> tuple[dict[str, np.ndarray], Any]:
        """The tensors and the metadata of the answer to one request."""
        request = save({name: np.ascontiguousarray(x) for name, x in tensors.items()}, {"refca": json.dumps(settings)})
        self.requests.write(struct.pack("<Q", len(request)) + request)
        self.requests.flush()
        (length,) = struct.unpack("<Q", self.answers.read(8))
        answer = self.answers.read(length)
        (header_length,) = struct.unpack("<Q", answer[:8])
        header = json.loads(answer[8 : 8 + header_length])
        return load(answer), json.loads(header["__metadata__"]["refca"])

    def evolve(
        self,
        cell: Cell,
        params: dict[str, np.ndarray],
        image: np.ndarray,
        state: np.ndarray,
        randomness: Streams | Recorded,
        steps: int,
        *,
        first_step: int = 0,
    ) -> np.ndarray:
        tensors = {f"params/{name}": x for name, x in params.items()} | {"image": image, "state": state}
        settings: dict[str, Any] = {"cell": asdict(cell), "steps": steps, "first_step": first_step}
        if isinstance(randomness, Recorded):
            recorded = vars(randomness).items()
            tensors |= {f"randomness/{name}": x for name, x in recorded if x is not None}
        else:
            settings |= {"seed": str(randomness.seed), "first_sample": randomness.first_sample}
        answer, metadata = self.ask(tensors, operation="evolve", **settings)
        if "error" in metadata:
            raise ValueError(metadata["error"]["message"])
        return answer["state"]


def javascript_program() -> tuple[str, ...]:
    """The command of the JavaScript engine's program."""
    return node(), str(Path(refca_js.__file__).parent / "exec.mjs")
