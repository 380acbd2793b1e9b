"""Training on photographs as a program: mini-unrolls, their log, and resumed runs that equal uninterrupted ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from refca import data as data_sets
from refca import train
from refca.contract.reference import reference
from refca.data import Dataset, Photographs
from refca.definition.params import init_params
from refca.definition.step import gate, hidden_layers, neighbourhood
from refca.definition.strided import encode
from refca.digits.settings import DigitsExperiment
from refca.segmentation import training as pets_training
from refca.segmentation.persistence import PersistentBatch
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import describe_experiment, experiment_names, load_experiment, lookup
from refca.training import loop
from refca.training.checkpoint import load_checkpoint, save_checkpoint
from refca.training.metrics_log import read_metrics
from refca.weights.load import load_weights

Capture = pytest.CaptureFixture[str]
SIZE, STEPS = 8, 42
FLAGS = ["--experiment", "pets-48-small", "--backend", "reference", "--steps", str(STEPS), "--batch", "3"]
FLAGS += ["--size", str(SIZE), "--state", "5", "--hidden", "6", "--unroll", "2", "--horizon", "8"]


def flags(out: Path, *more: str) -> list[str]:
    return [*FLAGS, "--out", str(out), "--checkpoint-every", "7", *more]


def photographs(count: int, seed: int = 0) -> Photographs:
    """Photographs whose classes have different colours."""
    rng = np.random.default_rng(seed)
    trimaps = rng.integers(0, 3, (count, SIZE, SIZE)).astype(np.uint8)
    return Photographs(255 * np.eye(3, dtype=np.uint8)[trimaps], trimaps, tuple(map(str, range(count))))


@pytest.fixture(scope="module", autouse=True)
def tiny_photographs() -> Iterator[None]:
    dataset = Dataset("pets", photographs(7), photographs(3, seed=1))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(data_sets, "load", lambda name, folder, **_: dataset)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert train.main(flags(out)) == 0
    return out


def run(out: Path, *more: str) -> Path:
    assert train.main(flags(out, *more)) == 0
    return out


def assert_equal(out: Path, whole: Path) -> None:
    """Parameters, moments, batch and metrics are the same, bit for bit."""
    for file in ("checkpoint.safetensors", "weights.safetensors", "metrics.csv", "settings.toml", "loss.png"):
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file


def test_a_run_leaves_its_log_and_weights_that_know_their_cell(whole: Path) -> None:
    rows = read_metrics(whole / "metrics.csv")
    assert [row["step"] for row in rows] == [10, 20, 30, 40, 42]
    names = ["step", "loss", "iou_background", "iou_object", "iou_boundary", "gate"]
    for row in rows:
        assert list(row) == names
        assert all(0 <= row[name] <= 1 for name in names[2:] if np.isfinite(row[name]))
    experiment, train_state = load_checkpoint(whole / "checkpoint.safetensors", lookup)
    params, trained, done = load_weights(whole / "weights.safetensors")
    assert isinstance(trained, SegmentationExperiment)
    assert trained == experiment == load_experiment(whole / "settings.toml")
    assert (trained.cell.depthwise, trained.cell.state_channels, done) == (True, 5, STEPS)
    for name, x in params.items():
        np.testing.assert_array_equal(x, train_state.params[name])


def test_the_same_settings_give_the_same_run_and_another_seed_another(whole: Path, tmp_path: Path) -> None:
    assert_equal(run(tmp_path / "same"), whole)
    other = run(tmp_path / "other", "--seed", "1")
    assert (other / "metrics.csv").read_bytes() != (whole / "metrics.csv").read_bytes()


def stopped_and_resumed(out: Path, steps: int, backend: str = "reference", settings: Sequence[str] = ()) -> Path:
    @contextmanager
    def stopping() -> Iterator[Callable[[], bool]]:
        asked = iter([False] * steps + [True])
        yield lambda: next(asked)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop, "stoppable", stopping)
        assert train.main(flags(out, "--backend", backend, *settings)) == 130
    assert train.main(["--out", str(out), "--resume", "--backend", backend]) == 0
    return out


@pytest.mark.parametrize("steps", [1, 2, 10, 33])
def test_a_run_stopped_after_any_step_goes_on_as_if_it_had_not_been(whole: Path, tmp_path: Path, steps: int) -> None:
    assert_equal(stopped_and_resumed(tmp_path / "run", steps), whole)


def test_a_run_on_the_cpu_backend_goes_on_as_if_it_had_not_been_stopped(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", "--backend", "cpu")
    assert_equal(stopped_and_resumed(tmp_path / "run", 17, "cpu"), whole)


RECIPE = ["--flips", "--validation", "2", "--schedule", "cosine", "--warmup-steps", "5"]


def test_a_run_with_the_settings_of_recipes_goes_on_as_if_it_had_not_been_stopped(whole: Path, tmp_path: Path) -> None:
    recipe = run(tmp_path / "whole", *RECIPE)
    assert_equal(stopped_and_resumed(tmp_path / "run", 17, settings=RECIPE), recipe)
    assert (recipe / "weights.safetensors").read_bytes() != (whole / "weights.safetensors").read_bytes()


def test_cells_see_mirrored_photographs_with_mirrored_labels() -> None:
    experiment = SegmentationExperiment(size=SIZE, state=5, hidden=6, batch=8, flips=True)
    samples = photographs(7)
    train_state = pets_training.begin(experiment, reference, samples)
    for _ in range(2):
        result = pets_training.train_step(experiment, reference, samples, train_state)
    batch = train_state.buffer
    assert 0 < batch.flipped.sum() < 8
    for b, (photo, flipped) in enumerate(zip(batch.photo, batch.flipped, strict=True)):
        order = slice(None, None, -1 if flipped else 1)
        np.testing.assert_array_equal(result.image[b], samples.images([photo])[0][:, order])
        np.testing.assert_array_equal(result.target[b], samples.labels([photo])[0][:, order])


def test_photographs_held_out_are_the_last_and_are_not_trained_on(capsys: Capture, tmp_path: Path) -> None:
    experiment = SegmentationExperiment(size=SIZE, validation=2)
    samples = photographs(7)
    assert pets_training.load_samples(experiment, None).names == samples.names[:5]
    parts = pets_training.split_validation(experiment, samples)
    assert [part.names for part in parts] == [samples.names[:5], samples.names[5:]]
    np.testing.assert_array_equal(parts[1].images([0]), samples.images([5]))
    assert train.main(flags(tmp_path, "--validation", "7")) == 2
    assert "validation must be less than 7, the number of training photographs, got 7" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("settings", "size"), [([], 0.01), (["--warmup-steps", "10"], 0.003), (["--schedule", "cosine"], 0.0025)]
)
def test_the_first_update_has_the_learning_rate_of_its_training_step(
    tmp_path: Path, settings: list[str], size: float
) -> None:
    """Adam's first update, here in the third of three training steps, has nearly the size of the rate."""
    always = ["--keep-image", "1", "--keep-state", "1", "--horizon", "12", "--steps", "3"]
    out = run(tmp_path / "run", *always, "--learning-rate", "0.01", *settings)
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    moved = train_state.params["readout.weight"] - init_params(experiment.cell, 0)["readout.weight"]
    np.testing.assert_allclose(np.abs(moved), size, rtol=2e-2)


