"""The folders of results/, and the tables and figures made from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import drawn
import drawn_section
import keep
import kept
import numpy as np
import pictures
import pytest
import rebuild
import robust
import worst
import worst_section
from kept import FOLDER, read, read_all, read_columns
from PIL import Image
from refusals import Capture, sentence

import refca
from refca import evaluate, robustness, train
from refca.digits.curves_csv import write_curves
from refca.digits.evaluation import CURVES, summary
from refca.digits.settings import DigitsExperiment
from refca.tasks import load_experiment
from refca.training.checkpoint import save_weights
from refca.weights import load
from refca.weights.load import load_weights


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short run on small digits, measured before and after both kinds of mutation, and for longer."""
    out = tmp_path_factory.mktemp("runs") / "short"
    assert train.main(["--experiment", "demo", "--steps", "30", "--out", str(out)]) == 0
    few = [str(out), "--samples", "20"]
    assert evaluate.main([*few, "--steps", "4", "--mutation", "both"]) == 0
    longer = ["--steps", "6", "--mutation", "none", "--out", str(out / "long")]
    assert evaluate.main([*few, *longer]) == 0
    return out


def made(folder: Path, trained: str | None, steps: int = 200, both: bool = True, **about: Any) -> Path:
    """A folder as keep.py leaves it: accuracy rises to 0.9 before, 0.8 after, 0.7 after a restart."""
    folder.mkdir(parents=True)
    parts = {"before": 0.9, "carry": 0.8} | ({"restart": 0.7} if both else {})
    curves = {part: {key: np.linspace(0, top, steps) for key in CURVES} for part, top in parts.items()}
    write_curves(folder / "evaluation.csv", curves)
    values: dict[str, Any] = summary(curves) | {
        "steps": steps,
        "mutation": "both" if both else "carry",
        "samples": 10_000,
        "seed": 0,
    }
    values |= {"model": "runs/made", "dataset": "mnist", "noise": 0.02, "training_steps": 7}
    (folder / "evaluation.json").write_text(json.dumps(values))
    described: dict[str, Any] = {
        "trained": trained,
        "commands": ["python -m refca.evaluate"],
        "training_steps": 100_000,
    }
    described |= {"seconds": 5400, "machine": "2 cores"} | about
    (folder / "run.json").write_text(json.dumps(described))
    if described["training_steps"]:
        (folder / "settings.toml").write_text(DigitsExperiment().with_(seed=3, **about.get("set", {})).toml())
    return folder


def test_a_run_is_kept_without_paths_and_with_its_numbers(measured: Path, tmp_path: Path) -> None:
    given = [str(measured), "--into", str(tmp_path), "--seconds", "61.4", "--machine", "a mill"]
    assert keep.main(given) == 0
    run = read(tmp_path / "short")
    assert run.about["seconds"] == 61
    assert run.about["machine"] == "a mill"
    assert run.about["training_steps"] == 30
    assert run.about["parameters"] == 22_499
    assert run.about["trained"] is None  # no experiment of the package has 30 steps
    assert "results/short/settings.toml --seed 0" in run.about["commands"][0]
    assert run.long is not None
    assert run.long.steps == 6
    first, second = read_columns(measured / "evaluation.csv"), run.evaluation.columns
    for name, x in first.items():
        np.testing.assert_allclose(second[name], x, rtol=1e-5)
    for path in (tmp_path / "short").rglob("*"):
        if path.suffix in (".json", ".csv", ".toml"):
            assert str(measured.parent) not in path.read_text()
    params = load_weights(tmp_path / "short" / "weights.safetensors").params
    assert params.keys() == load_weights(measured).params.keys()


