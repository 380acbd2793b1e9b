"""The plain pages compute the numbers of the programs: parameters and losses of training, curves of evaluation."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from refca.contract.reference import reference
from refca.data import Dataset, Photographs, Split, load
from refca.definition.randomness import Streams
from refca.digits import evaluation as digits_evaluation
from refca.digits import training as digits_training
from refca.plain import digits, segmentation
from refca.segmentation import evaluation as segmentation_evaluation
from refca.segmentation import training as segmentation_training
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import load_experiment
from refca.training.adam import learning_rate_at
from refca.weights.load import load_weights

SEED = 6
PAGES = [digits, segmentation]


@pytest.fixture(params=PAGES, ids=lambda page: page.__name__.rsplit(".", 1)[-1])
def page(request: pytest.FixtureRequest) -> ModuleType:
    return request.param


@pytest.fixture(autouse=True)
def seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use another seed than the pages', so that a page that ignores its seed is found."""
    for page in PAGES:
        monkeypatch.setattr(page, "SEED", SEED)


def assert_close(got: Any, want: Any) -> None:
    """The two differ by the rounding of float32 sums in another order, and by what Adam makes of it."""
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=2e-6)


def trained(training: ModuleType, experiment: Any, samples: Any) -> tuple[dict[str, np.ndarray], list[float]]:
    """The parameters after all training steps of the program, and the loss of each, NaN for none."""
    train_state = training.begin(experiment, reference, samples)
    losses = [training.train_step(experiment, reference, samples, train_state).loss for _ in range(experiment.steps)]
    return train_state.params, [np.nan if loss is None else float(loss) for loss in losses]


def assert_trained_alike(page: ModuleType, training: ModuleType, experiment: Any, samples: Any) -> None:
    params, losses = page.train(samples, experiment.steps)
    wanted_params, wanted_losses = trained(training, experiment, samples)
    assert_close(losses, wanted_losses)
    assert params.keys() == wanted_params.keys()
    for name, x in params.items():
        assert x.dtype == np.float32
        assert_close(x, wanted_params[name])


def photographs(count: int, side: int = 6, seed: int = 0) -> Photographs:
    """Photographs whose classes have different colours."""
    rng = np.random.default_rng(seed)
    trimaps = rng.integers(0, 3, (count, side, side)).astype(np.uint8)
    pixels = rng.integers(0, 256, (count, side, side, 3)) // 2 + 127 * np.eye(3, dtype=int)[trimaps]
    return Photographs(pixels.astype(np.uint8), trimaps, tuple(map(str, range(count))))


def cropped(digits: Split, count: int, rows: slice, columns: slice) -> Split:
    """Small parts of digits, one of them without a live cell."""
    pixels = digits.pixels[:count, rows, columns].copy()
    pixels[1] = 0
    return Split(pixels, digits.labels[:count], digits.white)


def test_a_page_imports_nothing_of_refca_but_its_data(page: ModuleType) -> None:
    tree = ast.parse(Path(str(page.__file__)).read_text("utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"autograd", "autograd.extend", "autograd.numpy", "numpy.random", "refca.data"}


def test_random_numbers_are_those_of_the_streams() -> None:
    """Fire masks are equal bit for bit; so are normal numbers, once they are rounded to float32."""
    cell, B, H, W = load_experiment("demo").cell, 3, 4, 5
    key = digits.philox((7, 0, 0, digits.FOLD << 16), (SEED, 0))[:2]
    fires, noise, _ = Streams(SEED).fold(7).at(cell, 2, B, H, W)
    for got, want in zip(digits.draw(key, 2, B, H, W), (fires, noise), strict=True):
        np.testing.assert_array_equal(got, want.astype(got.dtype))
    numbers, streams = np.arange(9, 9 + B), Streams(SEED, first_sample=9)
    fires, _, z = streams.fold(7).at(SegmentationExperiment().cell, 2, B, H, W)
    for got, want in zip(segmentation.draw(key, 2, numbers, H, W), (fires, z), strict=True):
        np.testing.assert_array_equal(got, want.astype(got.dtype))


def test_digits_train_like_the_program() -> None:
    """Compare four training steps, the last at a tenth of the learning rate."""
    experiment = load_experiment("demo").with_(steps=4, seed=SEED)
    train = cropped(load("optdigits").train, 1500, slice(1, 6), slice(1, 7))
    assert_trained_alike(digits, digits_training, experiment, train)
    rates = [digits.LEARNING_RATE / 10 ** ((i >= 0.7 * 4) + (i >= 0.9 * 4)) for i in range(4)]
    assert_close(rates, [learning_rate_at(experiment.learning_rate, i, 4) for i in range(4)])


def test_digits_are_evaluated_like_the_program() -> None:
    """Compare ten steps and ten more after a mutation. The digits are so small that in many all cells agree."""
    params, cell = load_weights("digits-l2-noise").params, load_experiment("demo").cell
    test = cropped(load("optdigits").test, 40, slice(2, 4), slice(2, 5))
    curves = digits_evaluation.evaluate(cell, params, reference, test, samples=40, steps=10, seed=SEED)
    got = digits.evaluate(params, test, 10)
    for column, name in enumerate(("accuracy", "agreement")):
        wanted = np.concatenate([curves["before"][name], curves["carry"][name]])
        assert len(set(wanted)) > 5, "a curve that says little"
        assert_close(got[:, column], wanted)


def test_segmentation_trains_like_the_program() -> None:
    """Compare six mini-unrolls: in the first no step counts, in a later one new samples do not count and others do."""
    experiment = SegmentationExperiment(
        steps=6, batch=segmentation.BATCH, learning_rate=segmentation.LEARNING_RATE, seed=SEED, size=6
    )
    assert_trained_alike(segmentation, segmentation_training, experiment, photographs(7))


def test_segmentation_is_evaluated_like_the_program() -> None:
    """Compare ten steps in slices of photographs, which are replaced after every four steps."""
    cell, test, rng = SegmentationExperiment().cell, photographs(35), np.random.default_rng(1)
    params = {name: x + rng.normal(0, 0.1, x.shape).astype(x.dtype) for name, x in segmentation.init_params().items()}
    ways = segmentation_evaluation.curves(cell, params, reference, test, samples=34, steps=10, every=4, seed=SEED)
    got = segmentation.evaluate(params, test, 34, 10, every=4)
    wanted = np.stack([ways["replaced"][name] for name in ("iou_background", "iou_object", "iou_boundary")], axis=1)
    assert_close(got, wanted)


def test_a_page_runs_and_prints_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], page: ModuleType
) -> None:
    digits, held_out = (cropped(load("optdigits").train, count, slice(2, 4), slice(2, 5)) for count in (40, 3))
    datasets = {
        "optdigits": Dataset("optdigits", digits, held_out),
        "pets": Dataset("pets", photographs(7), photographs(64, side=3, seed=1)),
    }
    monkeypatch.setattr(page, "load", datasets.get)
    monkeypatch.setattr(page, "STEPS", 2)
    page.main()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.search("total agreement [0-9.]+%$|boundary [0-9.]+$", line) for line in lines)


def test_segmentation_says_how_to_get_data_in_one_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "refca.plain.segmentation"]
    done = subprocess.run(command, env=os.environ | {"REFCA_DATA": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "pets_96.npz" in done.stderr
