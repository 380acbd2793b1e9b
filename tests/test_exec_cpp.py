"""The C++ program of the page `spec/exec.md`: it passes laws, and a wrong one fails the law named for its fault."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_check_your_own import CELL, arguments, law

import refca
from refca.contract.exec_backend import ExecBackend
from refca.contract.reference import reference

PAGE = Path(__file__).parent.parent / "spec" / "exec.md"
LAWS = (
    "test_step_c1_a_backend_steps_as_the_reference",
    "test_step_c2_outside_the_grid_everything_is_zero",
    "test_step_c4_neighbours_are_read_row_by_row",
    "test_step_c6_alive_is_an_image_above_the_float32_threshold",
    "test_step_c7_noise_enters_before_the_mask_in_every_channel",
    "test_step_c8_the_channels_of_a_cell_fire_together",
    "test_recorded_c1_a_backend_starts_reading_at_start",
    "test_backends_c3_evolve_is_the_steps_of_the_reference",
    "test_backends_c14_no_steps_change_nothing",
)
INSIDE = "bool inside = y + dy >= 0 && y + dy < H && x + dx >= 0 && x + dx < W;"
WRAPPED = "bool inside = true;"
THERE = "long there = site + dy * W + dx;"
AROUND = "long there = (b * H + (y + dy + H) % H) * W + (x + dx + W) % W;"


def built(folder: Path, text: str) -> ExecBackend:
    """Compile a program and start it. Skips the test where there is no compiler."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.skip("no C++ compiler is installed: the page's program is not built")
    folder.mkdir()
    (folder / "cells.cpp").write_text(text, "utf-8")
    flags = ["-O2", "-std=c++17", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, str(folder / "cells.cpp"), "-o", str(folder / "cells")], check=True)
    return ExecBackend(str(folder / "cells"), 20)


def test_the_program_of_the_page_passes_the_laws_and_a_border_that_wraps_around_fails(tmp_path: Path) -> None:
    found = re.search(r"```cpp\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert found
    right = built(tmp_path / "right", found[1])
    for name in LAWS:
        law(name, right)()
    for first_step in (0, 3):
        got = right.evolve(CELL, *arguments(), refca.Streams(5), 2, first_step=first_step)
        expected = reference.evolve(CELL, *arguments(), refca.Streams(5), 2, first_step=first_step)
        np.testing.assert_allclose(got, expected, atol=1e-5)
    assert found[1].count(INSIDE) == found[1].count(THERE) == 1
    wrong = built(tmp_path / "wrong", found[1].replace(INSIDE, WRAPPED).replace(THERE, AROUND))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(LAWS[1], wrong)()
