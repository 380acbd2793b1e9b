"""The checks of the exercises: each takes a student's answer and raises `Wrong`, with a hint, unless it is right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from types import SimpleNamespace
from typing import Any

import numpy as np

import refca
from refca.definition.step import gate, hidden_layers, neighbourhood

TOLERANCE = 1e-4


class Wrong(Exception):
    """An answer that is not right yet; the message is a hint."""


def require(condition: Any, hint: str) -> None:
    """Raise `Wrong` with a hint unless a condition holds."""
    if not condition:
        raise Wrong(hint)


def require_array(got: Any, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Return an answer as an array. Raises `Wrong` if it is missing or has another shape."""
    require(got is not None, f"{what} is None; does your function return something?")
    array = np.asarray(got)
    require(array.shape == shape, f"{what} must have shape {shape}, got {array.shape}")
    return array


def near(got: Any, expected: Any, tolerance: float = TOLERANCE) -> bool:
    """Return whether two arrays are equal up to a tolerance."""
    return bool(np.all(np.abs(np.asarray(got, float) - np.asarray(expected, float)) <= tolerance))


def has_parts(got: Any, count: int) -> bool:
    """Return whether an answer is this many values, as `return a, b` gives them."""
    return isinstance(got, tuple | list | np.ndarray) and np.ndim(got[:0]) > 0 and len(got) == count


# Lesson 1: one cell


def check_1_1(count: Callable[[int, int], Any]) -> None:
    """count(state_channels, hidden_width) is the number of parameters of a cell of the article."""
    for D, P in (19, 80), (4, 6), (11, 3):
        params = refca.init_params(refca.Cell(image_channels=1, state_channels=D, hidden_width=P, labels=1), seed=0)
        expected = sum(x.size for x in params.values())
        got = count(D, P)
        require(got is not None, "your function returns None; replace the dots by a formula and return its value")
        if got == expected - (2 * P + D):
            raise Wrong(
                f"{got} for {D} channels and {P} hidden values: you forgot that each of three layers adds a bias"
            )
        if got == expected - 9 * P:
            raise Wrong(f"{got} for {D} channels and {P} hidden values: you forgot the ink, which is seen too")
        if got == expected - 8 * (D + 1) * P:
            raise Wrong(f"{got} for {D} channels and {P} hidden values: a cell sees nine cells, not one")
        require(got == expected, f"for {D} state channels and {P} hidden values there are {expected}, got {got!r}")


def check_1_2(neighbours: Callable[[Any, int, int], Any]) -> None:
    """neighbours(x, row, column) are the 9·C numbers around a cell, (9·C,), zero outside the grid."""
    x = np.random.default_rng(0).random((4, 5, 3))
    padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
    places = {"in the middle": (2, 2), "at the top left": (0, 0), "at the bottom right": (3, 4), "at the left": (1, 0)}
    for where, (i, j) in places.items():
        expected = padded[i : i + 3, j : j + 3].ravel()
        got = require_array(neighbours(x.copy(), i, j), expected.shape, f"the result for a cell {where}")
        if not near(got, expected) and near(np.sort(got), np.sort(expected)):
            raise Wrong(f"the numbers of a cell {where} are right, but not their order: row by row, then by channel")
        require(near(got, expected), f"the numbers of a cell {where} are wrong; outside the grid everything is zero")


