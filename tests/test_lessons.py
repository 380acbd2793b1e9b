"""The lessons: every notebook runs, every exercise refuses an empty answer and takes its solution."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from build_lessons import LESSONS, executed, plain, printed
from refca_spec.broken import broken, sentence_of

import refca
from refca.definition.step import step
from refca.errors import InvalidInput
from refca.lessons import check, problem, solution, suspect
from refca.lessons.checks import CHECKS
from refca.lessons.solutions import SOLUTIONS

ARTICLE = (refca.digits_cell(),)


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_runs_and_its_exercises_wait_for_answers(path: Path, tmp_path: Path) -> None:
    for package in ("jupytext", "nbclient", "ipykernel", "matplotlib"):
        pytest.importorskip(package)
    notebook = executed(path, tmp_path)
    text, lesson = printed(notebook), path.stem[0]
    assert re.findall(r"(\d\.\d): not yet: ", text) == [f"{lesson}.{i}" for i in (1, 2, 3)]
    assert ": right!" not in text
    assert "Warning" not in text
    pictures = [output for cell in notebook.cells for output in cell.get("outputs", ()) if "image/png" in str(output)]
    assert len(pictures) >= 4


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_formulas_need_no_typesetting(path: Path) -> None:
    lines = [line for line in path.read_text("utf-8").splitlines() if line.startswith("# ")]
    assert not [line for line in lines if re.search(r"\$|\\[a-z]{3,}", line)]


def test_a_notebook_keeps_no_solution_in_sight() -> None:
    pytest.importorskip("jupytext")
    for path in LESSONS:
        source = "\n".join(cell.source for cell in plain(path).cells)
        assert len(re.findall(r"^check\(", source, re.MULTILINE)) == 3, path
        assert not re.search(r"^solution\(|lessons.solutions|SUSPECTS", source, re.MULTILINE), path


def right(exercise: str) -> None:
    assert problem(exercise, SOLUTIONS[exercise]) is None


@pytest.mark.parametrize("exercise", sorted(set(SOLUTIONS) - {"5.3"}))
def test_the_solution_of_an_exercise_is_right(exercise: str) -> None:
    right(exercise)


def test_the_solution_in_pytorch_is_right() -> None:
    pytest.importorskip("torch")
    right("5.3")


def test_every_exercise_has_a_check_and_a_solution() -> None:
    assert list(CHECKS) == list(SOLUTIONS) == [f"{lesson}.{i}" for lesson in range(1, 6) for i in range(1, 4)]


@pytest.mark.parametrize("exercise", CHECKS)
def test_an_empty_answer_is_not_right(exercise: str) -> None:
    empty: Any = {} if exercise in ("3.3", "5.1", "5.2") else lambda *arguments: None
    assert problem(exercise, empty) is not None


def one_after_the_other(params: Any, image: Any, state: Any, fire: Any, noise: Any) -> Any:
    """Return the state after cells that see what others have already done."""
    for row, column in np.argwhere(fire):
        only = np.zeros_like(fire)
        only[row, column] = True
        state = SOLUTIONS["1.3"](params, image, state, only, noise)
    return state


def without(*left_out: str) -> Any:
    """Return a step that leaves out these biases."""

    def step_without(params: Any, *arguments: Any) -> Any:
        used = {name: 0 * x if name in left_out else x for name, x in params.items()}
        return SOLUTIONS["1.3"](used, *arguments)

    return step_without


def swapped(predicted: Any, label: int, live: Any) -> Any:
    return SOLUTIONS["2.2"](predicted, label, live)[::-1]


def in_percent(predicted: Any, label: int, live: Any) -> Any:
    accuracy, agreement = SOLUTIONS["2.2"](predicted, label, live)
    return round(100 * accuracy), agreement


def biases_of_5_3_forgotten(cell: Any, params: Any, *arguments: Any) -> Any:
    return step(cell, {name: 0 * x if "bias" in name else x for name, x in params.items()}, *arguments)


BIASES = ("perceive.bias", "hidden.0.bias", "update.bias")
WRONG: dict[str, tuple[str, Any, str]] = {
    "biases forgotten": ("1.1", lambda D, P: 9 * (1 + D) * P + P * P + P * D, "each of three layers adds a bias"),
    "ink forgotten": ("1.1", lambda D, P: 9 * D * P + P + P * P + P + P * D + D, "you forgot the ink"),
    "one cell seen": ("1.1", lambda D, P: (1 + D) * P + P + P * P + P + P * D + D, "nine cells, not one"),
    "a text": ("1.1", lambda D, P: str(SOLUTIONS["1.1"](D, P)), "there are 22499, got '22499'"),
    "no biases": ("1.3", without(*BIASES), "each of three layers adds a bias"),
    "no first bias": ("1.3", without("perceive.bias"), "each of three layers .* not added: perceive.bias$"),
    "no second bias": ("1.3", without("hidden.0.bias"), "each of three layers .* not added: hidden.0.bias$"),
    "no last bias": ("1.3", without("update.bias"), "each of three layers .* not added: update.bias$"),
    "no biases in another framework": ("5.3", biases_of_5_3_forgotten, "."),
    "a number": ("1.1", 22_499, "the function itself"),
    "no noise": ("1.3", lambda *a: SOLUTIONS["1.3"](*a[:4], 0 * a[4]), "the noise is missing"),
    "the update alone": (
        "1.3",
        lambda params, image, state, fire, noise: np.where(
            (fire & (image[..., 0] > 0.1))[..., None],
            SOLUTIONS["1.3"](params, image, state, fire, noise) - state,
            state,
        ),
        r"return state \+ update",
    ),
    "one cell after the other": ("1.3", one_after_the_other, "already moved"),
    "a grid that wraps": (
        "1.2",
        lambda x, i, j: np.roll(x, (1 - i, 1 - j), (0, 1))[:3, :3].ravel(),
        "outside the grid everything is zero",
    ),
    "dead cells counted": (
        "2.2",
        lambda predicted, label, live: ((predicted == label).mean(), False),
        "do dead cells count",
    ),
    "percent": ("2.2", in_percent, "must be a fraction, .*, not a percentage"),
    "swapped": ("2.2", swapped, "the two are swapped"),
    "one number": ("2.2", lambda *arguments: 0.5, "return two things"),
    "one number of three": ("3.1", lambda *arguments: 0.5, "return three arrays"),
    "uphill": ("2.3", lambda x, label, loss: x - np.eye(10)[label], "other sign"),
    "fresh states everywhere": (
        "3.1",
        lambda image, label, state, new_image, new_label: (new_image, new_label, 0 * state),
        "middle half must keep its images",
    ),
    "one-sided": ("3.2", lambda f, x, i, h: (f(x + h * np.eye(3)[i]) - f(x)) / h, "one-sided"),
    "two changes": ("3.3", {"unroll": 10, "batch": 8}, "exactly one setting, .*got 2"),
    "no change": ("3.3", {"unroll": 20}, "is 20 already"),
    "an unknown setting": ("3.3", {"colour": 1}, "raised InvalidInput: .*not a setting"),
    "the keep probability itself": ("4.2", lambda p, K, T: p, "it is not kept with"),
    "no dict of settings": ("3.3", None, "write a dict"),
    "no dict of names": ("5.1", None, "write a dict"),
    "no dict of numbers": ("5.2", None, "write a dict"),
    "numbers for names": ("5.1", {"A": 1, "B": [2]}, "copy the names"),
    "a name of our own": ("5.1", {"A": "too large"}, "copy the names"),
    "everything breaks C1": ("5.2", dict.fromkeys("ABCDEFGHIJ", 1), "what rule does B break"),
    "a constraint that holds": ("5.2", {**SOLUTIONS["5.2"], "B": 2}, r"suspect B keeps \(C2\)"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_answer_gets_a_hint(case: str) -> None:
    exercise, answer, hint = WRONG[case]
    found = problem(exercise, answer)
    assert found is not None
    assert re.search(hint, found), found


def test_a_check_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    check("4.2", SOLUTIONS["4.2"])
    check("4.2", lambda p, K, T: 1 / 0)
    said = "4.2: right!\n4.2: not yet: your answer raised ZeroDivisionError: division by zero\n"
    assert capsys.readouterr().out == said


def test_a_solution_is_printed_as_code(capsys: pytest.CaptureFixture[str]) -> None:
    solution("4.2")
    assert "return p ** (K / T)" in capsys.readouterr().out
    solution("5.1")
    assert "'A': 'updates doubled'" in capsys.readouterr().out


def test_unknown_exercises_and_suspects_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r'exercise must be one of 1.1, .*, got "9.9"'):
        problem("9.9", None)
    with pytest.raises(InvalidInput, match=r'letter must be one of A, B, .*, got "Z"'):
        suspect("Z")


# refca_spec.broken, which lesson 5 uses


def test_the_reference_breaks_no_constraint() -> None:
    assert broken("reference", constraints=[2, 5, 16]) == {}


def test_a_broken_constraint_is_named_with_a_sentence() -> None:
    def wrong(*given: Any) -> Any:
        return step(*given) * np.float32(1.5)

    found = broken(SimpleNamespace(step=wrong, cells=ARTICLE), constraints=[5, 16])
    assert list(found) == ["step C5"]  # its cells have no gate, so C16 does not apply
    assert found["step C5"].startswith("The state of a cell at rest at")
    assert "The call" not in found["step C5"]
    assert sentence_of("step C5") == "A cell that does not fire or is not alive keeps its state bit for bit."


def test_a_step_that_raises_an_error_breaks_what_it_is_tried_on() -> None:
    def failing(*given: Any) -> Any:
        raise RuntimeError("no memory")

    found = broken(SimpleNamespace(step=failing, cells=ARTICLE), constraints=[2])
    assert found == {"step C2": "RuntimeError: no memory"}


def test_chapters_and_constraints_without_laws_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r'chapter must be .*, got "stairs"'):
        broken("reference", chapter="stairs")
    with pytest.raises(InvalidInput, match=r"constraints must be numbers of step .*, got 99"):
        broken("reference", constraints=[2, 99])