def test_what_was_measured_of_the_articles_model_json_is_kept_too(tmp_path: Path) -> None:
    out = made(tmp_path / "runs", None, steps=2, both=False, training_steps=None)
    values = json.loads((out / "evaluation.json").read_text()) | {"model": "model.json", "samples": 5}
    (out / "evaluation.json").write_text(json.dumps(values | {"training_steps": None}))
    for folder in ("long", "robustness"):
        (tmp_path / "results" / "published" / folder).mkdir(parents=True)
    assert keep.main([str(out), "--into", str(tmp_path / "results"), "--name", "published"]) == 0
    run = read(tmp_path / "results" / "published")
    assert {path.name for path in run.folder.iterdir()} == {"evaluation.csv", "evaluation.json", "run.json"}
    assert run.about["commands"] == [
        "python -m refca.evaluate model.json --data DIR --samples 5 --steps 2 --out runs/published"
    ]
    assert run.experiment is None
    assert run.about["training_steps"] is None
    assert run.evaluation.curve("restart", "accuracy") is None
    assert len(run.evaluation.curve("carry", "accuracy")) == 2  # type: ignore[arg-type]


def test_weights_that_a_run_began_with_are_kept_beside_it(tmp_path: Path) -> None:
    first, run, into = tmp_path / "first.safetensors", made(tmp_path / "run", None), tmp_path / "results"
    begun, ended = (refca.init_params(refca.digits_cell(), seed) for seed in (1, 2))
    save_weights(first, DigitsExperiment(init_from="digits-l2-noise"), begun, 5)
    experiment = DigitsExperiment(init_from=str(first))
    (run / "settings.toml").write_text(experiment.toml())
    (run / "metrics.csv").write_text("step,loss\n7,1.5\n")
    save_weights(run / "weights.safetensors", experiment, ended, 7)
    assert keep.main([str(run), "--into", str(into)]) == 0
    for path, params, began in (("init", begun, "digits-l2-noise"), ("weights", ended, "results/run/init.safetensors")):
        kept = load_weights(into / "run" / f"{path}.safetensors")
        assert kept.experiment is not None
        assert kept.experiment.init_from == began
        for key, x in params.items():
            np.testing.assert_array_equal(kept.params[key], x)
    assert not any(str(tmp_path).encode() in path.read_bytes() for path in (into / "run").iterdir())
    page = rebuild.page(into, read_all(into))
    assert "| [run](run) | 7 after 100,005 | " in page
    assert "more, from [weights beside it](run/init.safetensors)" in page
    (run / "settings.toml").write_text(DigitsExperiment().toml())
    assert keep.main([str(run), "--into", str(into)]) == 0
    assert not (into / "run" / "init.safetensors").exists()


def test_what_was_measured_in_results_stays_with_the_same_weights(tmp_path: Path) -> None:
    run, into = made(tmp_path / "run", None), tmp_path / "results"
    experiment = DigitsExperiment()
    (run / "settings.toml").write_text(experiment.toml())
    (run / "metrics.csv").write_text("step,loss\n7,1.5\n")
    for seed, stays in ((1, False), (1, True), (2, False)):
        save_weights(run / "weights.safetensors", experiment, refca.init_params(refca.digits_cell(), seed), 7)
        assert keep.main([str(run), "--into", str(into)]) == 0
        assert (into / "run" / "drawn.json").exists() == (into / "run" / "worst").exists() == stays
        (into / "run" / "drawn.json").write_text("{}")
        (into / "run" / "worst").mkdir(exist_ok=True)


def test_training_is_kept_as_means(tmp_path: Path) -> None:
    rows = "".join(f"{10 * i},{i},0.5,0.25\n" for i in range(1, 4002))
    (tmp_path / "metrics.csv").write_text("step,loss,accuracy,agreement\n" + rows)
    keep.thin(tmp_path / "metrics.csv", tmp_path / "thin.csv")
    thinned = read_columns(tmp_path / "thin.csv")
    assert len(thinned["step"]) == 801  # 4,001 rows in fives
    assert thinned["step"][[0, -1]].tolist() == [50, 40010]
    assert thinned["loss"][0] == 3
    assert set(thinned["accuracy"]) == {0.5}
    (tmp_path / "metrics.csv").write_text("step,loss\n10,\n20,4\n30,\n40,\n")
    keep.thin(tmp_path / "metrics.csv", tmp_path / "thin.csv", 2)
    np.testing.assert_array_equal(read_columns(tmp_path / "thin.csv")["loss"], [4, np.nan])