def check_1_3(step: Callable[..., Any]) -> None:
    """step(params, image, state, fire, noise) is one step of the article's cell on one grid."""
    cell, rng = refca.digits_cell(), np.random.default_rng(1)
    params = refca.init_params(cell, seed=1)
    biases = [name for name in params if name.endswith(".bias")]
    for name in ("update.weight", *biases):  # they begin at zero, where a step that forgets them looks right
        params[name] = rng.normal(0, 0.1, params[name].shape).astype(np.float32)
    params = {name: x.astype(np.float64) for name, x in params.items()}
    image = rng.random((5, 6, 1)) * (rng.random((5, 6, 1)) < 0.7)
    state, noise, fire = rng.normal(0, 1, (5, 6, 19)), rng.normal(0, 1, (5, 6, 19)), rng.random((5, 6)) < 0.5

    def right_step(
        state: np.ndarray, fire: np.ndarray, noise: np.ndarray, left_out: tuple[str, ...] = ()
    ) -> np.ndarray:
        used = params | {name: 0 * params[name] for name in left_out}
        return refca.step(cell, used, image[None], state[None], fire[None], noise[None], None)[0]

    expected = right_step(state, fire, noise)
    copy = state.copy()
    got = require_array(step(params, image.copy(), copy, fire.copy(), noise.copy()), state.shape, "the new state")
    require(np.array_equal(copy, state), "your step writes into the old state; all cells must see the old one")
    wrong = np.abs(got - expected).max(-1) > TOLERANCE
    resting = ~fire | (image[..., 0] <= 0.1)
    require(not (wrong & ~fire).any(), "a cell that does not fire must keep its state")
    require(not (wrong & resting).any(), "a cell that is not alive must keep its state")
    require(not near(got, right_step(state, fire, 0 * noise)), "the noise is missing: add 0.02 * noise to the update")
    replaced = np.where(resting[..., None], state, expected - state)
    require(not near(got, replaced), "you return the update of cells that change; return state + update")
    one_by_one = state
    for row, column in np.argwhere(~resting):
        only = np.zeros_like(fire)
        only[row, column] = True
        one_by_one = right_step(one_by_one, only, noise)
    for left_out in (names for count in (1, 2, 3) for names in combinations(biases, count)):
        forgotten = near(got, right_step(state, fire, noise, left_out))
        require(not forgotten, f"each of three layers adds a bias; not added: {', '.join(left_out)}")
    require(not near(got, one_by_one), "a cell read a neighbour that had already moved; read all from the old state")
    require(
        not wrong.any(), "the cells at rest are right; the state of the others is not state + update + 0.02 * noise"
    )


# Lesson 2: agreement


def check_2_1(arrival: Callable[[Any, Any], Any]) -> None:
    """arrival(one, other) is the first step at which two histories differ in each cell, (H, W); -1 for never."""
    rng = np.random.default_rng(2)
    one = rng.normal(0, 1, (7, 4, 5, 3))
    expected = rng.integers(-1, 7, (4, 5))
    other = one.copy()
    for t in range(7):
        other[t] += ((expected >= 0) & (t == expected))[..., None] * np.array([0, 0, 0.5])
    got = require_array(arrival(one, other), (4, 5), "the result")
    never = expected < 0
    require(np.all(got[never] == -1), "cells that never differ must have -1")
    require(np.all(got == expected), "a cell differs at step t if any of its channels does; return the first such step")


def check_2_2(measure: Callable[[Any, int, Any], Any]) -> None:
    """measure(predicted, label, live) is the pair (accuracy, agreement) of one digit."""
    rng = np.random.default_rng(3)
    cases = [(rng.integers(0, 10, (6, 6)), int(k), rng.random((6, 6)) < 0.6) for k in range(4)]
    live = rng.random((6, 6)) < 0.5
    cases += [(np.where(live, 7, rng.integers(0, 10, (6, 6))), 7, live), (np.where(live, 1, 4), 2, live)]
    for predicted, label, alive_ in cases:
        got = measure(predicted.copy(), label, alive_.copy())
        require(has_parts(got, 2), "return two things: accuracy and agreement")
        accuracy, agreement = got
        right = (predicted == label)[alive_].mean()
        agree = len(set(predicted[alive_].tolist())) == 1
        swapped = near(accuracy, agree) and near(agreement, right) and not near(right, agree)
        require(not swapped, "the two are swapped: return accuracy first, then agreement")
        percent = right > 0 and near(accuracy, 100 * right, 0.51)
        require(not percent, f"accuracy must be a fraction, {right:.3f}, not a percentage; got {accuracy}")
        require(
            near(accuracy, right),
            f"accuracy must be {right:.3f} of the live cells, got {accuracy}; do dead cells count?",
        )
        require(
            bool(agreement) == agree, f"agreement must be {agree}: it asks for one label, and not for the right one"
        )


def check_2_3(push: Callable[[Any, int, str], Any]) -> None:
    """push(outputs, label, loss) is minus the gradient of the loss of one cell, (10,)."""
    rng = np.random.default_rng(4)
    for scale, label in (0.1, 3), (1.0, 0), (4.0, 9):
        outputs = scale * rng.normal(0, 1, 10)
        one_hot = np.eye(10)[label]
        softmax = np.exp(outputs) / np.exp(outputs).sum()
        for loss, expected in ("l2", one_hot - outputs), ("ce", one_hot - softmax):
            got = require_array(push(outputs.copy(), label, loss), (10,), f'the push of "{loss}"')
            require(not near(got, -expected, 1e-6), f'"{loss}" pushes against its gradient; yours has the other sign')
            require(near(got, expected, 1e-6), f'the push of "{loss}" is wrong for outputs {np.round(outputs, 2)}')


