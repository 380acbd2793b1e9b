"""Robustness: perturbed digits, counts, and the files of the program."""

from __future__ import annotations

import csv
import json
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import Capture, sentence

import refca
from refca import robustness as robustness_program
from refca.contract.reference import Reference, reference
from refca.data import load
from refca.definition.params import param_shapes
from refca.digits import robustness_report as robustness
from refca.digits.perturbations import (
    chimeras,
    dilate_or_erode,
    placed,
    rescale_same_stroke,
    rescaled,
    without_lower_half,
)
from refca.digits.robustness import erase_and_redraw, label_shares, make_runner, oscillation, perturbed, row
from refca.digits.settings import DigitsExperiment
from refca.drawing.palette import get_palette
from refca.errors import InvalidInput
from refca.segmentation.settings import SegmentationExperiment
from refca.training.checkpoint import save_weights
from refca.weights.load import load_weights

SMALL = ["--dataset", "optdigits-28"]


def bar(height: int = 20, width: int = 4, size: int = 28) -> np.ndarray:
    """One digit, a bar of full ink in the middle, (1, size, size, 1)."""
    image = np.zeros((1, size, size, 1), np.float32)
    top, left = (size - height) // 2, (size - width) // 2
    image[:, top : top + height, left : left + width] = 1
    return image


def copying(seed: int = 0) -> Any:
    """An automaton that adds its image to its last channel at each step: every live cell predicts 1."""
    cell = refca.Cell(1, 3, 1, 2, hidden_layers=0, fire_rate=1.0, alive_above=0.1)
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, 0, 0] = 1
    params["update.weight"][0, 2] = 1
    return make_runner(cell, params, reference, seed, lambda done: None)


@pytest.mark.parametrize("side", [9, 10, 28, 29])
def test_digits_of_any_side_are_shifted_as_far_to_both_sides(side: int) -> None:
    image = np.ones((1, side, side, 1), np.float32)
    shifts = {amount: shifted for name, amount, shifted in perturbed(image) if name == "shift"}
    assert {amount.lstrip("+-") for amount in shifts if amount.startswith("-")} == {
        amount.lstrip("+-") for amount in shifts if amount.startswith("+")
    }
    assert all(shifted.sum() == image.sum() for shifted in shifts.values())


@pytest.mark.parametrize(("factor", "side"), [(0.5, 28), (1.0, 28), (1.5, 42), (2.0, 56)])
def test_digits_of_another_size_have_as_much_more_ink_on_a_grid_that_fits(factor: float, side: int) -> None:
    large = rescaled(bar(), factor)
    assert large.shape == (1, side, side, 1)
    assert large.dtype == np.float32
    np.testing.assert_allclose(large.sum(), bar().sum() * factor**2, rtol=0.02)
    np.testing.assert_allclose(large, large[:, ::-1, ::-1], atol=1e-5)  # still in the middle
    if factor == 1:
        np.testing.assert_array_equal(large, bar())


