"""Weights that come with the package, by name."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from refusals import Capture, sentence

import refca
from refca import evaluate
from refca.definition.params import param_shapes
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.playground_page.catalogue import summary
from refca.training.checkpoint import save_weights
from refca.weights import load
from refca.weights.load import shipped, shipped_names

RESULTS = Path(__file__).parents[1] / "results"
LIGHT = (
    "refca.training.checkpoint",
    "refca.training.experiment",
    "refca.data",
    "safetensors",
    "matplotlib",
    "numba",
    "PIL",
)


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Weights called small-model, as if shipped with the package; the working folder is empty."""
    params = refca.init_params(refca.digits_cell(), 0)
    settings = DigitsExperiment(dataset="optdigits", noise=0.0)
    save_weights(tmp_path / "weights" / "small-model.safetensors", settings, params, 70)
    monkeypatch.setattr(load, "shipped", lambda: tmp_path / "weights")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return params


def test_weights_are_loaded_by_name_with_their_settings(model: dict[str, np.ndarray]) -> None:
    params, experiment, done = refca.load_weights("small-model")
    assert (experiment, done) == (DigitsExperiment(dataset="optdigits", noise=0.0), 70)
    assert params.keys() == model.keys()
    for name, x in model.items():
        np.testing.assert_array_equal(params[name], x)


def test_weights_are_measured_by_name(model: dict[str, np.ndarray]) -> None:
    assert evaluate.main(["small-model", "--samples", "3", "--steps", "2"]) == 0
    values = json.loads(Path("runs/small-model-evaluation/evaluation.json").read_text())
    assert (values["model"], values["training_steps"], values["noise"]) == ("small-model", 70, 0.0)


def test_a_folder_of_weights_alone_is_measured_and_left_as_it_is(model: dict[str, np.ndarray], capsys: Capture) -> None:
    save_weights(Path("kept/weights.safetensors"), DigitsExperiment(dataset="optdigits"), model, 9)
    Path("kept/evaluation.json").write_text("of before")
    Path("kept/settings.toml").write_text("")
    assert evaluate.main(["kept", "--samples", "3", "--steps", "2"]) == 0
    found = Path("runs/kept-evaluation/evaluation.json")
    assert json.loads(found.read_text())["training_steps"] == 9
    assert evaluate.main(["kept/weights.safetensors", "--samples", "4", "--steps", "2"]) == 0
    assert json.loads(found.read_text())["samples"] == 4
    assert Path("kept/evaluation.json").read_text() == "of before"
    flags = ["kept", "--samples", "3", "--steps", "2", "--out", "other"]
    save_weights(Path("other/weights.safetensors"), DigitsExperiment(), model, 1)
    assert "other holds another run" in sentence(capsys, lambda: evaluate.main(flags))


def test_a_path_that_exists_goes_before_a_name(model: dict[str, np.ndarray]) -> None:
    other = refca.init_params(refca.digits_cell(), 1)
    Path("data").mkdir()
    with pytest.raises(InvalidInput, match="data is not a run directory: it has neither checkpoint"):
        refca.load_weights("data")
    Path("small-model").mkdir()
    assert refca.load_weights("small-model").done == 70  # a folder without weights is in nobody's way
    save_weights(Path("small-model/weights.safetensors"), DigitsExperiment(), other, 1)
    assert refca.load_weights("small-model").done == 1
    save_weights(Path("other.safetensors"), DigitsExperiment(), other, 1)
    got = refca.load_weights("other.safetensors").params["perceive.weight"]
    np.testing.assert_array_equal(got, other["perceive.weight"])
    assert load.load_shipped("small-model").done == 70


def test_weights_that_say_nothing_of_their_training_are_not_called_untrained(tmp_path: Path, capsys: Capture) -> None:
    cell = refca.digits_cell()
    refca.save_weights(tmp_path / "mine.safetensors", cell, refca.init_params(cell, 0))
    assert refca.load_weights(tmp_path / "mine.safetensors").done is None
    flags = ["--dataset", "optdigits", "--samples", "3", "--steps", "2", "--out", str(tmp_path / "out")]
    assert evaluate.main([str(tmp_path / "mine.safetensors"), *flags]) == 0
    assert "training steps" not in capsys.readouterr().err
    assert "trained for" not in summary(refca.load_weights(tmp_path / "mine.safetensors"))