# Lesson 3: training


def check_3_1(compose: Callable[..., Any]) -> None:
    """compose(image, label, state, new_image, new_label) is the batch: a quarter fresh, a quarter mutated."""
    rng, cell = np.random.default_rng(5), refca.digits_cell()
    for B in (16, 8):
        image, new_image = (rng.random((B, 5, 5, 1)).round(1) for _ in range(2))
        label, new_label = (rng.integers(0, 10, B) for _ in range(2))
        state, n = rng.normal(0, 1, (B, 5, 5, 19)), B // 4
        before = image.copy(), label.copy(), state.copy()
        got = compose(image, label, state, new_image, new_label)
        require(has_parts(got, 3), "return three arrays: image, label and state")
        require(
            all(np.array_equal(x, y) for x, y in zip(before, (image, label, state), strict=True)),
            "your function writes into the pool's arrays; make copies",
        )
        images, labels, states = (
            require_array(x, y.shape, name) for x, y, name in zip(got, before, ("image", "label", "state"), strict=True)
        )
        middle, last = slice(n, B - n), slice(B - n, B)
        require(near(images[middle], image[middle]), "the middle half must keep its images")
        require(near(states[middle], state[middle]), "the middle half must keep its states")
        require(
            near(images[:n], new_image[:n]) and near(images[last], new_image[last]), "both end quarters get new images"
        )
        expected = np.concatenate([new_label[:n], label[middle], new_label[last]])
        require(np.array_equal(labels, expected), "labels must follow the images")
        require(not np.any(states[:n]), "the first quarter must start from zero")
        mutated = refca.mutate(cell, state[last], new_image[last])
        require(
            near(states[last], mutated), "the last quarter must keep its state where the new digit is alive, else zero"
        )


def check_3_2(slope: Callable[[Any, Any, int, float], Any]) -> None:
    """slope(f, x, i, h) is the central difference of f at entry i of x."""
    x = np.array([0.5, -1.0, 2.0])
    for i in range(3):
        copy = x.copy()
        got = slope(lambda y: float(np.sum(np.asarray(y) ** 3)), copy, i, 0.1)
        require(got is not None, "your function returns None")
        require(np.array_equal(copy, x), "your function leaves x changed")
        one_sided = ((x[i] + 0.1) ** 3 - x[i] ** 3) / 0.1
        require(not near(got, one_sided, 1e-9), "that is one-sided: step to both sides of x, and divide by 2 h")
        require(
            near(got, 3 * x[i] ** 2 + 0.01, 1e-9),
            f"for the sum of x**3 at {x} the slope along entry {i} is wrong: {got}",
        )


def check_3_3(change: Mapping[str, Any]) -> None:
    """`change` holds one setting of the experiment "demo" with another value."""
    from refca.tasks import load_experiment

    require(isinstance(change, Mapping), 'write a dict, such as {"unroll": 10}')
    require(
        len(change) == 1, f"change exactly one setting, so that you know what made the difference; got {len(change)}"
    )
    experiment: Any = load_experiment("demo")
    (name, value), *_ = change.items()
    experiment.with_(**change)
    require(name not in ("steps", "dataset", "seed"), f"{name} would not be a fair comparison; choose another setting")
    require(getattr(experiment, name) != value, f"{name} is {value!r} already; choose another value")


# Lesson 4: photographs


def check_4_1(measured_gate: Callable[[Any, Any, Any], Any]) -> None:
    """measured_gate(automaton, image, state) is the reset gate of each cell, (B, H, W)."""
    automaton, rng = refca.load("pets"), np.random.default_rng(6)
    image = rng.uniform(-1, 1, (2, 10, 12, 3)).astype(np.float32)
    cell, params = automaton.cell, automaton.params
    for size in 0.3, 3.0:
        state = (size * rng.normal(0, 1, (2, 10, 12, cell.state_channels))).astype(np.float32)
        expected = gate(params, hidden_layers(cell, params, neighbourhood(image, state)))[..., 0]
        got = require_array(measured_gate(automaton, image, state), (2, 10, 12), "the gate")
        require(not near(got, 1 - expected, 1e-3), "that is how much a cell keeps; the gate is how much it forgets")
        require(
            near(got, expected, 1e-3), "do all cells fire in your two steps, and do they differ in z alone, 1 and 0?"
        )


