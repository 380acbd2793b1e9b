"""The page docs/scoreboard.md and the reports that it is made from."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
TOOL = ROOT / "tools" / "scoreboard"


def load(name: str) -> Any:
    """Return a program of tools/scoreboard as a module."""
    spec = importlib.util.spec_from_file_location(f"scoreboard_{name}", TOOL / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program that writes the page, on a copy of the reports."""
    module = load("page")
    shutil.copytree(module.KEPT, tmp_path / "kept")
    monkeypatch.setattr(module, "KEPT", tmp_path / "kept")
    return module


def test_the_page_is_what_the_reports_say(page: Any) -> None:
    assert page.PAGE.read_text("utf-8") == page.render(), "run python tools/scoreboard/page.py"


def test_another_report_makes_another_page(page: Any) -> None:
    path = page.KEPT / "neural_ca" / "report.json"
    report = json.loads(path.read_text("utf-8"))
    row = next(row for row in report["constraints"] if (row["chapter"], row["constraint"]) == ("step", "C2"))
    assert row["status"] == "passed"
    row |= {"status": "failed", "failures": [{"law": "test_step_c2_x", "message": "wrong", "repeat": "pytest"}]}
    path.write_text(json.dumps(report))
    assert page.render() != page.PAGE.read_text("utf-8")
    with pytest.raises(AssertionError, match="neural_ca"):
        check_differences(page)


def check_differences(page: Any) -> None:
    """Raise AssertionError unless the differences name the constraints that the reports call broken."""
    for each in page.tried():
        told: set[tuple[str, str]] = set()
        for words in each.words.get("differences", ()):
            told |= {page.key_of(name) for name in (*words["shown_by"], *words.get("breaks", ()))}
        told |= {page.key_of(name) for name in each.words.get("consequences", ())}
        assert told == each.broken(), f"{each.words['adapter']}: told {told}, broken {each.broken()}"


def test_differences_are_the_constraints_that_are_broken(page: Any) -> None:
    check_differences(page)


def test_constraints_that_are_left_out_are_not_broken(page: Any) -> None:
    for each in page.tried():
        assert all(page.about_cells(key) for key in each.broken()), each.words["adapter"]


def test_versions_are_the_required_ones(page: Any) -> None:
    required: dict[str, str] = {}
    for path in sorted(TOOL.glob("requirements*.txt")):
        lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
        required |= dict(line.split("==") for line in lines)
    for folder in sorted(page.KEPT.iterdir()):
        run = json.loads((folder / "run.json").read_text("utf-8"))
        assert required[run["package"]] == run["version"], folder.name