@pytest.mark.parametrize("more", [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_strokes_become_as_much_wider(more: float) -> None:
    changed = dilate_or_erode(bar(), more)
    np.testing.assert_allclose(changed[0, 14].sum(), 4 + more, atol=1e-6)
    np.testing.assert_allclose(changed[0, :, 14].sum(), 20 + more, atol=1e-6)
    assert changed.dtype == np.float32


@pytest.mark.parametrize("factor", [1.0, 1.5, 2.0])
def test_digits_redrawn_are_larger_and_their_strokes_as_wide(factor: float) -> None:
    drawn = rescale_same_stroke(bar(width=3), factor)[0, ..., 0]
    assert drawn[len(drawn) // 2].sum() == pytest.approx(3, abs=0.1)
    tall = np.flatnonzero(drawn.any(axis=1))
    assert abs(np.ptp(tall) + 1 - 20 * factor) <= 4  # a pen that is round, and less of it than before


def test_digits_are_placed_where_asked_or_not_at_all() -> None:
    there = placed(bar(), 40, 12, 3)
    np.testing.assert_array_equal(there[:, 12:, 3:31], bar())
    assert there.sum() == bar().sum()
    for top, left in ((13, 0), (0, -1)):
        with pytest.raises(InvalidInput, match="do not fit in a grid of 40x40"):
            placed(bar(), 40, top, left)
    with pytest.raises(InvalidInput, match=r"factor must leave at least one pixel of"):
        rescaled(bar(), 0.01)


def test_erasing_leaves_the_upper_half() -> None:
    erased = without_lower_half(bar())
    assert erased[:, :14].sum() == bar()[:, :14].sum()
    assert not erased[:, 14:].any()


def test_chimeras_are_of_the_halves_that_meet_best_and_of_one_piece() -> None:
    wide, moved = bar(width=8), np.roll(bar(), 10, axis=2)
    made = chimeras(np.concatenate([bar(), moved]), np.concatenate([wide, bar()]), count=5)
    assert len(made) == 1  # nothing meets the bar that was moved
    np.testing.assert_array_equal(made, bar())
    assert chimeras(np.concatenate([bar(), bar()]), wide, count=1).shape == (1, 28, 28, 1)
    assert len(chimeras(bar()[:0], wide, count=1)) == 0
    assert len(chimeras(wide, bar()[:0], count=1)) == 0


def test_a_row_counts_cells_and_digits_that_have_any() -> None:
    images = np.concatenate([bar(), bar(), np.zeros_like(bar())])
    counted = row(copying(), "size", "1", images, np.array([1, 0, 1]), steps=2)
    assert counted == ("size", "1", 2, 80.0, 0.5, 1.0)


def hesitating() -> Any:
    """An automaton whose cells predict 0 after their first step, and 1 from the second on."""
    cell = refca.Cell(1, 3, 2, 2, hidden_layers=0, fire_rate=1.0, alive_above=0.1)
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, 0] = 1
    params["perceive.weight"][1, 1, 3, 0] = -1  # 1 - steps done, rectified
    params["update.weight"][0, 1] = 1.5
    params["update.weight"][1, 2] = 1  # counts steps
    return make_runner(cell, params, reference, 0, lambda done: None)


def test_erased_cells_start_from_zero_when_they_are_drawn_again() -> None:
    whole, erased, again = erase_and_redraw(hesitating(), bar(), np.array([1]), steps=3).reshape(3, 3, 2)
    np.testing.assert_array_equal(whole, [[0, 1], [1, 1], [1, 1]])
    np.testing.assert_array_equal(erased, np.ones((3, 2)))  # the upper half goes on
    np.testing.assert_array_equal(again, [[0.5, 0], [1, 1], [1, 1]])


@pytest.mark.parametrize("size", [1, 2])
def test_digits_are_the_same_however_many_are_moved_at_a_time(size: int) -> None:
    runner = copying()
    runner = runner._replace(cell=replace(runner.cell, fire_rate=0.5))
    few = runner._replace(backend=Reference())
    few.backend.sample_slice = size
    images, labels = np.concatenate([bar(width=width) for width in (2, 4, 6)]), np.array([1, 0, 1])
    expected = row(runner, "size", "1", images, labels, steps=1)
    assert 0 < expected.accuracy < 1
    assert row(few, "size", "1", images, labels, steps=1) == expected
    np.testing.assert_array_equal(
        erase_and_redraw(few, images, labels, steps=2), erase_and_redraw(runner, images, labels, steps=2)
    )


def test_votes_are_shares_of_live_cells() -> None:
    counted = label_shares(copying(), bar(), steps=4)
    np.testing.assert_array_equal(counted.shares, np.broadcast_to([0.0, 1.0], (4, 1, 2)))
    assert (counted.labels[:, bar()[..., 0] > 0] == 1).all()


def test_restlessness_counts_changes_of_the_leading_label_in_the_second_half() -> None:
    still, restless, split = np.zeros((8, 3)), np.zeros((8, 3)), np.zeros((8, 3))
    still[:, 2] = 1
    restless[:, 0] = 0.6
    restless[5::2, 0], restless[5::2, 1] = 0.4, 0.6  # after steps 6 and 8
    split[::2], split[1::2] = [0.48, 0.52, 0], [0.52, 0.48, 0]  # leads change, and none is a tenth ahead
    found = oscillation(np.stack([still, restless, split], axis=1))
    assert found["oscillating"] == 1 / 3
    assert found["changes_per_100_steps"] == pytest.approx(100 * (3 / 3) / 3)
    assert found["agreeing"] == 1 / 3
    first = np.array([1, 1, 1, 1, 0.52, 0.5, 0.47, 0.44])
    drifting = np.stack([first, 1 - first], axis=-1)[:, None]
    assert oscillation(drifting)["changes_per_100_steps"] == pytest.approx(100 * 1 / 3)
    assert np.isnan(oscillation(np.zeros((8, 0, 3)))["oscillating"])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "new.safetensors"
    params = refca.init_params(refca.digits_cell(), 0)
    params["update.weight"] += np.random.default_rng(0).normal(0, 0.01, (80, 19)).astype(np.float32)
    save_weights(path, DigitsExperiment(), params, 12)
    return path


def test_the_program_writes_numbers_and_pictures_twice_the_same(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    few = [*SMALL, "--samples", "7", "--steps", "2", "--chimeras", "2"]
    for out in (tmp_path / "a", tmp_path / "b"):
        assert robustness_program.main([str(weights), *few, "--out", str(out)]) == 0
    contents = [{path.name: path.read_bytes() for path in sorted(out.iterdir())} for out in tmp_path.iterdir()]
    assert contents[0] == contents[1]
    tables = {"perturbations.csv": 24, "erased.csv": 6}
    for name, length in tables.items():
        with (tmp_path / "a" / name).open() as file:
            assert len(list(csv.DictReader(file))) == length, name
    found = json.loads((tmp_path / "a" / "robustness.json").read_text())
    assert len(found["perturbations"]) == 24
    assert {"3 over 5", "5 over 3", "9 over 6", "digits"} <= set(found["chimeras"])
    assert 0 <= found["erased"]["accuracy_drawn_again"] <= 1
    assert (found["dataset"], found["training_steps"]) == ("optdigits-28", 12)
    pictures = {"size", "drawn", "strokes", "shift", "source", "perturbations", "erased", "erased-curves"}
    assert pictures | {"chimeras", "chimeras-shares"} == {path.stem for path in tmp_path.glob("a/*.png")}
    for path in tmp_path.glob("a/*.png"):
        with Image.open(path) as picture:
            picture.verify()
    assert "shift +14" in capsys.readouterr().out


def test_digits_from_another_source_are_not_those_that_were_learned(tmp_path: Path) -> None:
    params = refca.init_params(refca.digits_cell(), 0)
    save_weights(tmp_path / "w.safetensors", DigitsExperiment(dataset="optdigits"), params, 1)
    few = ["--samples", "3", "--steps", "1", "--chimeras", "1", "--out", str(tmp_path / "out")]
    assert robustness_program.main([str(tmp_path / "w.safetensors"), *few]) == 0
    rows = (tmp_path / "out" / "perturbations.csv").read_text()
    assert "shift" in rows
    assert "source" not in rows
    assert not (tmp_path / "out" / "source.png").exists()


def test_of_a_source_that_cells_trained_on_too_only_the_test_digits_are_measured() -> None:
    digits = load("optdigits-28")
    both, mnist = (
        robustness.other_source(DigitsExperiment(dataset=name), 400) for name in ("mnist-optdigits", "mnist")
    )
    assert both is not None
    assert mnist is not None
    assert (len(both), len(mnist)) == (297, 400)
    np.testing.assert_array_equal(both.pixels, digits.test.pixels)
    np.testing.assert_array_equal(mnist.pixels[297:], digits.train.pixels[:103])


def test_as_many_steps_are_counted_as_are_done(weights: Path, tmp_path: Path) -> None:
    done, flags = 0, Namespace(steps=2, chimeras=1)

    def on_progress(count: int) -> None:
        nonlocal done
        done += count

    digits = load("optdigits-28").test.part(0, 120)
    runner = make_runner(refca.digits_cell(), load_weights(weights).params, reference, 0, on_progress)
    given = (tmp_path, get_palette("article"))
    few = digits.part(0, 7)
    robustness.measure_perturbations(runner, few, few, flags.steps, *given)
    robustness.measure_chimeras(runner, digits, flags, *given)
    robustness.measure_erasing(runner, few, flags.steps, *given)
    assert robustness.digit_steps(few, few, flags) == done


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (["--samples", "0"], "--samples must be from 1 to 297, the test digits of optdigits-28, got 0"),
        (["--samples", "298"], "--samples must be from 1 to 297, the test digits of optdigits-28, got 298"),
        (["--steps", "0"], "--steps must be from 1 to 1,000,000, got 0"),
        (["--chimeras", "0"], "--chimeras must be from 1 to 1,000,000, got 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_the_program_refuses(weights: Path, capsys: Capture, flag: list[str], words: str) -> None:
    assert words in sentence(capsys, lambda: robustness_program.main([str(weights), *SMALL, *flag]))


def test_the_program_writes_into_no_other_run(weights: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "checkpoint.safetensors").touch()
    flags = [str(weights), *SMALL, "--out", str(tmp_path / "other")]
    assert "holds another run" in sentence(capsys, lambda: robustness_program.main(flags))


def test_the_program_refuses_weights_of_photographs(tmp_path: Path, capsys: Capture) -> None:
    pets = SegmentationExperiment()
    save_weights(tmp_path / "w.safetensors", pets, refca.init_params(pets.cell, 0), 1)
    message = sentence(capsys, lambda: robustness_program.main([str(tmp_path / "w.safetensors")]))
    assert "holds weights for photographs" in message
