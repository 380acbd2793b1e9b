"""The citation, the issue forms and the versions that the pages promise."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from refca_spec import SPECIFICATION
from refca_spec.report import versions
from refca_spec.vectors import read

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: citation and issue forms are not tested")

ROOT = Path(__file__).parents[1]
FORMS = [*sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*-*.yml")), ROOT / ".github/ISSUE_TEMPLATE/decision.yml"]
TYPES = {"markdown", "input", "textarea", "dropdown", "checkboxes"}


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_citation_has_the_version_of_the_package() -> None:
    citation = load(ROOT / "CITATION.cff")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert [reference["year"] for reference in citation["references"]] == [2020, 2020]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_form_is_one_that_hosts_accept(path: Path) -> None:
    form = load(path)
    assert {"name", "description", "body"} <= form.keys()
    names = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(names) == len(set(names)) >= 4
    for part in form["body"]:
        assert part["type"] in TYPES
        assert part["attributes"].get("label") or part["type"] == "markdown"
        assert bool(part["attributes"].get("options")) == (part["type"] in ("dropdown", "checkboxes"))


def test_files_that_the_forms_name_exist() -> None:
    named = {name for path in FORMS for name in re.findall(r"\b(?:spec|docs)/[\w/]+\.md", path.read_text("utf-8"))}
    assert named
    assert not [name for name in named if not (ROOT / name).is_file()]


def test_specification_version_is_on_reports_and_vectors() -> None:
    assert versions()["specification"] == read("index")["specification"] == SPECIFICATION
    assert f"specification {SPECIFICATION}" in (ROOT / "spec/governance.md").read_text("utf-8")
    assert json.dumps(versions())
