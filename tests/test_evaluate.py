"""Evaluation as a program and as a protocol."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import Capture, sentence

import refca
from refca import data as data_sets
from refca import evaluate, train
from refca.cli import STOPPED
from refca.confusion import to_json
from refca.contract.reference import reference
from refca.data import Split
from refca.definition.params import param_shapes
from refca.digits import report, training
from refca.digits.confusions import Votes
from refca.digits.curves_csv import read_line, write_curves
from refca.digits.evaluation import CURVES, mean_ratio, others, summary, unmeasured
from refca.digits.evaluation import evaluate as measure
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput

DATA = os.environ.get("REFCA_DATA")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "short"
    assert train.main(["--experiment", "demo", "--steps", "30", "--out", str(out)]) == 0
    return out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


def test_it_writes_numbers_and_pictures_into_the_run(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate.main([str(trained), "--samples", "40", "--steps", "6", "--mutation", "both"]) == 0
    values = json.loads((trained / "evaluation.json").read_text())
    for prefix in ("", "after_mutation_", "after_restart_"):
        for key in ("accuracy", "agreement"):
            assert 0 <= values[f"{prefix}{key}_at_6"] <= values[f"{prefix}top_{key}"] <= 1
            assert 1 <= values[f"{prefix}top_{key}_step"] <= 6
    table = rows(trained / "evaluation.csv")
    assert [int(row["step"]) for row in table] == list(range(1, 13))
    assert float(table[5]["accuracy"]) == values["accuracy_at_6"]
    assert float(table[11]["accuracy"]) == values["after_mutation_accuracy_at_6"]
    assert float(table[11]["restart_accuracy"]) == values["after_restart_accuracy_at_6"]
    assert table[5]["restart_accuracy"] == ""
    for part in ("", "after_mutation_", "after_restart_"):
        cells, digits = (np.array(values[f"{part}confusion_{what}"]) for what in ("cells", "digits"))
        assert digits.sum() == 40
        assert cells.sum() > 40
        assert values[f"{part}majority_accuracy_at_6"] == np.trace(digits) / 40
    assert "the label of most cells is right for" in (printed := capsys.readouterr().out)
    assert "after mutation" in printed
    for name in ("curves.png", "confusion.png", "digits.png", "digits-28.png", "animation.gif"):
        with Image.open(trained / name) as picture:
            picture.verify()


def test_weights_alone_are_evaluated_too(trained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "w.npz"
    np.savez(weights, **refca.init_params(refca.digits_cell(), 0))
    out = tmp_path / "out"
    given = [
        "--dataset",
        "optdigits",
        "--samples",
        "5",
        "--steps",
        "2",
        "--mutation",
        "none",
        "--out",
        str(out),
    ]
    assert evaluate.main([str(weights), *given]) == 0
    values = json.loads((out / "evaluation.json").read_text())
    assert values["noise"] == 0.02
    assert "after_mutation_accuracy_at_2" not in values


def test_the_same_seed_gives_the_same_files(trained: Path, tmp_path: Path) -> None:
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        assert evaluate.main([str(trained), "--samples", "20", "--steps", "3", "--out", str(out)]) == 0
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]


def test_a_stop_while_pictures_are_drawn_does_not_lose_the_table(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report, "draw", stop)
    given = [str(trained), "--samples", "5", "--steps", "2", "--out", str(tmp_path / "out")]
    assert evaluate.main(given) == STOPPED
    assert "after mutation" in capsys.readouterr().out
    assert not list((tmp_path / "out").iterdir())


def overflowing_cell() -> tuple[refca.Cell, dict[str, Any]]:
    """A cell whose states become infinite where there is ink above 0.97."""
    cell = refca.digits_cell()
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, :2, 0] = 1e20, 1
    params["perceive.bias"][0] = -0.97e20
    params["hidden.0.weight"][0, 0] = 1
    params["update.weight"][0] = 1e10
    return cell, params


def copying_cell() -> tuple[refca.Cell, dict[str, Any]]:
    """A cell that adds its image to its last channel whenever it fires, always."""
    cell = refca.Cell(1, 3, 1, 2, hidden_layers=0, fire_rate=1.0, alive_above=0.1)
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, 0, 0] = 1
    params["update.weight"][0, 2] = 1
    return cell, params


def test_curves_are_those_that_one_counts_by_hand() -> None:
    cell, params = copying_cell()
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[0, 0, :2] = 255  # two live cells: all of them say 1
    pixels[1, 1, 1] = 255  # one live cell
    digits = Split(pixels, np.array([1, 0]), 255)
    curves = measure(cell, params, reference, digits, samples=2, steps=2, mutation="both")
    np.testing.assert_allclose(curves["before"]["accuracy"], 2 / 3)
    np.testing.assert_array_equal(curves["before"]["agreement"], 1)
    np.testing.assert_allclose(curves["before"]["state_magnitude"], [1 / 3, 2 / 3])
    np.testing.assert_allclose(curves["before"]["update_magnitude"], 1 / 3)
    # each digit becomes the other: no cell that lives then lived before, so carrying equals restarting
    np.testing.assert_allclose(curves["carry"]["state_magnitude"], [1 / 3, 2 / 3])
    np.testing.assert_allclose(curves["restart"]["state_magnitude"], [1 / 3, 2 / 3])


def test_votes_are_those_that_one_counts_by_hand() -> None:
    """The cells always predict 1: two live cells of the first digit, one of the second, none of the others."""
    cell, params = copying_cell()
    pixels = np.zeros((4, 3, 3), np.uint8)
    pixels[0, 0, :2] = pixels[1, 1, 1] = 255
    digits = Split(pixels, np.array([1, 0, 0, 1]), 255)
    votes = Votes(digits.labels, ("zero", "one"))
    measure(cell, params, reference, digits, samples=3, steps=2, mutation="carry", on_votes=votes.add)
    assert votes.cells["before"].tolist() == [[0, 1], [0, 2]]
    assert votes.digits["before"].tolist() == [[0, 1], [0, 1]]
    # digits 0, 1, 2 become 2, 3, 0: the first two are empty
    assert votes.cells["carry"].tolist() == [[0, 0], [0, 2]]
    assert votes.digits["carry"].tolist() == [[0, 0], [0, 1]]
    assert votes.sentence() == (
        "the label of most cells is right for 50.0% of the digits; the most frequent mistake is one for zero, 1 times"
    )


def test_confusions_are_counted_and_a_majority_of_equals_is_the_lowest_label() -> None:
    votes = Votes(np.array([2, 0, 1]), "abc")
    votes.add("before", np.array([0, 1]), np.array([[0, 2, 2], [3, 1, 0]]))
    votes.add("before", np.array([2]), np.array([[1, 0, 4]]))
    assert votes.cells["before"].tolist() == [[3, 1, 0], [1, 0, 4], [0, 2, 2]]
    assert votes.digits["before"].tolist() == [[1, 0, 0], [0, 0, 1], [0, 1, 0]]
    values = votes.summary({"before": ""}, 7)
    assert values["majority_accuracy_at_7"] == 1 / 3
    assert json.loads(to_json(values)) == values
    assert "    [3, 1, 0],\n" in to_json(values)


def test_the_best_weights_of_two_runs_have_names_in_a_comparison(tmp_path: Path) -> None:
    names = [evaluate.name_of(tmp_path / run) for run in ("a", "b/best", "c/best")]
    assert names == ["a", "b/best", "c/best"]


def test_measured_runs_on_digits_are_compared(trained: Path, tmp_path: Path, capsys: Capture) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        (folder / "checkpoint.safetensors").write_bytes((trained / "checkpoint.safetensors").read_bytes())
    given = [str(first), "--compare", str(second)]
    assert f"measure that run first: python -m refca.evaluate {first}" in sentence(capsys, lambda: evaluate.main(given))
    for folder, mutation in ((first, "carry"), (second, "none")):
        curves = {part: {key: np.linspace(0.1, 0.9, 4) for key in CURVES} for part in ("before", mutation)}
        curves.pop("none", None)
        write_curves(folder / "evaluation.csv", curves)
        (folder / "evaluation.json").write_text(json.dumps({"mutation": mutation, "steps": 4}))
    assert evaluate.main(given) == 0
    with Image.open(first / "comparison.png") as picture:
        picture.verify()
    line = read_line(first, first)
    assert (line["mutation"], len(line["step"]), read_line(second, second)["mutation"]) == (4, 8, None)
    (second / "evaluation.csv").write_text("step,accuracy\n1,0.5\n")
    assert f"{second / 'evaluation.csv'} is damaged" in sentence(capsys, lambda: evaluate.main(given))
    (second / "evaluation.csv").write_bytes((first / "evaluation.csv").read_bytes())
    assert f"{second / 'evaluation.csv'} does not fit" in sentence(capsys, lambda: evaluate.main(given))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pixels: pixels, None),
        (lambda pixels: 255 - pixels, "ink covers .*of the pictures, but digits must be light on dark: they look inve"),
        (
            lambda pixels: pixels // 16,
            "no cell is alive in most of the pictures: cells are alive above 0.1, and the lar",
        ),
    ],
    ids=["as it should be", "inverted", "unscaled"],
)
def test_digits_of_another_range_are_told_of(
    change: Callable[[np.ndarray], np.ndarray], words: str | None, tmp_path: Path, capsys: Capture
) -> None:
    digits = data_sets.load("optdigits-28")
    for name, split in (("train", digits.train), ("t10k", digits.test)):
        pixels = change(split.pixels[:20])
        head = b"\0\0\x08\x03" + np.array([20, 28, 28], ">u4").tobytes()
        (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = b"\0\0\x08\x01" + np.array([20], ">u4").tobytes() + split.labels[:20].astype(np.uint8).tobytes()
        (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(labels)
    given = ["digits", "--dataset", "mnist", "--data", str(tmp_path), "--backend", "reference"]
    flags = evaluate.parser().parse_args(given)
    report.begin(flags, refca.load_weights("digits"), tmp_path)
    training.load_samples(DigitsExperiment(), str(tmp_path))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (2 if words else 0)
    for line in said:
        assert re.fullmatch(f"refca: warning: mnist: {words}.*", line), line


def test_nothing_is_measured_after_a_state_became_nan_or_infinite() -> None:
    cell, digits = refca.digits_cell(), data_sets.load("optdigits").test
    params = {name: 1000 * x + np.float32(1) for name, x in refca.init_params(cell, 0).items()}
    votes: list[np.ndarray] = []
    with np.errstate(all="ignore"):
        given = cell, params, reference, digits
        curves = measure(*given, samples=4, steps=30, mutation="none", on_votes=lambda *found: votes.append(found[2]))
    first = int(np.flatnonzero(np.isnan(curves["before"]["state_magnitude"]))[0])
    assert 0 < first < 29
    for key in CURVES:
        assert np.isnan(curves["before"][key][first:]).all()
        assert not np.isnan(curves["before"][key][:first]).any()
    assert f"NaN or infinite by step {first + 1}; later" in (unmeasured(curves) or "")
    assert summary(curves)["accuracy_at_30"] is None
    assert not np.concatenate(votes).sum(), "votes of states that mean nothing"
    automaton = refca.Automaton("wild", cell, params, DigitsExperiment(), reference)
    with np.errstate(all="ignore"), pytest.raises(InvalidInput, match="NaN or infinite"):
        automaton.predict(digits.images([0])[0, ..., 0], steps=30)


def test_votes_are_not_counted_once_a_digit_overflowed(tmp_path: Path, capsys: Capture) -> None:
    cell, params = overflowing_cell()
    refca.save_weights(tmp_path / "w.safetensors", cell, params)
    out, given = tmp_path / "out", ["--dataset", "optdigits", "--samples", "40", "--steps", "12", "--mutation", "none"]
    with np.errstate(all="ignore"):
        command = [str(tmp_path / "w.safetensors"), *given, "--backend", "reference", "--out", str(out)]
        assert evaluate.main(command) == 0
    values = json.loads((out / "evaluation.json").read_text())
    for key in ("accuracy_at_12", "majority_accuracy_at_12", "confusion_cells", "confusion_digits"):
        assert values[key] is None, key
    assert not (out / "confusion.png").exists()
    printed = capsys.readouterr()
    assert "no digit has a label after the last step" in printed.out
    assert "states became NaN or infinite by step" in printed.err


def test_where_no_cell_lives_nothing_is_measured() -> None:
    cell, params = copying_cell()
    pixels = np.zeros((2, 2, 2), np.uint8)
    pixels[1, 0, 0] = 255
    digits = Split(pixels, np.array([1, 1]), 255)
    curves = measure(cell, params, reference, digits, samples=1, steps=2)
    for key in CURVES:
        assert np.isnan(curves["before"][key]).all()
    assert unmeasured(curves) is None
    np.testing.assert_array_equal(curves["carry"]["accuracy"], 1)


def test_a_mutation_carries_states_where_both_digits_live_and_a_restart_none() -> None:
    cell, params = copying_cell()
    pixels = np.zeros((2, 1, 2), np.uint8)
    pixels[0, 0, 0] = pixels[1, 0, :] = 255
    digits = Split(pixels, np.array([1, 1]), 255)
    curves = measure(cell, params, reference, digits, samples=1, steps=1, mutation="both")
    # the first cell has 1 from before and gets 1, the second gets 1: 3 in 2 cells of 3 channels
    np.testing.assert_allclose(curves["carry"]["state_magnitude"], 3 / 6)
    np.testing.assert_allclose(curves["restart"]["state_magnitude"], 2 / 6)


def test_a_digit_becomes_another_one() -> None:
    for count in (2, 3, 297):
        chosen = np.arange(count)
        assert sorted(others(chosen, count)) == list(chosen)
        assert (others(chosen, count) != chosen).all()


def test_batches_count_the_same_and_those_without_cells_are_left_out() -> None:
    above, below = (
        np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]),
        np.array([[1.0, 0.0], [4.0, 0.0], [0.0, 0.0]]),
    )
    mean = mean_ratio(above, below)
    assert mean[0] == (1 + 0.25) / 2
    assert np.isnan(mean[1])


def test_the_best_step_is_the_first_of_the_best_and_nothing_is_null() -> None:
    curves = {key: np.array([0.1, 0.5, 0.5, 0.2]) for key in CURVES}
    values = summary({"before": curves})
    assert (values["accuracy_at_4"], values["top_accuracy"], values["top_accuracy_step"]) == (0.2, 0.5, 2)
    nothing = summary({"before": {key: np.full(3, np.nan) for key in CURVES}})
    assert nothing["agreement_at_3"] is nothing["top_agreement"] is nothing["top_agreement_step"] is None


@pytest.mark.skipif(not DATA, reason="REFCA_DATA is not set: the published weights are not here")
def test_the_published_weights_do_what_the_article_says(tmp_path: Path) -> None:
    weights = Path(DATA or "") / "distill_mnist" / "weights.npz"
    if not weights.exists():
        pytest.skip(f"{weights} does not exist")
    given = ["--samples", "500", "--steps", "100", "--mutation", "none", "--out", str(tmp_path)]
    assert evaluate.main([str(weights), "--data", DATA or "", *given]) == 0
    values = json.loads((tmp_path / "evaluation.json").read_text())
    # 500 of the 10,000 digits: a few times the standard error around the article's 95.3 and 88.1
    assert abs(values["accuracy_at_100"] - 0.953) < 0.02
    assert abs(values["agreement_at_100"] - 0.881) < 0.05
