"""The laws of `spec/chapters/readout.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from refca.definition.step import readout
from refca.definition.strided import decode
from refca_spec import formulas
from refca_spec.calls import evolve, loss_and_grads
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case, cases, law

KINDS: dict[str, dict[str, Any]] = {
    "last channels": {"stride": 1, "linear_readout": False},
    "linear": {"stride": 1, "linear_readout": True},
    "decoded": {"stride": (2, 4, 8)},
}


@law
@given(case=cases())
def test_readout_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    got, ref = (code(case.cell, case.params, case.state) for code in (readout, formulas.readout))
    assert_close(got, ref, longest_sum(case.cell), "The readout", case)


@law
@given(case=cases(**KINDS["last channels"]))
def test_readout_c2_without_a_layer_it_is_the_last_channels(case: Case) -> None:
    got, first = readout(case.cell, case.params, case.state), case.cell.state_channels - case.cell.labels
    assert_same(got, case.state[..., first:], "The readout", case)


@law
@given(case=cases(**KINDS["linear"]))
def test_readout_c3_a_linear_readout_has_no_bias(case: Case) -> None:
    """The readout is a matrix: a zero state gives zero, and each state channel gives its row."""
    D = case.cell.state_channels
    state = np.concatenate([np.zeros((1, D)), np.eye(D)])[None, None]
    ref = np.concatenate([np.zeros((1, case.cell.labels)), case.params["readout.weight"]])[None, None]
    assert_same(readout(case.cell, case.params, state), ref, "The readout", case)


@law
@given(case=cases(**KINDS["decoded"]))
def test_readout_c4_that_of_a_strided_cell_is_decoded(case: Case) -> None:
    got = readout(case.cell, case.params, case.state)
    assert_same(got, decode(case.cell, case.params, case.state), "The readout", case)
    assert got.shape == (*case.pixels, case.cell.labels)


@pytest.mark.parametrize("kind", KINDS)
def test_readout_c5_a_backend_measures_its_loss_on_the_readout(backend: Any, dtype: str, kind: str) -> None:
    """Cells that never fire: the loss is that of the readout of the state that was given."""

    @law
    @given(case=cases(fire_rate=0.0, T=1, **KINDS[kind]))
    def measured(case: Case) -> None:
        said, target = formulas.readout(case.cell, case.params, case.state), case.target("map")
        ref = np.sum(case.weights.sum(0) * np.array(formulas.l2(said, target, np.ones(case.pixels, bool))))
        got = loss_and_grads(backend, dtype, case, loss="l2", kind="map").loss
        n = longest_sum(case.cell, case.cells)
        assert_close(got, ref, n, "The loss", case, steps=case.T, dtype=dtype)

    measured()


@law
@given(case=cases(stride=(1, 2), linear_readout=(False, True)))
def test_readout_c6_how_a_state_is_read_does_not_change_it(backend: Any, dtype: str, case: Case) -> None:
    params = case.params
    for name, param in params.items():
        if name.startswith(("readout", "decode")):
            param += 1
    got, ref = (evolve(backend, dtype, case, params=p) for p in (params, case.params))
    assert_same(got, ref, "The last state with other weights of the readout", case)
    assert loss_and_grads(backend, dtype, replace(case, T=0)).state.shape == case.state.shape
