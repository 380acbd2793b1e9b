"""The laws of `spec/chapters/cell.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.cell import Cell
from refca.definition.params import frozen, init_params, param_shapes
from refca.digits.cell import digits_cell
from refca.errors import InvalidInput
from refca.segmentation.cell import segmentation_cell
from refca_spec.compare import assert_uniform
from refca_spec.strategies import cells, law

SIZES = ((32, 48), (48, 72), (64, 96))


@law
@given(cell=cells())
def test_cell_c1_the_parameters_are_those_of_the_table(cell: Cell) -> None:
    got = param_shapes(cell)
    K, E, D, P, L = (
        cell.image_channels,
        cell.environment_channels,
        cell.state_channels,
        cell.hidden_width,
        cell.labels,
    )
    hidden, layers = range(cell.hidden_layers), {1: 0, 2: 1, 4: 2, 8: 3}[cell.stride]
    there = {  # the name, the shape, and when there is such a parameter
        "perceive.weight": ((3, 3, E + D, P), not cell.depthwise),
        "perceive.mix": ((E + D, P), cell.depthwise),
        "perceive.depthwise": ((3, 3, P), cell.depthwise),
        "perceive.bias": ((P,), cell.biases),
        **{f"hidden.{i}.weight": ((P, P), True) for i in hidden},
        **{f"hidden.{i}.bias": ((P,), cell.biases) for i in hidden},
        "update.weight": ((P, D), True),
        "update.bias": ((D,), cell.biases),
        "gate.weight": ((P, 1), cell.resettable),
        "readout.weight": ((D, L), cell.linear_readout),
        "encode.weight": ((3, 3, K, 8), layers >= 1),
        "encode.1.weight": ((3, 3, 8, 8), layers >= 2),
        "encode.2.weight": ((3, 3, 8, 8), layers >= 3),
        "decode.weight": ((3, 3, L, D), layers >= 1),
        "decode.1.weight": ((3, 3, L, L), layers >= 2),
        "decode.2.weight": ((3, 3, L, L), layers >= 3),
    }
    assert got == {name: shape for name, (shape, is_there) in there.items() if is_there}, cell
    assert (8 if cell.stride > 1 else K) == E, cell


def parameters(cell: Cell) -> int:
    return sum(int(np.prod(shape)) for shape in param_shapes(cell).values())


def test_cell_c2_the_article_s_cell_has_22_499_parameters() -> None:
    assert parameters(digits_cell()) == parameters(digits_cell(noise=0)) == 22_499


@pytest.mark.parametrize("norm", ["none", "instance", "batch", "channel"])
def test_cell_c3_the_paper_s_cells_have_the_parameters_of_its_table_1(norm: str) -> None:
    """21.4K, 47K, 82K and 8.4K, 18.3K, 32.3K there."""
    counts = {
        depthwise: [parameters(segmentation_cell(*size, norm=norm, depthwise=depthwise)) for size in SIZES]
        for depthwise in (False, True)
    }
    assert counts == {False: [21_408, 47_088, 82_752], True: [8_400, 18_360, 32_160]}


def test_cell_c4_the_paper_s_cell_has_the_paper_s_settings() -> None:
    cell = segmentation_cell()
    assert cell == Cell(
        image_channels=3,
        state_channels=48,
        hidden_width=72,
        labels=3,
        hidden_layers=2,
        noise=0,
        fire_rate=0.5,
        alive_above=None,
        biases=False,
        norm="instance",
        residual=True,
        resettable=True,
        linear_readout=True,
        normal_start=True,
    )
    strided = replace(cell, stride=2, linear_readout=False)
    assert segmentation_cell(stride=2) == strided


@law
@given(cell=cells())
def test_cell_c5_the_3x3_weights_of_the_first_layer_can_be_frozen(cell: Cell) -> None:
    name = "perceive.depthwise" if cell.depthwise else "perceive.weight"
    assert frozen(replace(cell, frozen_filters=True)) == (name,)
    assert frozen(replace(cell, frozen_filters=False)) == ()
    learning = replace(cell, frozen_filters=False)
    assert param_shapes(cell) == param_shapes(learning)
    for name, param in init_params(cell, 1).items():
        assert np.array_equal(param, init_params(learning, 1)[name])


@law
@given(cell=cells(), seed=st.integers(0, 2**64 - 1))
def test_cell_c6_weights_begin_glorot_uniform(cell: Cell, seed: int) -> None:
    params = init_params(cell, seed)
    assert {name: param.shape for name, param in params.items()} == param_shapes(cell)
    for name, param in params.items():
        assert param.dtype == np.float32
        assert np.array_equal(param, init_params(cell, seed)[name]), f"{name} depends on more than the seed"
        if name.endswith("bias") or name in ("update.weight", "gate.weight"):
            assert not param.any(), f"{name} does not begin as zeros"
        else:
            limit = glorot_limit(name, param.shape)
            assert np.abs(param).max() <= np.float32(limit), f"{name} begins beyond {limit}"
            assert len(np.unique(param)) > param.size / 2, f"{name} begins with few values"
            assert not np.array_equal(param, init_params(cell, seed ^ 1)[name]), f"{name} does not depend on the seed"


def glorot_limit(name: str, shape: tuple[int, ...]) -> float:
    """The largest initial weight: the root of 6 / (fan_in + fan_out). A depthwise filter has fans 9 and 9."""
    fans = 9 + 9 if name == "perceive.depthwise" else np.prod(shape[:-2]) * sum(shape[-2:])
    return float(np.sqrt(6 / fans))


@pytest.mark.parametrize(
    "change", [{}, {"depthwise": True}, {"stride": 8, "linear_readout": False}], ids=["full", "depthwise", "strided"]
)
def test_cell_c6_weights_fill_the_range_of_their_fans(change: dict[str, Any]) -> None:
    """The largest of n uniform magnitudes is below x of the range with probability x to the n, here 10⁻⁹."""
    for name, weight in init_params(replace(segmentation_cell(), **change), 0).items():
        if not name.startswith(("update", "gate")):
            limit = glorot_limit(name, weight.shape)
            top, least = np.abs(weight).max() / limit, 1e-9 ** (1 / weight.size)
            assert least < top <= 1 + 1e-6, f"{name} begins up to {top} of the range"
            eighth = np.clip(np.floor(4 * (weight / limit + 1)), 0, 7).astype(int)
            assert_uniform(eighth, 8, f"{name} by eighths of its range", change)


REFUSED: list[tuple[str, dict[str, Any]]] = [  # what the message names, and the settings
    ("image_channels", {"image_channels": 0}),
    ("image_channels", {"image_channels": 1.5}),
    ("state_channels", {"state_channels": 0}),
    ("hidden_width", {"hidden_width": 0}),
    ("labels", {"labels": 0}),
    ("labels must be at most", {"labels": 5}),
    ("hidden_layers", {"hidden_layers": -1}),
    ("noise", {"noise": -0.1}),
    ("noise", {"noise": float("inf")}),
    ("noise", {"noise": float("nan")}),
    ("fire_rate", {"fire_rate": 1.5}),
    ("fire_rate", {"fire_rate": -0.1}),
    ("fire_rate", {"fire_rate": float("nan")}),
    ("alive_above", {"alive_above": float("nan")}),
    ("alive_above", {"alive_above": -1e39}),
    ("norm", {"norm": "layer"}),
    ("stride", {"stride": 3}),
    ("stride", {"stride": 16}),
    ("linear_readout", {"stride": 2, "linear_readout": True}),
    ("alive_above must be None", {"stride": 2, "alive_above": 0.1}),
]


@pytest.mark.parametrize(("message", "settings"), REFUSED)
def test_cell_c7_settings_that_no_cell_can_have_are_refused(message: str, settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=message):
        Cell(**{"image_channels": 1, "state_channels": 4, "hidden_width": 3, "labels": 2, **settings})


@pytest.mark.parametrize("change", [{"linear_readout": True}, {"stride": 2}])
def test_cell_c7_more_labels_than_channels_need_a_readout_of_their_own(change: dict[str, Any]) -> None:
    assert Cell(image_channels=1, state_channels=2, hidden_width=1, labels=5, **change).labels == 5