def check_4_2(keep: Callable[[float, int, int], Any]) -> None:
    """keep(p, K, T) is the probability of keeping over one mini-unroll."""
    for p, K, T in (0.5, 10, 40), (0.5, 40, 40), (0.25, 5, 40), (0.9, 8, 64):
        got = keep(p, K, T)
        require(got is not None, "your function returns None")
        require(
            near(float(got) ** (T / K), p, 1e-9),
            f"kept {T // K} times with probability {got:g}, it is not kept with {p}",
        )


def check_4_3(colony: Callable[[Any, Any, int], Any]) -> None:
    """colony(automaton, photographs, steps) are the labels after `steps` steps under each photograph, (N, H, W)."""
    automaton, photographs = refca.load("pets"), refca.sample_photographs(24)[:3]
    state, expected, restarted = None, [], []
    for i, photograph in enumerate(photographs):
        state = automaton.evolve(photograph[None], 12, state, first_step=12 * i)
        expected.append(automaton.labels(state)[0])
        restarted.append(automaton.labels(automaton.evolve(photograph[None], 12))[0])
    got = require_array(colony(automaton, photographs, 12), (3, 24, 24), "the result")
    require(not np.array_equal(got, restarted), "your colony starts anew under each photograph; let it keep its state")
    require(
        np.array_equal(got, expected),
        "the labels differ; number the steps on with first_step=steps * i, and start with state None",
    )


# Lesson 5: is it right?


def check_5_1(names: Mapping[str, str]) -> None:
    """`names` has for each suspect, A to J, what is wrong with it."""
    from refca.lessons.suspects import SUSPECTS

    require(isinstance(names, Mapping), 'write a dict, such as {"A": "flipped kernel"}')
    right = [letter for letter, name in SUSPECTS.items() if names.get(letter) == name]
    unknown = [name for name in names.values() if name not in (*SUSPECTS.values(), "", None)]
    require(not unknown, f"copy the names from the list; there is no {unknown[:1]}")
    hint = "look at row 4: how far does the poke reach, and does it leave its sample?" if len(right) > 4 else ""
    require(len(right) == len(SUSPECTS), f"{len(right)} of {len(SUSPECTS)} are right. {hint}".strip())


def check_5_2(constraints: Mapping[str, int]) -> None:
    """`constraints` has for each suspect the number of a constraint of the chapter step that it breaks."""
    from refca_spec.broken import broken
    from refca_spec.mutants import BACKENDS

    from refca.lessons.suspects import SUSPECTS, suspect

    require(isinstance(constraints, Mapping), 'write a dict, such as {"A": 1, "B": 2}')
    for letter, name in SUSPECTS.items():
        number = constraints.get(letter)
        require(type(number) is int, f"suspect {letter} has no number yet; write 2 for (C2)")
        assert number is not None
        general = "_c1_" in BACKENDS[name].law
        require(
            number != 1 or general,
            f"(C1) says that everything is right, so any fault breaks it; what rule does {letter} break?",
        )
        require(broken(suspect(letter), constraints=[number]), f"suspect {letter} keeps (C{number})")


def check_5_3(step: Callable[..., Any]) -> None:
    """step(cell, params, environment, state, fire, noise, reset_noise) obeys the laws of the chapter step."""
    from refca_spec.broken import broken, sentence_of

    found = refca.compare(evolve_with(step), refca.digits_cell())
    require(found.same, str(found))
    wrong = broken(SimpleNamespace(step=step, cells=(refca.digits_cell(),)))
    for constraint, sentence in wrong.items():
        raise Wrong(f"it breaks {constraint}, {sentence_of(constraint)} {sentence}")


def evolve_with(step: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that evolves by a step."""

    def evolve(cell: Any, params: Any, image: Any, state: Any, randomness: Any, steps: int) -> Any:
        for t in range(steps):
            state = step(cell, params, image, state, *randomness.at(cell, t, *image.shape[:3]))
            require(state is not None, "your step returns None")
        return state

    return evolve


CHECKS: dict[str, Callable[[Any], None]] = {
    "1.1": check_1_1,
    "1.2": check_1_2,
    "1.3": check_1_3,
    "2.1": check_2_1,
    "2.2": check_2_2,
    "2.3": check_2_3,
    "3.1": check_3_1,
    "3.2": check_3_2,
    "3.3": check_3_3,
    "4.1": check_4_1,
    "4.2": check_4_2,
    "4.3": check_4_3,
    "5.1": check_5_1,
    "5.2": check_5_2,
    "5.3": check_5_3,
}
