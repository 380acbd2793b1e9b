"""Vectors of single operations, for implementers who check one thing after another. `spec/vectors.md` is their page.

`MAKERS` has a function for each file; it returns cases, each a dict of inputs and a dict of outputs. Inputs are float32
numbers, drawn once from seeds; outputs are the definition's in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from refca.contract.adam import adam_step
from refca.contract.reference import reference
from refca.definition import losses, step
from refca.definition.cell import Cell, Params
from refca.definition.metrics import cell_accuracy, iou, total_agreement
from refca.definition.params import frozen, param_shapes
from refca.definition.randomness import Streams
from refca.definition.state import init_state, mutate
from refca.definition.strided import decode, encode
from refca.digits.cell import digits_cell
from refca.digits.pool import BatchPlan, Pool, fractions
from refca.digits.unroll_length import last_steps
from refca.segmentation.cell import segmentation_cell
from refca.segmentation.persistence import PersistentBatch, Resample, counted, keep_probability, loss_weights, resample
from refca.training.ema import ema_step
from refca.training.muon import muon_step
from refca_spec.strategies import Case

Cases = Iterator[dict[str, Any]]

ARTICLE = Cell(1, 5, 4, 3, noise=0.02, alive_above=0.1)
PAPER = Cell(3, 4, 3, 3, 2, biases=False, resettable=True, linear_readout=True, normal_start=True, norm="instance")
STEPS = {  # the cells of step.json
    "the article's cell": ARTICLE,
    "the paper's cell": PAPER,
    "depthwise": replace(PAPER, depthwise=True),
    "norm over the batch": replace(PAPER, norm="batch"),
    "norm over channels": replace(PAPER, norm="channel"),
    "no residual": replace(PAPER, residual=False),
}
NAMED = {"article": digits_cell(), "paper": segmentation_cell(), "stride 2": segmentation_cell(stride=2)}


def case(name: str, inputs: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Return a case as it is written: arrays become nested lists, cells dicts, and NumPy's numbers Python's."""
    return {"name": name, "inputs": plain(inputs), "outputs": plain(outputs)}


def plain(x: Any) -> Any:
    """Return x with lists instead of arrays; NaN, which JSON lacks, becomes null."""
    if isinstance(x, dict):
        return {key: plain(value) for key, value in x.items()}
    if isinstance(x, Cell):
        return asdict(x)
    if isinstance(x, np.ndarray | np.generic):
        x = x.tolist()
    if isinstance(x, list | tuple):
        return [plain(value) for value in x]
    return None if isinstance(x, float) and x != x else x


def cells() -> Cases:
    """Return the settings, shapes and number of the parameters of cells with a name."""
    for name, cell in NAMED.items():
        shapes = param_shapes(cell)
        count = sum(int(np.prod(shape)) for shape in shapes.values())
        yield case(name, {"cell": cell}, {"shapes": shapes, "parameters": count, "frozen": frozen(cell)})


def steps() -> Cases:
    """Return one step, with what each of its operations gives."""
    for seed, (name, cell) in enumerate(STEPS.items()):
        given = Case(cell, B=2, H=3, W=3, T=1, seed=seed)
        fire, noise, reset_noise = given.recorded.at(cell, 0, *given.grid)
        seen = step.neighbourhood(given.image, given.state)
        hidden = step.hidden_layers(cell, given.params, seen)
        outputs = {
            "perceive": step.perceive(cell, given.params, seen),
            "hidden": hidden,
            "proposal": step.propose(cell, given.params, hidden, noise),
            "gate": step.gate(given.params, hidden) if cell.resettable else None,
            "alive": step.alive(cell, given.image),
            "state": step.step(cell, given.params, given.image, given.state, fire, noise, reset_noise),
        }
        inputs = {"cell": cell, "params": given.params, "environment": given.image, "state": given.state}
        yield case(name, inputs | {"fire": fire, "noise": noise, "reset_noise": reset_noise}, outputs)


def strided(stride: int) -> Case:
    cell = replace(PAPER, image_channels=2, stride=stride, linear_readout=False)
    return Case(cell, B=1, H=2, W=2, T=1, seed=stride)