def test_the_time_of_a_run_is_measured_given_or_not_known(measured: Path, tmp_path: Path) -> None:
    times = {"measured": ["--file-times"], "given": ["--seconds", "9"], "not": []}
    for name, flag in times.items():
        assert keep.main([str(measured), "--into", str(tmp_path), "--name", name, *flag]) == 0
    seconds = {run.name: run.about["seconds"] for run in read_all(tmp_path)}
    assert seconds["given"] == 9
    assert seconds["not"] is None
    assert 0 <= seconds["measured"] < 600


UNFIT = ["not measured", "not trained", "other weights", "other noise", "no run", "cut short"]


@pytest.mark.parametrize("what", [*UNFIT, "own start", "alone", "published"])
def test_what_cannot_be_kept_is_refused(tmp_path: Path, capsys: Capture, what: str) -> None:
    run = made(tmp_path / "run", "digits-l2-noise")
    words = {
        "not measured": "has not been measured; run this first: python -m refca.evaluate",
        "not trained": "is not finished: it has no weights.safetensors",
        "other weights": "run/evaluation.json has training_steps 7, these weights 5; measure them again",
        "other noise": "long/evaluation.json has noise 0.5, these weights 0.02; measure them again",
        "no run": "has not been measured",
        "cut short": "does not fit",
        "own start": "and these weights with runs/theirs, which are not public; they must have begun at random or",
        "alone": "must be a training run or an evaluation of the article's model.json",
        "published": "run/evaluation.json has training_steps 7, these weights None",
    }
    if what == "not measured":
        (run / "evaluation.json").unlink()
    elif what in ("other weights", "other noise"):
        params = refca.init_params(refca.digits_cell(), 0)
        save_weights(run / "weights.safetensors", DigitsExperiment(), params, 5 if "weights" in what else 7)
        values = json.loads((run / "evaluation.json").read_text())
        (run / "long").mkdir()
        (run / "long" / "evaluation.json").write_text(json.dumps(values | {"noise": 0.5}))
    elif what == "no run":
        run = tmp_path / "nothing"
    elif what == "own start":
        mine, params = tmp_path / "mine.safetensors", refca.init_params(refca.digits_cell(), 0)
        save_weights(mine, DigitsExperiment(init_from="runs/theirs"), params, 5)
        (run / "settings.toml").write_text(DigitsExperiment(init_from=str(mine)).toml())
    elif what in ("alone", "published"):
        (run / "settings.toml").unlink()
        values = json.loads((run / "evaluation.json").read_text())
        model = "model.json" if what == "published" else "runs/other"
        (run / "evaluation.json").write_text(json.dumps(values | {"model": model}))
    elif what == "cut short":
        (run / "evaluation.csv").write_text((run / "evaluation.csv").read_text()[:3000].rsplit("\n", 1)[0])
    into = tmp_path / "results"
    assert words[what] in sentence(capsys, lambda: keep.main([str(run), "--into", str(into)]))
    assert not into.exists()