def test_an_unroll_of_which_no_step_counts_makes_no_update(tmp_path: Path) -> None:
    out = run(tmp_path / "run", "--horizon", "12", "--steps", "2")
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    for name, x in init_params(experiment.cell, 0).items():
        np.testing.assert_array_equal(x, train_state.params[name])
    assert (train_state.done, train_state.updates, train_state.adam.m) == (2, 0, {})
    assert (out / "metrics.csv").read_text().splitlines()[1].startswith("2,,,,,0.5")
    assert not (out / "loss.png").exists()


def test_adam_corrects_its_bias_for_the_updates_made(tmp_path: Path) -> None:
    """The first update, here in the third training step, has nearly the size of the rate."""
    always = ["--keep-image", "1", "--keep-state", "1"]
    out = run(tmp_path / "run", "--horizon", "12", "--steps", "3", "--learning-rate", "0.01", *always)
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    assert (train_state.done, train_state.updates) == (3, 1)
    moved = train_state.params["readout.weight"] - init_params(experiment.cell, 0)["readout.weight"]
    np.testing.assert_allclose(np.abs(moved), 0.01, rtol=1e-2)


def test_without_persistence_every_unroll_starts_anew(tmp_path: Path) -> None:
    out = run(tmp_path / "run", "--no-persistence", "--unroll", "8", "--steps", "5")
    _, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    assert isinstance(train_state.buffer, PersistentBatch)
    assert (train_state.updates, train_state.buffer.age.tolist()) == (5, [8, 8, 8])


def test_what_is_always_kept_is_never_renewed(tmp_path: Path) -> None:
    out = run(tmp_path / "run", "--keep-image", "1", "--keep-state", "1", "--steps", "9")
    _, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    assert isinstance(train_state.buffer, PersistentBatch)
    assert train_state.buffer.age.tolist() == [18, 18, 18]


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_gate_in_the_log_is_that_of_the_whole_batch(norm: str) -> None:
    experiment = SegmentationExperiment(size=SIZE, norm=norm, state=5, hidden=6, batch=6)
    samples = photographs(7)
    train_state = pets_training.begin(experiment, reference, samples)
    train_state.params |= {"gate.weight": train_state.params["update.weight"][:, :1]}
    trained = pets_training.train_step(experiment, reference, samples, train_state)
    cell, params = experiment.cell, train_state.params
    hidden = hidden_layers(cell, params, neighbourhood(encode(cell, params, trained.image), trained.state))
    measured = pets_training.measure(experiment, reference, train_state, trained)
    assert measured["gate"] == pytest.approx(float(gate(params, hidden).mean()), rel=1e-5)


