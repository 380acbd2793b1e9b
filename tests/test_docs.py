"""The code on the pages of docs/ runs, and the commands of all documents have flags that exist."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refca
from refca.tasks import get_task, task_names
from refca.training.experiment import CELL_SETTINGS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
COMMAND = re.compile(r"(?:-m refca\.|refca-)(train|evaluate|predict|robustness|sweep|playground)\b([^`\n|]*)")


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.S)


def test_the_training_loop_of_the_docs_learns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("own-cells.md")
    found: dict[str, object] = {}
    exec(compile(code, "own-cells.md", "exec"), found)
    assert float(found["loss"]) < 0.35  # type: ignore[arg-type]  # log 2 before training
    automaton = refca.load("bright.safetensors")
    assert automaton.names == ("dark", "bright")
    image = np.random.default_rng(1).random((1, 12, 12, 1)).astype(np.float32)
    right = automaton.labels(automaton.evolve(image, 12))[0] == (image[0, ..., 0] > 0.5)
    assert right.mean() > 0.8


def test_the_page_on_cells_has_every_field_and_its_flag() -> None:
    page = (DOCS / "own-cells.md").read_text("utf-8")
    for field, (name, _) in CELL_SETTINGS.items():
        assert f"| `{field}` | `--" in page
        assert f"{name.replace('_', '-')}`" in page
    for name in task_names():
        if name in ("digits", "segmentation"):
            assert {s for s, _ in CELL_SETTINGS.values()} <= set(get_task(name).settings.__dataclass_fields__)


def test_the_flags_in_the_commands_of_every_document_exist() -> None:
    pages = [*ROOT.glob("*.md"), ROOT / "Makefile", ROOT / ".ci/run"]
    for folder in ("docs", "spec", "lessons", "results", "refca", "backends", "tools"):
        pages += [page for page in (ROOT / folder).rglob("*") if page.suffix in (".md", ".py", ".toml", ".sh")]
    seen = 0
    for page in pages:
        for program, given in COMMAND.findall(re.sub(r"\\\n\s*", "", page.read_text("utf-8"))):
            known = set(re.findall(r"--[\w-]+", import_module(f"refca.{program}").parser().format_help()))
            flags = re.findall(r"(?<!\S)--[a-z][\w-]*", given.split(" #")[0])
            assert set(flags) <= known, f"{page.relative_to(ROOT)}: {program} {given}"
            seen += len(flags)
    assert seen > 200


class Tensor:
    """A tensor of PyTorch, as far as the page on weights uses it."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def detach(self) -> Tensor:
        return self

    float = cpu = detach

    def numpy(self) -> np.ndarray:
        return self.x


@pytest.mark.parametrize("cell", [refca.digits_cell(), refca.segmentation_cell(9, 12, depthwise=True)])
def test_weights_in_pytorchs_order_are_saved_as_the_page_on_weights_says(cell: refca.Cell, tmp_path: Path) -> None:
    (code,) = blocks("weights.md")
    found: dict[str, Any] = {}
    exec(compile(code, "weights.md", "exec"), found)
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=x.shape).astype(np.float32) for name, x in refca.init_params(cell, 0).items()}
    theirs = {f"net.{name}": Tensor(in_torch_order(name, x)) for name, x in params.items()}
    found["save"](tmp_path / "w.safetensors", cell, theirs, {name: f"net.{name}" for name in params})
    read = refca.load_weights(tmp_path / "w.safetensors").params
    assert all(read[name].tobytes() == x.tobytes() for name, x in params.items())


def in_torch_order(name: str, x: np.ndarray) -> np.ndarray:
    """A parameter as PyTorch has it: hidden.0.weight as a 1x1 convolution, update.weight as a linear layer."""
    if x.ndim == 4:
        return x.transpose(3, 2, 0, 1)
    if name == "perceive.depthwise":
        return x.transpose(2, 0, 1)[:, None]
    if name == "hidden.0.weight":
        return x.T[:, :, None, None]
    return x.T if x.ndim == 2 else x


@pytest.mark.filterwarnings("error")
def test_the_page_on_python_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for code in blocks("python.md"):
        exec(compile(code, "python.md", "exec"), found)
        for name, printed in re.findall(r"^print\((.*)\)  # (\d.*)$", code, re.M):  # what comments say is printed
            assert eval(f"' '.join(map(str, ({name},)))", found) == printed.partition(":")[0]
    assert found["frames"].shape == (2, 28, 28, 3)
    assert found["overlay"].shape == (96, 96, 3)
    assert found["automaton"].experiment.steps == 20
    assert found["state"].shape == (2, 28, 28, 19)