def test_tables_have_the_articles_figures_beside_ours(tmp_path: Path) -> None:
    made(tmp_path / "digits-l2-seed0", "digits-l2")
    made(tmp_path / "published", None, training_steps=None, seconds=None, machine=None)
    made(tmp_path / "wide", None, both=False, set={"pool": 1024})
    assert rebuild.main(tmp_path) == 0
    page = (tmp_path / "README.md").read_text()
    lines = page.splitlines()
    at = lines.index("| **L2**, the article | 95.0 at 95 | 94.7 | 85.5 at 175 | 85.2 |")
    assert lines[at + 1] == "| … digits-l2-seed0 | 90.0 at 200 | 90.0 | 90.0 at 200 | 90.0 |"
    assert "**CE**" not in page  # no such run is here
    assert "| … the article's published weights | 90.0 at 200 |" in page
    assert "| digits-l2-seed0, states carried over | 80.0 at 200 | 80.0 |" in page
    assert "| digits-l2-seed0, restarted from zero | 70.0 at 200 | 70.0 |" in page
    assert "wide, states carried" not in page  # recipes have a table of their own
    assert "| digits-l2-seed0 | " not in page
    assert "| the article's published weights | by the article's authors | 90.0 / 90.0 | – |" in page
    assert "| wide | 100,000 steps, pool 1,024 | 90.0 / 90.0 | – | 80.0 / 80.0 |" in page
    summary = rebuild.summary(read_all(tmp_path))
    assert "| L2 | 94.7 / 85.2 | 90.0 / 90.0 | – | 80.0 / 80.0 |" in summary
    assert "| L2 + noise, the article's published weights | 95.3 / 88.1 | 90.0 / 90.0 |" in summary
    assert "| wide | – | 90.0 / 90.0 | – | 80.0 / 80.0 |" in summary
    assert "1 h 30 min" in page
    assert "| [wide](wide) | 100,000 | " in page
    assert "| [published](published) | – | – | – | 10,000 | – |" in page


def test_figures_are_drawn_with_what_there_is(measured: Path, tmp_path: Path) -> None:
    assert keep.main([str(measured), "--into", str(tmp_path / "some")]) == 0
    mine = {"short/curves.png", "short/loss.png", "short/digits.png", "short/long/curves.png"}
    mine |= {"beyond.png", "held.png"}
    assert drawn_in(tmp_path / "some") == mine  # no run of the article's models is here
    made(tmp_path / "some" / "other", "digits-l2", both=False)
    assert drawn_in(tmp_path / "some") == {"curves.png", "after-mutation.png", "other/curves.png", *mine}


def test_a_mutation_that_no_one_measured_leaves_its_panels_empty(tmp_path: Path) -> None:
    made(tmp_path / "run", "digits-l2")
    values = json.loads((tmp_path / "run" / "evaluation.json").read_text()) | {"mutation": "none"}
    (tmp_path / "run" / "evaluation.json").write_text(json.dumps(values))
    rows = (tmp_path / "run" / "evaluation.csv").read_text().splitlines(keepends=True)
    (tmp_path / "run" / "evaluation.csv").write_text("".join(rows[:201]))
    assert drawn_in(tmp_path) == {"curves.png", "after-mutation.png", "run/curves.png"}


def drawn_in(folder: Path) -> set[str]:
    """Return the pictures of a rebuilt folder of results; each is whole, and pictures of all runs are on its page."""
    assert rebuild.main(folder) == 0
    names = {str(path.relative_to(folder)) for path in folder.rglob("*.png")}
    for name in names:
        with Image.open(folder / name) as picture:
            picture.verify()
        assert "/" in name or f"]({name})" in (folder / "README.md").read_text()
    return names


def test_the_projects_page_gets_the_tables_between_its_marks(tmp_path: Path, capsys: Capture) -> None:
    made(tmp_path / "results" / "digits-ce-seed0", "digits-ce")
    readme = tmp_path / "README.md"
    begin = "<!-- written by tools/results/rebuild.py: from here -->"
    readme.write_text(f"before\n\n{begin}\nold\n<!-- to here -->\n\nafter\n")
    assert rebuild.main(tmp_path / "results") == 0
    text = readme.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith("\n\nafter\n")
    assert "old" not in text
    assert "| CE | 95.3 / 66.2 | 90.0 / 90.0 |" in text
    readme.write_text(f"{begin}\n")
    assert "but not" in sentence(capsys, lambda: rebuild.main(tmp_path / "results"))


def test_a_folder_without_runs_or_with_a_damaged_one_is_refused(tmp_path: Path, capsys: Capture) -> None:
    assert "holds no run; add one first" in sentence(capsys, lambda: rebuild.main(tmp_path))
    run = made(tmp_path / "run", None)
    (run / "run.json").write_text("{")
    assert "run.json is not JSON" in sentence(capsys, lambda: rebuild.main(tmp_path))


