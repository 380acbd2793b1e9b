"""Write the frozen vectors anew, only after a change of the specification: `python -m refca_spec.vectors`.

With --check it says what writing would change. Inputs are drawn once and stored; outputs are the reference's, in
float64.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from refca.definition.cell import Cell
from refca.definition.randomness import FIRE, NOISE, RESET, Streams
from refca_spec.calls import reference_loss_and_grads, reference_state
from refca_spec.strategies import Case
from refca_spec.vectors import NAMES, OPERATIONS, SPECIFICATION, UNROLLS
from refca_spec.vectors.operations import MAKERS

HERE = Path(__file__).parent
ROUNDING = 1e-12  # of float64 numbers, relative to 1 + their size

CELL = Cell(image_channels=1, state_channels=5, hidden_width=4, labels=3, hidden_layers=1, noise=0.02, alive_above=0.1)
PAPER = Cell(3, 4, 3, 3, 2, biases=False, resettable=True, linear_readout=True, normal_start=True)
STRIDED = replace(PAPER, image_channels=1, stride=2, linear_readout=False, residual=False)
CASES = {  # for each of UNROLLS
    "unroll": Case(CELL, B=2, H=4, W=3, T=3, seed=2020),
    "unroll_instance": Case(replace(PAPER, norm="instance", depthwise=True), B=2, H=2, W=3, T=2, seed=1),
    "unroll_batch": Case(replace(PAPER, norm="batch", frozen_filters=True), B=2, H=2, W=3, T=2, seed=2),
    "unroll_channel": Case(replace(PAPER, norm="channel", biases=True), B=2, H=2, W=3, T=2, seed=3),
    "unroll_strided": Case(replace(STRIDED, norm="instance"), B=1, H=2, W=3, T=2, seed=4),
}
LOSSES = {"unroll": [(loss, kind) for loss in ("l2", "ce") for kind in ("labels", "map")]}
SEED, FIRST, T = 0x0123456789ABCDEF, 7, 5


def streams() -> dict[str, Any]:
    """Words, fire mask, noise and resets of one step, an initial state, and seeds of training steps."""
    source, (B, H, W), D = Streams(SEED, FIRST), CASES["unroll"].grid, CELL.state_channels
    return {
        "seed": str(SEED),  # a string: more than a double holds
        "first_sample": FIRST,
        "t": T,
        "shape": [B, H, W, D],
        "fire_rate": CELL.fire_rate,
        "fire_words": np.stack(source.words(FIRE, 0, T, B, H, W), -1).tolist(),
        "noise_words": [np.stack(source.words(NOISE, k, T, B, H, W), -1).tolist() for k in range(2)],
        "fires": source.fire_mask(CELL.fire_rate, T, B, H, W).tolist(),
        "noise": source.normals(NOISE, T, B, H, W, D).tolist(),
        "reset": source.normals(RESET, T, B, H, W, D).tolist(),
        "initial": source.initial(B, H, W, D).tolist(),
        "fold": {str(i): str(source.fold(i).seed) for i in (0, 1, 100_000, 2**40)},
    }


def unroll(name: str) -> dict[str, Any]:
    """Steps with recorded randomness, and losses and gradients."""
    case, results = CASES[name], {}
    weights = case.positive_weights
    for loss, kind in LOSSES.get(name, [("ce", "map")]):
        value, grads, _ = reference_loss_and_grads(case, loss=loss, kind=kind, image_grad=True, weights=weights)
        named = {param: grad.tolist() for param, grad in grads.items()}
        results[f"{loss} {kind}"] = {"loss": value, "grads": named}
    source = {"fire": case.recorded.fire, "noise": case.recorded.noise, "reset": case.recorded.reset}
    return {
        "cell": asdict(case.cell),
        "params": {param: x.tolist() for param, x in case.params.items()},
        "image": case.image.tolist(),
        "state": case.state.tolist(),
        **{what: None if x is None else x.tolist() for what, x in source.items()},
        "weights": weights.tolist(),
        "labels": case.target("labels").tolist(),
        "map": case.target("map").tolist(),
        "states": [reference_state(case, steps=t).tolist() for t in range(1, case.T + 1)],
        "losses": results,
    }


def philox() -> list[dict[str, list[str]]]:
    """Random123's published vectors for Philox4x32-10: copied, never computed."""
    published = (
        ("0 0 0 0", "0 0", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    )
    names = "counter", "key", "words"
    return [{name: text.split() for name, text in zip(names, row, strict=True)} for row in published]


def operation(name: str) -> dict[str, Any]:
    """Cases of one operation."""
    return {"specification": SPECIFICATION, "operation": name, "cases": list(MAKERS[name]())}


def regenerated() -> dict[str, Any]:
    """Return the contents of every file but the index, computed anew."""
    made: dict[str, Any] = {"philox": philox(), "streams": streams()}
    made |= {name: unroll(name) for name in UNROLLS} | {name: operation(name) for name in OPERATIONS}
    return {name: json.loads(json.dumps(vectors, allow_nan=False)) for name, vectors in made.items()}


def difference(old: Any, new: Any, place: str = "") -> str:
    """Return where two contents differ first, "" if they do not; real numbers may differ by rounding.

    Processors round exponentials and sums differently, by far less than the rule of equality allows.
    """
    if isinstance(old, float) and isinstance(new, float):
        return "" if abs(old - new) <= ROUNDING * (1 + abs(old)) else f"{place}: {old} was frozen, {new} is computed"
    if type(old) is not type(new) or (isinstance(old, list | dict) and len(old) != len(new)):
        return f"{place}: other contents"
    if isinstance(old, dict):
        if list(old) != list(new):
            return f"{place}: other names"
        return next(filter(None, (difference(old[key], new[key], f"{place}/{key}") for key in old)), "")
    if isinstance(old, list):
        pairs = enumerate(zip(old, new, strict=True))
        return next(filter(None, (difference(*pair, f"{place}/{i}") for i, pair in pairs)), "")
    return "" if old == new else f"{place}: {old} was frozen, {new} is computed"


def index(folder: Path) -> str:
    """Return the text of index.json: the version of the specification, and the size and hash of every file."""
    files = {}
    for name in NAMES:
        content = (folder / f"{name}.json").read_bytes()
        files[f"{name}.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return json.dumps({"specification": SPECIFICATION, "files": files}, indent=1) + "\n"


def check(folder: Path = HERE) -> list[str]:
    """Return a line for each file that regenerating would change."""
    found = []
    for name, vectors in regenerated().items():
        path = folder / f"{name}.json"
        if not path.exists():
            found.append(f"{path.name} is missing")
        elif where := difference(json.loads(path.read_text(encoding="utf-8")), vectors):
            found.append(f"{path.name}{where}")
    if not found and (folder / "index.json").read_text(encoding="utf-8") != index(folder):
        found.append("index.json does not name these files")
    return found


def write(folder: Path = HERE) -> None:
    """Write the files whose contents change, and the index; say what was written."""
    for name, vectors in regenerated().items():
        path = folder / f"{name}.json"
        if path.exists() and not difference(json.loads(path.read_text(encoding="utf-8")), vectors):
            continue
        path.write_text(json.dumps(vectors, separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes")
    (folder / "index.json").write_text(index(folder), encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Write the vectors; with --check only say what writing would change, and return 1 if anything."""
    if arguments == ["--check"]:
        found = check()
        print(*found or [f"all {len(NAMES)} files of vectors are those of the specification {SPECIFICATION}"], sep="\n")
        return bool(found)
    if arguments:
        print(f"usage: python -m refca_spec.vectors [--check], got {' '.join(arguments)}", file=sys.stderr)
        return 2
    write()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
