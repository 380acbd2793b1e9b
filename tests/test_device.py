"""Training and measuring on a device: only what must wait for the device waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import device
import numpy as np
import pytest
from refusals import Capture, sentence

import refca
from refca import data as data_sets
from refca import evaluate as evaluate_program
from refca import train
from refca.contract import adam
from refca.contract.reference import reference
from refca.contract.registry import OURS, fastest
from refca.data import Dataset, Photographs, load
from refca.definition.params import param_shapes
from refca.digits import training as digits_training
from refca.digits.evaluation import CURVES, evaluate
from refca.digits.settings import DigitsExperiment
from refca.segmentation import evaluation as pets_evaluation
from refca.segmentation import training as pets_training
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import lookup
from refca.training.checkpoint import load_checkpoint
from refca.training.metrics_log import read_metrics

DIGITS = ["--experiment", "demo", "--batch", "4", "--pool", "8", "--unroll", "2", "--steps", "23"]
PETS = ["--experiment", "pets-48-small", "--batch", "3", "--size", "8", "--state", "5", "--hidden", "6"]
PETS += ["--unroll", "2", "--horizon", "8", "--steps", "23"]
SIZE = 8


@pytest.fixture(autouse=True)
def no_waits() -> Iterator[None]:
    device.WAITS.clear()
    yield
    device.WAITS.clear()


def photographs(count: int = 7) -> Photographs:
    trimaps = np.random.default_rng(0).integers(0, 3, (count, SIZE, SIZE)).astype(np.uint8)
    return Photographs(255 * np.eye(3, dtype=np.uint8)[trimaps], trimaps, tuple(map(str, range(count))))


@pytest.fixture
def on_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The programs find the device as the backend "device", and tiny photographs."""
    backend = device.device(reference)
    monkeypatch.setattr("refca.contract.registry.load", lambda name: backend if name == "device" else reference)
    dataset = Dataset("pets", photographs(), photographs(3))
    monkeypatch.setattr(
        data_sets, "load", lambda name, folder=None, **more: dataset if name == "pets" else load(name, folder, **more)
    )
    return backend


def test_a_training_step_on_digits_waits_for_nothing() -> None:
    backend, digits = device.device(reference), load("optdigits").train
    experiment = DigitsExperiment(dataset="optdigits", unroll=2, batch=4, pool=8)
    train_state = digits_training.begin(experiment, backend, digits)
    digits = digits.on(backend)
    device.WAITS.clear()
    for _ in range(3):
        trained = digits_training.train_step(experiment, backend, digits, train_state)
    assert device.WAITS == []
    assert isinstance(trained.loss, device.DeviceArray)
    digits_training.measure(experiment, backend, train_state, trained)
    assert device.WAITS  # the device counts


def test_a_training_step_on_photographs_waits_for_nothing() -> None:
    backend, samples = device.device(reference), photographs()
    experiment = SegmentationExperiment(size=SIZE, state=5, hidden=6, batch=3, unroll=2, horizon=8)
    train_state = pets_training.begin(experiment, backend, samples)
    samples = samples.on(backend)
    device.WAITS.clear()
    for _ in range(6):
        trained = pets_training.train_step(experiment, backend, samples, train_state)
    assert device.WAITS == []
    assert train_state.updates > 0
    pets_training.measure(experiment, backend, train_state, trained)
    assert device.WAITS


