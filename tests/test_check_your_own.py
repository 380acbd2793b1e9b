"""The page `spec/check_your_own.md`: its program passes the laws, five wrong ones fail the law named for them, and
everything that can go wrong with a program is a sentence. And `refca.compare`, partial backends, and reports."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exec_client import node
from refca_spec.report import constraint_of, read_known, text_of
from refca_spec.strategies import Case, restricted
from refca_spec.trial import OnTrial
from refusals import Capture, sentence
from safetensors.numpy import save

import refca
from refca import evaluate, train
from refca.contract.exec_backend import ExecBackend
from refca.contract.reference import reference
from refca.errors import InvalidInput, NotOffered, ProgramFailed, Unavailable

PAGE = Path(__file__).parent.parent / "spec" / "check_your_own.md"
CELL = refca.Cell(1, 4, 5, 3, noise=0.02, alive_above=0.1)


def program() -> str:
    """The JavaScript of the page."""
    found = re.search(r"```js\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    return found[1]


def started(folder: Path, text: str, name: str = "cells.mjs", seconds: float = 20) -> ExecBackend:
    node()
    path = folder / name
    path.write_text(text, "utf-8")
    return ExecBackend(str(path), seconds)


def law(name: str, backend: Any) -> Callable[[], None]:
    """A law on a backend in float32, as the suite tries it."""
    key = constraint_of(name)
    assert key
    function = getattr(importlib.import_module(f"refca_spec.laws.test_{key[0]}"), name)
    arguments = {"backend": OnTrial(backend), "dtype": "float32"}

    def run() -> None:
        with restricted(backend):
            function(**arguments)

    return run


WRONG = {
    "a border that wraps around": (
        "inside = y + dy >= 0 && y + dy < H && x + dx >= 0 && x + dx < W, there = site + dy * W + dx;",
        "inside = true, there = (b * H + ((y + dy + H) % H)) * W + ((x + dx + W) % W);",
        "test_step_c2_outside_the_grid_everything_is_zero",
    ),
    "a neighbourhood that is flipped": (
        "for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++)",
        "for (let dy = 1; dy >= -1; dy--) for (let dx = 1; dx >= -1; dx--)",
        "test_step_c4_neighbours_are_read_row_by_row",
    ),
    "cells that are alive at the threshold": (
        "> Math.fround(cell.alive_above)",
        ">= Math.fround(cell.alive_above)",
        "test_step_c6_alive_is_an_image_above_the_float32_threshold",
    ),
    "noise that no mask holds back": (
        "if (!fire[site] || !alive) continue;",
        "if (!fire[site] || !alive) {\n"
        "      for (let d = 0; d < D && noise; d++) after[site * D + d] += cell.noise * noise[site * D + d];\n"
        "      continue;\n    }",
        "test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit",
    ),
    "one mask for the whole batch": (
        "!fire[site]",
        "!fire[site % (H * W)]",
        "test_step_c8_the_channels_of_a_cell_fire_together",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_program_fails_the_law_that_is_named_for_it(name: str, tmp_path: Path) -> None:
    right, wrong, law_name = WRONG[name]
    text = program()
    assert text.count(right) == 1
    law(law_name, started(tmp_path, program(), "right.mjs"))()
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(law_name, started(tmp_path, text.replace(right, wrong), "wrong.mjs"))()


REPLIES = {
    "dies": ("process.exit(3)", 'ended with exit code 3 before it answered "describe"'),
    "dies with a word": (
        'process.stderr.write("no such GPU\\n"); process.exit(3)',
        "its standard error says: no such GPU",
    ),
    "prints": ('console.log("hello there"); setInterval(() => {}, 1000)', "what it prints must go to standard error"),
    "hangs": ("setInterval(() => {}, 1000)", 'gave no answer to "describe" within 1 seconds'),
    "answers nonsense": (
        "process.stdout.write(Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])); setInterval(() => {}, 1000)",
        "answers 4 bytes that are no safetensors file",
    ),
    "announces more than it sends": (
        "process.stdout.write(Buffer.from([0, 0, 0, 0, 255, 0, 0, 0, 1]))",
        'before it answered "describe"',
    ),
}
DESCRIPTIONS = {
    "a name that is none": ({"name": 3}, 'answers "describe" with name that is not a text'),
    "no list": ({"operations": "evolve"}, 'answers "describe" with operations that is not a list of texts'),
    "a list of numbers": ({"dtypes": [4]}, 'answers "describe" with dtypes that is not a list of texts'),
    "requirements in a list": ({"requires": ["noise"]}, 'answers "describe" with requires that is not an object'),
    "an error that is a text": ({"error": "no"}, "answers with metadata, or an error in it, that is not an object"),
    "no object": ([1, 2], "answers with metadata, or an error in it, that is not an object"),
}


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_of_another_form_is_a_sentence(name: str, tmp_path: Path, capsys: Capture) -> None:
    changed, words = DESCRIPTIONS[name]
    whole: dict[str, Any] = {"name": "a program", "operations": ["evolve"], "dtypes": ["float32"]}
    message = save({}, {"refca": json.dumps(whole | changed if isinstance(changed, dict) else changed)})
    (tmp_path / "answer").write_bytes(len(message).to_bytes(8, "little") + message)
    command = f"exec:cat {tmp_path / 'answer'}"
    assert words in sentence(capsys, lambda: evaluate.main(["digits", "--backend", command, "--dataset", "optdigits"]))


def test_a_program_that_dies_at_work_ends_a_command_in_a_sentence(tmp_path: Path, capsys: Capture) -> None:
    described = {"name": "a program", "operations": ["evolve"], "dtypes": ["float32"]}
    message = save({}, {"refca": json.dumps(described)})
    (tmp_path / "answer").write_bytes(len(message).to_bytes(8, "little") + message)
    flags = ["--dataset", "optdigits", "--samples", "2", "--steps", "1", "--out", str(tmp_path / "out")]
    words = sentence(capsys, lambda: evaluate.main(["digits", "--backend", f"exec:cat {tmp_path / 'answer'}", *flags]))
    assert 'before it answered "evolve"' in words


@pytest.mark.parametrize("name", REPLIES)
def test_whatever_a_program_does_is_a_sentence(name: str, tmp_path: Path) -> None:
    text, sentence = REPLIES[name]
    backend = started(tmp_path, text, seconds=1 if name == "hangs" else 20)
    with pytest.raises(ProgramFailed, match=re.escape(sentence)):
        backend.offers("evolve")


def test_a_program_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"the program \./no-such-program cannot be started: No such file"):
        refca.get_backend("exec:./no-such-program")


def test_a_program_that_refuses_is_quoted_and_goes_on(tmp_path: Path) -> None:
    text = program().replace(
        "let state = arrays.state;",
        'let state = arrays.state; const error = { kind: "InvalidInput", message: "one at a time" };'
        " if (steps > 1) { send({ error }); return null; }",
    )
    text = text.replace("else send({}, evolve(request, arrays, shapes.state), shapes.state);", GUARDED)
    backend = started(tmp_path, text)
    arrays = arguments()
    with pytest.raises(InvalidInput, match="one at a time"):
        backend.evolve(CELL, *arrays, refca.Streams(1), 2)
    assert backend.evolve(CELL, *arrays, refca.Streams(1), 1).shape == arrays[2].shape


GUARDED = "else { const found = evolve(request, arrays, shapes.state); if (found) send({}, found, shapes.state); }"


def arguments() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Parameters, an image and a state of CELL."""
    rng, params = np.random.default_rng(0), refca.init_params(CELL, 0)
    params = {name: (x + 0.1 * rng.normal(size=x.shape)).astype(np.float32) for name, x in params.items()}
    return params, rng.random((2, 4, 5, 1), np.float32), rng.random((2, 4, 5, 4), np.float32)


