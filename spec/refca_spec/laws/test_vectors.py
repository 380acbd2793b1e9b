"""The laws of `spec/chapters/vectors.md`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from refca.definition.cell import Cell
from refca.definition.randomness import FIRE, NOISE, RESET, Recorded, Streams
from refca_spec import formulas
from refca_spec.calls import evolve, loss_and_grads
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case
from refca_spec.vectors import OPERATIONS, SPECIFICATION, UNROLLS, read
from refca_spec.vectors.__main__ import check, difference


@cache
def unroll(name: str) -> tuple[dict[str, Any], Case, dict[str, Any]]:
    """The vectors, a case with their sizes, and their arrays instead of the case's."""
    v = read(name)
    arrays = {key: None if v[key] is None else np.array(v[key]) for key in ("fire", "noise", "reset")}
    B, H, W, _ = np.shape(v["state"])
    case = Case(Cell(**v["cell"]), B, H, W, len(v["fire"]), 0)
    params = {name: np.array(param) for name, param in v["params"].items()}
    image, state = np.array(v["image"]), np.array(v["state"])
    return v, case, {"params": params, "image": image, "state": state, "source": Recorded(**arrays)}


@pytest.mark.parametrize("name", UNROLLS)
def test_vectors_c1_a_backend_computes_the_frozen_states(backend: Any, dtype: str, name: str) -> None:
    v, case, arrays = unroll(name)
    n = longest_sum(case.cell, case.normalised)
    for t, ref in enumerate(v["states"], 1):
        got = evolve(backend, dtype, case, steps=t, **arrays)
        assert_close(got, np.array(ref), n, f"The state after step {t}", f"{name}.json", steps=t)


@pytest.mark.parametrize("name", UNROLLS)
def test_vectors_c2_a_backend_computes_the_frozen_losses_and_gradients(backend: Any, dtype: str, name: str) -> None:
    v, case, arrays = unroll(name)
    for what, ref in v["losses"].items():
        loss, kind = what.split()
        given = {**arrays, "target": np.array(v[kind]), "weights": np.array(v["weights"])}
        got = loss_and_grads(backend, dtype, case, loss=loss, kind=kind, image_grad=True, **given)
        n, call = longest_sum(case.cell, case.cells), f"{name}.json, {what}"
        assert set(got.grads) == set(ref["grads"])
        assert_close(got.loss, np.float64(ref["loss"]), n, "The loss", call, steps=case.T, dtype=dtype)
        for param, grad in ref["grads"].items():
            assert_close(got.grads[param], np.array(grad), n, f"The gradient of {param}", call, steps=case.T)


def test_vectors_c3_the_streams_draw_the_frozen_numbers() -> None:
    v = read("streams")
    source, t, (B, H, W, D) = Streams(int(v["seed"]), v["first_sample"]), v["t"], v["shape"]
    words = np.stack(source.words(FIRE, 0, t, B, H, W), -1)
    assert_same(words, np.array(v["fire_words"], np.uint32), "The words for firing", "streams.json")
    for block, ref in enumerate(v["noise_words"]):
        words = np.stack(source.words(NOISE, block, t, B, H, W), -1)
        assert_same(words, np.array(ref, np.uint32), "The words for noise", "streams.json")
    assert_same(source.fire_mask(v["fire_rate"], t, B, H, W), np.array(v["fires"]), "The fire mask", "streams.json")
    assert_close(source.normals(NOISE, t, B, H, W, D), np.array(v["noise"]), 1, "The noise", "streams.json")
    assert_close(source.normals(RESET, t, B, H, W, D), np.array(v["reset"]), 1, "The resets", "streams.json")
    assert_close(source.initial(B, H, W, D), np.array(v["initial"]), 1, "The initial state", "streams.json")
    assert {i: str(source.fold(int(i)).seed) for i in v["fold"]} == v["fold"]


FORMULAS: dict[str, tuple[str, Any]] = {  # of an operation: the name of its output, and its formula over the inputs
    "step": ("state", lambda v: formulas.step(*step_arguments(v))),
    "encode": ("environment", lambda v: formulas.encode(Cell(**v["cell"]), arrays(v["params"]), np.array(v["image"]))),
    "decode": ("readout", lambda v: formulas.readout(Cell(**v["cell"]), arrays(v["params"]), np.array(v["state"]))),
    "readout": ("readout", lambda v: formulas.readout(Cell(**v["cell"]), arrays(v["params"]), np.array(v["state"]))),
    "l2": ("losses", lambda v: formulas.l2(*map(np.array, v.values()))),
    "cross_entropy": ("losses", lambda v: formulas.cross_entropy(*map(np.array, v.values()))),
    "mutate": ("state", lambda v: formulas.mutate(Cell(**v["cell"]), np.array(v["state"]), np.array(v["image"]))),
    "muon": ("after", lambda v: updates_of_muon(v)),
    "ema": ("averages", lambda v: [formulas.moving_average(v["params"][: i + 1], v["decay"]) for i in range(3)]),
    "cell_accuracy": ("cell_accuracy", lambda v: formulas.cell_accuracy(*map(np.array, v.values()))),
    "total_agreement": ("total_agreement", lambda v: formulas.total_agreement(*map(np.array, v.values()))),
    "iou": ("iou", lambda v: formulas.iou(np.array(v["predicted"]), np.array(v["target"]), v["labels"])),
}


def arrays(v: dict[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.array(x) for name, x in v.items()}


def step_arguments(v: dict[str, Any]) -> list[Any]:
    names = "environment", "state", "fire", "noise", "reset_noise"
    return [Cell(**v["cell"]), arrays(v["params"]), *(None if v[name] is None else np.array(v[name]) for name in names)]


def updates_of_muon(v: dict[str, Any]) -> list[Any]:
    """Return the parameter after each update."""
    param, m, after = np.array(v["param"]), np.zeros(np.shape(v["param"])), []
    for grad in map(np.array, v["grads"]):
        grad = grad / (np.sqrt((grad**2).sum()) + 1e-8) if v["normalise"] else grad
        m = 0.95 * m + 0.05 * grad
        size = v["learning_rate"] * 0.2 * np.sqrt(max(grad.shape))
        param = param - size * formulas.orthogonal(0.95 * m + 0.05 * grad)
        after.append(param)
    return after


@pytest.mark.parametrize("name", FORMULAS)
def test_vectors_c4_the_outputs_of_an_operation_are_those_of_its_formula(name: str) -> None:
    output, formula = FORMULAS[name]
    for case in read(name)["cases"]:
        expected = np.array([np.nan if x is None else x for x in np.ravel(case["outputs"][output])], float)
        got = np.ravel(np.array(formula(case["inputs"]), float))
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9, err_msg=f"{name}.json, {case['name']}")


def test_vectors_c5_regenerating_them_changes_nothing() -> None:
    assert check() == []
    assert difference({"a": [1.0, 2]}, {"a": [1.0 + 1e-9, 2]}) == "/a/0: 1.0 was frozen, 1.000000001 is computed"
    assert difference({"a": [1.0, 2]}, {"a": [1.0 + 1e-14, 3]}) == "/a/1: 2 was frozen, 3 is computed"


def test_vectors_c6_every_file_names_the_version_of_the_specification() -> None:
    assert read("index")["specification"] == SPECIFICATION
    assert {read(name)["specification"] for name in OPERATIONS} == {SPECIFICATION}
