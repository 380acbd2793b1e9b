"""Training recipes beyond the texts; the defaults compute the texts' training unchanged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from refca import init_params
from refca.contract.reference import reference
from refca.definition.randomness import Streams
from refca.digits import training as digits_training
from refca.digits.augmentation import augment, draw
from refca.digits.pool import sample
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.tasks import load_experiment, lookup
from refca.train import main
from refca.training import loop
from refca.training.adam import Adam, learning_rate_at
from refca.training.checkpoint import load_checkpoint
from refca.training.muon import OPTIMISERS
from refca.weights.load import initial_params, load_weights

NEW = ("init_from", "fresh_fraction", "unroll_max", "loss_steps", "schedule")
SHORT = ["--experiment", "demo", "--steps", "20", "--batch", "4", "--pool", "8", "--unroll", "2"]
RECIPE = ["--unroll-max", "6", "--loss-steps", "2", "--schedule", "cosine", "--fresh-fraction", "0.5"]
RECIPE += ["--grid", "12", "--scale-max", "1.5", "--warmup-steps", "5"]


class Asked:
    """The reference backend, which counts its calls in each training step."""

    def __init__(self) -> None:
        self.weights: list[np.ndarray] = []
        self.states: list[np.ndarray] = []
        self.randomness: list[Any] = []
        self.rates: list[float] = []

    def loss_and_grads(self, *arguments: Any) -> Any:
        self.states.append(arguments[4].copy())
        self.weights.append(arguments[6])
        self.randomness.append(arguments[7])
        return reference.loss_and_grads(*arguments)

    def adam_step(self, *arguments: Any) -> Any:
        self.rates.append(arguments[5])
        return reference.adam_step(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(reference, name)


def asked_in(steps: int, **settings: Any) -> tuple[Asked, list[float]]:
    """Return the calls of the first training steps to the backend, and their learning rates."""
    experiment = DigitsExperiment(
        dataset="optdigits", batch=4, steps=100, seed=5, **{"pool": 8, "unroll": 3, **settings}
    )
    backend = Asked()
    digits = digits_training.load_samples(experiment, None)
    train_state = digits_training.begin(experiment, backend, digits)
    for _ in range(steps):
        digits_training.train_step(experiment, backend, digits, train_state)
    return backend, backend.rates


def test_by_default_training_asks_what_the_article_asks() -> None:
    asked, rates = asked_in(4)
    expected = np.zeros((3, 4), np.float32)
    expected[-1] = 1 / 4
    for i, weights in enumerate(asked.weights):
        np.testing.assert_array_equal(weights, expected)
        assert weights.dtype == np.float32
        assert asked.randomness[i] == Streams(5).fold(i)
        assert rates[i] == learning_rate_at(1e-3, i, 100)


def test_a_recipe_changes_lengths_weights_and_rates_and_no_randomness() -> None:
    asked, rates = asked_in(12, unroll_max=6, loss_steps=2, schedule="cosine")
    lengths = [len(weights) for weights in asked.weights]
    assert set(lengths) <= {3, 4, 5, 6}
    assert len(set(lengths)) > 1
    for i, weights in enumerate(asked.weights):
        assert (weights[:-2] == 0).all()
        assert (weights[-2:] == np.float32(1 / 8)).all()
        assert asked.randomness[i] == Streams(5).fold(i)
        assert rates[i] == learning_rate_at(1e-3, i, 100, "cosine")


@pytest.mark.parametrize("fresh_fraction", [0.5, 0.25])
def test_renewal_says_how_much_of_a_batch_begins_anew(fresh_fraction: float) -> None:
    fresh = int(4 * fresh_fraction)
    for state in asked_in(5, pool=4, fresh_fraction=fresh_fraction)[0].states[1:]:
        assert [sample.any() for sample in state] == [False] * fresh + [True] * (4 - fresh)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_recipe_stopped_and_resumed_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimiser: str
) -> None:
    recipe = [*SHORT, *RECIPE, "--optimiser", optimiser]
    assert main([*recipe, "--out", str(tmp_path / "whole")]) == 0
    done = iter([False] * 7 + [True])
    with monkeypatch.context() as patched:
        patched.setattr(loop, "stoppable", lambda: Stopping(done))
        assert main([*recipe, "--out", str(tmp_path / "stopped")]) == 130
    assert main(["--out", str(tmp_path / "stopped"), "--resume"]) == 0
    for file in ("checkpoint.safetensors", "weights.safetensors", "metrics.csv", "settings.toml"):
        assert (tmp_path / "stopped" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert load_experiment(tmp_path / "whole" / "settings.toml").toml().count('schedule = "cosine"\n') == 1


DRAWN: dict[str, Any] = {"grid": 14, "scale_min": 0.8, "scale_max": 1.5, "stroke_max": 1.0, "slant": 0.3}
DRAWN |= {"elastic": 1.0, "erased": 0.4}


def test_digits_drawn_otherwise_enter_the_pool_and_keep_their_labels() -> None:
    experiment = DigitsExperiment(dataset="optdigits", batch=8, pool=16, unroll=1, **DRAWN)
    digits = digits_training.load_samples(experiment, None)
    train_state = digits_training.begin(experiment, reference, digits)
    first = train_state.buffer.image.copy()
    assert first.shape == (16, 14, 14, 1)
    corners = {tuple(np.argwhere(image[..., 0] > 0).min(axis=0)) for image in first}
    assert len(corners) > 8, "digits are not placed at random"
    result = digits_training.train_step(experiment, reference, digits, train_state)
    plan = sample("mutating", 0.25, 8, 16, len(digits), 0, 0)
    numbers = draw(experiment.ranges, 8, 0, 1)
    for b in (0, 1, 6, 7):  # those that enter: a quarter fresh, a quarter mutated
        expected = augment(digits.images(plan.digits[b : b + 1]), numbers.of(np.array([b])), 14)[0]
        np.testing.assert_array_equal(result.image[b], expected)
        assert result.target[b] == digits.labels[plan.digits[b]]
    np.testing.assert_array_equal(result.image[2:6], first[plan.slots[2:6]])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"scale_min": 2.0}, "scales must satisfy 0.1 <= scale_min <= scale_max <= 10, got 2.0 and 1.0"),
        ({"stroke_min": 1.0}, "strokes must satisfy -10 <= stroke_min <= stroke_max <= 10, got 1.0 and 0.0"),
        ({"slant": -0.1}, "slant must be from 0 to 1, got -0.1"),
        ({"elastic": 11.0}, "elastic must be from 0 to 10, got 11.0"),
        ({"erased": 1.0}, "erased must be from 0 to 0.9, got 1.0"),
        ({"drawn_fraction": 1.5}, "drawn_fraction must be from 0 to 1, got 1.5"),
        ({"grid": -1}, "grid must not be negative, got -1"),
        ({"warmup_steps": -1}, "warmup_steps must not be negative, got -1"),
    ],
)
def test_ranges_that_no_digit_can_be_drawn_from_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        DigitsExperiment(**settings)


def test_a_run_begins_with_the_weights_that_start_names() -> None:
    experiment = DigitsExperiment(dataset="optdigits", init_from="digits-l2-noise", pool=16)
    digits = digits_training.load_samples(experiment, None)
    train_state = digits_training.begin(experiment, reference, digits)
    ours, random = load_weights("digits-l2-noise").params, init_params(experiment.cell, experiment.seed)
    assert (train_state.done, train_state.adam) == (0, Adam())
    for name, x in train_state.params.items():
        np.testing.assert_array_equal(x, ours[name])
    train_state = digits_training.begin(experiment.with_(init_from=""), reference, digits)
    for name, x in train_state.params.items():
        np.testing.assert_array_equal(x, random[name])


def test_a_run_does_not_begin_with_weights_of_another_cell() -> None:
    experiment = load_experiment("pets-48-small").with_(init_from="digits-l2-noise")
    with pytest.raises(
        InvalidInput, match=r"^digits-l2-noise: params must have .*; init_from must name weights of this"
    ):
        initial_params(experiment, reference)


class Stopping:
    """Replace `stoppable` by answers given in advance."""

    def __init__(self, answers: Any) -> None:
        self.answers = answers

    def __enter__(self) -> Any:
        return lambda: next(self.answers)

    def __exit__(self, *error: object) -> None: ...


def test_settings_weights_and_checkpoints_without_the_new_settings_are_the_articles(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert main([*SHORT, "--out", str(out)]) == 0
    wanted = load_experiment(out / "settings.toml")
    lines = (out / "settings.toml").read_text().splitlines()
    (out / "settings.toml").write_text("\n".join(line for line in lines if line.split(" ")[0] not in NEW))
    assert load_experiment(out / "settings.toml") == wanted
    for file in ("checkpoint.safetensors", "weights.safetensors"):
        forget(out / file)
    assert load_checkpoint(out / "checkpoint.safetensors", lookup)[0] == wanted
    assert load_weights(out / "weights.safetensors").experiment == wanted
    assert main(["--out", str(out), "--resume"]) == 0


def forget(path: Path) -> None:
    """Take the new settings out of a file's metadata, as if they had not existed."""
    with safe_open(path, "numpy") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        said = json.loads(file.metadata()["refca"])
        said.pop("hashes")  # files of that time had none
    for name in NEW:
        del said["experiment"][name]
    save_file(tensors, path, {"refca": json.dumps(said)})


def test_settings_are_toml_whatever_they_hold(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    for settings in ({"alive_above": float("-inf")}, {"alive_above": None}, {"classes": ("\U0001f408", "b\\\n\x7f")}):
        experiment = DigitsExperiment(**{"labels": 2} | settings)
        path.write_text(experiment.toml(), "utf-8")
        assert load_experiment(path) == experiment
