"""Every shape that a comment or a docstring of the definition and of the plain pages claims is the shape of a run.

All sizes of a run differ, so that letters which have changed places are found.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from shapes import Tracer, WrongShape, shapes_traced

import refca
from refca.contract.reference import reference
from refca.data import Photographs, Split
from refca.definition.metrics import iou, predict
from refca.definition.state import grid
from refca.definition.step import alive, readout
from refca.plain import digits, segmentation

FOLDER = Path(refca.__file__).parent / "definition"
B, H, W, K, D, P, L, T, S = 5, 6, 7, 3, 11, 13, 4, 10, 2


def run_definition(cell: refca.Cell, loss: str, target: np.ndarray) -> None:
    """Use every operation of the definition on arrays; a label map is as large as the grid of cells."""
    rng = np.random.default_rng(0)
    params, streams = refca.init_params(cell, 0), refca.Streams(1).fold(2)
    image = rng.random((B, cell.stride * H, cell.stride * W, K), np.float32)
    assert grid(cell, image) == (B, H, W)
    state = refca.init_state(cell, image, streams)
    draws = zip(*(streams.at(cell, t, B, H, W) for t in range(T)), strict=True)
    recorded = refca.Recorded(*(None if arrays[0] is None else np.stack(arrays) for arrays in draws))
    reference.evolve(cell, params, image, state, recorded, T)
    logits = readout(cell, params, reference.evolve(cell, params, image, state, streams, T))
    live = alive(cell, image)
    if cell.stride > 1:
        return  # below, H and W are those of the logits
    reference.loss_and_grads(cell, loss, params, image, state, target, np.ones((T, B), np.float32), recorded)
    if target.ndim == 3:
        iou(predict(logits), target, L)
        return
    refca.cell_accuracy(logits, target, live)
    refca.total_agreement(logits, live)
    refca.mutate(cell, state, image)
    readout(cell, params, state.reshape(-1, D))


def test_shapes_of_the_definition_are_those_of_a_run() -> None:
    sizes: dict[str, Any] = {"image_channels": K, "state_channels": D, "hidden_width": P, "labels": L}
    one_label, label_map = np.zeros(B, np.int64), np.zeros((B, H, W), np.int64)
    like_digits = refca.Cell(**sizes, noise=0.1, alive_above=0.1)
    like_photographs = refca.Cell(
        **sizes, biases=False, depthwise=True, norm="instance", resettable=True, normal_start=True, linear_readout=True
    )
    strided = refca.Cell(**sizes, stride=S, hidden_layers=2, biases=False, norm="channel")
    with shapes_traced(list(FOLDER.glob("*.py")), B=B, H=H, W=W, K=K, E=K, D=D, P=P, L=L, T=T, s=1) as tracer:
        run_definition(like_digits, "l2", one_label)
        run_definition(like_digits, "ce", one_label)
        run_definition(like_photographs, "ce", label_map)
        tracer.sizes = {**tracer.sizes, "E": 8, "s": S}
        run_definition(strided, "ce", label_map)
    assert_complete(tracer)


def run_digits() -> None:
    rng = np.random.default_rng(0)
    samples = Split(rng.integers(0, 17, (21, H, W), np.uint8), rng.integers(0, 10, 21), 16)
    params, _ = digits.train(samples, 1)
    digits.evaluate(params, samples, 1)


def run_segmentation() -> None:
    rng = np.random.default_rng(0)
    pixels, trimaps = (rng.integers(0, n, (21, H, W, *more), np.uint8) for n, more in ((256, (3,)), (3, ())))
    params, _ = segmentation.train(Photographs(pixels, trimaps, tuple(map(str, range(21)))), 2)
    segmentation.evaluate(params, Photographs(pixels, trimaps, tuple(map(str, range(21)))), 9, 2)


@pytest.mark.parametrize(
    ("page", "run"), [(digits, run_digits), (segmentation, run_segmentation)], ids=["digits", "segmentation"]
)
def test_shapes_of_the_pages_are_those_of_a_run(page: ModuleType, run: Any) -> None:
    sizes = {name: x for name, x in vars(page).items() if len(name) == 1 and isinstance(x, int)}
    with shapes_traced([Path(str(page.__file__))], H=H, W=W, **sizes) as tracer:
        run()
    assert_complete(tracer)


def assert_complete(tracer: Tracer) -> None:
    """Assert that the run has checked every claim."""
    claims = {claim for of_file in tracer.claims.values() for claim in of_file.all()}
    left_out = sorted(map(str, claims - tracer.checked))
    assert not left_out, f"claims that the run did not check: {left_out}"


PROGRAM = """
from typing import NamedTuple
import numpy as np

class Pair(NamedTuple):
    first: object  # {field}
    second: object

def pair(x, n):
    '''Return a pair, x {argument}.'''
    y = x * x  # {local}
    for _ in range(2):
        z = [
            y.T,
            x.T,
        ]  # {several}
    return Pair(one(y), two(z[0], n))

def one(x):  # {comment}
    return np.concatenate([x, x])  # {line}

def two(x, rows):
    '''Return x as {returned}, and its sum over columns, {second}, for labels (X, Y, Z).'''
    return x.reshape(rows, -1), x.sum(axis=1)
"""
CLAIMS = {
    "field": "(2B, H)",
    "argument": "(B, H)",
    "local": "(B, H), and more words",
    "several": "(H, B)",
    "comment": "(B, C)",
    "line": "(B+3, H)",
    "returned": "(rows, B·H/2)",
    "second": "(H,)",
}
FALSE = {"field": "(H, 2B)", "returned": "(2·rows, B·H/4)", "comment": "(C, B) or (C, C)", "second": "(B,)"}


def run_program(folder: Path, **changed: str) -> Tracer:
    path = folder / "program.py"
    path.write_text(PROGRAM.format(**(CLAIMS | changed)))
    names: dict[str, Any] = {"__name__": "program"}
    exec(compile(path.read_text(), str(path), "exec"), names)
    with shapes_traced([path], B=3, H=4) as tracer:
        names["pair"](np.zeros((3, 4)), 2)
    return tracer


def test_true_claims_pass_each_once_checked(tmp_path: Path) -> None:
    tracer = run_program(tmp_path)
    shapes = {"2B, H", "B, H", "H, B", "B, C", "B+3, H", "rows, B·H/2", "H,"}
    assert {claim.shape for claim in tracer.checked} == shapes


@pytest.mark.parametrize("place", CLAIMS)
def test_a_false_claim_is_found(tmp_path: Path, place: str) -> None:
    with pytest.raises(WrongShape, match=r"program\.py"):
        run_program(tmp_path, **{place: FALSE.get(place, "(H, H)")})


def test_a_claim_that_no_run_checks_is_found(tmp_path: Path) -> None:
    tracer = run_program(tmp_path, comment="(B, C) or (C, C)")
    with pytest.raises(AssertionError, match=r"x is \(C, C\)"):
        assert_complete(tracer)
