"""The peers of the benchmarks draw their own random numbers, and make a training step on them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from digits import Problem, contestants_of
from peers import TorchDraws, jax_draws

import refca

PEERS = {"torch": "PyTorch, eager", "jax": "JAX, jit"}


@pytest.fixture(params=PEERS)
def name(request: pytest.FixtureRequest) -> str:
    """A framework. Skips the test where it is not installed."""
    pytest.importorskip(request.param)
    return str(request.param)


def source(name: str, seed: int) -> Any:
    return TorchDraws() if name == "torch" else jax_draws(seed)


def test_a_training_step(name: str) -> None:
    """A timed run draws new random numbers, so the loss and the gradients of the same digits differ each time."""
    for module in PEERS:
        pytest.importorskip(module)
    [peer] = [each for each in contestants_of(Problem()) if each.name == PEERS[name]]
    given = peer.tensors(2)
    runs = [peer.gradients(2, peer.source(seed), given) for seed in (1, 2)]
    losses = [float(loss) for loss, _ in runs]
    assert losses[0] != losses[1]
    assert 1 < min(losses) <= max(losses) < 1000
    for _, grads in runs:
        assert set(grads) == set(peer.problem.params)
        for x in map(peer.backend.asnumpy, grads.values()):
            assert np.isfinite(x).all()
            assert x.any()


def test_draws_are_new_at_each_step_and_as_the_cell_asks(name: str) -> None:
    grid = 3, 20, 20
    for cell in (refca.digits_cell(), refca.segmentation_cell(state=19)):
        drawn = source(name, 3)
        steps = [[None if x is None else np.asarray(x) for x in drawn.at(cell, t, *grid)] for t in (0, 1)]
        for fire, noise, reset in steps:
            assert fire is not None
            assert (str(fire.dtype), fire.shape) == ("bool", grid)
            assert 0.45 < fire.mean() < 0.55
            assert (noise is None, reset is None) == (not cell.noise, not cell.resettable)
            normal = noise if reset is None else reset
            assert normal is not None
            assert (str(normal.dtype), normal.shape) == ("float32", (*grid, 19))
            assert abs(normal.mean()) < 0.03
            assert 0.97 < normal.std() < 1.03
        for before, after in zip(*steps, strict=True):
            assert before is None or (before != after).any()
