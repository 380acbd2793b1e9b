"""Habits of training: validation, early stopping, best weights, event files, augmentation, going on with a run."""

from __future__ import annotations

import itertools
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import Capture, sentence
from test_own_data import pairs
from test_run_directory import stop_when

import refca
from refca import train
from refca.contract.reference import reference
from refca.data import Photographs
from refca.digits import validation as digits_validation
from refca.digits.settings import DigitsExperiment
from refca.drawing.plots import LINES, loss_curve
from refca.errors import InvalidInput
from refca.segmentation.evaluation import iou_at
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.training import split_validation
from refca.tasks import get_task, lookup
from refca.training import loop
from refca.training.checkpoint import load_checkpoint, save_checkpoint
from refca.training.metrics_log import read_metrics
from refca.training.run_directory import evaluation_folder
from refca.training.transforms import draw_flips, draw_transforms, transform, transform_labels
from refca.weights.load import load_weights

DIGITS = ["--experiment", "demo", "--batch", "4", "--pool", "8", "--unroll", "2", "--hidden", "6"]
DIGITS += ["--schedule", "constant", "--backend", "reference"]
MOVED = ["--flips", "--shift", "1.5", "--rotation", "20", "--zoom", "1.2"]


def trained(out: Path, *flags: str) -> Path:
    assert train.main([*flags, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def discs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The flags of a run on ten pictures of discs."""
    folder = pairs(tmp_path_factory.mktemp("data") / "discs")
    small = ["--size", "12", "--batch", "4", "--unroll", "2", "--horizon", "4", "--state", "4", "--hidden", "4"]
    return ["--dataset", str(folder), *small, "--schedule", "constant", "--backend", "reference"]


def files_of(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.is_file() and path.suffix != ".png"}


# validation


def test_held_out_digits_are_measured_as_an_evaluation_measures_them(tmp_path: Path) -> None:
    out = trained(tmp_path / "run", *DIGITS, "--steps", "8", "--validation", "40", "--validate-every", "4")
    rows = read_metrics(out / "validation.csv")
    assert [row["step"] for row in rows] == [4, 8]
    automaton = refca.load(out, "reference")
    whole = refca.data.load("optdigits").train
    images, labels = whole.images(slice(1460, 1500)), whole.labels[1460:1500]
    logits = automaton.readout(automaton.evolve(images, 10))
    live = images[..., 0] > np.float32(0.1)
    right = (logits.argmax(-1) == labels[:, None, None])[live].mean()
    error = (logits - np.eye(10)[labels][:, None, None]) ** 2
    loss = (error.sum(-1) / 2 * live).sum((1, 2)).mean()
    assert (rows[-1]["accuracy"], rows[-1]["loss"]) == pytest.approx((right, loss), rel=1e-5)


def test_held_out_photographs_are_measured_as_an_evaluation_measures_them(tmp_path: Path, discs: list[str]) -> None:
    out = trained(tmp_path / "run", *discs, "--steps", "10", "--validation", "3", "--validate-every", "5")
    (*_, last) = read_metrics(out / "validation.csv")
    weights = load_weights(out)
    experiment: Any = weights.experiment
    held_out = split_validation(experiment, experiment.load_data(None).train)[1]
    given = (experiment.cell, weights.params, refca.get_backend("reference"), held_out)
    (ious,) = iou_at(*given, samples=3, at=[4], seed=experiment.seed)
    assert (last["iou_background"], last["iou_object"]) == pytest.approx(ious)


def test_samples_held_out_are_not_trained_on() -> None:
    task, experiment = get_task("digits"), DigitsExperiment(dataset="optdigits", validation=100)
    whole = refca.data.load("optdigits").train
    part = task.training.load_samples(experiment, None)
    held_out = task.validation.load_samples(experiment, None)  # type: ignore[union-attr]
    assert (len(part), len(held_out)) == (1400, 100)
    np.testing.assert_array_equal(np.concatenate([part.pixels, held_out.pixels]), whole.pixels)
    tenth = DigitsExperiment(dataset="optdigits", validate_every=10)
    assert (tenth.held_out(1500), tenth.held_out(10**6), tenth.held_out(2)) == (150, 1000, 1)
    with pytest.raises(InvalidInput, match="validation must be less than 1, the number of training digits, got 1"):
        tenth.held_out(1)


def test_the_tiles_of_a_picture_are_held_out_together() -> None:
    names = tuple(f"p{i % 5}#{i}" for i in range(20))
    pixels = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    samples = Photographs(pixels, pixels[..., 0], names)
    train_part, held_out = split_validation(SegmentationExperiment(tiles=True, validation=5, size=4), samples)
    assert {name[:2] for name in held_out.names} == {"p4", "p3"}
    assert {name[:2] for name in train_part.names} == {"p0", "p1", "p2"}
    for part in (train_part, held_out):
        assert [int(name.split("#")[1]) for name in part.names] == part.pixels[:, 0, 0, 0].tolist()


def test_validation_is_a_second_line_of_the_figure(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": 1 / i} for i in range(1, 30)]
    colour = np.array([int(LINES[1][i : i + 2], 16) for i in (1, 3, 5)])
    for held_out, drawn in ((rows[::9], True), ((), False)):
        loss_curve(rows, tmp_path / "loss.png", held_out)
        pixels = np.asarray(Image.open(tmp_path / "loss.png").convert("RGB"))
        assert (pixels == colour).all(-1).any() == drawn


# early stopping and the best weights


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out digits get better until the second measurement."""
    steps = itertools.cycle([0.2, 0.5, 0.4, 0.5, 0.3])  # those at steps 4, 8, 12, 16 and 20
    monkeypatch.setattr(digits_validation, "score", lambda experiment, measured: next(steps))


@pytest.mark.usefixtures("scores")
def test_a_run_stops_early_and_keeps_its_best_weights(tmp_path: Path, capsys: Capture) -> None:
    out = trained(tmp_path / "run", *DIGITS, "--steps", "30", "--validate-every", "4", "--patience", "3")
    said = capsys.readouterr().out
    assert "20 training steps (of 30: 3 measurements without a better one)" in said
    assert f"the best weights on held-out digits come from step 8: {out / 'best.safetensors'}" in said
    assert [row["step"] for row in read_metrics(out / "validation.csv")] == [4, 8, 12, 16, 20]
    soon = trained(tmp_path / "soon", *DIGITS, "--steps", "30", "--validate-every", "2", "--patience", "1")
    assert read_metrics(soon / "metrics.csv")[-1]["step"] == load_weights(soon / "weights.safetensors").done == 6
    best, last = load_weights(out / "best.safetensors"), load_weights(out / "weights.safetensors")
    assert (best.done, last.done) == (8, 20)
    shorter = load_weights(trained(tmp_path / "short", *DIGITS, "--steps", "8", "--validation", "150"))
    for name, x in shorter.params.items():
        np.testing.assert_array_equal(refca.load(out / "best.safetensors", "reference").params[name], x)
        assert not np.array_equal(last.params[name], x)


def test_weights_whose_states_overflow_are_not_the_best(tmp_path: Path) -> None:
    wild = [*DIGITS, "--steps", "1", "--validate-every", "1", "--learning-rate", "1e9", "--noise", "0"]
    with np.errstate(all="ignore"):
        out = trained(tmp_path / "run", *wild)
    (row,) = read_metrics(out / "validation.csv")
    assert all(np.isnan(row[name]) for name in ("loss", "accuracy", "agreement"))
    assert not (out / "best.safetensors").exists()


def test_the_best_weights_are_measured_beside_the_last(tmp_path: Path) -> None:
    for name in ("checkpoint.safetensors", "best.safetensors"):
        (tmp_path / name).touch()
    assert evaluation_folder(tmp_path, None) == tmp_path
    assert evaluation_folder(tmp_path / "best.safetensors", None) == tmp_path / "best"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--patience", "2"], "patience needs validate_every"),
        (["--validate-every", "31"], "validate_every must be at most steps, 30, got 31"),
        (["--validation", "1500"], "validation must be less than 1500, the number of training digits, got 1500"),
        (["--validation", "-1"], "validation must not be negative, got -1"),
        (["--ema-decay", "1"], "ema_decay must be at least 0 and below 1, got 1.0"),
        (["--zoom", "0.5"], "zoom must be from 1 to 10, got 0.5"),
        (["--rotation", "181"], "rotation must be from 0 to 180, got 181"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, capsys: Capture, flags: list[str], message: str) -> None:
    said = sentence(capsys, lambda: train.main([*DIGITS, "--steps", "30", *flags, "--out", str(tmp_path / "run")]))
    assert message in said
    assert not (tmp_path / "run").exists()


# the average of the weights


def test_the_average_is_what_is_measured_saved_and_loaded(tmp_path: Path) -> None:
    measuring = [*DIGITS, "--steps", "6", "--validate-every", "3"]
    plain, averaged = (
        trained(tmp_path / "plain", *measuring),
        trained(tmp_path / "ema", *measuring, "--ema-decay", "0.8"),
    )
    assert (plain / "metrics.csv").read_bytes() == (averaged / "metrics.csv").read_bytes()
    assert (plain / "validation.csv").read_bytes() != (averaged / "validation.csv").read_bytes()
    state = load_checkpoint(averaged / "checkpoint.safetensors", lookup)[1]
    for name, x in load_checkpoint(plain / "checkpoint.safetensors", lookup)[1].params.items():
        np.testing.assert_array_equal(state.params[name], x)
    for model in (averaged, averaged / "weights.safetensors", averaged / "checkpoint.safetensors"):
        for name, x in load_weights(model).params.items():
            np.testing.assert_array_equal(x, state.ema[name])
            assert not np.array_equal(x, state.params[name])


def test_an_average_that_does_not_fit_the_settings_is_refused(tmp_path: Path, capsys: Capture) -> None:
    out = trained(tmp_path / "run", *DIGITS, "--steps", "2", "--ema-decay", "0.8")
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    save_checkpoint(out / "checkpoint.safetensors", experiment, replace(train_state, ema={}))
    resumed = ["--out", str(out), "--resume", "--backend", "reference"]
    assert "the averages of the parameters do not have their shapes" in sentence(capsys, lambda: train.main(resumed))


# resuming


@pytest.mark.parametrize("kind", ["digits", "photographs"])
def test_a_stopped_run_with_all_habits_goes_on_byte_for_byte(
    tmp_path: Path, discs: list[str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    held_out = ["--validation", "5" if kind == "digits" else "2", "--validate-every", "4", "--patience", "9"]
    held_out += ["--ema-decay", "0.9"]
    flags = [*(DIGITS if kind == "digits" else discs), "--steps", "16", *MOVED, *held_out]
    whole = trained(tmp_path / "whole", *flags)
    for steps in (3, 13):
        out, asked = tmp_path / f"run{steps}", iter([False] * steps + [True])
        with monkeypatch.context() as patched:
            patched.setattr(loop, "stoppable", lambda asked=asked: stop_when(lambda: next(asked)))
            assert train.main([*flags, "--out", str(out)]) == 130
        trained(out, "--resume", "--backend", "reference")
        assert files_of(out) == files_of(whole)
    assert {"best.safetensors", "validation.csv"} <= set(files_of(whole))


def test_a_finished_run_goes_on_as_if_it_had_been_longer(tmp_path: Path) -> None:
    flags = [*DIGITS, "--validate-every", "5"]
    whole = trained(tmp_path / "whole", *flags, "--steps", "20")
    trained(tmp_path / "run", *flags, "--steps", "10")
    trained(tmp_path / "run", "--resume", "--steps", "20", "--backend", "reference")
    assert files_of(tmp_path / "run") == files_of(whole)


def test_a_run_whose_learning_rate_depends_on_its_end_does_not_go_on(tmp_path: Path, capsys: Capture) -> None:
    trained(tmp_path / "a", *DIGITS, "--schedule", "cosine", "--steps", "2")
    trained(tmp_path / "b", *DIGITS, "--steps", "4")
    for name, steps, words in (("a", "4", "depends on steps unless --schedule is constant"), ("b", "3", "steps is 4")):
        flags = ["--out", str(tmp_path / name), "--resume", "--steps", steps, "--backend", "reference"]
        assert words in sentence(capsys, lambda flags=flags: train.main(flags))  # type: ignore[misc]
    trained(tmp_path / "c", *DIGITS, "--schedule", "constant", "--steps", "4")
    flags = ["--out", str(tmp_path / "c"), "--resume", "--steps", "2", "--backend", "reference"]
    assert sentence(capsys, lambda: train.main(flags)).endswith("4 steps are done; leave --steps out")


def test_the_loss_of_held_out_digits_has_the_weights_of_labels() -> None:
    experiment = DigitsExperiment(dataset="optdigits", state=12, hidden=4, unroll=1, class_weights="balanced")
    train = refca.data.load("optdigits").train
    few = replace(train.part(0, 60), labels=np.where(np.arange(60) < 50, 0, 1))
    params = refca.init_params(experiment.cell, 0)
    measure = partial(digits_validation.measure, experiment, reference, params=params, samples=few)
    zeros, ones, both = (measure(held_out=few.part(*span))["loss"] for span in ((0, 50), (50, 60), (0, 60)))
    plain = digits_validation.measure(experiment.with_(class_weights="none"), reference, few.part(0, 50), params, few)[
        "loss"
    ]
    assert zeros == pytest.approx(plain * 60 / (2 * 50), rel=1e-5)
    assert both == pytest.approx((50 * zeros + 10 * ones) / 60, rel=0.2)  # other random numbers


# event files


def scalars(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield the scalars of event files: records with their length in front, and checksums."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            event: Any = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                yield value.tag, event.step, value.simple_value


def test_event_files_have_the_rows_of_the_logs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    flags = [*DIGITS, "--steps", "20", "--validate-every", "10", "--tensorboard"]
    out = trained(tmp_path / "run", *flags)
    found = {(tag, step): value for tag, step, value in scalars(out / "tensorboard")}
    for group, file in (("training", "metrics.csv"), ("validation", "validation.csv")):
        for row in read_metrics(out / file):
            for name in ("loss", "accuracy"):
                assert found[f"{group}/{name}", int(row["step"])] == pytest.approx(row[name], rel=1e-6)
    assert len(found) == 12


def test_event_files_without_their_writer_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    flags = [*DIGITS, "--steps", "2", "--tensorboard", "--out", str(tmp_path)]
    said = sentence(capsys, lambda: train.main(flags))
    assert "this needs tensorboardX; install it with: pip install 'refca[tensorboard]'" in said
    assert not list(tmp_path.iterdir())


# augmentation


def test_a_shift_moves_pixels_and_labels_alike() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((2, 6, 7, 3)).astype(np.float32)
    moves = np.array([[2.0, -3.0, 0, 0], [0, 0, 0, 0]])
    moved = transform(pixels, moves, beyond=0.5)
    np.testing.assert_array_equal(moved[0, 2:, :4], pixels[0, :4, 3:])
    assert (moved[0, :2] == 0.5).all()
    assert (moved[0, :, 4:] == 0.5).all()
    np.testing.assert_array_equal(moved[1], pixels[1])
    labels = rng.integers(0, 3, (2, 6, 7))
    found = transform_labels(labels, moves)
    np.testing.assert_array_equal(found[0, 2:, :4], labels[0, :4, 3:])
    np.testing.assert_array_equal(found[0, 1::-1, :4], labels[0, :2, 3:])  # the mirror image comes in
    np.testing.assert_array_equal(found[1], labels[1])


def test_a_rotation_by_a_quarter_and_a_scale_of_two() -> None:
    pixels = np.random.default_rng(1).random((1, 5, 5, 2)).astype(np.float32)
    quarter = np.array([[0, 0, np.pi / 2, 0]])
    np.testing.assert_allclose(transform(pixels, quarter)[0], np.rot90(pixels[0]), atol=1e-6)
    np.testing.assert_array_equal(transform_labels(pixels[..., 0], quarter)[0], np.rot90(pixels[0, ..., 0]))
    twice = transform(pixels, np.array([[0, 0, 0, np.log(2)]]))
    np.testing.assert_allclose(twice[0, ::2, ::2], pixels[0, 1:4, 1:4], atol=1e-6)


def test_transforms_are_a_function_of_seed_and_step_and_within_their_ranges() -> None:
    settings: dict[str, Any] = {"shift": 3.0, "rotation": 30.0, "zoom": 2.0, "flips": True, "seed": 5}
    experiment = SegmentationExperiment(**settings)
    drawn = draw_transforms(experiment, 5000, 7)
    largest = np.array([3, 3, np.radians(30), np.log(2)])
    assert (np.abs(drawn) <= largest).all()
    np.testing.assert_allclose(drawn.max(0), largest, rtol=0.01)
    np.testing.assert_allclose(drawn.min(0), -largest, rtol=0.01)
    np.testing.assert_array_equal(drawn, draw_transforms(experiment, 5000, 7))
    assert not np.array_equal(drawn, draw_transforms(experiment, 5000, 8))
    assert not np.array_equal(drawn, draw_transforms(experiment.with_(seed=6), 5000, 7))
    assert 0.45 < draw_flips(experiment, 5000, 7).mean() < 0.55
    assert not draw_flips(experiment.with_(flips=False), 5000, 7).any()


def test_a_photograph_keeps_its_transform_as_long_as_it_stays() -> None:
    task = get_task("segmentation")
    settings: dict[str, Any] = {"size": 12, "batch": 8, "state": 4, "hidden": 4, "unroll": 2, "horizon": 4}
    experiment = SegmentationExperiment(shift=4.0, rotation=45.0, zoom=1.5, keep_image=0.3, **settings)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (6, 12, 12, 3), np.uint8)
    samples = Photographs(pixels, rng.integers(0, 3, (6, 12, 12)).astype(np.uint8), tuple("abcdef"))
    backend = refca.get_backend("reference")
    state = task.training.begin(experiment, backend, samples)
    before = None
    for _ in range(4):
        result = task.training.train_step(experiment, backend, samples, state)
        batch = state.buffer
        image = transform(samples.images(batch.photo), batch.transforms)
        np.testing.assert_array_equal(result.image, image)
        np.testing.assert_array_equal(result.target, transform_labels(samples.labels(batch.photo), batch.transforms))
        if before is not None:
            same = (batch.transforms == before).all(1)
            assert 0 < same.sum() < 8
        before = batch.transforms


@pytest.mark.parametrize("channels", [1, 3])
def test_digits_that_enter_are_transformed_and_paper_comes_in(channels: int) -> None:
    from refca.data import Split
    from refca.digits.training import drawn

    pixels = np.full((4, 9, 9) if channels == 1 else (4, 9, 9, 3), 255, np.uint8)
    settings: dict[str, Any] = {"shift": 3.0, "rotation": 10.0, "channels": channels}
    digits, numbers, entering = Split(pixels, np.zeros(4, np.int64), 255), np.arange(4), np.array([1, 3])
    for alive_above in (0.1, None):
        experiment = DigitsExperiment(batch=4, alive_above=alive_above, **settings)
        images = drawn(experiment, refca.get_backend("reference"), digits, numbers, entering, 3)
        assert not images[[0, 2]].any()
        transforms = draw_transforms(experiment, 4, 3)[entering]
        expected = transform(digits.images(entering), transforms, beyond=None if alive_above is None else 0.0)
        np.testing.assert_array_equal(images[entering], expected)
        assert (images[entering].min() == 0) == (alive_above is not None)


def test_strokes_and_grids_are_for_ink(capsys: Capture, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="need channels 1, got 3; --shift, --rotation and --zoom take any"):
        DigitsExperiment(channels=3, slant=0.2)