def test_an_unknown_name_is_refused_with_those_that_are_known(model: dict[str, np.ndarray], capsys: Capture) -> None:
    with pytest.raises(InvalidInput, match=r"small-modle does not exist; .*; or one of digits, pets, small-model$"):
        refca.load_weights("small-modle")
    assert "or one of digits, pets, small-model" in sentence(capsys, lambda: evaluate.main(["small-modle"]))


def test_importing_refca_reads_and_imports_nothing_for_it() -> None:
    code = f"import refca, sys; print([name for name in {LIGHT} if name in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
    assert "load_weights" in refca.__all__
    with pytest.raises(AttributeError, match="no attribute 'load_wieghts'"):
        refca.load_wieghts  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", shipped_names())
def test_what_comes_with_the_package_can_be_used(name: str) -> None:
    params, experiment, done = refca.load_weights(name)
    assert experiment is not None
    assert {key: x.shape for key, x in params.items()} == param_shapes(experiment.cell)
    if experiment.task == "digits":
        assert sum(x.size for x in params.values()) == 22_499
    assert done
    kept = [path.read_bytes() for path in RESULTS.rglob("weights.safetensors")]
    assert (shipped() / f"{name}.safetensors").read_bytes() in kept, "its figures are not in results/"


def graph(params: dict[str, np.ndarray]) -> dict[str, Any]:
    """Parameters as the article's model.json has them, with nodes of other kinds between."""
    layers = {
        "perceive": "sequential/conv2d",
        "hidden.0": "sequential_1/conv2d_1",
        "update": "sequential_1/conv2d_2",
    }
    nodes: list[dict[str, Any]] = [{"name": "x", "op": "Placeholder", "attr": {}}]
    for layer, name in layers.items():
        for kind, operation in (("weight", "Conv2D"), ("bias", "BiasAdd")):
            x = params[f"{layer}.{kind}"]
            x = x[None, None] if x.ndim == 2 else x  # of a convolution over one pixel
            shape = {"dim": [{"size": str(size)} for size in x.shape]}
            content = b64encode(x.astype("<f4").tobytes()).decode()
            tensor = {"dtype": "DT_FLOAT", "tensorShape": shape, "tensorContent": content}
            variable = f"{name}/{operation}/ReadVariableOp"
            nodes.append({"name": f"{variable}/resource", "op": "Const", "attr": {"value": {"tensor": tensor}}})
            nodes.append({"name": variable, "op": "Identity", "input": [f"{variable}/resource"]})
    return {"format": "graph-model", "modelTopology": {"node": nodes}, "weightsManifest": []}


def test_the_articles_model_json_is_read(tmp_path: Path) -> None:
    params = refca.init_params(refca.digits_cell(), 0)
    params = {name: x + np.float32(i) / 8 for i, (name, x) in enumerate(params.items())}
    (tmp_path / "model.json").write_text(json.dumps(graph(params)))
    read, experiment, done = refca.load_weights(tmp_path / "model.json")
    assert (experiment, done) == (None, None)
    assert read.keys() == params.keys()
    for name, x in params.items():
        np.testing.assert_array_equal(read[name], x)
        assert read[name].dtype == np.float32


@pytest.mark.parametrize(
    "what",
    ["other json", "a list", "a name that is none", "not json", "a tensor cut short", "a layer too many"],
)
def test_what_is_not_the_articles_model_json_is_refused(tmp_path: Path, what: str) -> None:
    path, found = tmp_path / "model.json", graph(refca.init_params(refca.digits_cell(), 0))
    node = found["modelTopology"]["node"][1]
    if what == "other json":
        found = {"model": 1}
    elif what == "a name that is none":
        node["name"] = None
    elif what == "a tensor cut short":
        tensor = node["attr"]["value"]["tensor"]
        tensor["tensorContent"] = tensor["tensorContent"][:80]
    elif what == "a layer too many":
        found["modelTopology"]["node"].append(node | {"name": "sequential/conv2d_9/Conv2D/ReadVariableOp/resource"})
    path.write_text(json.dumps([] if what == "a list" else found)[: -1 if what == "not json" else None])
    with pytest.raises(InvalidInput, match=r"model.json is not the article's model.json"):
        refca.load_weights(path)
