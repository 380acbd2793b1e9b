"""The laws of `spec/vectors.md`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from refca.cell import Cell
from refca.randomness import FIRE, NOISE, Recorded, Streams
from refca_spec.calls import evolve, loss_and_grads
from refca_spec.compare import close, longest_sum, same
from refca_spec.strategies import Case
from refca_spec.vectors import read


@cache
def unroll() -> tuple[dict[str, Any], Case, dict[str, Any]]:
    """The vectors, a case with their sizes, and their arrays instead of the case's."""
    v = read("unroll")
    B, H, W, _ = np.shape(v["image"])
    case = Case(Cell(**v["cell"]), B, H, W, len(v["fire"]), 0)
    source = Recorded(np.array(v["fire"]), np.array(v["noise"]))
    params = {name: np.array(param) for name, param in v["params"].items()}
    arrays = {
        "params": params,
        "image": np.array(v["image"]),
        "state": np.array(v["state"]),
        "source": source,
    }
    return v, case, arrays


def test_vectors_c1_a_backend_computes_the_frozen_states(backend: Any, dtype: str) -> None:
    v, case, arrays = unroll()
    for t, ref in enumerate(v["states"], 1):
        got = evolve(backend, dtype, case, steps=t, **arrays)
        close(got, np.array(ref), longest_sum(case.cell), f"The state after step {t}", "unroll.json", steps=t)


@pytest.mark.parametrize("kind", ["labels", "map"])
@pytest.mark.parametrize("loss", ["l2", "ce"])
def test_vectors_c2_a_backend_computes_the_frozen_losses_and_gradients(
    backend: Any, dtype: str, loss: str, kind: str
) -> None:
    v, case, arrays = unroll()
    arrays = {**arrays, "target": np.array(v[kind]), "weights": np.array(v["weights"])}
    got = loss_and_grads(backend, dtype, case, loss=loss, kind=kind, image_grad=True, **arrays)
    ref, n = v["losses"][f"{loss} {kind}"], longest_sum(case.cell, case.cells)
    assert set(got.grads) == set(ref["grads"])
    close(got.loss, np.float64(ref["loss"]), n, "The loss", "unroll.json", steps=case.T, dtype=dtype)
    for name, grad in ref["grads"].items():
        close(got.grads[name], np.array(grad), n, f"The gradient of {name}", "unroll.json", steps=case.T)


def test_vectors_c3_the_streams_draw_the_frozen_numbers() -> None:
    v = read("streams")
    source, t, (B, H, W, D) = Streams(int(v["seed"]), v["first_sample"]), v["t"], v["shape"]
    words = np.stack(source.words(FIRE, 0, t, B, H, W), -1)
    same(words, np.array(v["fire_words"], np.uint32), "The words for firing", "streams.json")
    for block, ref in enumerate(v["noise_words"]):
        words = np.stack(source.words(NOISE, block, t, B, H, W), -1)
        same(words, np.array(ref, np.uint32), "The words for noise", "streams.json")
    same(source.fires(v["fire_rate"], t, B, H, W), np.array(v["fires"]), "The fire mask", "streams.json")
    close(source.normals(NOISE, t, B, H, W, D), np.array(v["noise"]), 1, "The noise", "streams.json")
    assert {i: str(source.fold(int(i)).seed) for i in v["fold"]} == v["fold"]
