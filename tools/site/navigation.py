"""The navigation: sections of pages by pattern, so that a new page appears and a missing one is no error."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

from repository import Repository

# A pattern takes the pages that no pattern before it has taken.
SECTIONS: dict[str, list[Any]] = {
    "Read": [
        {"Overview": "overview.md"},
        "spec/README.md",
        "spec/notation.md",
        "spec/decisions.md",
        "spec/governance.md",
        {"Chapters": [{"All chapters": "spec/chapters/index.md"}, "spec/chapters/*.md"]},
    ],
    "Use": [
        {"Playground": "playground.md"},
        "spec/programs.md",
        "docs/python.md",
        "docs/own-data.md",
        "docs/own-cells.md",
        "docs/cluster.md",
        "docs/cpu.md",
        "docs/gpu.md",
        "spec/data.md",
        "docs/weights.md",
        {"Shipped weights": "refca/weights/README.md"},
        "docs/extending.md",
        {"How the playground works": "spec/playground.md"},
    ],
    "Check": ["spec/check_your_own.md", "docs/scoreboard.md", "spec/vectors.md", "spec/exec.md", "spec/torture.md"],
    "Teach": [{"Lessons": "lessons/README.md"}, "lessons/*.md"],
    "Results": [
        {"Digits": "results/README.md"},
        {"Photographs": "results/segmentation/README.md"},
        "results/*/README.md",
        "results/*.md",
    ],
    "Reference": ["reference/refca.md", "reference/contract.md", "reference/refca_spec.md"],
    "Project": ["CHANGELOG.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", "docs/*.md", "spec/*.md"],
}


def navigation(repository: Repository, pages: list[str]) -> list[Any]:
    """Return the navigation as MkDocs reads it, of the pages that exist."""
    left = in_order(repository, pages)

    def take(pattern: str) -> list[str]:
        found = [page for page in left if fnmatchcase(page, pattern) and page.count("/") == pattern.count("/")]
        left[:] = [page for page in left if page not in found]
        return found

    def entries(patterns: Any) -> list[Any]:
        found: list[Any] = []
        for pattern in patterns:
            if isinstance(pattern, str):
                found += take(pattern)
            else:
                ((title, inside),) = pattern.items()
                taken = take(inside) if isinstance(inside, str) else entries(inside)
                if taken:
                    found.append({title: taken[0] if isinstance(inside, str) else taken})
        return found

    fixed = {name for section in SECTIONS.values() for name in section if isinstance(name, str) and "*" not in name}
    later = [page for page in left if page not in fixed]
    left[:] = [page for page in left if page in fixed] + later
    return [{"Start": "index.md"}, *({title: entries(patterns)} for title, patterns in SECTIONS.items())]


def in_order(repository: Repository, pages: list[str]) -> list[str]:
    """Return pages sorted, chapters in the order of the table in spec/README.md."""
    listed = [f"spec/{target}" for target in re.findall(r"\((chapters/\w+\.md)\)", repository.text("spec/README.md"))]
    return sorted(pages, key=lambda page: (listed.index(page) if page in listed else -1, page))