def test_the_program_evolves_from_streams_and_other_sources_that_are_drawn_for_it(tmp_path: Path) -> None:
    backend = started(tmp_path, program())
    for first_step in (0, 3):
        got = backend.evolve(CELL, *arguments(), refca.Streams(5), 2, first_step=first_step)
        expected = reference.evolve(CELL, *arguments(), refca.Streams(5), 2, first_step=first_step)
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_threads_that_ask_one_program_get_their_own_answers(tmp_path: Path) -> None:
    backend = started(tmp_path, program())
    params, image, state = arguments()
    still = {name: np.zeros_like(x) for name, x in params.items()}  # nothing is added to the state
    cell = refca.Cell(1, 4, 5, 3, alive_above=0.1)

    def ask(value: int) -> bool:
        given = np.full_like(state, value)
        return all(
            np.array_equal(backend.evolve(cell, still, image, given, refca.Streams(1), 1), given) for _ in range(20)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(4)))


def test_an_interrupted_call_leaves_the_program_to_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = started(tmp_path, program())
    backend.evolve(CELL, *arguments(), refca.Streams(5), 2)

    def interrupt(*given: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupt)
        with pytest.raises(KeyboardInterrupt):
            backend.evolve(CELL, *arguments(), refca.Streams(5), 200)
    got = backend.evolve(CELL, *arguments(), refca.Streams(5), 2)
    np.testing.assert_allclose(got, reference.evolve(CELL, *arguments(), refca.Streams(5), 2), atol=1e-5)


