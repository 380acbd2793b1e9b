"""Checkpoints and weights: damage is noticed, other layouts are converted or refused, nothing else is read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from refusals import Capture, sentence
from safetensors.numpy import save

import refca
from refca import train
from refca.definition.cell import Params
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.tasks import lookup
from refca.tensor_file import DTYPES, open_tensors, write_tensors
from refca.training.checkpoint import load_checkpoint, save_weights
from refca.weights.load import shipped, shipped_names, shipped_sums

FUZZ = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
SHORT = ["--experiment", "demo", "--steps", "12", "--batch", "4", "--pool", "8", "--unroll", "2"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("saved") / "run"
    assert train.main([*SHORT, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def params() -> Params:
    rng = np.random.default_rng(0)
    shapes = {name: x.shape for name, x in refca.init_params(refca.digits_cell(), 0).items()}
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def loaded(path: Path) -> Any:
    """Everything that a file of weights or a checkpoint tells, or None if it is refused by name."""
    try:
        if path.name == "checkpoint.safetensors":
            experiment, state = load_checkpoint(path, lookup)
            arrays = state.params | {f"m/{n}": x for n, x in state.adam.m.items()} | vars(state.buffer)
            return experiment, state.done, state.updates, state.log, {n: x.tobytes() for n, x in arrays.items()}
        weights = refca.load_weights(path)
        return weights.experiment, weights.done, {name: x.tobytes() for name, x in weights.params.items()}
    except InvalidInput as error:
        said = str(error)
    assert str(path) in said
    return None


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "weights.safetensors"])
@given(data=st.data())
@FUZZ
def test_damage_anywhere_is_noticed(run: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray((run / name).read_bytes())
    kind = data.draw(st.sampled_from(["bit", "header bit", "zeroed tail", "cut", "block"]))
    place = data.draw(st.integers(0, len(content) - 1))
    if kind == "bit":
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "header bit":
        content[place % 3000] ^= 1 << data.draw(st.integers(0, 7))
    elif kind == "zeroed tail":
        content[place:] = bytes(len(content) - place)
    elif kind == "cut":
        del content[place:]
    else:
        block = data.draw(st.binary(min_size=1, max_size=64))
        content[place : place + len(block)] = block[: len(content) - place]
    (tmp_path / name).write_bytes(content)
    assert loaded(tmp_path / name) in (None, loaded(run / name))


@pytest.mark.parametrize("name", shipped_names())
def test_shipped_weights_have_the_listed_hash_and_one_that_has_another_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"{name}.safetensors" in shipped_sums()
    refca.load_weights(name)
    sums = (shipped() / "SHA256SUMS").read_text()
    other = refca.init_params(refca.digits_cell(), 5)
    save_weights(tmp_path / f"{name}.safetensors", DigitsExperiment(), other, 1)
    (tmp_path / "SHA256SUMS").write_text(sums)
    monkeypatch.setattr("refca.weights.load.shipped", lambda: tmp_path)
    with pytest.raises(InvalidInput, match="is not as it was published; install refca again"):
        refca.load_weights(name)


@pytest.mark.parametrize("value", [1e39, -1e300, np.inf, np.nan])
def test_a_number_that_float32_does_not_hold_is_refused(tmp_path: Path, params: Params, value: float) -> None:
    wide = {name: x.astype(np.float64) for name, x in params.items()}
    wide["update.weight"][3, 2] = value
    (tmp_path / "a.safetensors").write_bytes(save(wide))
    np.savez(tmp_path / "a.npz", allow_pickle=False, **wide)
    for name in ("a.safetensors", "a.npz"):
        with pytest.raises(InvalidInput, match=r"update\.weight holds NaN or infinity"):
            refca.load_weights(tmp_path / name)


CRAFTED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no object": lambda saved: [1, 2],
    "null": lambda saved: None,
    "a number": lambda saved: 7,
    "infinite steps": lambda saved: saved | {"done": float("inf")},
    "nan steps": lambda saved: saved | {"updates": float("nan")},
    "a list of steps": lambda saved: saved | {"done": [1]},
    "no experiment": lambda saved: {name: x for name, x in saved.items() if name != "experiment"},
    "an experiment that is null": lambda saved: saved | {"experiment": None},
    "an unknown task": lambda saved: saved | {"experiment": saved["experiment"] | {"task": ["digits"]}},
    "a data set that is a list": lambda saved: saved | {"experiment": saved["experiment"] | {"dataset": ["mnist"]}},
    "a huge pool": lambda saved: saved | {"experiment": saved["experiment"] | {"pool": 10**18}},
    "a name with newlines": lambda saved: saved | {"experiment": saved["experiment"] | {"a\n\x1b[31m" * 999: 1}},
}


@pytest.mark.parametrize("kind", CRAFTED)
def test_crafted_settings_are_refused_in_one_short_line(run: Path, tmp_path: Path, kind: str, capsys: Capture) -> None:
    with open_tensors(run / "checkpoint.safetensors") as file:
        arrays, settings_of_run = {name: file.read(name) for name in file.declared}, file.settings
    write_tensors(tmp_path / "checkpoint.safetensors", arrays, CRAFTED[kind](settings_of_run))
    said = sentence(capsys, lambda: train.main(["--out", str(tmp_path), "--resume"]))
    assert str(tmp_path) in said
    assert said.isprintable()
    assert len(said) < 1200


@pytest.mark.parametrize("text", ["Infinity", "[" * 100_000, "null", '{"experiment":' * 5000, "1" * 5000, "\x00", "{"])
def test_metadata_that_is_no_settings_is_refused(tmp_path: Path, params: Params, text: str) -> None:
    for each in (text, f'{{"experiment": {{}}, "hashes": {text}}}'):
        (tmp_path / "weights.safetensors").write_bytes(save(params, {"refca": each}))
        if each == "null":
            assert refca.load_weights(tmp_path / "weights.safetensors").experiment is None
        else:
            with pytest.raises(InvalidInput, match=r"weights\.safetensors"):
                refca.load_weights(tmp_path / "weights.safetensors")


def test_equal_arrays_and_settings_are_equal_files(tmp_path: Path, params: Params) -> None:
    for i in range(8):
        turned = dict(list(params.items())[:: (-1) ** i])
        write_tensors(tmp_path / f"{i}.safetensors", turned, {"done": 3, "experiment": {"noise": 0.1}})
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_a_pool_of_another_size_is_refused(run: Path, tmp_path: Path, capsys: Capture) -> None:
    with open_tensors(run / "checkpoint.safetensors") as file:
        arrays, saved = {name: file.read(name) for name in file.declared}, file.settings
    for change, words in (
        (
            {"buffer/image": np.zeros((8, 5, 5, 1), np.float32), "buffer/state": np.zeros((8, 5, 5, 19), np.float32)},
            "5x5",
        ),
        ({"buffer/label": np.full(8, 12)}, "labels 12 to 12"),
        ({"buffer/image": np.zeros((8, 8, 8), np.float32)}, "its pool does not hold 8 digits"),
        ({"buffer/image": arrays["buffer/image"].astype(np.float64)}, "its pool does not hold 8 digits"),
    ):
        for name in ("checkpoint.safetensors", "metrics.csv"):
            (tmp_path / name).write_bytes((run / name).read_bytes())
        write_tensors(tmp_path / "checkpoint.safetensors", arrays | change, saved)
        assert words in sentence(capsys, lambda: train.main(["--out", str(tmp_path), "--resume"]))


# layouts of PyTorch


def in_torch_order(params: Params) -> Params:
    """The same weights as convolutions of PyTorch."""
    four = {name: x if x.ndim == 4 else x[None, None] for name, x in params.items() if name.endswith("weight")}
    return params | {name: np.ascontiguousarray(x.transpose(3, 2, 0, 1)) for name, x in four.items()}


@pytest.mark.parametrize("prefix", ["", "_orig_mod.", "module.", "module._orig_mod."])
def test_weights_in_pytorchs_order_are_converted(tmp_path: Path, params: Params, prefix: str) -> None:
    stored = {prefix + name: x for name, x in in_torch_order(params).items()}
    (tmp_path / "a.safetensors").write_bytes(save(stored))
    np.savez(tmp_path / "a.npz", allow_pickle=False, **stored)
    for name in ("a.safetensors", "a.npz"):
        read = refca.load_weights(tmp_path / name).params
        assert all(read[key].tobytes() == x.tobytes() for key, x in params.items())


def test_a_square_matrix_beside_pytorchs_order_is_refused_with_the_remedy(tmp_path: Path, params: Params) -> None:
    stored = in_torch_order(params) | {"hidden.0.weight": np.ascontiguousarray(params["hidden.0.weight"].T)}
    (tmp_path / "a.safetensors").write_bytes(save(stored))
    with pytest.raises(InvalidInput, match=r"hidden.0.weight \(80, 80\) is cannot be told .* with weight.T.contiguous"):
        refca.load_weights(tmp_path / "a.safetensors")


def test_two_arrays_of_one_parameter_are_refused(tmp_path: Path, params: Params) -> None:
    (tmp_path / "a.safetensors").write_bytes(save({**params, "_orig_mod.update.bias": params["update.bias"] + 1}))
    with pytest.raises(InvalidInput, match=r"both name the parameter update\.bias"):
        refca.load_weights(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".pkl", ".bin"])
def test_a_pickle_is_refused_with_the_remedy_and_never_opened(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"model{suffix}").write_bytes(b"cposix\nsystem\n(S'touch here'\ntR.")
    with pytest.raises(InvalidInput, match=rf"model\{suffix} is a pickle, .* safetensors\.torch\.save_file"):
        refca.load_weights(tmp_path / f"model{suffix}")


def with_dtype(params: Params, dtype: str, convert: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """A safetensors file whose arrays are of a dtype that NumPy does not have."""
    header, content = {}, b""
    for name, x in params.items():
        raw = convert(x).tobytes()
        header[name] = {"dtype": dtype, "shape": list(x.shape), "data_offsets": [len(content), len(content) + len(raw)]}
        content += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content


def test_half_precision_is_read_exactly_and_eight_bits_are_refused(tmp_path: Path, params: Params) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(with_dtype(params, "BF16", lambda x: (x.view("<u4") >> 16).astype("<u2")))
    expected = {name: (x.view("<u4") >> 16 << 16).view("<f4") for name, x in params.items()}
    read = refca.load_weights(path).params
    assert all(read[name].tobytes() == x.tobytes() for name, x in expected.items())
    path.write_bytes(with_dtype(params, "F16", lambda x: x.astype("<f2")))
    read = refca.load_weights(path).params
    assert all(read[name].tobytes() == x.astype("<f2").astype("<f4").tobytes() for name, x in params.items())
    assert "F8_E4M3" not in DTYPES
    path.write_bytes(with_dtype(params, "F8_E4M3", lambda x: np.zeros(x.shape, np.uint8)))
    with pytest.raises(InvalidInput, match=r"F8_E4M3|float32"):
        refca.load_weights(path)
