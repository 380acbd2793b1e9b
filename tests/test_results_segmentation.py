"""Runs on photographs in `results/`: what is kept of them, and the page that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import paper_figures
import pytest
import segmentation
import short_figures
import short_runs
from kept import FOLDER
from refusals import Capture, sentence

from refca.data import CLASSES, Dataset, Photographs
from refca.definition.params import init_params
from refca.segmentation.curves_csv import read_curves, write_curves
from refca.segmentation.evaluation import CONDITIONS, columns
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import load_experiment
from refca.training.checkpoint import save_weights
from refca.weights.load import load_weights

COLUMNS = columns(CLASSES)


def measured(out: Path, done: int = 7, **settings: int | str) -> Path:
    """A run directory as training and evaluation leave it, with made-up numbers."""
    out.mkdir(parents=True)
    experiment = SegmentationExperiment(**{"state": 4, "hidden": 4, "batch": 2, "steps": 7} | settings)  # type: ignore[arg-type]
    save_weights(out / "weights.safetensors", experiment, init_params(experiment.cell, 0), 7)
    (out / "settings.toml").write_text(experiment.toml())
    (out / "metrics.csv").write_text("step,loss\n5,1.25\n7,0.75\n")
    (out / "segmentation.png").write_bytes(b"a picture")
    curves = {condition: {name: np.array([1.0, 0.123456, np.nan]) for name in COLUMNS} for condition in CONDITIONS}
    write_curves(out / "evaluation.csv", curves)
    values = {"model": str(out), "training_steps": done, "samples": 3669, "at": [40], "curve_samples": 64}
    values |= {"steps": 400, "every": 40, "shift": 4, "seed": 0, "split": "test"}
    values |= {"dataset": experiment.dataset, "size": experiment.size}
    values["mean_iou_at_40"] = 0.5918
    values |= {f"iou_{name}_at_40": x for name, x in (("object", 0.6543), ("boundary", 0.321), ("background", 0.8))}
    (out / "evaluation.json").write_text(json.dumps(values))
    return out


def run(into: Path, *arguments: str) -> int:
    return segmentation.main(["--into", str(into), *arguments])


def test_a_run_is_kept_and_shown_beside_floors_and_table_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    into, out = tmp_path / "results" / "segmentation", measured(tmp_path / "runs" / "pets-seed0")
    readme = tmp_path / "README.md"
    readme.write_text("<!-- written by tools/results/segmentation.py: from here -->\n<!-- to here -->\n")
    (out / "long").mkdir()
    more = json.loads((out / "evaluation.json").read_text()) | {"samples": 256, "at": [40, 400]}
    more |= {"iou_object_at_40": 0.1, "iou_object_at_400": 0.6261}
    (out / "long" / "evaluation.json").write_text(json.dumps(more))
    assert run(into, "keep", str(out), "--seconds", "600", "--machine", "an abacus") == 0
    trimaps = np.zeros((2, 48, 48), np.uint8)
    trimaps[:, :24], trimaps[1, :12] = 1, 2
    pets = Photographs(np.zeros((2, 48, 48, 3), np.uint8), trimaps, ("a", "b"))
    monkeypatch.setattr(segmentation, "load", lambda *_, **__: Dataset("pets", pets, pets))
    assert run(into, "floors") == 0
    assert run(into, "rebuild") == 0
    page = (into / "README.md").read_text()
    assert "| background everywhere | – | 0.0 | 0.0 | 50.0 | 0.0 | 0.0 | 50.0 |" in page
    assert "| the most frequent class of each pixel | – | 0.0 | 75.0 | 100.0 | 0.0 | 75.0 | 100.0 |" in page
    assert "| [pets-seed0](pets-seed0) | 316 | 32.1 | 65.4 | 80.0 | – | 62.6 (256) | – |" in page
    again = "python -m refca.evaluate runs/pets-seed0 --data DIR"
    assert "| pets-seed0 | 316 | 32.1 | 65.4 | 80.0 |\n\n<!-- to here -->" in readme.read_text()
    assert f"{again}\n{again} --at 40,400 --samples 256 --out runs/pets-seed0/long\n" in page
    assert "| instance, 64, 96 | 32.3K | unstable | unstable | 82K | 48.6 | 80.7 |" in page
    assert "| pets-seed0 | random weights | 7 | 2 at 48x48 | 10 min | an abacus | 3,669 | – |" in page
    assert "--experiment results/segmentation/pets-seed0/settings.toml --seed 0" in page
    for path in into.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes(), f"{path} names this machine"
    kept = read_curves(into / "pets-seed0" / "evaluation.csv", out)["kept"]["iou_object"]
    np.testing.assert_array_equal(kept, [1.0, 0.1235, np.nan])


def test_an_adversarial_image_is_kept_and_shown(tmp_path: Path) -> None:
    into, out = tmp_path / "results", measured(tmp_path / "runs" / "fooled")
    (out / "adversarial").mkdir()
    values = json.loads((out / "evaluation.json").read_text())
    values |= {"adversarial_label": "object", "adversarial_region": "label", "adversarial_samples": 6}
    values |= {"adversarial_steps": 40, "adversarial_inside_before": 0.5, "adversarial_outside_before": None}
    values |= {"adversarial_inside_after": 0.875, "adversarial_outside_after": 0.25}
    (out / "adversarial" / "evaluation.json").write_text(json.dumps(values))
    (out / "adversarial" / "adversarial.png").write_bytes(b"a picture")
    assert run(into, "keep", str(out)) == 0
    assert run(into, "rebuild") == 0
    page = (into / "README.md").read_text()
    assert "](fooled/adversarial.png)" in page
    assert "| the photograph | 50.0 | – |\n| and then changed | 87.5 | 25.0 |" in page
    assert "--adversarial object --adversarial-region label --out runs/fooled/adversarial\n" in page


def test_measurements_of_other_weights_are_neither_kept_nor_left(tmp_path: Path, capsys: Capture) -> None:
    into, out = tmp_path / "results", measured(tmp_path / "run")
    values = json.loads((out / "evaluation.json").read_text())
    for part in ("long", "adversarial"):
        (out / part).mkdir()
        (out / part / "evaluation.json").write_text(json.dumps(values | {"training_steps": 6}))
        said = sentence(capsys, lambda: run(into, "keep", str(out)))
        assert f"{part}/evaluation.json has training_steps 6, these weights 7; measure them again" in said
        (out / part / "evaluation.json").unlink()
    kept = into / "run"
    kept.mkdir(parents=True)
    older = [kept / name for name in ("long.json", "adversarial.json", "adversarial.png", "gate.png")]
    for path in older:
        path.write_text("of other weights")
    assert run(into, "keep", str(out)) == 0
    assert not any(path.exists() for path in older[:3])


def test_the_page_says_how_magnitudes_grow_over_ten_times_the_target(tmp_path: Path) -> None:
    steps = np.arange(1.0, 401)
    curve = dict.fromkeys(COLUMNS, steps) | {"state_change": 1 / steps, "gate": np.full(400, np.nan)}
    write_curves(tmp_path / "evaluation.csv", dict.fromkeys(CONDITIONS, curve))
    table, sentence = paper_figures.magnitudes(tmp_path, 40)
    assert "| state | 1.000 | 10.000 | 40.000 | 100.000 | 200.000 | 400.000 |" in table
    assert "gate" not in table
    assert "grows by a factor of\n10.00" in sentence
    assert "2.000" in sentence
    assert "0.10 and 10.00 times that at step 40" in sentence
    assert len(list(paper_figures.magnitudes(tmp_path, 80))) == 1  # 800 steps were not measured


def test_the_page_says_how_cells_do_after_replacements(tmp_path: Path) -> None:
    steps = np.arange(1.0, 13)
    iou = np.array([0.1, 0.2, 0.3, 0.5, 0.1, 0.395, 0.395, 0.4, 0.2, 0.3, 0.595, 0.6])
    curve = dict.fromkeys(COLUMNS, steps) | {"iou_object": iou}
    write_curves(tmp_path / "evaluation.csv", dict.fromkeys(CONDITIONS, curve))
    (tmp_path / "evaluation.json").write_text(json.dumps({"every": 4, "curve_samples": 9}))
    (sentence,) = paper_figures.replacements(tmp_path)
    assert "on the first 9 test photographs object IoU is 50.0 at step 4. They are replaced 2 times" in sentence
    assert "it is 40.0 to 60.0 on the photographs of that time, 50.0 on average" in sentence
    assert "within a point of that after 2 to 3 steps" in sentence
    (tmp_path / "evaluation.json").write_text(json.dumps({"every": 12, "curve_samples": 9}))
    assert not list(paper_figures.replacements(tmp_path))


def test_weights_that_a_run_began_with_are_kept_with_it(tmp_path: Path) -> None:
    first, into = measured(tmp_path / "first"), tmp_path / "results"
    second = measured(tmp_path / "second", init_from=str(first))
    assert run(into, "keep", str(second)) == 0
    settings = load_experiment(into / "second" / "settings.toml")
    assert settings.init_from == "results/segmentation/second/init.safetensors"
    for name, x in load_weights(into / "second" / "init.safetensors").params.items():
        np.testing.assert_array_equal(x, load_weights(first).params[name])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("evaluation.json", "has not been measured; do that first: python -m refca.evaluate"),
        ("weights.safetensors", "is not trained to its end"),
    ],
)
def test_an_unfinished_run_is_refused(tmp_path: Path, capsys: Capture, file: str, words: str) -> None:
    out = measured(tmp_path / "run")
    (out / file).unlink()
    assert words in sentence(capsys, lambda: run(tmp_path / "results", "keep", str(out)))
    assert not (tmp_path / "results").exists()


def test_numbers_of_other_weights_or_photographs_are_refused(tmp_path: Path, capsys: Capture) -> None:
    out = measured(tmp_path / "run", done=6)
    said = sentence(capsys, lambda: run(tmp_path / "results", "keep", str(out)))
    assert "evaluation.json has training_steps 6, these weights 7; measure them again" in said
    values = json.loads((out / "evaluation.json").read_text()) | {"training_steps": 7, "split": "validation"}
    (out / "evaluation.json").write_text(json.dumps(values))
    said = sentence(capsys, lambda: run(tmp_path / "results", "keep", str(out)))
    assert "measured validation photographs; results show test photographs" in said
    said = sentence(capsys, lambda: run(tmp_path / "results", "rebuild"))
    assert "holds no run" in said


def test_the_page_here_is_the_one_that_rebuild_writes(tmp_path: Path) -> None:
    page = (FOLDER / "segmentation" / "README.md").read_text("utf-8")
    assert segmentation.page(FOLDER / "segmentation") == page
    assert segmentation.summary(FOLDER / "segmentation") in (FOLDER.parent / "README.md").read_text("utf-8")


def short_run(out: Path, held: float, long: bool = False, **settings: int) -> Path:
    """A short run measured on held-out photographs, whose object IoU is `held` until step 40 and half of it later."""
    measured(out, 7, **settings)
    gates = ["" if "resettable" in settings else 0.5 / i for i in range(1, 301)]
    rows = "".join(f"{i},1,{gate}\n" for i, gate in enumerate(gates, 1))
    (out / "metrics.csv").write_text("step,loss,gate\n" + rows)
    values = json.loads((out / "evaluation.json").read_text()) | {"split": "validation", "samples": 368}
    (out / "evaluation.json").write_text(json.dumps(values | {"iou_object_at_40": held}))
    step = np.arange(1.0, 401)
    curve = dict.fromkeys(COLUMNS, step / 100) | {
        "step": step,
        "iou_object": np.where(step > 40, held / 2, held),
    }
    write_curves(out / "evaluation.csv", dict.fromkeys(CONDITIONS, curve))
    if long:
        (out / "long").mkdir()
        more = {column: np.resize(x, 800) for column, x in curve.items()} | {"step": np.arange(1.0, 801)}
        write_curves(out / "long" / "evaluation.csv", dict.fromkeys(CONDITIONS, more))
        about = values | {"steps": 800, "curve_samples": 16, "samples": 16}
        (out / "long" / "evaluation.json").write_text(json.dumps(about))
    return out


def test_short_runs_are_kept_without_weights_and_compared_with_the_base(tmp_path: Path, capsys: Capture) -> None:
    into, test = tmp_path / "segmentation" / "short", measured(tmp_path / "test")
    runs = [short_run(tmp_path / f"base-{seed}", held, seed == 0, seed=seed) for seed, held in enumerate((0.5, 0.7))]
    runs += [
        short_run(tmp_path / "no-gate", 0.4, True, resettable=False),
        short_run(tmp_path / "wide-0", 0.3, batch=3),
    ]
    assert short_runs.main([*map(str, runs), "--into", str(into)]) == 0
    files = {"settings.toml", "metrics.csv", "evaluation.json", "evaluation.csv", "long.csv", "long.json"}
    assert {path.name for path in (into / "base-0").iterdir()} == files
    assert len((into / "base-0" / "metrics.csv").read_text().splitlines()) == 101
    assert read_curves(into / "base-0" / "evaluation.csv", into)["kept"]["step"].tolist() == list(range(4, 401, 4))
    group = '[[group]]\nname = "{0}"\ntitle = "The {0}"\nsettings = ["{1}", "missing"]\nfinding = "It shows."\n'
    text = group.format("gate", "no-gate") + group.format("width", "wide") + group.format("other", "none")
    (into / "groups.toml").write_text(text + 'curves = ["kept state"]\nlog = true\n')
    section = short_runs.section(into)
    assert "`base` makes 7 training steps with 2 photographs of\n48x48" in section
    seeds = "[0](short/base-0), [1](short/base-1)"
    base = f"| base | – | {seeds} | 60.0 (50.0 to 70.0) | 32.1 (32.1 to 32.1) | 60.0 (50.0 to 70.0) | 30.0 (25.0"
    assert section.count(base) == 2
    changed = "| no-gate | resettable no | [0](short/no-gate) | 40.0 | 32.1 | 40.0 | 20.0 | 20.0 | 10.00 | – |"
    assert f"30.0 (25.0 to 35.0) | 10.00 (10.00 to 10.00) | 0.31, 0.00 |\n{changed}" in section
    assert "| run | kept, step 40 | kept, step 400 | kept, step 800 | replaced, step 40 |" in section
    assert "| base-0 | 50.0 | 25.0 | 25.0 | 50.0 | 25.0 | 25.0 | 50.0 | 25.0 | 25.0 |" in section
    assert section.count("Over 800 steps, on 16 held-out photographs") == 1  # the other group has no such measurement
    assert section.count("It shows.") == 2
    assert "--validation --samples 16 --curve-samples 16 --steps 800 --out runs/NAME/long\n" in section
    assert "The other" not in section
    assert short_runs.section(tmp_path / "nothing") == ""
    short_figures.draw(into)
    assert {path.name for path in into.glob("*.png")} == {"gate.png", "width.png"}
    message = sentence(capsys, lambda: short_runs.main([str(test), "--into", str(into)]))
    assert "was not measured on held-out photographs; run this first: python -m refca.evaluate" in message


def test_the_pictures_of_the_short_runs_here_are_small_and_of_kept_runs() -> None:
    for group in short_runs.read_groups(short_runs.HERE, short_runs.read_settings(short_runs.HERE)):
        size = (short_runs.HERE / f"{group['name']}.png").stat().st_size
        assert 10_000 < size < 150_000, group["name"]