def encodings() -> Cases:
    for given in map(strided, (2, 4)):
        weights = {name: x for name, x in given.params.items() if name.startswith("encode")}
        inputs = {"cell": given.cell, "params": weights, "image": given.image}
        yield case(f"stride {given.cell.stride}", inputs, {"environment": encode(given.cell, weights, given.image)})


def decodings() -> Cases:
    for given in map(strided, (2, 4)):
        weights = {name: x for name, x in given.params.items() if name.startswith("decode")}
        inputs = {"cell": given.cell, "params": weights, "state": given.state}
        yield case(f"stride {given.cell.stride}", inputs, {"readout": decode(given.cell, weights, given.state)})


def readouts() -> Cases:
    for name, cell in {"last channels": ARTICLE, "linear": PAPER}.items():
        given = Case(cell, B=1, H=2, W=3, T=1, seed=1)
        weights = {key: x for key, x in given.params.items() if key.startswith("readout")}
        inputs = {"cell": cell, "params": weights, "state": given.state}
        yield case(name, inputs, {"readout": step.readout(cell, weights, given.state)})


def losses_of(loss: Callable[..., Any]) -> Cases:
    given = Case(ARTICLE, B=2, H=2, W=3, T=1, seed=2)
    for kind in ("labels", "map"):
        inputs = {"readout": given.readout, "target": given.target(kind), "live": given.live}
        yield case(kind, inputs, {"losses": loss(*inputs.values())})


def initial_states() -> Cases:
    for name, cell, streams in (("zeros", ARTICLE, None), ("normal", PAPER, Streams(2020, 3))):
        blank = np.zeros((2, 2, 3, cell.image_channels))
        seed = None if streams is None else str(streams.seed)
        inputs = {"cell": cell, "image_shape": blank.shape, "seed": seed, "first_sample": 0 if streams is None else 3}
        yield case(name, inputs, {"state": init_state(cell, blank, streams)})


def mutations() -> Cases:
    given, other = (Case(ARTICLE, B=2, H=3, W=3, T=1, seed=seed) for seed in (3, 4))
    inputs = {"cell": ARTICLE, "state": given.state, "image": other.image}
    yield case("another digit", inputs, {"state": mutate(ARTICLE, given.state, other.image)})


def adam() -> Cases:
    return updates(adam_step, ("m", "v"))


def muon() -> Cases:
    return updates(muon_step, ("m",))


def updates(optimiser_step: Callable[..., Params], moments: tuple[str, ...]) -> Cases:
    """Three updates, with gradients of very different sizes."""
    given = Case(replace(ARTICLE, hidden_layers=0, biases=False), B=1, H=1, W=1, T=1, seed=5)
    rng, params = given.rng("gradients"), {"update.weight": given.params["update.weight"]}
    grads = [np.float32(size * rng.standard_normal((4, 5))).astype(float) for size in (1.0, 1e-6, 10.0)]
    for name, normalise in (("as they are", False), ("normalised", True)):
        last: dict[str, Params] = {"m": {}, "v": {}}
        moved, after = params, []
        for i, grad in enumerate(grads):
            moved = optimiser_step(moved, {"update.weight": grad}, *last.values(), i, 0.01, normalise)
            after.append(moved["update.weight"])
        inputs = {"param": params["update.weight"], "grads": grads, "learning_rate": 0.01, "normalise": normalise}
        yield case(name, inputs, {"after": after, **{moment: last[moment]["update.weight"] for moment in moments}})


def averages() -> Cases:
    """Averages of the parameters after each of three updates."""
    rng = np.random.default_rng(10)
    history = [np.float32(rng.standard_normal(4)).astype(float) for _ in range(3)]
    for decay in (0.5, 0.999):
        ema: Params = {}
        averages = []
        for i, param in enumerate(history):
            ema = ema_step(ema, {"p": param}, i, decay)
            averages.append(ema["p"])
        yield case(f"decay {decay}", {"params": history, "decay": decay}, {"averages": averages})


def accuracies() -> Cases:
    for name, seed in (("some digits", 6), ("others", 7)):
        given = Case(ARTICLE, B=3, H=2, W=3, T=1, seed=seed)
        inputs = {"readout": given.readout, "labels": given.target("labels"), "live": given.live}
        yield case(name, inputs, {"cell_accuracy": cell_accuracy(*inputs.values())})
    inputs["live"] = 0 * inputs["live"] > 0
    yield case("nothing alive", inputs, {"cell_accuracy": cell_accuracy(*inputs.values())})