@pytest.mark.parametrize("flags", [DIGITS, PETS], ids=["digits", "photographs"])
def test_a_run_waits_only_where_it_writes(
    tmp_path: Path, on_device: Any, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """The run equals, bit for bit, a run on the backend with which the device computes."""
    waited = []
    training = digits_training if flags is DIGITS else pets_training
    step: Callable[..., Any] = training.train_step

    def stepping(experiment: Any, backend: Any, samples: Any, train_state: Any) -> Any:
        waited.append(len(device.WAITS))
        return step(experiment, backend, samples, train_state)

    with monkeypatch.context() as patched:
        patched.setattr(training, "train_step", stepping)
        assert run(tmp_path / "device", flags, "device") == 0
    assert [done for done in range(1, 23) if waited[done] > waited[done - 1]] == [7, 10, 14, 20, 21]
    assert run(tmp_path / "plain", flags, "reference") == 0
    names = ("device", "plain")
    mine, theirs = (load_checkpoint(tmp_path / out / "checkpoint.safetensors", lookup)[1] for out in names)
    assert mine.adam.v.keys() == theirs.adam.v.keys()
    for ours, others in (
        (mine.params, theirs.params),
        (mine.adam.v, theirs.adam.v),
        (vars(mine.buffer), vars(theirs.buffer)),
    ):
        for name, x in others.items():
            np.testing.assert_array_equal(ours[name], x)
    logged, expected = (read_metrics(tmp_path / out / "metrics.csv") for out in names)
    for row, other in zip(logged, expected, strict=True):
        assert row == pytest.approx(other, rel=1e-6, nan_ok=True)


def run(out: Path, flags: list[str], backend: str) -> int:
    return train.main([*flags, "--backend", backend, "--out", str(out), "--checkpoint-every", "7"])


@pytest.mark.parametrize("more", [{}, {"sample_slice": 300}, {"sample_slice": 1000}], ids=str)
def test_an_evaluation_of_digits_waits_once_in_a_slice(more: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refca.digits.evaluation.BATCH", 500)
    cell, params = refca.digits_cell(), trained_params()
    digits, samples = load("optdigits").train, 800
    rest: dict[str, Any] = {"samples": samples, "steps": 2, "mutation": "both", "seed": 3}
    got = evaluate(cell, params, device.device(reference, **more), digits, **rest)
    assert ["asnumpy"] * {125: 7, 300: 3, 1000: 2}[more.get("sample_slice", 125)] == device.WAITS
    expected = evaluate(cell, params, reference, digits, **rest)
    for part, curves in expected.items():
        for name in CURVES[:2]:  # counts
            np.testing.assert_array_equal(got[part][name], curves[name])
        for name in CURVES[2:]:  # sums, of slices that differ
            np.testing.assert_allclose(got[part][name], curves[name], rtol=1e-5)


def trained_params() -> dict[str, np.ndarray]:
    """Weights that change predicted labels."""
    rng, params = np.random.default_rng(0), refca.init_params(refca.digits_cell(), 0)
    return {name: (x + rng.normal(0, 0.05, x.shape)).astype(np.float32) for name, x in params.items()}


def test_a_device_is_chosen_before_anything_is_computed(tmp_path: Path, on_device: Any, capsys: Capture) -> None:
    chosen: list[str] = []
    on_device.devices = ("0", "1", "2")
    on_device.use_device, on_device.description = chosen.append, lambda: "a device that is not there"
    assert run(tmp_path / "run", [*DIGITS, "--device", "2"], "device") == 0
    assert chosen == ["2"]
    assert "backend device on a device that is not there; " in capsys.readouterr().out
    params = tmp_path / "run" / "weights.safetensors"
    flags = [str(params), "--backend", "device", "--samples", "2", "--steps", "1", "--device", "1"]
    assert evaluate_program.main(flags) == 0
    assert chosen == ["2", "1"]


def exhausted(*args: Any, **kwargs: Any) -> Any:
    raise MemoryError("out of memory allocating 1 GiB")


def test_a_device_with_too_little_memory_is_said_with_what_did_not_fit(
    tmp_path: Path, on_device: Any, capsys: Capture
) -> None:
    assert run(tmp_path / "run", DIGITS, "device") == 0
    weights = str(tmp_path / "run" / "weights.safetensors")
    right = on_device.loss_and_grads, on_device.evolve
    on_device.loss_and_grads = lambda *a, **k: exhausted() if len(a[3]) > 1 else right[0](*a, **k)
    message = sentence(capsys, lambda: run(tmp_path / "other", DIGITS, "device"))
    assert " MB that --batch needs do not fit into memory; begin another run with --batch 2" in message
    on_device.evolve = lambda *a, **k: exhausted() if len(a[2]) > 1 else right[1](*a, **k)
    flags = [weights, "--backend", "device", "--samples", "200", "--steps", "1"]
    message = sentence(capsys, lambda: evaluate_program.main(flags))
    assert "125 digits at a time do not fit into memory; use a smaller --samples, such as 62" in message


def test_a_loss_on_the_device_that_is_not_finite_leaves_the_checkpoint_before_it(
    tmp_path: Path, on_device: Any, capsys: Capture
) -> None:
    """A loss of inf or NaN ends training even if parameters and states stay finite."""
    right, steps = on_device.loss_and_grads, iter(range(100))

    def diverging(*args: Any, **kwargs: Any) -> Any:
        _, grads, state = right(*args, **kwargs)
        return device.DeviceArray(np.float32("inf" if next(steps) == 12 else 1)), grads, state

    on_device.loss_and_grads = diverging
    message = sentence(capsys, lambda: run(tmp_path / "run", DIGITS, "device"))
    assert "the loss of training step 12 is inf: training diverged" in message  # one call was to prepare
    assert load_checkpoint(tmp_path / "run" / "checkpoint.safetensors", lookup)[1].done == 7


BROKEN = """
from refca.errors import Unavailable
raise Unavailable("no CUDA device is here; use --backend cpu")
"""


def test_a_backend_that_says_that_it_cannot_work_is_quoted_and_passed_over(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "refca_absent.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(OURS, "cupy", "refca_absent")
    flags = [*DIGITS, "--out", str(tmp_path / "run"), "--backend"]
    for name in ("cupy", "refca_absent"):
        message = sentence(capsys, partial(train.main, [*flags, name]))
        assert message == "refca: no CUDA device is here; use --backend cpu"
    assert not (tmp_path / "run").exists()
    assert fastest()[0] == "cpu"


def test_a_backend_s_own_descent_and_start_are_used(tmp_path: Path, on_device: Any) -> None:
    called: list[str] = []

    def adam_step(*args: Any) -> Any:
        called.append("adam_step")
        return adam.adam_step(*args)

    def initial_state(cell: refca.Cell, image: Any, streams: refca.Streams) -> Any:
        called.append("initial_state")
        return device.DeviceArray(reference.initial_state(cell, image, streams))

    assert run(tmp_path / "shared", PETS, "device") == 0
    on_device.adam_step, on_device.initial_state = adam_step, initial_state
    assert run(tmp_path / "own", PETS, "device") == 0
    assert set(called) == {"adam_step", "initial_state"}
    for name in ("checkpoint.safetensors", "metrics.csv"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "shared" / name).read_bytes()


@pytest.mark.parametrize("settings", [{}, {"resettable": False}, {"stride": 2}], ids=str)
def test_curves_of_photographs_fetch_labels_and_a_few_numbers(settings: dict[str, Any]) -> None:
    cell = refca.segmentation_cell(state=5, hidden=6, **settings)
    params = {
        name: np.random.default_rng(len(name)).normal(0, 0.3, shape).astype(np.float32)
        for name, shape in param_shapes(cell).items()
    }
    rest: dict[str, Any] = {"samples": 3, "steps": 4, "every": 2, "shift": 1}
    got = pets_evaluation.curves(cell, params, device.device(reference), photographs(), **rest)
    if cell.stride == 1:
        assert len(device.WAITS) <= len(pets_evaluation.CONDITIONS) * (1 + 2 * 4)
    ious, expected_ious = (
        pets_evaluation.iou_at(cell, params, backend, photographs(), samples=7, at=[0, 2])
        for backend in (device.device(reference), reference)
    )
    np.testing.assert_array_equal(ious, expected_ious)
    expected = pets_evaluation.curves(cell, params, reference, photographs(), **rest)
    for way, curves in expected.items():
        for name, values in curves.items():
            np.testing.assert_array_equal(got[way][name], values)