def test_a_forked_child_has_a_program_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "cells.mjs").write_text(program(), "utf-8")
    code = (
        "import os, sys, warnings; sys.path[:0] = sys.argv[2:]; warnings.simplefilter('ignore')\n"
        "import refca\n"
        "from test_check_your_own import CELL, arguments\n"
        "backend = refca.get_backend('exec:' + sys.argv[1])\n"
        "evolve = lambda: backend.evolve(CELL, *arguments(), refca.Streams(5), 2).tobytes()\n"
        "expected = evolve()\n"
        "children = []\n"
        "for _ in range(4):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        os._exit(0 if [evolve() for _ in range(20)] == [expected] * 20 else 1)\n"
        "    children.append(child)\n"
        "assert [evolve() for _ in range(20)] == [expected] * 20\n"
        "print([os.waitpid(child, 0)[1] for child in children])\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "cells.mjs"), *sys.path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout == "[0, 0, 0, 0]\n", done.stderr


def wrapping(cell: Any, params: Any, image: Any, state: Any, randomness: Any, steps: int) -> Any:
    """The reference on a grid whose right border sees the left one: wrong in one column."""
    wide: list[Any] = [np.concatenate([x, x[:, :, :1]], axis=2) for x in (image, state)]
    for t in range(steps):
        fire, noise, _ = randomness.at(cell, t, *state.shape[:3])
        more = [None if x is None else np.concatenate([x, x[:, :, :1]], axis=2)[None] for x in (fire, noise)]
        wide[1] = reference.evolve(cell, params, wide[0], wide[1], refca.Recorded(*more), 1)
    return wide[1][:, :, :-1]


def test_compare_says_that_a_function_is_right_or_where_it_is_wrong() -> None:
    right = refca.compare(reference.evolve, CELL)
    assert right.same
    assert str(right).startswith("the same as the reference: the largest difference in 3 steps is")
    wrong = refca.compare(wrapping, CELL)
    assert not wrong.same
    assert re.match(r"differs from step 1 on, most at sample \d, row \d, column 7, channel \d: got", str(wrong))
    assert "all of them at the border: outside the grid everything is zero" in str(wrong)

    def reviving(cell: Any, *args: Any) -> Any:
        return reference.evolve(replace(cell, alive_above=None), *args)

    assert "none of them is alive: a dead cell keeps its state" in str(refca.compare(reviving, CELL))
    with pytest.raises(InvalidInput, match="evolve must return a state"):
        refca.compare(lambda *args: args[2], CELL)


def test_compare_takes_a_backend_a_module_and_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mycells.py").write_text(MODULE.format(wrong="pass"), "utf-8")
    (tmp_path / "wrongcells.py").write_text(MODULE.format(wrong="image = 2 * image"), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    for right in (refca.get_backend("cpu"), "reference", "mycells", importlib.import_module("mycells")):
        assert refca.compare(right, CELL).same
    assert refca.compare(importlib.import_module("refca_cpu"), CELL).same
    assert not refca.compare("wrongcells", CELL).same
    assert refca.compare(started(tmp_path, program()), CELL).same
    for wrong, words in (
        (ExecBackend, "got the class ExecBackend"),
        (1, "got int"),
        ("nowhere", 'unknown backend "nowhere"'),
    ):
        with pytest.raises(InvalidInput, match=words):
            refca.compare(wrong, CELL)
    with pytest.raises(InvalidInput, match="must support the cell, and does not: the cell is not like one"):
        refca.compare("mycells", refca.digits_cell())


TENSORS = """
import torch
from torch.nn.functional import conv2d, pad, relu
import refca

cells = (refca.digits_cell(),)
dtypes = ("float32",)

def my_step(cell, weights, image, state, fire, noise):
    x = pad(torch.cat([image, state], 1), (1, 1, 1, 1), mode="{mode}")
    x = relu(conv2d(x, weights["perceive.weight"], weights["perceive.bias"]))
    x = relu(conv2d(x, weights["hidden.0.weight"], weights["hidden.0.bias"]))
    x = conv2d(x, weights["update.weight"], weights["update.bias"]) + {noise} * noise
    return torch.where(fire[:, None] & (image > cell.alive_above), state + x, state)

def first(x):
    return torch.from_numpy(x).permute(0, 3, 1, 2)

def kernel(x):
    x = torch.from_numpy(x)
    return x if x.ndim == 1 else x.T[:, :, None, None] if x.ndim == 2 else x.permute(3, 2, 0, 1)

def evolve(cell, params, image, state, randomness, steps):
    weights, grid = {{name: kernel(x) for name, x in params.items()}}, state.shape[:3]
    image, state = first(image), first(state)
    for t in range(steps):
        fire, noise, reset = randomness.at(cell, t, *grid)
        state = my_step(cell, weights, image, state, torch.from_numpy(fire), first(noise))
    return state.permute(0, 2, 3, 1)
"""


def test_a_module_in_the_style_of_pytorch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right one passes laws whose arrays are reversed, float64 or returned as they are; wrong ones are explained."""
    pytest.importorskip("torch").set_num_threads(1)
    texts = {"mine": ("constant", "cell.noise"), "wraps": ("circular", "cell.noise"), "fixed": ("constant", "0.02")}
    for name, (mode, noise) in texts.items():
        (tmp_path / f"torch_{name}.py").write_text(TENSORS.format(mode=mode, noise=noise), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    cell, right = refca.digits_cell(), refca.get_backend("torch_mine")
    for name in (
        "test_step_c2_outside_the_grid_everything_is_zero",
        "test_step_c9_another_order_of_the_samples_is_another_order_of_the_results",
        "test_streams_c7_a_backend_adds_exactly_this_noise",
        "test_backends_c6_arrays_that_come_in_are_not_written",
    ):
        law(name, right)()
    assert str(refca.compare("torch_mine", cell)).endswith("e-07")
    assert "all of them at the border" in str(refca.compare("torch_wraps", cell))
    with pytest.raises(AssertionError):
        law("test_step_c2_outside_the_grid_everything_is_zero", refca.get_backend("torch_wraps"))()
    assert "; but not with noise 0.25 and alive_above 0.3: read" in str(refca.compare("torch_fixed", cell))


def test_compare_says_what_a_function_should_have_returned() -> None:
    torch = pytest.importorskip("torch")
    for wrong, words in (
        (torch.zeros(2, 4, 7, 8), "got \\(2, 4, 7, 8\\); channels come last"),
        (torch.zeros(2, 7, 8, 4, requires_grad=True), "got a Tensor: Can't call numpy"),
        (torch.zeros(2, 7, 8, 4, dtype=torch.int32), "must return real numbers .* got int32"),
        (None, "got a NoneType"),
    ):
        with pytest.raises(InvalidInput, match=words):
            refca.compare(lambda *args, wrong=wrong: wrong, CELL)
    assert not refca.compare(lambda *args: torch.zeros(2, 7, 8, 4), CELL).same


def test_tensors_are_named_where_numpy_is_needed() -> None:
    torch = pytest.importorskip("torch")
    params = refca.init_params(CELL, 0)
    tensors = {name: torch.from_numpy(x) for name, x in params.items()}
    image, state, source = torch.ones(1, 3, 3, 1), torch.zeros(1, 3, 3, 4), refca.Streams(0)
    words = "must be a NumPy array, got a Tensor of torch.float32"
    for backend in map(refca.get_backend, ("cpu", "reference")):
        with pytest.raises(InvalidInput, match=f"image {words}"):
            backend.evolve(CELL, params, image, state, source, 1)
    with pytest.raises(InvalidInput, match=f"perceive.weight {words}"):
        refca.step(CELL, tensors, image, state, *source.at(CELL, 0, 1, 3, 3))


MODULE = """
import refca
from refca.contract.reference import reference

cells = (refca.Cell(1, 4, 5, 3, noise=0.02, alive_above=0.1),)
dtypes = ("float32",)

def evolve(cell, params, image, state, randomness, steps):
    {wrong}
    return reference.evolve(cell, params, image, state, randomness, steps)
"""


def suite(folder: Path, wrong: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """The suite on a module with `evolve` alone, for one cell alone."""
    (folder / "mycells.py").write_text(MODULE.format(wrong=wrong), "utf-8")
    root = Path(__file__).parent.parent
    path = f"{root}:{root / 'backends'}:{root / 'spec'}"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:refca",
        "-p",
        "refca_spec.plugin",
    ]
    command += ["-c", "/dev/null", "--rootdir", str(folder), "--pyargs", "refca_spec.laws.test_step"]
    command += ["refca_spec.laws.test_backends", "--refca-backend", "mycells", "--refca-examples", "5", *flags]
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300)


def test_a_module_with_evolve_alone_for_one_cell_runs_to_a_report(tmp_path: Path) -> None:
    run = suite(tmp_path, "pass", "--refca-report", "report")
    assert run.returncode == 0, run.stdout
    assert re.search(r"refca: mycells: step (\d+)/\1, evolve (\d+)/\2, gradients not offered", run.stdout), run.stdout
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    statuses = {f"{row['chapter']} {row['constraint']}": row["status"] for row in report["constraints"]}
    assert statuses["step C2"] == "passed"
    assert statuses["backends C9"] == statuses["step C11"] == "not offered"  # gradients, and a norm
    assert json.loads((tmp_path / "report" / "badge.json").read_text())["color"] == "brightgreen"
    assert "| step | step C2 | passed | Outside the grid" in (tmp_path / "report" / "report.md").read_text()


def test_numpy_s_false_alarm_breaks_no_law_where_warnings_are_errors(tmp_path: Path) -> None:
    warn = "import warnings; warnings.warn('{} encountered in matmul', RuntimeWarning)"
    flags = "-W", "error", "-W", "ignore::pytest.PytestConfigWarning", "--refca-level", "step", "-k", "c2_"
    assert suite(tmp_path, warn.format("invalid value"), *flags).returncode == 0
    assert "overflow encountered in matmul" in suite(tmp_path, warn.format("overflow"), *flags).stdout


def test_a_law_whose_data_is_missing_was_not_tried(tmp_path: Path) -> None:
    run = suite(tmp_path, "pass", "--refca-report", "report", "--pyargs", "refca_spec.laws.test_distill", "-k", "c1_")
    assert "  not tried  distill C1: " in run.stdout, run.stdout
    assert "(REFCA_DATA is not set: it names the folder with distill_mnist/" in run.stdout
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["constraints"]
    assert [row["status"] for row in rows if row["chapter"] == "distill"] == ["not tried"]
    assert "| evolve | distill C1 | not tried | " in (tmp_path / "report" / "report.md").read_text()


def test_a_broken_constraint_is_quoted_and_can_be_known(tmp_path: Path) -> None:
    wrong = "from dataclasses import replace; import numpy as np; "
    wrong += "cell = replace(cell, alive_above=float(np.nextafter(np.float32(cell.alive_above), np.float32(-9))))"
    (tmp_path / "known.txt").write_text("# ours\nstep C2: a joke that holds\n")
    run = suite(tmp_path, wrong, "--refca-report", "report", "--refca-known", "known.txt", "-n", "1")
    assert run.returncode == 1
    failures, _, table = run.stdout.partition("refca: mycells: step ")
    assert "  broken  step C6: Aliveness is a strict comparison" in table, run.stdout
    assert "FAILED" in failures
    assert "FAILED" not in table  # the table is last
    assert "The call: Case(" in failures
    assert "AssertionError" not in failures  # a sentence, and no traceback
    assert "passed, though it was announced to fail:  step C2" in run.stdout
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["constraints"]
    broken = next(row for row in rows if (row["chapter"], row["constraint"]) == ("step", "C6"))
    failure = broken["failures"][0]
    assert failure["case"].startswith("Case(cell=Cell(image_channels=1, state_channels=4, ")
    assert "residual" not in failure["case"]  # it has its default
    assert repr(eval(failure["case"], {"Case": Case, "Cell": refca.Cell})) == failure["case"]
    assert failure["repeat"].startswith("pytest --pyargs refca_spec --refca-backend mycells -k test_step_c6")
    assert json.loads((tmp_path / "report" / "badge.json").read_text())["color"] == "red"


def test_laws_count_for_the_backend_that_they_were_tried_on(tmp_path: Path) -> None:
    """The name of one ends as the other's, after a hyphen."""
    (tmp_path / "cells.mjs").write_text(program(), "utf-8")
    script = tmp_path / "of-mycells"
    script.write_text(f"#!/bin/sh\nexec {node()} {tmp_path / 'cells.mjs'}\n")
    script.chmod(0o755)
    run = suite(tmp_path, "assert steps < 0", "--refca-backend", "exec:./of-mycells", "-k", "test_step_c2")
    assert "refca: mycells: step 0/1" in run.stdout, run.stdout
    assert "refca: exec:./of-mycells: step 1/1" in run.stdout, run.stdout


def test_an_error_of_the_implementation_is_shown_with_its_traceback(tmp_path: Path) -> None:
    run = suite(tmp_path, "assert steps < 0, 'no steps'", "-k", "test_step_c2")
    assert re.search(r"mycells.py:\d+: in evolve\n.*assert steps < 0", run.stdout), run.stdout


def test_every_constraint_that_a_law_holds_has_a_text() -> None:
    assert text_of(("step", 2)).startswith("Outside the grid everything is zero")
    assert text_of(("backends", 22)).startswith("An objective is a function")


def test_lines_of_known_failures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    path = tmp_path / "known.txt"
    path.write_text("step C2\n")
    with pytest.raises(ValueError, match='line 1: expected "CHAPTER C<NUMBER>: reason", got'):
        read_known(path)


def test_a_step_alone_is_a_backend() -> None:
    class Module:
        @staticmethod
        def step(cell: Any, params: Any, environment: Any, state: Any, *draw: Any) -> Any:
            return refca.step(cell, params, environment, state, *draw)

    from refca.contract.registry import as_backend

    backend = as_backend(Module)
    got = backend.evolve(CELL, *arguments(), refca.Streams(5), 3, first_step=2)
    np.testing.assert_allclose(got, reference.evolve(CELL, *arguments(), refca.Streams(5), 3, first_step=2), atol=1e-5)
    assert (backend.offers("evolve"), backend.offers("loss_and_grads")) == (True, False)
    with pytest.raises(NotOffered, match="neither loss_and_grads for it nor unroll_grads"):
        backend.loss_and_grads(CELL, "l2", *arguments(), np.array([0, 1]), np.ones((1, 2), "f4"), refca.Streams(0))


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_module_that_only_evolves_does_not_begin_to_train(
    importable: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (importable / "only_evolves.py").write_text("def evolve(*arguments, **named):\n    raise NotImplementedError\n")
    out = importable / "run"
    assert train.main(["--experiment", "demo", "--backend", "only_evolves", "--out", str(out)]) == 2
    assert "only_evolves cannot train: it has neither loss_and_grads nor unroll_grads" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("error", ["ValueError", "TypeError", "RuntimeError", "OSError", "SystemExit", "BaseException"])
def test_a_module_that_raises_while_it_is_imported_is_reported_with_its_cause(importable: Path, error: str) -> None:
    name = f"raising_{error.lower()}"
    (importable / f"{name}.py").write_text(f"raise {error}('the moon is full')")
    with pytest.raises(InvalidInput, match=f'the backend "{name}" raises {error} while loading: the moon is full'):
        refca.get_backend(name)


@pytest.mark.parametrize("error", ["RuntimeError", "SystemExit", "ImportError"])
def test_a_backend_of_refca_that_raises_anything_is_unavailable_and_the_next_is_taken(
    importable: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    from refca.contract import registry

    name = f"broken_{error.lower()}"
    (importable / f"{name}.py").write_text(f"raise {error}('no CUDA here')")
    monkeypatch.setitem(registry.OURS, "cpu", name)
    with pytest.raises(Unavailable, match="no CUDA here"):
        refca.get_backend("cpu")
    assert registry.fastest()[0] == "reference"