def agreements() -> Cases:
    given = Case(ARTICLE, B=3, H=2, W=2, T=1, seed=8)
    readout = given.readout
    readout[0] = [0.5, -0.5, 0.5]  # a tie, which goes to the lowest index, in every cell of the first digit
    inputs = {"readout": readout, "live": given.live}
    yield case("some digits", inputs, {"total_agreement": total_agreement(readout, given.live)})


def ious() -> Cases:
    rng = np.random.default_rng(9)
    predicted, target = rng.integers(0, 3, (2, 2, 3, 3))
    for labels in (3, 4):
        inputs = {"predicted": predicted, "target": target, "labels": labels}
        yield case(f"{labels} labels", inputs, {"iou": iou(predicted, target, labels)})


def pools() -> Cases:
    """Return a batch of a plan, and the sizes of its parts."""
    given, digits = (Case(ARTICLE, B=B, H=2, W=3, T=1, seed=10 + B) for B in (6, 4))
    pool = Pool(given.image, given.target("labels"), given.state)
    plan = BatchPlan(np.array([4, 0, 5, 2]), np.arange(4), *fractions("mutating", 0.25, 4))
    inputs = {"image": pool.image, "label": pool.label.copy(), "state": pool.state.copy(), "slots": plan.slots}
    inputs |= {"fresh": plan.fresh, "mutated": plan.mutated, "cell": ARTICLE}
    inputs |= {"digits": digits.image, "digit_labels": digits.target("labels")}
    batch = pool.gather(ARTICLE, plan, digits.image, digits.target("labels"))
    yield case("mutating", plain(inputs), {"image": batch.image, "label": batch.label, "state": batch.state})
    shares = {regime: fractions(regime, 0.25, 16) for regime in ("naive", "persistent", "mutating")}
    yield case("fresh and mutated of a batch of 16", {"fresh_fraction": 0.25, "batch": 16}, shares)


def unroll_weights() -> Cases:
    for steps_, batch, last in ((4, 2, 1), (4, 2, 3)):
        inputs = {"steps": steps_, "batch": batch, "loss_steps": last}
        yield case(f"the last {last}", inputs, {"weights": last_steps(steps_, batch, last)})


def persistence() -> Cases:
    """Return keep probabilities, counted steps and weights, and a batch after a resampling."""
    age = np.array([0, 10, 3])
    inputs = {"p": 0.5, "K": 10, "T": 40, "age": age}
    outputs = {"keep_probability": keep_probability(0.5, 10, 40), "counted": counted(age, 10, 40)}
    yield case("a mini-unroll", inputs, outputs | {"weights": loss_weights(age, 10, 40)})
    given, streams = Case(PAPER, B=3, H=2, W=2, T=1, seed=12), Streams(7)
    batch = PersistentBatch(np.array([5, 6, 7]), given.state, age, np.zeros(3, bool))
    new = Resample(
        np.array([True, False, False]), np.array([False, False, True]), np.array([8, 9, 10]), np.zeros(3, bool)
    )
    after = resample(PAPER, batch, new, streams, reference)
    inputs = {"cell": PAPER, "photo": batch.photo, "age": age, "state": given.state, "seed": str(streams.seed)}
    inputs |= {"new_photo": new.new_photo, "new_state": new.new_state, "drawn_photo": new.photo}
    yield case("a resampling", inputs, {"photo": after.photo, "age": after.age, "state": after.state})


MAKERS: dict[str, Callable[[], Cases]] = {
    "cell": cells,
    "step": steps,
    "encode": encodings,
    "decode": decodings,
    "readout": readouts,
    "l2": lambda: losses_of(losses.l2),
    "cross_entropy": lambda: losses_of(losses.cross_entropy),
    "init_state": initial_states,
    "mutate": mutations,
    "adam": adam,
    "muon": muon,
    "ema": averages,
    "cell_accuracy": accuracies,
    "total_agreement": agreements,
    "iou": ious,
    "pool": pools,
    "unroll_length": unroll_weights,
    "persistence": persistence,
}
