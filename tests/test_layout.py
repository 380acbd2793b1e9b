"""The layout of refca/: which folder may import which, and that no import goes round in a circle.

Imports inside functions count too: they are as much a dependency as those on top of a file.
"""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "refca"

SHARED = {"definition", "errors", "plugins"}  # what every folder above the definition may import
MAINS = {"train", "evaluate", "robustness", "predict", "playground", "sweep"}
TASKS = {"digits", "segmentation"}
MAY_IMPORT = {
    "definition": {"autograd", "numpy"},
    "contract": SHARED,
}
MAY_NOT_IMPORT = {
    "drawing": {*TASKS, *MAINS, "tasks", "training", "weights", "cli"},
    "data": {*TASKS, *MAINS, "tasks", "training", "weights", "cli", "contract"},
    "training": {*TASKS, *MAINS, "tasks", "weights"},
    "digits": {*MAINS, "segmentation"},
    "segmentation": {*MAINS, "digits"},
    "tasks": {*TASKS, *MAINS},
}


def module_name(path: Path) -> str:
    return ".".join(("refca", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


def imported_modules(path: Path, modules: set[str]) -> set[str]:
    """The modules that a file imports, refca's by their full names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            full = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (full & modules) or {node.module}
    return found


def folder(module: str) -> str:
    """The folder or top-level file of refca that a module is in; the package's own name for any other."""
    first, *rest = module.split(".")
    return rest[0] if first == "refca" and rest else first


PATHS = {module_name(path): path for path in PACKAGE.rglob("*.py")}
IMPORTS = {module: imported_modules(path, set(PATHS)) - {module} for module, path in PATHS.items()}
STANDARD = {"__future__", "collections", "dataclasses", "functools", "math", "numbers", "operator", "typing"}


def folder_imports(name: str) -> dict[str, set[str]]:
    """Return the imports of each module of a folder from other folders and packages."""
    return {
        module: {folder(other) for other in others} - {name}
        for module, others in IMPORTS.items()
        if folder(module) == name
    }


def test_the_definition_imports_numpy_autograd_and_itself_alone() -> None:
    allowed = MAY_IMPORT["definition"] | STANDARD
    for module, folders in folder_imports("definition").items():
        names = {name.partition(".")[0] for name in folders}
        assert names <= allowed, f"{module} imports {sorted(names - allowed)}"


def test_the_definition_is_short_enough_to_read_in_one_sitting() -> None:
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (PACKAGE / "definition").glob("*.py"))
    assert lines < 900, f"the definition has {lines} lines"


def test_the_contract_imports_the_definition_alone_of_refca() -> None:
    inside = {folder(module) for module in PATHS} - {"refca"}
    for module, folders in folder_imports("contract").items():
        assert folders & inside <= SHARED, f"{module} imports {sorted((folders & inside) - SHARED)}"


@pytest.mark.parametrize("name", MAY_NOT_IMPORT)
def test_a_folder_does_not_import_what_lies_above_it(name: str) -> None:
    modules = folder_imports(name)
    assert modules, f"there is no refca/{name}"
    for module, folders in modules.items():
        wrong = folders & MAY_NOT_IMPORT[name]
        assert not wrong, f"{module} imports {sorted(wrong)}"


def test_nothing_imports_a_main() -> None:
    for module, others in IMPORTS.items():
        wrong = {folder(other) for other in others if other.startswith("refca.")} & MAINS
        assert not wrong, f"{module} imports {sorted(wrong)}"


def test_no_import_goes_round_in_a_circle() -> None:
    TopologicalSorter({module: others & set(PATHS) for module, others in IMPORTS.items()}).prepare()


def test_no_folder_imports_go_round_in_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for module, others in IMPORTS.items():
        graph.setdefault(folder(module), set()).update(folder(other) for other in others & set(PATHS))
    for name, folders in graph.items():
        folders.discard(name)
    TopologicalSorter(graph).prepare()


def test_no_code_outside_the_tasks_asks_which_task_it_has() -> None:
    """Code asks a task for its functions, not for its name or its type."""
    words = ("DigitsExperiment", "SegmentationExperiment", '== "digits"', '== "segmentation"', "PersistentBatch")
    for module, path in PATHS.items():
        if folder(module) in TASKS or module == "refca":
            continue
        found = [word for word in words if word in path.read_text("utf-8")]
        assert not found, f"{module} has {found}"
