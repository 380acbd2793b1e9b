"""The JavaScript engine under node: its own tests, and `exec.mjs` against the reference for every setting."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exec_client import Client, javascript_program, node
from refca_spec.compare import assert_close, longest_sum

from refca import Cell, Recorded, Streams
from refca.contract.reference import reference
from refca.definition.params import param_shapes

SIZES: dict[str, Any] = {"image_channels": 2, "state_channels": 5, "hidden_width": 9, "labels": 3}
CELLS = {
    "digits": Cell(1, 19, 80, 10, noise=0.02, alive_above=0.1),
    "instance norm, depthwise, gate": Cell(
        3, 8, 12, 3, 2, biases=False, depthwise=True, norm="instance", resettable=True, linear_readout=True
    ),
    "batch norm, full, gate": Cell(**SIZES, norm="batch", resettable=True),
    "channel norm, depthwise, biases": Cell(**SIZES, norm="channel", depthwise=True),
    "no hidden layers, no residual, noise": Cell(**SIZES, hidden_layers=0, residual=False, noise=0.5),
    "three hidden layers, alive, batch norm": Cell(**SIZES, hidden_layers=3, alive_above=0.5, norm="batch"),
    "every cell fires": Cell(**SIZES, fire_rate=1.0, frozen_filters=True),
    "no cell fires": Cell(**SIZES, fire_rate=0.0),
    "stride 2": Cell(**SIZES, stride=2, norm="instance", resettable=True, residual=False),
    "stride 8": Cell(**SIZES, stride=8, biases=False, noise=0.1),
}


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    client = Client(*javascript_program())
    yield client
    client.close()


def test_the_engine_under_node() -> None:
    run = subprocess.run(
        [node(), "--test", str(Path(__file__).parent / "engine.test.mjs")], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("source", ["streams", "recorded"])
@pytest.mark.parametrize("name", CELLS)
def test_evolves_as_the_reference(client: Client, name: str, source: str) -> None:
    cell, rng = CELLS[name], np.random.default_rng(7)
    B, H, W, T, first_step = 2, 5, 7, 3, 2
    params = {key: rng.normal(0, 0.1, shape).astype(np.float32) for key, shape in param_shapes(cell).items()}
    image = rng.random((B, H * cell.stride, W * cell.stride, cell.image_channels)).astype(np.float32)
    state = rng.normal(size=(B, H, W, cell.state_channels)).astype(np.float32)
    randomness: Streams | Recorded = Streams(2**63 + 5, first_sample=2**32 - 1)
    if source == "recorded":
        shape = (first_step + T, B, H, W, cell.state_channels)
        noise, reset = rng.normal(size=(2, *shape)).astype(np.float32)
        randomness = Recorded(
            rng.random(shape[:-1]) < 0.5, noise if cell.noise else None, reset if cell.resettable else None
        )
    got = client.evolve(cell, params, image, state, randomness, T, first_step=first_step)
    double = {key: x.astype(np.float64) for key, x in params.items()}
    expected = reference.evolve(
        cell, double, image.astype(np.float64), state.astype(np.float64), randomness, T, first_step=first_step
    )
    assert_close(got, expected, longest_sum(cell, H * W), "state", (name, source), steps=T)
    unmoved = np.array_equal(got, state)
    assert unmoved == (name == "no cell fires" and source == "streams")


def test_an_evolution_cut_in_two_ends_bit_for_bit_as_the_whole(client: Client) -> None:
    cell, rng = CELLS["digits"], np.random.default_rng(3)
    params = {key: rng.normal(0, 0.1, shape).astype(np.float32) for key, shape in param_shapes(cell).items()}
    image = rng.random((3, 6, 6, 1)).astype(np.float32)
    state = np.zeros((3, 6, 6, 19), np.float32)
    whole = client.evolve(cell, params, image, state, Streams(1), 4)
    half = client.evolve(cell, params, image, state, Streams(1), 2)
    assert np.array_equal(client.evolve(cell, params, image, half, Streams(1), 2, first_step=2), whole)
    last = client.evolve(cell, params, image[2:], state[2:], Streams(1, first_sample=2), 4)
    assert np.array_equal(last, whole[2:])


def test_describes_itself(client: Client) -> None:
    _, description = client.ask({}, operation="describe")
    assert description == {"name": "refca-js", "operations": ["describe", "evolve"], "dtypes": ["float32"]}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"operation": "train"}, "operation must be one of describe, evolve, got train"),
        ({"steps": -1}, "steps and first_step must be integers of at least 0, got -1 and 0"),
        ({"seed": "-1"}, "seed must be an integer from 0 to 18446744073709551615, got -1"),
        ({"cell": {"labels": 0}}, "labels must be an integer of at least 1, got 0"),
        ({"state": np.zeros((1, 2, 2, 5))}, "state must be F32, got F64"),
        ({"image": np.zeros((1, 2, 2, 1), np.float32)}, "image must have shape (B, H, W, 2), got (1, 2, 2, 1)"),
    ],
)
def test_bad_requests_are_answered_with_one_sentence(client: Client, change: dict[str, Any], sentence: str) -> None:
    cell = Cell(**SIZES)
    tensors = {f"params/{key}": np.zeros(shape, np.float32) for key, shape in param_shapes(cell).items()}
    tensors |= {"image": np.zeros((1, 2, 2, 2), np.float32), "state": np.zeros((1, 2, 2, 5), np.float32)}
    settings: dict[str, Any] = {"operation": "evolve", "cell": asdict(cell), "steps": 1, "seed": "0"}
    for key, value in change.items():
        if isinstance(value, np.ndarray):
            tensors[key] = value
        else:
            settings[key] = settings[key] | value if isinstance(value, dict) else value
    answer, metadata = client.ask(tensors, **settings)
    assert answer == {}
    assert metadata == {"error": {"kind": "InvalidInput", "message": sentence}}
