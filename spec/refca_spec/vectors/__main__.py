"""Writes the frozen vectors anew: `python -m refca_spec.vectors`. Only after a change of the specification.

Inputs are drawn once and stored; outputs are the reference's, in float64.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from refca.cell import Cell
from refca.randomness import FIRE, NOISE, Streams
from refca_spec.calls import true_loss_and_grads, true_state
from refca_spec.strategies import Case
from refca_spec.vectors import read

CELL = Cell(
    image_channels=1, state_channels=5, hidden_width=4, labels=3, hidden_layers=1, noise=0.02, alive_above=0.1
)
CASE = Case(CELL, B=2, H=4, W=3, T=3, seed=2020)
SEED, FIRST, T = 0x0123456789ABCDEF, 7, 5


def streams() -> dict[str, Any]:
    """Words, fire mask and noise of one step, and seeds of training steps."""
    source, (B, H, W) = Streams(SEED, FIRST), CASE.grid
    return {
        "seed": str(SEED),  # a string: more than a double holds
        "first_sample": FIRST,
        "t": T,
        "shape": [B, H, W, CELL.state_channels],
        "fire_rate": CELL.fire_rate,
        "fire_words": np.stack(source.words(FIRE, 0, T, B, H, W), -1).tolist(),
        "noise_words": [np.stack(source.words(NOISE, k, T, B, H, W), -1).tolist() for k in range(2)],
        "fires": source.fires(CELL.fire_rate, T, B, H, W).tolist(),
        "noise": source.normals(NOISE, T, B, H, W, CELL.state_channels).tolist(),
        "fold": {str(i): str(source.fold(i).seed) for i in (0, 1, 100_000, 2**40)},
    }


def unroll() -> dict[str, Any]:
    """Three steps with recorded randomness, and the losses and gradients of both kinds of target."""
    noise = CASE.recorded.noise
    assert noise is not None
    results: dict[str, Any] = {}
    for loss in ("l2", "ce"):
        for kind in ("labels", "map"):
            value, grads, _ = true_loss_and_grads(CASE, loss=loss, kind=kind, image_grad=True)
            named = {name: grad.tolist() for name, grad in grads.items()}
            results[f"{loss} {kind}"] = {"loss": value, "grads": named}
    return {
        "cell": asdict(CELL),
        "params": {name: param.tolist() for name, param in CASE.params.items()},
        "image": CASE.image.tolist(),
        "state": CASE.state.tolist(),
        "fire": CASE.recorded.fire.tolist(),
        "noise": noise.tolist(),
        "weights": CASE.weights.tolist(),
        "labels": CASE.target("labels").tolist(),
        "map": CASE.target("map").tolist(),
        "states": [true_state(CASE, steps=t).tolist() for t in range(1, CASE.T + 1)],
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


def write() -> None:
    """Write every file beside this one, and say how large it is."""
    for make in (philox, streams, unroll):
        path = Path(__file__).with_name(f"{make.__name__}.json")
        path.write_text(json.dumps(make(), separators=(",", ":")) + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size} bytes, {len(read(make.__name__))} entries")


if __name__ == "__main__":
    write()