def test_notes_are_part_of_the_page(tmp_path: Path) -> None:
    made(tmp_path / "run", None)
    (tmp_path / "notes.md").write_text("## Differences\n\nNone.\n")
    assert rebuild.main(tmp_path) == 0
    assert (tmp_path / "README.md").read_text().endswith("```\n\n## Differences\n\nNone.\n")


@pytest.mark.skipif(not read_all(), reason="results/ holds no run")
def test_the_pages_here_are_those_that_rebuild_writes() -> None:
    runs = read_all()
    assert (FOLDER / "README.md").read_text() == rebuild.page(FOLDER, runs)
    assert rebuild.summary(runs) in (FOLDER.parent / "README.md").read_text()
    for run in runs:  # both programs measured the same digits with the same random numbers
        if (values := worst_section.found(run)) is not None:
            agreeing, _ = worst_section.sum_of(values, "agree")
            assert agreeing / values["samples"] == pytest.approx(
                run.evaluation.at("before", "agreement", 200), abs=2e-3
            )


def test_robustness_is_kept_shown_and_drawn_again(measured: Path, tmp_path: Path) -> None:
    few = ["--samples", "3", "--steps", "2", "--chimeras", "2"]
    assert robustness.main([str(measured), *few]) == 0
    assert keep.main([str(measured), "--into", str(tmp_path), "--name", "robust"]) == 0
    made(tmp_path / "other", None)
    (tmp_path / "robust" / "robustness" / "perturbations.png").unlink()
    assert rebuild.main(tmp_path) == 0
    page = (tmp_path / "README.md").read_text()
    assert "| accuracy / agreement at 2, per cent | live cells | robust, 3 digits |" in page
    assert "| shift +4 | " in page
    assert "](robustness.png)" in page
    assert (tmp_path / "robustness.png").exists()
    assert "| drawn again | " in page
    assert "](robust/robustness/size.png)" in page
    assert (
        "python -m refca.robustness runs/robust --data DIR --out runs/robust/robustness --samples 3 "
        "--steps 2 --chimeras 2\n" in page
    )
    assert (tmp_path / "robust" / "robustness" / "perturbations.png").exists()
    kept = json.loads((tmp_path / "robust" / "robustness" / "robustness.json").read_text())
    assert kept["model"] == "robust"


def test_the_worst_digits_are_measured_followed_and_shown(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"COUNT": 7, "STEPS": 3, "FOLLOWED": (1, 3)}.items():
        monkeypatch.setattr(worst, name, value)
    assert keep.main([str(measured), "--into", str(tmp_path)]) == 0
    assert worst.main(["short", "--samples", "40", "--into", str(tmp_path)]) == 0
    rows, values = (
        read_columns(tmp_path / "short" / "worst" / "worst.csv"),
        json.loads((tmp_path / "short" / "worst" / "worst.json").read_text()),
    )
    assert rows["correct"].tolist() == sorted(rows["correct"])
    assert len(set(rows["digit"])) == 7
    np.testing.assert_allclose(rows["late_correct"], rows["correct"])  # the same random numbers, alone and in a slice
    assert ((rows["share"] < 1) | (rows["predicted"] == rows["leading"])).all()
    assert sum(each["digits"] for each in values["groups"].values()) == 40
    disagreeing = read_columns(tmp_path / "short" / "worst" / "disagree.csv")
    assert len(disagreeing["digit"]) > 7
    assert (disagreeing["share"] < 1).all()
    assert (disagreeing["pieces"] == 1).all()
    number, disconnected = worst_section.sum_of(values, "disagree")
    assert len(disagreeing["digit"]) == number - disconnected
    assert drawn_in(tmp_path) >= {"short/worst/worst.png"}
    page = (tmp_path / "README.md").read_text()
    assert f"And of the {number - disconnected} connected digits whose cells disagree:" in page
    assert "The 7 test digits of short with the smallest fraction of correct cells after 3 steps" in page
    assert f"| agree, wrong | {values['groups']['agree, wrong']['digits']} | " in page
    assert "python tools/results/worst.py short --data DIR\n" in page


