"""Arguments of the library of a wrong rank or type: each is refused in one sentence that names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refca
from refca.contract.reference import reference
from refca.errors import InvalidInput

CELL = refca.digits_cell(noise=0.0)
PARAMS = refca.init_params(CELL, 0)
IMAGE, STATE = np.zeros((2, 4, 5, 1), np.float32), np.zeros((2, 4, 5, 19), np.float32)
LIVE, LABELS, WEIGHTS = np.ones((2, 4, 5), bool), np.zeros(2, np.int64), np.ones((1, 2), np.float32)
READOUT, STREAMS = np.zeros((2, 4, 5, 10), np.float32), refca.Streams(0)
WRONG: dict[str, Any] = {
    "a picture": np.zeros((28, 28), np.float32),
    "an array too deep": np.zeros((1, 2, 4, 5, 1), np.float32),
    "an empty array": np.zeros((0,), np.float32),
    "text in an array": np.array([["a"]]),
    "complex numbers": np.zeros((2, 4, 5, 1), complex),
    "objects": np.array([object()]),
    "a list": [[0.0]],
    "nothing": None,
    "text": "x",
    "a fraction": 1.5,
    "an object": object(),
    "a Pillow image": Image.new("L", (4, 5)),
    "a type": dict,
}
FINE = {  # arguments for which some of these values are right
    ("Automaton.evolve", "state"): ("nothing",),
    ("Automaton.predict", "picture"): ("a picture", "an array too deep", "a Pillow image"),
    ("Automaton.predict", "steps"): ("nothing",),
    ("Automaton.predict", "size"): ("nothing",),
    ("Cell", "noise"): ("a fraction",),
    ("Cell", "alive_above"): ("nothing", "a fraction"),
    ("digits_cell", "noise"): ("a fraction",),
    ("loss_and_grads", "loss"): ("a type",),
    ("digit", "picture"): ("a picture", "a Pillow image"),
    ("load", "backend"): ("nothing",),
    ("get_backend", "name"): ("nothing",),
    ("init_state", "streams"): ("nothing",),
    ("initial_state", "image"): ("complex numbers",),  # its shape is all that is used
}


def calls(folder: Path) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    """The functions of the library, each with arguments that are right."""
    automaton = refca.load("digits", "reference")
    evolve = {"cell": CELL, "params": PARAMS, "image": IMAGE, "state": STATE, "randomness": STREAMS, "steps": 1}
    loss = {**evolve, "loss": "l2", "target": LABELS, "weights": WEIGHTS}
    loss.pop("steps")
    return {
        "step": (
            lambda cell, params, environment, state, fire_mask: refca.step(
                cell, params, environment, state, fire_mask, None, None
            ),
            {"cell": CELL, "params": PARAMS, "environment": IMAGE, "state": STATE, "fire_mask": LIVE},
        ),
        "alive": (refca.alive, {"cell": CELL, "environment": IMAGE}),
        "sample_photographs": (refca.sample_photographs, {"size": 24}),
        "init_state": (refca.init_state, {"cell": CELL, "image": IMAGE, "streams": STREAMS}),
        "mutate": (refca.mutate, {"cell": CELL, "state": STATE, "image": IMAGE}),
        "init_params": (refca.init_params, {"cell": CELL, "seed": 0}),
        "cell_accuracy": (refca.cell_accuracy, {"readout": READOUT, "labels": LABELS, "live": LIVE}),
        "total_agreement": (refca.total_agreement, {"readout": READOUT, "live": LIVE}),
        "l2": (refca.l2, {"readout": READOUT, "target": LABELS, "live": LIVE}),
        "cross_entropy": (refca.cross_entropy, {"readout": READOUT, "target": LABELS, "live": LIVE}),
        "iou": (refca.iou, {"predicted": LABELS, "target": LABELS, "labels": 2}),
        "Streams": (refca.Streams, {"seed": 0, "first_sample": 0}),
        "Cell": (
            lambda **given: refca.Cell(**{"image_channels": 1, "state_channels": 3, "hidden_width": 4, **given}),
            {"labels": 2, "noise": 0.0, "alive_above": 0.1, "biases": True, "norm": "none", "stride": 1},
        ),
        "digits_cell": (refca.digits_cell, {"noise": 0.02}),
        "segmentation_cell": (refca.segmentation_cell, {"state": 8, "hidden": 8, "norm": "instance"}),
        "evolve": (reference.evolve, {**evolve, "first_step": 0}),
        "loss_and_grads": (reference.loss_and_grads, loss),
        "initial_state": (reference.initial_state, {"image": IMAGE, "cell": CELL}),
        "Automaton.evolve": (automaton.evolve, {"image": IMAGE, "steps": 1, "state": STATE, "seed": 0}),
        "Automaton.readout": (automaton.readout, {"state": STATE}),
        "Automaton.labels": (automaton.labels, {"state": STATE}),
        "Automaton.paint": (automaton.paint, {"image": IMAGE, "state": STATE}),
        "Automaton.predict": (automaton.predict, {"picture": np.eye(9), "steps": 1, "size": 9, "seed": 0}),
        "digit": (refca.digit, {"picture": np.eye(9)}),
        "load_weights": (refca.load_weights, {"name": "digits"}),
        "load": (refca.load, {"name_or_path": "digits", "backend": "reference"}),
        "get_backend": (refca.get_backend, {"name": "reference"}),
        "save_weights": (refca.save_weights, {"path": folder / "w.safetensors", "cell": CELL, "params": PARAMS}),
        "compare": (
            lambda implementation, cell, steps: refca.compare(implementation, cell, steps=steps),
            {"implementation": reference.evolve, "cell": CELL, "steps": 1},
        ),
    }


NAMES = list(calls(Path()))
NAMED_BY_VALUE = (
    "name",
    "name_or_path",
    "backend",
    "implementation",
    "picture",
    "path",
)  # x cannot be read; unknown backend "x"


def refusal(call: Callable[[], Any]) -> str | None:
    """Return the message of the InvalidInput that a call raises; None if it raises nothing."""
    try:
        call()
    except InvalidInput as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", NAMES)
def test_an_argument_of_a_wrong_rank_or_type_is_refused_by_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    function, right = calls(tmp_path)[name]
    function(**right)
    for argument in right:
        for kind, wrong in WRONG.items():
            if kind in FINE.get((name, argument), ()):
                continue
            said = refusal(lambda: function(**{**right, argument: wrong}))  # noqa: B023
            assert said, f"{name} takes {kind} for {argument}"
            assert "\n" not in said
            if argument not in NAMED_BY_VALUE:
                assert argument in said, f"{name} with {kind} for {argument}: {said}"


@pytest.mark.parametrize("name", ["update.weight", "perceive.bias"])
@pytest.mark.parametrize("kind", WRONG)
def test_a_parameter_that_is_no_array_of_its_shape_is_refused_by_name(name: str, kind: str, tmp_path: Path) -> None:
    wrong = {**PARAMS, name: WRONG[kind]}
    for call in (
        lambda: reference.evolve(CELL, wrong, IMAGE, STATE, STREAMS, 1),
        lambda: refca.step(CELL, wrong, IMAGE, STATE, LIVE, None, None),
        lambda: refca.save_weights(tmp_path / "w.safetensors", CELL, wrong),
    ):
        with pytest.raises(InvalidInput, match=name):
            call()


def test_shapes_that_are_right_alone_and_do_not_fit_together_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"live must have shape \(B, H, W\), got \(2, 4, 4\); readout has \(2, 4, 5"):
        refca.total_agreement(READOUT, LIVE[:, :, :4])
    with pytest.raises(InvalidInput, match=r"labels must have shape \(B,\), got \(1,\)"):
        refca.cell_accuracy(READOUT, LABELS[:1], LIVE)
    with pytest.raises(InvalidInput, match=r"state must have shape \(B, H, W, 19\), got \(2, 4, 4, 19\)"):
        refca.step(CELL, PARAMS, IMAGE, STATE[:, :, :4], LIVE, None, None)
    with pytest.raises(InvalidInput, match=r"target must have shape \(2, 4, 5\), got \(2, 4, 4\)"):
        refca.l2(READOUT, np.zeros((2, 4, 4), int), LIVE)


REAL = ("step", "alive", "init_state", "mutate", "cell_accuracy", "total_agreement", "l2", "cross_entropy", "evolve")


@pytest.mark.parametrize("name", REAL)
def test_numbers_of_half_precision_are_refused_by_name(name: str, tmp_path: Path) -> None:
    function, right = calls(tmp_path)[name]
    found = [argument for argument, x in right.items() if getattr(x, "dtype", None) == np.float32]
    assert found
    for argument in found:
        with pytest.raises(InvalidInput, match=f"{argument} must be float32 or float64, got float16"):
            function(**{**right, argument: right[argument].astype(np.float16)})


def test_parameters_of_another_dtype_than_the_state_are_refused() -> None:
    double = {name: x.astype(float) for name, x in PARAMS.items()}
    with pytest.raises(InvalidInput, match=r"dtypes must be equal, got .*state float32, update.weight float64"):
        refca.step(CELL, double, IMAGE, STATE, LIVE, None, None)


def test_an_image_that_does_not_divide_into_cells_has_no_first_state() -> None:
    cell = refca.segmentation_cell(stride=2)
    for function in (refca.init_state, reference.initial_state):
        with pytest.raises(InvalidInput, match="image sides must be multiples of the stride 2, got 9x8"):
            function(cell, np.zeros((1, 9, 8, 3), np.float32), STREAMS)


def test_labels_that_a_readout_does_not_have_are_refused() -> None:
    for loss in (refca.l2, refca.cross_entropy):
        for label in (-1, 10):
            with pytest.raises(InvalidInput, match=rf"labels must be from 0 to 9, got {label} to {label}"):
                loss(READOUT, np.full(2, label), LIVE)


def test_numbers_of_numpy_are_settings_of_a_cell(tmp_path: Path) -> None:
    cell = refca.Cell(np.int64(1), np.int32(4), 3, 2, noise=np.float32(0.5), biases=np.bool_(False))  # type: ignore[arg-type]
    kinds = [type(x) for x in (cell.image_channels, cell.state_channels, cell.noise, cell.biases)]
    assert kinds == [int, int, float, bool]
    refca.save_weights(tmp_path / "a.safetensors", cell, refca.init_params(cell, 0))
    assert refca.load(tmp_path / "a.safetensors").cell == cell


@pytest.mark.parametrize("name", ["noise", "fire_rate", "alive_above"])
def test_a_number_that_no_float_holds_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} must be in the range of a float"):
        refca.Cell(1, 4, 3, 2, **{name: 10**400})  # type: ignore[arg-type]


def test_settings_of_weights_do_not_change_their_cell(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="settings must not change the cell"):
        refca.save_weights(tmp_path / "a.safetensors", CELL, PARAMS, state=20)
    assert not list(tmp_path.iterdir())


def test_one_picture_is_no_list_of_pictures() -> None:
    with pytest.raises(InvalidInput, match=r"pictures must be a list of pictures, got the one 3\.png"):
        refca.load("digits").predict_all("3.png")


def test_automata_are_compared_without_their_arrays() -> None:
    one, other = refca.load("digits"), refca.load("digits")
    assert one == one
    assert one != other
    assert len({one, other}) == 2


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_arrays_that_numpy_does_not_compute_with_are_refused(library: str) -> None:
    xp = pytest.importorskip(library)
    cell = refca.segmentation_cell(state=8, hidden=8)
    image, state, readout, labels, live = map(xp.asarray, (IMAGE, STATE, READOUT, LABELS, LIVE))
    for name, call in {
        "environment": lambda: refca.step(CELL, PARAMS, image, STATE, LIVE, None, None),
        "image": lambda: refca.init_state(cell, xp.zeros((1, 4, 5, 3)), STREAMS),
        "state": lambda: refca.mutate(CELL, state, image),
        "readout": lambda: refca.total_agreement(readout, live),
        "labels": lambda: refca.cell_accuracy(READOUT, labels, LIVE),
        "target": lambda: refca.l2(READOUT, labels, LIVE),
        "predicted": lambda: refca.iou(labels, labels, 2),
    }.items():
        said = refusal(call) or ""
        assert said.startswith(f"{name} must be a NumPy array, got a "), (name, said)


def test_values_that_mean_nothing_are_refused() -> None:
    strided = refca.segmentation_cell(state=8, hidden=8, stride=2)
    noisy, large = refca.digits_cell(), np.zeros((2, 8, 10, 3), np.float32)
    for call, words in (
        (lambda: refca.cell_accuracy(READOUT, LABELS + 10, LIVE), "labels must be from 0 to 9, got 10 to 10"),
        (lambda: refca.total_agreement(READOUT[:, :0], LIVE[:, :0]), "readout must have a row, a column and a label"),
        (lambda: refca.l2(READOUT[..., :0], LABELS, LIVE), "readout must have a row, a column and a label"),
        (lambda: refca.mutate(strided, np.zeros((2, 4, 5, 8)), large), "cell must have stride 1"),
        (
            lambda: refca.step(noisy, PARAMS, IMAGE, STATE, LIVE, STATE.astype(complex), None),
            "noise must be real numbers, got complex128",
        ),
    ):
        assert words in (refusal(call) or "")
