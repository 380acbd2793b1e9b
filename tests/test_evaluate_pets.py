"""Evaluation of photographs: counts, files, and error messages."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from refusals import Capture, sentence

import refca
import refca.digits.report  # binds data.load before a test replaces it
import refca.digits.robustness_report
from refca import data as data_sets
from refca import evaluate
from refca.cli import STOPPED
from refca.confusion import mean_iou
from refca.contract.reference import reference
from refca.data import CLASSES, Dataset, Photographs
from refca.data.photographs import IGNORED
from refca.definition.metrics import count_overlaps, ratio
from refca.definition.params import param_shapes
from refca.definition.randomness import Streams
from refca.definition.step import gate, hidden_layers, neighbourhood
from refca.definition.strided import encode
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.segmentation import adversarial
from refca.segmentation import report as evaluate_pets
from refca.segmentation.columns import iou_names
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import (
    LEAP,
    MAGNITUDES,
    columns,
    confusion_at,
    curves,
    iou_at,
    shifted,
    shown,
    summary,
    take_snapshots,
    totals,
    unmeasured,
)
from refca.segmentation.gate import gate_function
from refca.segmentation.rollout import Rollout, replaced_grid, rollout
from refca.segmentation.settings import SegmentationExperiment
from refca.training.checkpoint import save_weights

COLUMNS, IOUS = columns(CLASSES), iou_names(CLASSES)
FEW = ["--backend", "reference", "--at", "1,3", "--steps", "5", "--every", "2", "--shift", "1"]
WRITTEN = {"evaluation.json", "evaluation.csv", "confusion.png", *evaluate_pets.PICTURES}


def painted(trimaps: np.ndarray) -> Photographs:
    """Photographs that show their own trimaps: class c is the colour whose channel c is full."""
    pixels = (trimaps[..., None] == np.arange(3)).astype(np.uint8) * 255
    return Photographs(pixels, trimaps.astype(np.uint8), tuple(f"pet_{i}" for i in range(len(trimaps))))


def random_photographs(count: int = 5, side: int = 8) -> Photographs:
    return painted(np.random.default_rng(0).integers(0, 3, (count, side, side)))


def copying_cell() -> tuple[refca.Cell, dict[str, Any]]:
    """A cell whose state is the image that it saw in the last step; its readout is its state."""
    cell = refca.Cell(3, 3, 6, 3, hidden_layers=0, biases=False, fire_rate=1.0, residual=False, normal_start=True)
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, :3] = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
    params["update.weight"][:] = np.concatenate([np.eye(3), -np.eye(3)])
    return cell, params


def random_params(cell: refca.Cell) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    shapes = param_shapes(cell).items()
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes}


def small_cell(**settings: Any) -> refca.Cell:
    return replace(refca.segmentation_cell(**settings), state_channels=4, hidden_width=5)


# counting


def test_overlaps_add_up_to_the_iou_of_everything() -> None:
    rng = np.random.default_rng(1)
    predicted, target = rng.integers(0, 3, (2, 6, 7)), rng.integers(0, 3, (2, 6, 7))
    counts = np.sum([count_overlaps(p, t, 4) for p, t in zip(predicted, target, strict=True)], axis=0)
    np.testing.assert_array_equal(ratio(*counts), refca.iou(predicted, target, 4))
    assert np.isnan(refca.iou(predicted, target, 4)[3])


def test_iou_refuses_what_are_no_two_label_maps() -> None:
    labels = np.array([0, 1, 2])
    with pytest.raises(InvalidInput, match=r"must have the same shape, got \(3,\) and \(2,\)"):
        refca.iou(labels, labels[:2], 3)
    with pytest.raises(InvalidInput, match="labels must be from 0 to 1, got 0 to 2"):
        refca.iou(labels, labels % 2, 2)
    with pytest.raises(InvalidInput, match="got -1 to 1"):
        refca.iou(labels % 2, labels - 1, 3)


def test_iou_is_accumulated_over_slices_at_the_steps_asked_for() -> None:
    cell, params = copying_cell()
    photographs = random_photographs(40)
    wrong = replace(photographs, trimaps=(photographs.trimaps + (np.arange(40) % 2 == 0)[:, None, None]) % 3)
    ious = iou_at(cell, params, reference, wrong, samples=37, at=[0, 1, 4])
    for row in ious[1:]:
        expected = refca.iou(photographs.labels(slice(37)), wrong.labels(slice(37)), 3)
        np.testing.assert_array_equal(row, expected)
    assert (ious[0] < 0.5).all()  # noise


def test_confusion_accuracy_and_mean_iou_are_those_of_all_pixels_together() -> None:
    cell, params = copying_cell()
    photographs = random_photographs(40)
    wrong = replace(photographs, trimaps=(photographs.trimaps + (np.arange(40) % 2 == 0)[:, None, None]) % 3)
    counts = confusion_at(cell, params, reference, wrong, samples=37, at=[0, 4])[1]
    predicted, target = photographs.labels(slice(37)), wrong.labels(slice(37))
    for truth in range(3):
        for label in range(3):
            assert counts[truth, label] == ((target == truth) & (predicted == label)).sum()
    values = totals([4], counts[None])
    assert values["pixel_accuracy_at_4"] == (predicted == target).mean()
    assert values["mean_iou_at_4"] == pytest.approx(refca.iou(predicted, target, 3).mean(), rel=1e-15)
    assert values["confusion_at_4"] == counts.tolist()
    assert totals([4], counts[None] * np.nan) == {
        "mean_iou_at_4": None,
        "pixel_accuracy_at_4": None,
        "confusion_at_4": None,
    }
    absent = np.array([[3.0, 1, 0], [2, 4, 0], [0, 0, 0]])  # the third class occurs nowhere
    assert mean_iou(absent) == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_what_is_measured_does_not_depend_on_where_else_one_looks() -> None:
    cell = small_cell()
    given: tuple[Any, ...] = (cell, random_params(cell), reference, random_photographs())
    once: list[int] = []
    often: list[int] = []
    np.testing.assert_array_equal(
        iou_at(*given, samples=3, at=[4], on_progress=once.append)[0],
        iou_at(*given, samples=3, at=[1, 2, 4], on_progress=often.append)[-1],
    )
    assert (sum(once), sum(often)) == (12, 12)
    kept = curves(*given, samples=3, steps=4)["kept"]
    np.testing.assert_array_equal([kept[name][-1] for name in IOUS], iou_at(*given, samples=3, at=[4])[0])


def test_curves_follow_the_photograph_that_is_shown() -> None:
    cell, params = copying_cell()
    found = curves(cell, params, reference, random_photographs(), samples=3, steps=6, every=2, shift=3)
    for way, curve in found.items():
        assert list(curve) == list(COLUMNS)
        assert curve["step"].tolist() == [1, 2, 3, 4, 5, 6]
        assert curve["changes"].tolist() == ([0] * 6 if way == "kept" else [0, 0, 1, 1, 2, 2])
        for name in IOUS:
            np.testing.assert_array_equal(curve[name], 1)
        assert np.isnan(curve["gate"]).all()  # this cell has none
    # states are images of magnitude 1: they change with the photograph and not otherwise
    np.testing.assert_array_equal(found["kept"]["state"], 1)
    np.testing.assert_array_equal(found["replaced"]["logits"], 1)
    np.testing.assert_array_equal(found["kept"]["state_change"][1:], 0)
    for way in ("replaced", "shifted"):
        assert (found[way]["state_change"][2::2] > 0.3).all()
        np.testing.assert_array_equal(found[way]["logits_change"][1::2], 0)


def test_states_are_carried_over_to_another_photograph() -> None:
    cell = replace(small_cell(), fire_rate=0.0)
    moments = list(
        take_snapshots(
            cell,
            random_params(cell),
            reference,
            random_photographs(),
            np.arange(2),
            "replaced",
            steps=3,
            every=1,
        )
    )
    assert (moments[1].image != moments[2].image).any()
    for moment in moments:
        np.testing.assert_array_equal(moment.state, moments[0].state)


def test_a_photograph_is_replaced_by_another() -> None:
    photographs = random_photographs(7)
    image, target = shown(photographs, np.array([5, 6]), "replaced", 2, 0)
    np.testing.assert_array_equal(image, photographs.images([(5 + 2 * LEAP) % 7, (6 + 2 * LEAP) % 7]))
    np.testing.assert_array_equal(target, photographs.labels([(5 + 2 * LEAP) % 7, (6 + 2 * LEAP) % 7]))


def test_a_shift_goes_round_a_square_and_nothing_is_known_of_what_comes_in() -> None:
    photographs = random_photographs(1)
    image, target = photographs.images([0]), photographs.labels([0])
    for changes, (down, right) in enumerate([(0, 0), (0, 2), (2, 2), (2, 0), (0, 0)]):
        seen, known = shown(photographs, np.arange(1), "shifted", changes, 2)
        np.testing.assert_array_equal(seen[:, down:, right:], image[:, : 8 - down, : 8 - right])
        np.testing.assert_array_equal(known[:, down:, right:], target[:, : 8 - down, : 8 - right])
        assert (known == -1).sum() == 64 - (8 - down) * (8 - right)
        assert (seen[known == -1] == 0).all()
    assert (shifted(target, 0, 0, -1) == target).all()


@pytest.mark.parametrize("settings", [{}, {"stride": 2}, {"depthwise": True, "norm": "batch"}])
def test_gates_are_those_of_the_step(settings: dict[str, Any]) -> None:
    cell = small_cell(**settings)
    params = random_params(cell)
    image = random_photographs(3).images(slice(3))
    state = refca.init_state(cell, image, Streams(0))
    hidden = hidden_layers(cell, params, neighbourhood(encode(cell, params, image), state))
    np.testing.assert_allclose(
        gate_function(cell, params, reference)(image, state), gate(params, hidden)[..., 0], rtol=1e-5
    )


def test_gates_of_a_cell_with_biases_and_noise() -> None:
    cell = replace(small_cell(norm="none"), biases=True, noise=0.5)
    params = random_params(cell)
    image = random_photographs(1).images(slice(1))
    state = refca.init_state(cell, image, Streams(0))
    hidden = hidden_layers(cell, params, neighbourhood(image, state))
    np.testing.assert_allclose(
        gate_function(cell, params, reference)(image, state), gate(params, hidden)[..., 0], rtol=1e-5
    )


def test_nothing_is_null() -> None:
    assert summary([40], np.array([[0.5, np.nan, 0.25]])) == {
        "iou_background_at_40": 0.5,
        "iou_object_at_40": None,
        "iou_boundary_at_40": 0.25,
    }


# files


def test_curves_are_read_as_they_were_written(tmp_path: Path) -> None:
    cell, params = copying_cell()
    found = curves(cell, params, reference, random_photographs(), samples=2, steps=3, every=1)
    write_curves(tmp_path / "evaluation.csv", found)
    read = read_curves(tmp_path / "evaluation.csv", tmp_path)
    for way, curve in found.items():
        for name in COLUMNS:
            np.testing.assert_array_equal(read[way][name], curve[name])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "step,accuracy\n1,0.5\n",
        "photographs,step\nkept,1\n",
        "photographs,step\nkept,1,2\n",
        f"photographs,step\nkept,{'1' * 140_000}\n",
        "photographs,step\nkept,\udc80\n",
    ],
)
def test_a_file_of_other_curves_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "evaluation.csv").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(InvalidInput, match=r"is damaged: .* \(an evaluation\.csv of photographs was expected\)"):
        read_curves(tmp_path / "evaluation.csv", tmp_path)


# states that are not finite


def exploding() -> tuple[refca.Cell, dict[str, Any]]:
    """A cell that multiplies its state by about 1e10 in every step, beyond float32 in the fourth."""
    cell = refca.Cell(3, 3, 6, 3, hidden_layers=0, biases=False, fire_rate=1.0, residual=False, normal_start=True)
    params = {name: np.zeros(shape, np.float32) for name, shape in param_shapes(cell).items()}
    params["perceive.weight"][1, 1, 3:] = np.concatenate([np.eye(3), -np.eye(3)], axis=1)
    params["update.weight"][:] = 1e10 * np.concatenate([np.eye(3), -np.eye(3)])
    return cell, params


def test_nothing_is_measured_once_states_are_not_finite() -> None:
    cell, params = exploding()
    given = (cell, params, reference, random_photographs())
    with np.errstate(all="ignore"):
        ious = iou_at(*given, samples=3, at=[1, 3, 4, 9])
        found = curves(*given, samples=3, steps=9)
        film = rollout(*given, "kept", steps=9)
    assert np.isnan(ious).all(axis=1).tolist() == [False, False, True, True]
    for way, curve in found.items():
        for name in (*IOUS, "state", "state_change"):
            assert np.isnan(curve[name]).tolist() == [False] * 3 + [True] * 6, (way, name)
    assert [bool((labels == -1).any()) for labels in film.labels] == [False] * 3 + [True]  # steps 0, 1, 2, 5
    assert unmeasured([1, 3, 4, 9], ious, found) == (
        "states became NaN or infinite: of all samples by step 4, of photographs kept by step 4, of photographs "
        "replaced by step 4, of photographs shifted by step 4; later steps are not measured"
    )
    assert unmeasured([1, 3], ious[:2], {}) is None


# adversarial images


def test_an_adversarial_image_is_asked_for_at_the_steps_that_count_in_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weights = []

    def spy(*given: Any, **settings: Any) -> Any:
        weights.append(given[6])
        return 0.0, {"image": np.zeros_like(given[3])}, given[4]

    monkeypatch.setattr(reference, "loss_and_grads", spy)
    monkeypatch.setattr(adversarial, "ITERATIONS", 1)
    adversarial.attack(*copying_cell(), reference, random_photographs(2), 1)
    counts = weights[0] > 0
    assert counts[:, 0].tolist() == [False] * 13 + [True] * 27  # steps 14 to 40 are later than 40/3
    np.testing.assert_allclose(weights[0].sum(), 1, rtol=1e-6)


def test_an_adversarial_image_differs_in_its_corner_only_and_goes_where_it_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adversarial, "STEPS", 2)
    cell, params = copying_cell()
    photographs = random_photographs(2, 9)
    found = adversarial.attack(cell, params, reference, photographs, 1)
    before, after = found.image["before"], found.image["after"]
    assert found.mask.sum() == 2 * 9
    np.testing.assert_array_equal(after[~found.mask], before[~found.mask])
    assert (found.predicted["after"][:, :3, :3] == 1).all()
    assert np.abs(after).max() <= 1
    again = adversarial.attack(cell, params, reference, photographs, 1)
    np.testing.assert_array_equal(again.image["after"], after)
    values = adversarial.adversarial_summary(found)
    assert values["adversarial_label"] == "object"
    named = adversarial.adversarial_summary(found._replace(classes=("#000000", "Cat & dog", "rest")))
    assert {"adversarial_iou_000000_before", "adversarial_iou_cat_dog_after"} <= set(named)
    assert values["adversarial_iou_background_before"] == values["adversarial_iou_background_after"] == 1
    assert values["adversarial_inside_after"] == 1
    assert values["adversarial_outside_after"] == (photographs.trimaps[~found.mask] == 1).mean()


def test_the_papers_adversarial_image_brings_back_a_label_whose_pixels_were_made_gray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adversarial, "STEPS", 2)
    monkeypatch.setattr(adversarial, "GRAY", 0.1)  # this cell has no gradient at 0
    cell, params = copying_cell()
    photographs = random_photographs(2, 9)
    found = adversarial.attack(cell, params, reference, photographs, 2, region="label")
    np.testing.assert_array_equal(found.mask, photographs.trimaps == 2)
    assert list(found.image) == ["before", "gray", "after"]
    assert (found.image["gray"][found.mask] == np.float32(0.1)).all()
    for image in found.image.values():
        np.testing.assert_array_equal(image[~found.mask], found.image["before"][~found.mask])
    values = adversarial.adversarial_summary(found)
    assert values["adversarial_inside_before"] == values["adversarial_inside_after"] == 1
    assert values["adversarial_inside_gray"] == 0  # a gray pixel has equal outputs, and ties go to background
    assert values["adversarial_outside_after"] == 0
    assert values["adversarial_iou_boundary_after"] is None  # no pixel outside the region has the label


def test_an_adversarial_image_leaves_out_pixels_that_count_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adversarial, "STEPS", 2)
    monkeypatch.setattr(adversarial, "ITERATIONS", 2)
    cell, params = copying_cell()
    photographs = random_photographs(2, 9)
    photographs.trimaps[:, 4] = IGNORED
    found = adversarial.attack(cell, params, reference, photographs, 2, region="label")
    assert not found.mask[:, 4].any()
    np.testing.assert_array_equal(found.image["after"][:, 4], found.image["before"][:, 4])
    assert 0 <= adversarial.adversarial_summary(found)["adversarial_inside_after"] <= 1


# the program


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch) -> Photographs:
    photographs = random_photographs(40, 16)
    monkeypatch.setattr(data_sets, "load", lambda *_, **__: Dataset("pets", "not read", photographs))
    return photographs


RUN = {"weights.safetensors", "checkpoint.safetensors"}


def trained(out: Path, **settings: Any) -> Path:
    """A run directory with weights in it, random ones; its checkpoint is not read."""
    out.mkdir()
    experiment = SegmentationExperiment(size=16, state=4, hidden=4, **settings)
    save_weights(out / "weights.safetensors", experiment, random_params(experiment.cell), 7)
    (out / "checkpoint.safetensors").touch()
    return out / "weights.safetensors"


@pytest.mark.parametrize(
    "settings", [{}, {"resettable": False, "norm": "batch"}, {"stride": 2}], ids=["plain", "batch", "stride"]
)
def test_it_writes_numbers_and_pictures_into_the_run(
    tmp_path: Path, data: Photographs, capsys: Capture, settings: dict[str, Any]
) -> None:
    weights = trained(tmp_path / "run", **settings)
    assert evaluate.main([str(weights), *FEW, "--samples", "34", "--curve-samples", "2"]) == 0
    out = weights.parent
    assert {path.name for path in out.iterdir()} == WRITTEN | RUN
    values = json.loads((out / "evaluation.json").read_text())
    for step in (1, 3):
        for name in CLASSES:
            assert 0 <= values[f"iou_{name}_at_{step}"] <= 1
    assert (values["samples"], values["curve_samples"], values["training_steps"]) == (34, 2, 7)
    with (out / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["photographs"] for row in rows] == ["kept"] * 5 + ["replaced"] * 5 + ["shifted"] * 5
    assert {row["gate"] == "" for row in rows} == {not settings.get("resettable", True)}
    assert all(float(row[name]) >= 0 for row in rows for name in MAGNITUDES[1:])
    for name in evaluate_pets.PICTURES:
        with Image.open(out / name) as picture:
            picture.verify()
    assert "at step 3" in capsys.readouterr().out


def test_a_stop_while_pictures_are_drawn_does_not_lose_the_table(
    tmp_path: Path, data: Photographs, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate_pets, "draw", stop)
    weights = trained(tmp_path / "run")
    assert evaluate.main([str(weights), *FEW, "--samples", "2"]) == STOPPED
    assert "at step 3" in capsys.readouterr().out
    assert {path.name for path in weights.parent.iterdir()} == RUN


def test_it_says_where_states_stopped_being_finite(
    tmp_path: Path, data: Photographs, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(adversarial, "ITERATIONS", 1)
    weights = trained(tmp_path / "run", resettable=False, residual=False, norm="none")
    experiment = SegmentationExperiment(size=16, state=4, hidden=4, resettable=False, residual=False, norm="none")
    params = {name: 1e12 * x for name, x in random_params(experiment.cell).items()}
    save_weights(weights, experiment, params, 7)
    with np.errstate(all="ignore"):
        assert evaluate.main([str(weights), *FEW, "--samples", "2", "--adversarial"]) == 0
    assert "refca: states became NaN or infinite: of all samples by step " in capsys.readouterr().err
    values = json.loads((weights.parent / "evaluation.json").read_text())
    assert [values[f"{name}_at_3"] for name in IOUS] == [None] * 3
    assert values["adversarial_iou_background_before"] is None
    with (weights.parent / "evaluation.csv").open() as file:
        assert {row["iou_object"] for row in csv.DictReader(file) if row["step"] == "5"} == {""}


def test_the_same_seed_gives_the_same_files(tmp_path: Path, data: Photographs) -> None:
    weights = trained(tmp_path / "run")
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        assert evaluate.main([str(weights), *FEW, "--samples", "3", "--out", str(out)]) == 0
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]


def test_an_adversarial_image_is_made_if_asked_for(
    tmp_path: Path, data: Photographs, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setattr(adversarial, "ITERATIONS", 2)
    weights = trained(tmp_path / "run")
    assert evaluate.main([str(weights), *FEW, "--samples", "2", "--adversarial"]) == 0
    values = json.loads((weights.parent / "evaluation.json").read_text())
    assert values["adversarial_label"] == "background"
    assert 0 <= values["adversarial_iou_object_after"] <= 1
    with Image.open(weights.parent / "adversarial.png") as picture:
        picture.verify()
    assert "IoU outside the region, after the attack" in capsys.readouterr().out
    region = ["--adversarial-region", "label"]
    assert evaluate.main([str(weights), *FEW, "--samples", "2", "--adversarial", "object", *region]) == 0
    assert json.loads((weights.parent / "evaluation.json").read_text())["adversarial_region"] == "label"
    assert "IoU outside the region, with a gray region" in capsys.readouterr().out
    message = sentence(capsys, lambda: evaluate.main([str(weights), *FEW, *region]))
    assert "--adversarial-region needs --adversarial, which says towards which label" in message


def test_runs_that_have_been_measured_are_compared(tmp_path: Path, data: Photographs, capsys: Capture) -> None:
    runs = [trained(tmp_path / "first"), trained(tmp_path / "second", resettable=False)]
    given = [str(runs[0]), "--compare", str(runs[1].parent)]
    assert evaluate.main(given) == 2
    assert f"measure that run first: python -m refca.evaluate {runs[0]}\n" in capsys.readouterr().err
    for weights in runs:
        assert evaluate.main([str(weights), *FEW, "--samples", "2"]) == 0
    before = (runs[0].parent / "evaluation.json").read_bytes()
    assert evaluate.main(given) == 0
    assert (runs[0].parent / "evaluation.json").read_bytes() == before
    for name in ("comparison.png", "comparison-magnitudes.png"):
        with Image.open(runs[0].parent / name) as picture:
            picture.verify()
    curves = runs[1].parent / "evaluation.csv"
    text = curves.read_text()
    curves.write_text(text.replace("iou_object", "iou_pet"))
    said = sentence(capsys, lambda: evaluate.main(given))
    assert "--compare needs runs with the same classes, but first has background, object, boundary; second has" in said
    curves.write_text(text)
    for path in runs[1].parent.glob("*.safetensors"):  # what was measured is enough
        path.unlink()
    assert evaluate.main(given) == 0
    (tmp_path / "else").mkdir()
    runs[1].parent.rename(tmp_path / "else" / "first")
    assert evaluate.main([*given[:2], str(tmp_path / "else" / "first")]) == 2
    assert "--compare needs directories with different names" in capsys.readouterr().err


def test_the_photographs_held_out_are_measured_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """The measured labels identify the photographs: all held-out photographs are object only."""
    held_out = painted(np.ones((3, 16, 16), np.int64))
    both = painted(np.concatenate([random_photographs(4, 16).trimaps, held_out.trimaps]))
    monkeypatch.setattr(data_sets, "load", lambda *_, **__: Dataset("pets", both, random_photographs(9, 16)))
    weights = trained(tmp_path / "run", validation=3)
    assert evaluate.main([str(weights), *FEW, "--validation"]) == 0
    values = json.loads((weights.parent / "evaluation.json").read_text())
    assert (values["split"], values["samples"]) == ("validation", 3)
    for step in (1, 3):
        assert values[f"iou_boundary_at_{step}"] in (0, None)
        assert values[f"iou_background_at_{step}"] in (0, None)
    assert evaluate.main([str(weights), *FEW]) == 0
    values = json.loads((weights.parent / "evaluation.json").read_text())
    assert (values["split"], values["samples"]) == ("test", 9)
    message = sentence(capsys, lambda: evaluate.main([str(trained(tmp_path / "none")), *FEW, "--validation"]))
    assert "--validation needs weights whose training held photographs out" in message


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--mutation", "carry"], "--mutation does not apply to"),
        (["--noise", "0"], "--noise does not apply to"),
        (["--palette", "article"], "--palette does not apply to"),
        (["--dataset", "mnist"], "mnist"),
        (["--samples", "41"], "--samples must be from 1 to 40, the number of photographs, got 41"),
        (["--curve-samples", "0"], "--curve-samples must be from 1 to 40, the number of photographs, got 0"),
        (["--steps", "0"], "--steps must be from 1 to 1,000,000, got 0"),
        (["--at", "forty"], "--at must be steps such as 40,400, got 'forty'"),
        (["--at=-1,3"], "--at must be steps such as 40,400, got '-1,3'"),
        (["--at", ""], "--at must be steps such as 40,400, got ''"),
        (["--every", "0"], "--every must be from 1 to 1,000,000, got 0"),
        (["--shift", "16"], "--shift must be from 0 to 15 for photographs of 16x16, got 16"),
        (["--shift=-1"], "--shift must be from 0 to 15 for photographs of 16x16, got -1"),
        (["--seed=-1"], "seed must be from 0 to 2**64 - 1, got -1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_it_refuses(tmp_path: Path, data: Photographs, capsys: Capture, flags: list[str], words: str) -> None:
    weights = trained(tmp_path / "run")
    assert words in sentence(capsys, lambda: evaluate.main([str(weights), "--backend", "reference", *flags]))
    assert {path.name for path in weights.parent.iterdir()} == RUN


def test_a_size_that_the_stride_does_not_divide_is_refused(tmp_path: Path, capsys: Capture) -> None:
    weights = trained(tmp_path / "run", stride=4)
    message = sentence(capsys, lambda: evaluate.main([str(weights), "--size", "18"]))
    assert "--size must be a multiple of 4, the stride of these cells, got 18" in message
    message = sentence(capsys, lambda: evaluate.main([str(weights), "--size", "0"]))
    assert "size must be at least 1, got 0" in message


@pytest.mark.parametrize("flag", ["--at=40", "--adversarial", "--curve-samples=3"])
def test_digits_refuse_what_is_for_photographs(tmp_path: Path, capsys: Capture, flag: str) -> None:
    experiment = DigitsExperiment(dataset="optdigits")
    weights = tmp_path / "w.safetensors"
    save_weights(weights, experiment, refca.init_params(experiment.cell, 0), 0)
    name = flag.split("=")[0]
    message = sentence(capsys, lambda: evaluate.main([str(weights), flag]))
    assert f"{name} does not apply to {weights}, which holds weights for digits" in message
    message = sentence(capsys, lambda: evaluate.main([str(weights), "--dataset", "pets"]))
    known = "mnist, optdigits, optdigits-28, mnist-optdigits"
    assert f"dataset must be one of {known}, or the path of your own data" in message


# films


def test_a_film_of_cells_with_batch_norm_is_of_a_whole_slice() -> None:
    photographs = random_photographs(33)
    for norm, alike in (("instance", True), ("batch", False)):
        cell = small_cell(norm=norm)
        few = replace(photographs, pixels=photographs.pixels[:9], trimaps=photographs.trimaps[:9])
        films = [rollout(cell, random_params(cell), reference, p, "kept", steps=3) for p in (photographs, few)]
        assert np.array_equal(films[0].labels[-1], films[1].labels[-1]) == alike
        assert films[0].labels.shape == (3, 8, 8, 8)


def test_a_film_keeps_the_steps_that_are_drawn() -> None:
    cell, photographs = small_cell(), random_photographs(2)
    for way, steps in (("kept", [0, 1, 2, 5]), ("replaced", list(range(8)))):
        film = rollout(cell, random_params(cell), reference, photographs, way, steps=7, every=3)
        assert film.step.tolist() == steps
        assert len(film.labels) == len(film.state) == len(film.photo) == len(steps)


def test_photographs_shown_for_fewer_steps_than_are_drawn(tmp_path: Path) -> None:
    T, B, S = 8, 2, 8
    film = Rollout(
        step=np.arange(T),
        labels=np.zeros((T, B, S, S), int),
        photo=np.array([0, 0, 0, 0, 1, 1, 1, 2]),
        image=np.zeros((3, B, S, S, 3)),
        target=np.zeros((3, B, S, S), int),
        gate=None,
        state=np.zeros((T, S, S, 2)),
    )
    replaced_grid(film, tmp_path / "a.png", every=3)  # three photographs, the last for a step
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] > 7 * 96
