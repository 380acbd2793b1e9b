"""The code on the pages of docs/ runs."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import refca
from refca.tasks import get_task, task_names
from refca.training.experiment import CELL_SETTINGS

DOCS = Path(__file__).parents[1] / "docs"


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
