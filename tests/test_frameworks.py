"""The backends in PyTorch and JAX: whole runs, their random numbers at the edges, and their devices.

PyTorch's laws are tried with those of the other backends. JAX compiles each case, so fewer of its laws are tried here,
on fewer examples; `make laws BACKEND=jax` tries all of them.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from refca_spec.vectors import read
from refusals import Capture, sentence

import refca
from refca import data as data_sets
from refca import evaluate, train
from refca.data import Dataset, Photographs
from refca.data import load as load_dataset
from refca.definition.philox import philox
from refca.definition.randomness import NOISE, box_muller
from refca.errors import Unavailable
from refca.training import loop
from refca.training.metrics_log import read_metrics

DIGITS = ["--experiment", "demo", "--batch", "4", "--pool", "8", "--unroll", "2", "--steps", "12"]
PETS = ["--experiment", "pets-48-small", "--batch", "3", "--size", "8", "--state", "5", "--hidden", "6"]
PETS += ["--unroll", "2", "--horizon", "8", "--steps", "12", "--class-weights", "balanced", "--flips"]
MEASURED = {
    "digits": ["--samples", "6", "--steps", "3"],
    "photographs": ["--samples", "3", "--at", "2", "--steps", "2"],
}
EDGES = np.array([0, 1, 255, 256, 2**31 - 1, 2**31, 2**32 - 257, 2**32 - 256, 2**32 - 1], np.uint32)


@pytest.fixture(params=["torch", "jax"])
def name(request: pytest.FixtureRequest) -> str:
    """The name of a backend. Skips the test where its framework is not installed."""
    try:
        backend = refca.get_backend(request.param)
    except Unavailable as error:
        pytest.skip(str(error))
    if request.param == "torch":
        backend.xp.set_num_threads(1)
    return str(request.param)


@pytest.fixture
def photographs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny photographs, whose classes have different colours."""
    trimaps = np.random.default_rng(0).integers(0, 3, (7, 8, 8)).astype(np.uint8)
    samples = Photographs(255 * np.eye(3, dtype=np.uint8)[trimaps], trimaps, tuple("abcdefg"))
    dataset = Dataset("pets", samples, samples)
    monkeypatch.setattr(
        data_sets, "load", lambda name, *rest, **more: dataset if name == "pets" else load_dataset(name, *rest, **more)
    )


