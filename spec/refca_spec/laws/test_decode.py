"""The laws of `spec/chapters/decode.md`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given

from refca.definition.cell import Array
from refca.definition.params import decoders
from refca.definition.strided import conv_stride2, conv_transpose_stride2, decode
from refca_spec import formulas
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case, cases, law

STRIDED = (2, 4, 8)


@law
@given(case=cases(stride=STRIDED))
def test_decode_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    got, ref = (code(case.cell, case.params, case.state) for code in (decode, formulas.readout))
    assert_close(got, ref, longest_sum(case.cell), "What is said of each pixel", case)


@law
@given(case=cases(stride=2))
def test_decode_c2_each_layer_is_the_adjoint_of_an_encoder_s(case: Case) -> None:
    """⟨halve(x), y⟩ = ⟨x, double(y)⟩ with the same weights, for any x and y."""
    weight, y = case.params["decode.weight"], case.state
    x = case.rng("adjoint").standard_normal((*case.pixels, weight.shape[2]))
    got, ref = np.sum(x * conv_transpose_stride2(y, weight)), np.sum(conv_stride2(x, weight) * y)
    assert_close(got, ref, x.size, "The product with what is decoded", case)


@law
@given(case=cases(stride=2))
def test_decode_c3_a_cell_speaks_to_nine_pixels_from_its_own_on(case: Case) -> None:
    """One cell alone has a state: it is told in the pixels at offsets 0, 1 and 2, where there are any."""
    weight, state = case.params["decode.weight"], np.zeros_like(case.state)
    y, x = case.H - 1, case.W // 2
    state[:, y, x] = case.state[:, y, x]
    ref = np.zeros((case.B, 2 * case.H + 1, 2 * case.W + 1, case.cell.labels))
    for i in range(3):
        for j in range(3):
            ref[:, 2 * y + i, 2 * x + j] = state[:, y, x] @ weight[i, j].T
    got = decode(case.cell, case.params, state)
    assert_close(got, ref[:, :-1, :-1], longest_sum(case.cell), "What one cell says", case)


@law
@given(case=cases(stride=STRIDED))
def test_decode_c4_it_is_linear(case: Case) -> None:
    """The layers have no bias and no activation."""
    other = replace(case, seed=case.seed ^ 1).state
    each = [decode(case.cell, case.params, state) for state in (case.state, other)]
    got = decode(case.cell, case.params, 3 * case.state - other)
    assert_close(got, 3 * each[0] - each[1], longest_sum(case.cell), "What a sum of states says", case)


@law
@given(case=cases(stride=STRIDED))
def test_decode_c5_deeper_strides_repeat_the_layer(case: Case) -> None:
    """The first layer goes from D to L channels, the others from L to L, each that of a cell of stride 2."""
    x: Array = case.state
    for name in decoders(case.cell):
        one = replace(case.cell, stride=2, state_channels=x.shape[-1])
        x = decode(one, {"decode.weight": case.params[name]}, x)
    assert_same(decode(case.cell, case.params, case.state), x, "What is said of each pixel", case)
