"""The laws of `spec/chapters/encode.md`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.cell import Array, Cell
from refca.definition.params import encoders
from refca.definition.strided import encode
from refca_spec import formulas
from refca_spec.calls import evolve
from refca_spec.compare import assert_close, assert_same, longest_sum
from refca_spec.strategies import Case, cases, law

STRIDED = (2, 4, 8)


@law
@given(case=cases(stride=(1, *STRIDED)))
def test_encode_c1_the_array_code_is_the_index_formula(case: Case) -> None:
    got, ref = (code(case.cell, case.params, case.image) for code in (encode, formulas.encode))
    assert_close(got, ref, longest_sum(case.cell), "The environment", case)


@law
@given(case=cases(stride=(1, *STRIDED)))
def test_encode_c1_a_backend_shows_its_cells_this_environment(backend: Any, dtype: str, case: Case) -> None:
    """Cells that take over the sum of what they see at their own place, and of its negative."""
    K, E, s = case.cell.image_channels, case.cell.environment_channels, case.cell.stride
    shown = Cell(K, E, 2 * E, 1, hidden_layers=0, fire_rate=1, residual=False, stride=s)
    case = replace(case, cell=shown)
    params = case.params
    ref = formulas.encode(shown, params, case.image)
    for name, param in params.items():
        if not name.startswith("encode"):
            param[...] = 0
    for c in range(E):
        for unit, sign in ((2 * c, 1), (2 * c + 1, -1)):
            params["perceive.weight"][1, 1, c, unit] = params["update.weight"][unit, c] = sign
    got = evolve(backend, dtype, case, steps=1, params=params)
    assert_close(got, ref, longest_sum(shown), "The environment", case)


@law
@given(case=cases(stride=2), at=st.tuples(st.integers(0, 9), st.integers(0, 9)))
def test_encode_c2_the_window_of_a_cell_begins_at_its_first_pixel(case: Case, at: tuple[int, int]) -> None:
    """One bright pixel: offset 0 or 2 of a cell's window in even rows and columns, 1 in odd ones."""
    row, column = at[0] % (2 * case.H), at[1] % (2 * case.W)
    image, weight = np.zeros_like(case.image), case.params["encode.weight"]
    image[:, row, column, 0] = 1
    ref = np.zeros((*case.grid, weight.shape[-1]))
    for y in range(case.H):
        for x in range(case.W):
            i, j = row - 2 * y, column - 2 * x
            if i in (0, 1, 2) and j in (0, 1, 2):
                ref[:, y, x] = weight[i, j, 0]
    assert_same(encode(case.cell, case.params, image), ref, "The environment", (case, at))


@law
@given(case=cases(stride=STRIDED))
def test_encode_c3_beyond_the_image_everything_is_zero(case: Case) -> None:
    """An image is encoded as the upper left of a larger one that is zero elsewhere."""
    s = case.cell.stride
    larger = np.pad(case.image, ((0, 0), (0, s), (0, s), (0, 0)))
    got = encode(case.cell, case.params, case.image)
    ref = encode(case.cell, case.params, larger)[:, : case.H, : case.W]
    assert_close(got, ref, longest_sum(case.cell), "The environment", case)


@law
@given(case=cases(stride=STRIDED, image_channels=1))
def test_encode_c4_it_is_linear(case: Case) -> None:
    """The layers have no bias and no activation."""
    other = replace(case, seed=case.seed ^ 1).image
    each = [encode(case.cell, case.params, image) for image in (case.image, other)]
    got = encode(case.cell, case.params, 3 * case.image - other)
    assert_close(got, 3 * each[0] - each[1], longest_sum(case.cell), "The environment of a sum", case)


@law
@given(case=cases(stride=STRIDED))
def test_encode_c5_deeper_strides_repeat_the_layer(case: Case) -> None:
    """Each layer is that of a cell of stride 2, which reads what the layer before it made."""
    x: Array = case.image
    for name in encoders(case.cell):
        one = replace(case.cell, stride=2, image_channels=x.shape[-1])
        x = encode(one, {"encode.weight": case.params[name]}, x)
    assert_same(encode(case.cell, case.params, case.image), x, "The environment", case)


@law
@given(case=cases(least=3, stride=STRIDED))
def test_encode_c6_an_image_moved_by_a_cell_moves_its_environment(case: Case) -> None:
    """By s pixels to the right, where no window reaches a border on either image."""
    moved = np.roll(case.image, case.cell.stride, axis=2)
    before, after = (encode(case.cell, case.params, image) for image in (case.image, moved))
    assert_same(after[:, :, 1:-1], before[:, :, :-2], "The environment of a moved image", case)
