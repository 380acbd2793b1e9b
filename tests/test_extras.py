"""The extras: reading and stepping an automaton needs NumPy and autograd alone, and the rest says what it needs."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {absent}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name.partition(".")[0])

sys.meta_path.insert(0, Absent())
"""
STEP = """
import refca
cell = refca.digits_cell()
image = 0.5 + refca.Streams(0).initial(1, 5, 5, 1).astype("float32") ** 2
state = refca.init_state(cell, image)
params = refca.init_params(cell, 0)
state = refca.step(cell, params, image, state, *refca.Streams(0).at(cell, 0, 1, 5, 5))
state = refca.get_backend("reference").evolve(cell, params, image, state, refca.Streams(0), 2, first_step=1)
assert state.shape == (1, 5, 5, 19) and state.any()
refca.cell_accuracy(state[..., -10:], 0 * state[:, 0, 0, 0].astype(int), image[..., 0] > 0.1)
"""


def extras() -> dict[str, list[str]]:
    project: dict[str, dict[str, list[str]]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"]


def run_without(absent: set[str], code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process in which these packages are not installed."""
    program = WITHOUT.format(absent=absent) + code
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)


def optional_packages() -> set[str]:
    from refca.cli import EXTRAS

    return {*EXTRAS, "hypothesis", "pytest"}


def test_a_step_needs_numpy_and_autograd_alone() -> None:
    result = run_without(optional_packages(), STEP)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("package", "extra"), [("tqdm", "train"), ("safetensors", "train"), ("sklearn", "train")])
def test_a_package_that_is_missing_is_named_with_its_extra(package: str, extra: str, tmp_path: Path) -> None:
    flags = ["--experiment", "demo", "--steps", "1", "--backend", "reference", "--out", str(tmp_path / "run")]
    result = run_without({package}, f"from refca import train\nsys.exit(train.main({flags}))")
    assert result.returncode == 2, result.stderr
    assert result.stderr.endswith(f"refca: this needs {package}; install it with: pip install 'refca[{extra}]'\n")


def test_every_extra_that_a_sentence_names_exists() -> None:
    from refca.cli import EXTRAS

    assert set(EXTRAS.values()) <= set(extras())