def test_frozen_filters_stay_and_a_cell_without_a_gate_has_none(tmp_path: Path) -> None:
    out = run(tmp_path / "run", "--frozen-filters", "--no-resettable")
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    began = init_params(experiment.cell, 0)
    np.testing.assert_array_equal(train_state.params["perceive.depthwise"], began["perceive.depthwise"])
    assert not np.array_equal(train_state.params["perceive.mix"], began["perceive.mix"])
    assert all(np.isnan(row["gate"]) for row in read_metrics(out / "metrics.csv"))


@pytest.mark.parametrize(
    "setting",
    [
        [],
        ["--no-depthwise", "--norm", "batch"],
        ["--no-persistence", "--unroll", "8", "--norm", "channel", "--steps", "80"],
        ["--no-residual", "--no-resettable"],
        ["--stride", "2", "--norm", "none"],
        ["--backend", "cpu"],
    ],
    ids=" ".join,
)
def test_every_kind_of_training_learns(tmp_path: Path, setting: list[str]) -> None:
    out = run(tmp_path / "run", "--steps", "200", "--learning-rate", "0.02", *setting)
    losses = [row["loss"] for row in read_metrics(out / "metrics.csv")]
    assert np.nanmean(losses[-5:]) < 0.9 * np.log(3)


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_has_a_line_on_what_it_is_and_a_cell(name: str) -> None:
    experiment = load_experiment(name)
    photographs = name.startswith(("pets-", "own-segmentation", "own-tiles"))
    assert type(experiment) is (SegmentationExperiment if photographs else DigitsExperiment)
    assert len(describe_experiment(name)) > 20
    assert init_params(experiment.cell, experiment.seed)


def test_table_1_is_there_with_the_paper_s_numbers_of_parameters() -> None:
    counts = {"full": (21_408, 47_088, 82_752), "depthwise": (8_400, 18_360, 32_160)}
    for convolution, of_sizes in counts.items():
        for state, count in zip((32, 48, 64), of_sizes, strict=True):
            for norm in ("none", "batch", "instance"):
                experiment = load_experiment(f"pets-{convolution}-{state}-{norm}")
                assert sum(x.size for x in init_params(experiment.cell, 0).values()) == count
    assert load_experiment("pets-full-32-instance") == SegmentationExperiment()


def test_a_file_of_settings_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    for name in experiment_names():
        path.write_text(load_experiment(name).toml())
        assert load_experiment(path) == load_experiment(name)


def test_the_list_names_every_experiment(capsys: Capture) -> None:
    assert train.main(["--list"]) == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert listed == experiment_names()


def test_a_checkpoint_that_does_not_fit_its_settings_is_refused(whole: Path, tmp_path: Path, capsys: Capture) -> None:
    experiment, train_state = load_checkpoint(whole / "checkpoint.safetensors", lookup)
    batch = train_state.buffer
    assert isinstance(batch, PersistentBatch)
    resumed = ["--out", str(tmp_path), "--resume", "--backend", "reference"]
    for wrong, words in (
        (
            replace(train_state, buffer=replace(batch, age=batch.age[:2])),
            "its batch does not hold 3 photographs",
        ),
        (replace(train_state, buffer=replace(batch, state=batch.state[:, 1:])), "its batch does not hold 3"),
        (
            replace(train_state, buffer=replace(batch, state=batch.state.astype(np.float64))),
            "its batch does not hold 3 photographs, float32 states and ages",
        ),
        (replace(train_state, buffer=replace(batch, photo=-1 - batch.photo)), "its batch does not hold 3"),
        (
            replace(train_state, buffer=replace(batch, photo=np.array([0, 7, 6]))),
            "photographs of its batch must be below 7, got 7",
        ),
        (replace(train_state, updates=0), "the optimiser's moments do not have the shapes of the parameters"),
        (replace(train_state, data="others"), "was trained on other photographs than --dataset pets has here"),
    ):
        save_checkpoint(tmp_path / "checkpoint.safetensors", experiment, wrong)
        assert train.main(resumed) == 2
        message = capsys.readouterr().err
        assert words in message
        assert str(tmp_path) in message


def test_a_run_is_not_resumed_as_one_of_the_other_kind(whole: Path, capsys: Capture) -> None:
    resumed = ["--out", str(whole), "--resume", "--backend", "reference"]
    assert train.main([*resumed, "--experiment", "demo"]) == 2
    assert "is a segmentation run, but --experiment demo is for digits" in capsys.readouterr().err
    assert train.main([*resumed, "--norm", "batch"]) == 2
    assert "a resumed run keeps its settings: norm is instance in" in capsys.readouterr().err