def test_pieces_of_a_digit_touch_at_corners_too() -> None:
    cells = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 1]]) == 1
    assert worst.count_pieces(cells) == (2, 3)
    assert worst.count_pieces(cells & False) == (0, 0)


def test_digits_without_a_correct_cell_come_first_the_surest_of_them_before_others() -> None:
    votes = np.array([[3, 1], [0, 4], [0, 4], [0, 0], [2, 2]])
    labels = np.zeros(5, int)
    assert worst.ranked(votes, np.array([0.1, 0.2, 0.3, 9.0, 0.4]), labels).tolist() == [2, 1, 4, 0]
    assert worst.group(votes, labels).tolist() == [2, 1, 1, -1, 2]


def test_the_step_of_the_best_value_is_the_one_before_curves_were_rounded(tmp_path: Path) -> None:
    out = made(tmp_path / "run", "digits-l2-noise", steps=3)
    values = json.loads((out / "evaluation.json").read_text())
    assert read(out).evaluation.best("before", "accuracy") == (0.9, 3)
    assert read(out).evaluation.best("restart", "agreement") == (0.7, 3)
    values |= {"after_restart_top_agreement": 0.70000001, "after_restart_top_agreement_step": 2}
    (out / "evaluation.json").write_text(json.dumps(values))
    assert read(out).evaluation.best("restart", "agreement") == (0.70000001, 2)


def test_a_run_whose_weights_come_with_the_package_says_so(
    measured: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert keep.main([str(measured), "--into", str(tmp_path / "results")]) == 0
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "small.safetensors").write_bytes((measured / "weights.safetensors").read_bytes())
    for module in (load, kept):
        monkeypatch.setattr(module, "shipped", lambda: tmp_path / "weights")
    assert rebuild.made(read_all(tmp_path / "results")).splitlines()[2].endswith("| 20 | `small` |")


def test_a_recipe_is_told_in_words(tmp_path: Path) -> None:
    made(tmp_path / "article", "digits-l2-noise")
    weights = load.shipped() / "digits-l2-noise.safetensors"
    (tmp_path / "article" / "weights.safetensors").write_bytes(weights.read_bytes())
    recipe = {"init_from": "digits-l2-noise", "steps": 500, "unroll": 4, "unroll_max": 9, "schedule": "cosine"}
    made(tmp_path / "recipe", None, set=recipe | {"learning_rate": 2e-4, "fresh_fraction": 0.125, "batch": 32})
    runs = read_all(tmp_path)
    assert [rebuild.changes(run, runs) for run in runs] == [
        "as the article says",
        "500 steps more, from article, unrolls of 4 to 9, rate falling from 0.0002 to 0, "
        "1/8 of a batch new and 1/8 mutated, batch 32",
    ]


def test_training_steps_are_counted_from_the_first_weights(tmp_path: Path) -> None:
    experiment, params = DigitsExperiment(), refca.init_params(refca.digits_cell(), 0)
    for name, done in (("first", 7000), ("second", 50)):
        save_weights(tmp_path / f"{name}.safetensors", experiment, params, done)
        experiment = experiment.with_(init_from=str(tmp_path / f"{name}.safetensors"))
    assert rebuild.steps_of(experiment, 3) == "3 after 7,050"
    assert rebuild.steps_of(DigitsExperiment(), 3) == "3"


def test_a_run_is_known_by_the_experiment_of_its_settings_whatever_its_seed() -> None:
    for name in rebuild.ARTICLE:
        assert keep.source_of(load_experiment(name).with_(seed=3)) == name
    assert keep.source_of(DigitsExperiment(batch=64)) is None


