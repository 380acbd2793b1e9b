"""The files of the repository, and the address that each has within the site.

Pages keep their places: `spec/chapters/step.md` is a page of that name, so that links between Markdown files work as
they are. A source file is a page that shows it, a folder is a page that lists it, other files are copied.
"""

from __future__ import annotations

import re
import subprocess
from functools import cached_property
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[2]
SHOWN = (
    ".py",
    ".js",
    ".mjs",
    ".toml",
    ".h",
    ".cu",
    ".cpp",
    ".css",
    ".html",
    ".sh",
    ".txt",
    ".cff",
    "Makefile",
    "LICENSE",
)
COPIED = ("docs/", "results/", "spec/")  # figures, tables and vectors in these folders are copied
HIDDEN = ("tools/site/", ".")  # the site's own pages, which are found elsewhere, and names that begin with a dot
LESSON = re.compile(r"lessons/(\d_\w+)\.py")


class Repository:
    """The files that are in version control or could be, as paths with slashes, and their places in the site."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root

    @cached_property
    def paths(self) -> list[str]:
        """All files, sorted."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout
        return sorted(
            path for path in set(listed.splitlines()) if not path.startswith(HIDDEN) and (self.root / path).is_file()
        )

    @cached_property
    def folders(self) -> set[str]:
        """All folders with a file in them, the root excluded."""
        parents = {str(parent) for path in self.paths for parent in PurePosixPath(path).parents}
        return parents - {"."}

    @cached_property
    def places(self) -> dict[str, str]:
        """The site's file for each file and folder that has one."""
        found = {path: place for path in self.paths if (place := place_of(path))}
        for folder in self.folders:
            readme = f"{folder}/README.md"
            found[folder] = readme if readme in found else f"{folder}/index.md"
        return found

    def text(self, path: str) -> str:
        return (self.root / path).read_text("utf-8")

    def children(self, folder: str) -> list[str]:
        """The files and folders directly in a folder, folders first."""
        inside = [path for path in [*sorted(self.folders), *self.paths] if str(PurePosixPath(path).parent) == folder]
        return [path for path in inside if path in self.places]

    def resolve(self, page: str, target: str) -> str | None:
        """Return the file or folder that a link on a page of the repository points to, or None."""
        parts: list[str] = []
        for part in (*PurePosixPath(page).parent.parts, *PurePosixPath(target).parts):
            if part == ".." and parts:
                parts.pop()
            elif part not in (".", ".."):
                parts.append(part)
        path = "/".join(parts)
        return path if path in self.places else None


def place_of(path: str) -> str | None:
    """Return the site's file for a file of the repository, or None where it has none."""
    if path == "README.md":
        return "overview.md"  # the front page is another one
    if lesson := LESSON.fullmatch(path):
        return f"lessons/{lesson[1]}.md"
    if path.endswith("/notes.md"):
        return None  # a part of the README.md beside it
    if path.endswith(".md"):
        return path
    if path.endswith(SHOWN):
        return f"{path}.md"
    return path if path.startswith(COPIED) else None
