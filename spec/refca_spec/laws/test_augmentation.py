"""The laws of `spec/chapters/augmentation.md`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refca.digits.augmentation import NODES, Drawings, Ranges, augment, draw
from refca_spec.compare import assert_same
from refca_spec.strategies import law

SEEDS, STEPS = st.integers(0, 2**64 - 1), st.integers(0, 10**6)
WIDE = Ranges(scale_min=0.5, scale_max=2.5, stroke_min=-1.0, stroke_max=2.0, slant=0.4, elastic=1.5, erased=0.6)
STILL = np.zeros((2, NODES, NODES))
PLAIN = {"scale": 1.0, "stroke": 0.0, "slant": 0.0, "displacement": STILL, "erased": 0.0, "side": 0.0}
PLACED = ("side", "row", "column")  # the numbers that digits which are only placed have too


def drawings(**numbers: float | np.ndarray) -> Drawings:
    """The numbers of one digit, plain but for those given."""
    plain = PLAIN | {"row": 0.0, "column": 0.0}
    return Drawings(**{name: np.array([x]) for name, x in (plain | numbers).items()})


def bar() -> np.ndarray:
    """A digit of 20x20: an upright stroke, three pixels wide, with a margin."""
    digit = np.zeros((1, 20, 20, 1), np.float32)
    digit[:, 4:16, 9:12] = 1
    return digit


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random((2, 9, 9, 1)).astype(np.float32)


@law
@given(seed=SEEDS, i=STEPS)
def test_augmentation_c1_drawings_are_a_function_of_seed_and_training_step(seed: int, i: int) -> None:
    def drawn(seed: int, i: int) -> list[list[float]]:
        return [numbers.tolist() for numbers in vars(draw(WIDE, 5, seed, i)).values()]

    assert drawn(seed, i) == drawn(seed, i)
    assert all(a != b for a, b in zip(drawn(seed, i), drawn(seed, i + 1), strict=True))
    assert all(a != b for a, b in zip(drawn(seed, i), drawn(seed ^ 1, i), strict=True))


def test_augmentation_c2_numbers_are_in_their_ranges_and_sizes_even_in_the_logarithm() -> None:
    """Shares of 100,000 digits; five standard deviations are 0.008."""
    got = draw(WIDE, 100_000, 7, 3)
    for numbers, least, most in (
        (np.log(got.scale), np.log(0.5), np.log(2.5)),
        (got.stroke, -1.0, 2.0),
        (got.slant, -0.4, 0.4),
        (got.displacement, -1.5, 1.5),
        (got.erased, 0.0, 0.6),
        (got.side, 0.0, 2 * np.pi),
        (got.row, 0.0, 1.0),
        (got.column, 0.0, 1.0),
    ):
        parts = (numbers - least) / (most - least)
        assert parts.min() >= -1e-12
        assert parts.max() <= 1 + 1e-12
        for part in (0.25, 0.5, 0.75):
            assert abs((parts < part).mean() - part) < 0.008


@law
@given(seed=st.integers(0, 2**32), i=STEPS)
def test_augmentation_c3_default_ranges_leave_digits_as_they_are(seed: int, i: int) -> None:
    digits = noise(seed)
    assert_same(augment(digits, draw(Ranges(), 2, seed, i), 9), digits, "The digits", (seed, i))


@law
@given(seed=st.integers(0, 2**32), row=st.floats(0, 1), column=st.floats(0, 1), free=st.integers(0, 9))
def test_augmentation_c4_a_digit_that_is_only_placed_keeps_its_pixels(
    seed: int, row: float, column: float, free: int
) -> None:
    digit = noise(seed)[:1]
    expected = np.zeros((1, 9 + free, 9 + free, 1), np.float32)
    top, left = round(free * row), round(free * column)
    expected[:, top : top + 9, left : left + 9] = digit
    got = augment(digit, drawings(row=row, column=column), 9 + free)
    assert_same(got, expected, "The placed digit", (seed, row, column, free))


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_augmentation_c5_strokes_become_wider_and_narrower_in_pixels_of_the_grid(scale: float) -> None:
    """Ink in the middle row, where the bar is 3 pixels wide before it is scaled."""
    width = {
        stroke: augment(bar(), drawings(stroke=stroke, scale=scale), 60).sum(axis=(2, 3))[0].max()
        for stroke in (-1.0, 0.0, 1.0, 2.0)
    }
    assert width[0.0] == pytest.approx(3 * scale, abs=0.3)
    for stroke, found in width.items():
        assert found == pytest.approx(max(0.0, 3 * scale + stroke), abs=0.6), f"{stroke} pixels more"


def test_augmentation_c6_a_slant_moves_the_upper_half_and_the_lower_half_apart() -> None:
    def column(rows: np.ndarray) -> float:
        return float((rows[..., 0] * np.arange(rows.shape[2])).sum() / rows.sum())

    for slant in (0.3, -0.3):
        got = augment(bar(), drawings(slant=slant), 20)
        for row in range(5, 15):
            middle = 10 + slant * (9.5 - row)
            assert column(got[:, row : row + 1]) == pytest.approx(middle, abs=1e-4), f"row {row} of slant {slant}"


@law
@given(seed=st.integers(0, 2**32), i=STEPS)
def test_augmentation_c7_ink_stays_in_its_range_and_on_the_grid(seed: int, i: int) -> None:
    drawn = draw(Ranges(0.5, 2.5, 0.0, 0.0, 0.3), 2, seed, i)
    got = augment(np.concatenate([bar(), bar()]), drawn, 50)
    assert got.min() >= 0
    assert got.max() <= 1
    ink = got.sum(axis=(1, 2, 3))
    np.testing.assert_allclose(ink, bar().sum() * drawn.scale**2, rtol=0.12)  # sides are rounded to whole pixels


@law
@given(seed=SEEDS, i=STEPS, fraction=st.floats(0, 1))
def test_augmentation_c8_the_others_are_placed_only(seed: int, i: int, fraction: float) -> None:
    """Shares of 1,000 digits; five standard deviations are at most 0.08."""
    everything, got = draw(WIDE, 1000, seed, i), draw(replace(WIDE, drawn_fraction=fraction), 1000, seed, i)
    kept = (got.scale == 1) & (got.stroke == 0) & (got.slant == 0) & (got.erased == 0)
    kept &= ~got.displacement.any(axis=(1, 2, 3))
    assert abs(kept.mean() - (1 - fraction)) < 0.08
    for name, numbers in vars(got).items():
        chosen = slice(None) if name in PLACED else ~kept
        assert np.array_equal(numbers[chosen], vars(everything)[name][chosen]), f"{name} of digits drawn otherwise"


def test_augmentation_c9_equal_displacements_move_a_digit() -> None:
    for rows, columns in ((2, 0), (0, -3), (1, 1)):
        moved = STILL + np.array([rows, columns])[:, None, None]
        got = augment(bar(), drawings(displacement=moved), 20)
        np.testing.assert_array_equal(got, np.roll(bar(), (-rows, -columns), axis=(1, 2)))


def test_augmentation_c9_opposite_displacements_make_it_wider_or_narrower() -> None:
    """Columns that point outwards by 2 of 10 on either side reduce the bar to 10/12 of its width."""
    for outwards, factor in ((2.0, 10 / 12), (-2.0, 10 / 8)):
        stretched = STILL.copy()
        stretched[1] = outwards * np.linspace(-1, 1, NODES)
        got = augment(bar(), drawings(displacement=stretched), 20)
        np.testing.assert_allclose(got[0, 4:16].sum(axis=(1, 2)), 3 * factor, atol=0.35)
        assert not got[0, :4].any()
        assert not got[0, 16:].any()


def test_augmentation_c9_one_node_moves_what_is_near_it_alone() -> None:
    """An inner node of a digit of 22x22 lies on row and column 7, its neighbours on 0 and 14."""
    digit = np.random.default_rng(3).random((1, 22, 22, 1)).astype(np.float32)
    for axis in (0, 1):
        one = STILL.copy()
        one[axis, 1, 1] = 1.0
        got = augment(digit, drawings(displacement=one), 22)
        changed = np.argwhere((got != digit)[0, ..., 0])
        assert changed.min(axis=0).tolist() == [1, 1]
        assert changed.max(axis=0).tolist() == [13, 13]
        assert got[0, 7, 7, 0] == digit[0, 7 + (axis == 0), 7 + (axis == 1), 0]


@law
@given(seed=st.integers(0, 2**32), erased=st.floats(0, 0.9), side=st.floats(0, 2 * np.pi))
def test_augmentation_c10_the_ink_farthest_to_one_side_is_erased(seed: int, erased: float, side: float) -> None:
    digit = noise(seed)[:1]
    got = augment(digit, drawings(erased=erased, side=side), 9)
    gone = got != digit
    assert not got[gone].any(), "What stays is not as it was"
    part, all_ink = digit[gone].sum(dtype=float), digit.sum(dtype=float)
    assert part <= erased * all_ink * (1 + 1e-6)
    assert part > erased * all_ink - digit.max() - 1e-6 * all_ink
    rows, columns = np.mgrid[0:9, 0:9]
    distance = (np.cos(side) * columns + np.sin(side) * rows)[None, ..., None]
    if gone.any():
        assert distance[gone].min() >= distance[~gone].max() - 1e-9, "A pixel that stays is farther than an erased one"


def test_augmentation_c10_the_side_is_right_then_below() -> None:
    for side, kept in ((0.0, np.s_[:, :, :10]), (np.pi / 2, np.s_[:, :10]), (np.pi, np.s_[:, :, 10:])):
        digit = np.ones((1, 20, 20, 1), np.float32)
        got = augment(digit, drawings(erased=0.5, side=side), 20)
        expected = np.zeros_like(digit)
        expected[kept] = 1
        np.testing.assert_array_equal(got, expected)