@pytest.mark.parametrize(("kind", "flags"), [("digits", DIGITS), ("photographs", PETS)], ids=["digits", "photographs"])
@pytest.mark.usefixtures("photographs")
def test_a_run_is_trained_resumed_and_measured(
    name: str, kind: str, flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped run goes on bit for bit, and equals that of the reference, as does what is measured."""

    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        asked = iter([False] * 5 + [True])
        yield lambda: next(asked)

    monkeypatch.setattr("refca.digits.report.animate", lambda *_: None)  # hundreds of steps, for pictures alone
    runs = {"whole": name, "stopped": name, "expected": "reference"}
    for out, backend in runs.items():
        with monkeypatch.context() as patched:
            if out == "stopped":
                patched.setattr(loop, "stoppable", stopping)
            code = train.main([*flags, "--backend", backend, "--out", str(tmp_path / out)])
        if out == "stopped":
            assert code == 130
            assert train.main(["--resume", "--backend", backend, "--out", str(tmp_path / out)]) == 0
        else:
            assert evaluate.main([str(tmp_path / out), "--backend", backend, *MEASURED[kind]]) == 0
    for file in ("checkpoint.safetensors", "metrics.csv"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "stopped" / file).read_bytes(), file
    logs = [read_metrics(tmp_path / out / "metrics.csv") for out in ("whole", "expected")]
    for row, expected in zip(*logs, strict=True):
        assert row["loss"] == pytest.approx(expected["loss"], rel=1e-4)
    measured, expected = (json.loads((tmp_path / out / "evaluation.json").read_text()) for out in ("whole", "expected"))
    numbers = [key for key, x in expected.items() if isinstance(x, float)]
    assert len(numbers) > 2
    assert {key: measured[key] for key in numbers} == pytest.approx({key: expected[key] for key in numbers}, abs=0.02)


def test_words_are_philox_s(name: str) -> None:
    """On the published vectors, and on counters and keys at the edges."""
    streams: Any = importlib.import_module(f"refca_{name}.streams")
    backend = refca.get_backend(name)

    def words(counter: Any, key: Any) -> list[Any]:
        wide = np.int64 if name == "torch" else np.uint32
        keys = [int(k) if name == "torch" else np.uint32(k) for k in key]
        return [backend.asnumpy(w) for w in streams.philox([backend.asarray(wide(c)) for c in counter], keys)]

    for vector in read("philox"):
        counter, key, expected = ([int(word, 16) for word in vector[part]] for part in ("counter", "key", "words"))
        assert words(counter, key) == expected
    edges: Any = (EDGES[:, None], EDGES[::-1], EDGES[3], EDGES[-1])
    last = 2**32 - 256, 2**32 - 1
    for got, ref in zip(words(edges, last), philox(edges, last), strict=True):
        np.testing.assert_array_equal(got, ref)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_are_right_at_the_edges(name: str, dtype: str) -> None:
    """Uniform numbers nearest to 0 and 1, and angles nearest to a quarter of a turn, lose nothing."""
    streams: Any = importlib.import_module(f"refca_{name}.streams")
    backend = refca.get_backend(name)
    pairs = np.stack(np.broadcast_arrays(EDGES[:, None], EDGES))  # every radius with every angle
    given = (backend.asarray(w.astype(np.int64) if name == "torch" else w) for w in pairs)
    for got, ref in zip(streams.box_muller(*given, getattr(backend.xp, dtype)), box_muller(*pairs), strict=True):
        assert np.abs(backend.asnumpy(got) - ref).max() < 16 * np.finfo(dtype).eps


def test_initial_states_are_drawn_by_the_framework(name: str) -> None:
    cell, backend, streams = refca.segmentation_cell(state=5, hidden=6), refca.get_backend(name), refca.Streams(3, 7)
    state = backend.initial_state(cell, np.zeros((2, 4, 3, 3), np.float32), streams)
    expected = streams.normals(NOISE + 2, 0, 2, 4, 3, 5)
    np.testing.assert_allclose(backend.asnumpy(state), expected, atol=2e-6)


def test_a_device_is_chosen_by_its_name(name: str, tmp_path: Path, capsys: Capture) -> None:
    backend = refca.get_backend(name)
    assert backend.devices[0].startswith("cpu")
    flags = [*DIGITS, "--backend", name, "--out", str(tmp_path)]
    message = sentence(capsys, lambda: train.main([*flags, "--device", "nowhere"]))
    assert f"{backend.devices[0]}, got nowhere" in message.replace(", ".join(backend.devices), backend.devices[0])
    backend.use_device(backend.devices[0])
    assert "cpu" in backend.description()


def test_jax_computes_the_same_convolution_on_each_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU's is written as products, and has XLA's values and gradients, depthwise or not."""
    jax = pytest.importorskip("jax")
    cell: Any = importlib.import_module("refca_jax.cell")
    rng = np.random.default_rng(0)
    x, gradient = rng.normal(size=(2, 4, 5, 3)), rng.normal(size=(2, 4, 5, 6))
    for given, shape in ((x, (3, 3, 3, 6)), (np.concatenate([x, -2 * x], -1), (3, 3, 1, 6))):
        weight, found = rng.normal(size=shape), []
        for platform in ("cpu", "gpu"):
            monkeypatch.setattr(cell, "default_device", lambda platform=platform: SimpleNamespace(platform=platform))
            traced = partial(cell.convolution)  # a new function, which JAX has not traced before
            assert ("conv_general" in str(jax.make_jaxpr(traced)(given, weight))) == (platform == "gpu")
            value, pullback = jax.vjp(traced, given, weight)
            found.append((value, *pullback(gradient)))
        for got, expected in zip(*found, strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_the_default_device_of_jax_may_be_a_name() -> None:
    jax = pytest.importorskip("jax")
    cell: Any = importlib.import_module("refca_jax.cell")
    before = jax.config.jax_default_device
    try:
        for chosen in (None, "cpu", jax.devices("cpu")[0]):
            jax.config.update("jax_default_device", chosen)
            assert cell.default_device() in jax.devices()
    finally:
        jax.config.update("jax_default_device", before)


def test_a_compiled_torch_is_compiled_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is compiled once for each shape of a batch, for any number of steps, and is never eager in silence."""
    torch = pytest.importorskip("torch")
    from torch._dynamo.testing import CompileCounter

    counter: Any = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=counter))
    cell = refca.Cell(1, 4, 5, 3, alive_above=0.1)
    params = {name: torch.from_numpy(x) for name, x in refca.init_params(cell, 0).items()}
    backend = importlib.import_module("refca_torch").Torch(compiled=True)

    def run(B: int, steps: int) -> None:
        image = torch.ones(B, 3, 3, 1)
        backend.evolve(cell, params, image, torch.zeros(B, 3, 3, 4), refca.Streams(0), steps)

    for B, steps in ((2, 1), (2, 3), (3, 2), (2, 4), (3, 1)):
        run(B, steps)
    assert counter.frame_count == 2
    monkeypatch.setattr(torch._dynamo.config, "recompile_limit", 2)
    with pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit):
        run(4, 1)
    torch.compiler.reset()


def test_gradients_of_torch_do_not_depend_on_the_callers_autograd() -> None:
    torch = pytest.importorskip("torch")
    backend, rng = refca.get_backend("torch"), np.random.default_rng(0)

    def tensor(*shape: int) -> Any:
        return backend.asarray(rng.normal(0, 0.3, shape).astype(np.float32))

    def squares(readout: Any, target: Any, live: Any, xp: Any) -> Any:
        return (readout**2).sum((1, 2, 3))

    for cell in (refca.digits_cell(), refca.segmentation_cell(5, 7)):
        params = {name: tensor(*x.shape) for name, x in refca.init_params(cell, 0).items()}
        image, state = tensor(2, 6, 6, cell.image_channels), tensor(2, 6, 6, cell.state_channels)
        inputs = {"params": params, "image": image, "state": state, "target": np.array([1, 2])}
        call = partial(backend.loss_and_grads, cell, weights=np.ones((2, 2), np.float32), randomness=refca.Streams(1))
        for loss in ("ce", squares):
            value, grads, _ = call(loss, **inputs)
            with torch.no_grad():
                found = [call(loss, **inputs)]
            with torch.inference_mode():
                found += [
                    call(loss, **inputs),
                    call(loss, **inputs | {"params": {k: 1 * x for k, x in params.items()}}),
                ]
            found.append(call(loss, **inputs | {"params": {k: x.clone().requires_grad_() for k, x in params.items()}}))
            found += [
                call(loss, **inputs | {"target": torch.tensor([1, 2], dtype=dtype)})
                for dtype in (torch.uint8, torch.uint16, torch.uint32, torch.uint64)
            ]
            for other, others, _ in found:
                assert (float(other), other.requires_grad) == (float(value), False)
                for name, x in grads.items():
                    assert torch.equal(others[name], x)
                    assert not others[name].requires_grad


def test_what_the_caller_does_with_precision_changes_nothing(name: str) -> None:
    backend, cell, rng = refca.get_backend(name), refca.digits_cell(), np.random.default_rng(0)
    params = {
        k: backend.asarray(x + rng.normal(0, 0.02, x.shape).astype(x.dtype))
        for k, x in refca.init_params(cell, 0).items()
    }
    image = backend.asarray(rng.random((2, 6, 5, 1), np.float32))
    state = backend.asarray(rng.random((2, 6, 5, 19), np.float32))

    def found() -> list[np.ndarray]:
        streams, labels, weights = refca.Streams(1), np.array([1, 2]), np.ones((3, 2), np.float32)
        _, grads, last = backend.loss_and_grads(cell, "ce", params, image, state, labels, weights, streams)
        return [
            backend.asnumpy(x) for x in (backend.evolve(cell, params, image, state, streams, 3), last, *grads.values())
        ]

    expected = found()
    with less_precise(name):
        for got, right in zip(found(), expected, strict=True):
            np.testing.assert_array_equal(got, right)


def less_precise(name: str) -> Any:
    """A context in which products have bfloat16 in PyTorch, or JAX has no 64 bits."""
    if name == "torch":
        torch = importlib.import_module("torch")
        return torch.autocast("cpu", torch.bfloat16)
    return importlib.import_module("jax").enable_x64(False)


def test_numpy_s_numbers_leave_the_dtype_of_parameters(name: str) -> None:
    backend = refca.get_backend(name)
    one = {"p": backend.asarray(np.ones(3, np.float32))}
    i: Any = np.int64(0)
    updated = backend.adam_step(one, one, {}, {}, i, np.float64(0.1), True)
    assert backend.asnumpy(updated["p"]).dtype == np.float32


def test_memory_that_a_device_lacks_is_a_memory_error(name: str) -> None:
    module: Any = importlib.import_module(f"refca_{name}.backend")
    raised = {"torch": "torch.OutOfMemoryError", "jax": "jax.errors.JaxRuntimeError"}[name]
    kind: Any = module
    for part in raised.split("."):
        kind = getattr(kind, part)
    with pytest.raises(MemoryError, match="RESOURCE_EXHAUSTED"), module.enough_memory():
        raise kind("RESOURCE_EXHAUSTED: no memory is left\nand more")
    with pytest.raises(RuntimeError, match="another reason"), module.enough_memory():
        raise RuntimeError("another reason")


def test_laws_on_jax(tmp_path: Path) -> None:
    """The step, its draws, and gradients; XLA hardly optimises here, since no function runs for long."""
    pytest.importorskip("jax")
    quick = {"XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"}
    environment = os.environ | quick | {"PYTHONPATH": os.pathsep.join(sys.path)}
    laws = ["--pyargs", "refca_spec", "--refca-backend", "jax", "--refca-examples", "2", "-k", CHOSEN]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *laws]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "refca: jax: step" in done.stdout


CHOSEN = "vectors or (float32 and (streams or recorded_c1 or recorded_c4 or c3 or c5 or c6 or c22 or quartic))"
