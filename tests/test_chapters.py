"""The chapters of `spec/`: their Python blocks run, and their constraints and the laws match one to one."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec"
CHAPTERS = sorted((SPEC / "chapters").glob("*.md"))
PAGES = [*CHAPTERS, *sorted(SPEC.glob("*.md")), *([ROOT / "README.md"] if (ROOT / "README.md").exists() else [])]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.skipif(not CHAPTERS, reason="spec/ has no chapters here: they are in the checkout")


def blocks(page: Path) -> list[tuple[int, str]]:
    """The Python blocks of a page, each with the number of lines above it."""
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, match.start(1)), match[1]) for match in BLOCK.finditer(text)]


def constraints(page: Path) -> set[str]:
    """The constraints of a chapter: "step_c3" for (C3) of step.md."""
    found = re.findall(r"^- \(C(\d+)\) ", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert found == [str(k) for k in range(1, len(found) + 1)], f"{page.name} numbers its constraints {found}"
    return {f"{page.stem}_c{k}" for k in found}


def laws(page: Path) -> set[str]:
    """The constraints that the laws of a chapter hold."""
    text = (SPEC / "refca_spec" / "laws" / f"test_{page.stem}.py").read_text(encoding="utf-8")
    named = re.findall(r"^def test_(\w+)\(", text, re.MULTILINE)
    return {"_".join(re.split(r"(_c\d+)_", name)[:2]).replace("__", "_") for name in named}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_python_blocks_of_a_page_run(page: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    for lines, block in blocks(page):
        exec(compile("\n" * lines + block, str(page), "exec"), namespace)
    if page in CHAPTERS:
        assert any("assert" in block for _, block in blocks(page)), f"{page.name} has no example"


def test_the_readme_shows_the_step_of_the_plain_page() -> None:
    if not (ROOT / "README.md").exists():
        pytest.skip("README.md is in the checkout")
    shown = [block for _, block in blocks(ROOT / "README.md") if "def step" in block]
    assert len(shown) == 1
    function = shown[0][shown[0].index("def step") :]
    assert function in (ROOT / "refca" / "plain" / "digits.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", CHAPTERS, ids=lambda page: page.stem)
def test_every_constraint_has_a_law_and_every_law_a_constraint(page: Path) -> None:
    assert constraints(page) == laws(page)


def test_every_file_of_laws_has_a_chapter() -> None:
    files = {path.stem for path in (SPEC / "refca_spec" / "laws").glob("test_*.py")}
    assert files == {f"test_{page.stem}" for page in CHAPTERS}


def test_every_constraint_and_decision_that_is_cited_exists() -> None:
    every = {name for page in CHAPTERS for name in constraints(page)}
    text = (SPEC / "decisions.md").read_text(encoding="utf-8")
    for chapter, cited in re.findall(r"`(\w+)`\s+((?:\(C\d+\)(?:,\s+)?)+)", text):
        for k in re.findall(r"C(\d+)", cited):
            assert f"{chapter}_c{k}" in every, f"decisions.md cites `{chapter}` (C{k}), which does not exist"
    decided = set(re.findall(r"^\*\*(D\d+)\.", text, re.MULTILINE))
    for page in CHAPTERS:
        for cited in re.findall(r"\b(D\d+)\b", page.read_text(encoding="utf-8")):
            assert cited in decided, f"{page.name} cites {cited}, which decisions.md does not have"


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A folder with the module of spec/README.md as mypkg.mymodule."""
    package = tmp_path / "mypkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mymodule.py").write_text(blocks(SPEC / "README.md")[0][1], encoding="utf-8")
    return tmp_path


def run_laws(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The laws in a process of their own, with mypkg importable."""
    code = (
        "import sys, importlib.metadata as m, pytest\n"
        f"sys.path[:0] = {[str(folder), *sys.path]!r}\n"
        "installed = any(p.name == 'refca' for p in m.entry_points(group='pytest11'))\n"
        "plugin = [] if installed else ['-p', 'refca_spec.plugin']\n"
        f"sys.exit(pytest.main([*plugin, '--pyargs', 'refca_spec', '-q', '-p', 'no:cacheprovider', "
        f"*{list(arguments)!r}]))\n"
    )
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )


def test_the_example_of_the_readme_passes_the_laws(example: Path) -> None:
    """Run the laws that take a backend; the others do not involve the example."""
    mine = "--refca-backend", "mypkg.mymodule", "-k", "mypkg"
    ran = run_laws(example, *mine, "--refca-examples", "5", "-W", "error")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "test_backends_c9" in run_laws(example, *mine, "--collect-only").stdout


def test_a_wrong_implementation_fails_the_laws(example: Path) -> None:
    module = example / "mypkg" / "mymodule.py"
    module.write_text(module.read_text(encoding="utf-8").replace('"constant"', '"edge"'), encoding="utf-8")
    ran = run_laws(example, "--refca-backend", "mypkg.mymodule", "--refca-examples", "5", "-k", "test_step")
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "test_step_c2_outside_the_grid_everything_is_zero[mypkg.mymodule-float32]" in ran.stdout


def test_a_backend_that_cannot_be_imported_is_a_usage_error(example: Path) -> None:
    ran = run_laws(example, "--refca-backend", "mypkg.nonsense")
    assert ran.returncode == 4, ran.stdout + ran.stderr
    assert "ERROR: --refca-backend mypkg.nonsense:" in ran.stderr