def test_a_model_has_one_colour_of_its_own_in_all_figures_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[Any] = []
    for name in ("overlaid", "after_mutation", "beyond"):
        monkeypatch.setattr(pictures, name, lambda runs, path, strokes, **_: given.append((runs, strokes)))
    monkeypatch.setattr(pictures, "draw_run", lambda run: None)
    monkeypatch.setattr(robust, "draw", lambda runs, path, strokes: given.append(({}, strokes)))
    rebuild.draw(tmp_path, read_all(FOLDER))
    assert len(given) == 5
    for runs, strokes in given:
        assert strokes == given[0][1]
        assert set(runs) <= set(strokes)
    colours = [colour for colour, _ in given[0][1].values()]
    assert len(set(colours)) == len(colours)


def test_digits_as_people_draw_them_are_measured_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn, "SIZES", (0.5, 1.0))
    monkeypatch.setattr(drawn, "STROKES", (1.0,))
    monkeypatch.setattr(drawn, "AT", (2, 3))
    folder = made(tmp_path / "results" / "any", None, set={"dataset": "optdigits-28"})
    params = refca.init_params(refca.digits_cell(), 0)
    params = {name: x + 0.1 if name.endswith("bias") else x for name, x in params.items()}
    save_weights(folder / "weights.safetensors", DigitsExperiment(dataset="optdigits-28"), params, 100_000)
    own, page = tmp_path / "own_digits" / "pen", np.full((40, 40), 255, np.uint8)
    own.mkdir(parents=True)
    page[5:35, 18:23] = 0
    for name in ("one.png", "two.png"):
        Image.fromarray(page).save(own / name)
    (own.parent / "labels.csv").write_text("file,label\npen/one.png,1\npen/two.png,2\n")
    given = ["any", "--samples", "4", "--into", str(tmp_path / "results"), "--data", str(tmp_path)]
    assert drawn.main([*given, "--backend", "reference"]) == 0
    values = json.loads((folder / "drawn.json").read_text())
    rows = {(row["kind"], row["amount"]): row for row in values["rows"]}
    assert list(rows) == [("size", "0.5"), ("size", "1"), ("strokes", "+1"), *((kind, "pen") for kind in drawn.OWN)]
    assert rows["only inverted", "pen"]["cells"] == 150  # dark on light, so it was inverted
    assert all(0 <= sum(row["named"]) <= 2 and len(row["accuracy"]) == 2 for row in rows.values())
    assert rows["only inverted", "pen"]["named"][0] <= 0.5
    runs = read_all(tmp_path / "results")
    text = rebuild.page(tmp_path / "results", runs)
    assert "| scaled by 1 | 97 | " in text
    assert "| scaled by 0.5 | – | " in text
    assert "| pen (2), only inverted | 90 | 150 | " in text
    assert "python tools/results/drawn.py any --data DIR --samples 4\n" in text
    drawn_section.draw(runs, tmp_path / "drawn.png", pictures.strokes_of(["any"]))
    with Image.open(tmp_path / "drawn.png") as picture:
        assert picture.width > 1000
    monkeypatch.setattr(drawn, "SIDE", 39)
    assert drawn.main([*given, "--backend", "reference"]) == 0
    kinds = [row["kind"] for row in json.loads((folder / "drawn.json").read_text())["rows"]]
    assert "only inverted" not in kinds
    assert kinds[-1] == "as refca.digit prepares them"


def test_cells_are_counted_by_the_label_of_their_digit() -> None:
    class Fixed:
        """A runner whose cells predict the label that their ink says, in tenths."""

        cell = refca.digits_cell()

        def run(self, image: np.ndarray, *_: object) -> np.ndarray:
            return image

        def logits(self, state: np.ndarray) -> np.ndarray:
            return np.eye(10)[np.rint(10 * state[..., 0]).astype(int)]

    image = np.zeros((2, 4, 4, 1), np.float32)
    image[0, 0], image[0, 1, 0], image[1, 0, :2] = 0.3, 0.4, 0.5
    row = drawn.row(Fixed(), "size", "1", [(0, image, np.array([3, 4]))])  # type: ignore[arg-type]
    assert row["accuracy"] == [round(4 / 7, 5)] * 2
    assert row["named"] == [0.5, 0.5]
    assert row["cells"] == 3.5
