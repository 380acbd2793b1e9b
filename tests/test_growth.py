"""The benchmark of how cost grows measures each of its cases."""

from __future__ import annotations

from pathlib import Path

import growth
import pytest


@pytest.mark.parametrize("axis", growth.AXES)
def test_a_case_of_each_axis_has_a_cost_and_a_point(tmp_path: Path, axis: str) -> None:
    case = next(case for case in growth.cases(quick=True) if case.axis == axis)
    cost = growth.nanoseconds(case, 1)
    assert cost > 0
    growth.draw([{**vars(case), "value": case.value, "threads": 1, "nanoseconds": cost}], tmp_path / "growth.png")
    assert (tmp_path / "growth.png").stat().st_size > 10_000
