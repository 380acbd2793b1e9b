"""Pages that show source files and list folders."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from posixpath import relpath

from repository import Repository

LANGUAGES = {
    ".py": "python",
    ".js": "javascript",
    ".mjs": "javascript",
    ".toml": "toml",
    ".h": "cuda",
    ".cu": "cuda",
    ".cpp": "cpp",
    ".css": "css",
    ".html": "html",
    ".sh": "bash",
    "": "text",
    ".cff": "yaml",
    ".txt": "text",
}
HEADER = "---\ntitle: {title}\ntemplate: source.html\nsearch:\n  exclude: true\n---\n\n# {title}\n\n{where}\n\n"


def source_page(repository: Repository, path: str) -> str:
    """Return the page of a source file: highlighted, each line with a number and an anchor."""
    text = repository.text(path)
    ticks = "`" * max([3, *(len(run) + 1 for run in re.findall("`+", text))])
    language = "make" if path == "Makefile" else LANGUAGES[PurePosixPath(path).suffix]
    return header(path, path) + f'{ticks}{language} linenums="1"\n{text.rstrip()}\n{ticks}\n'


def folder_page(repository: Repository, folder: str) -> str:
    """Return the page of a folder: its files and folders, and its pictures."""
    lines, pictures = [], []
    for child in repository.children(folder):
        name = PurePosixPath(child).name
        link = f"[{name}{'/' if child in repository.folders else ''}]({name})"
        purpose = first_sentence(repository, child)
        lines.append(f"- {link}: {purpose}" if purpose else f"- {link}")
        if name.endswith((".png", ".gif", ".jpg")):
            pictures.append(f"## {name}\n\n![{picture_of(folder, name)}]({name})")
    return header(folder, f"{folder}/index.md") + "\n".join(lines) + "\n\n" + "\n\n".join(pictures) + "\n"


def first_sentence(repository: Repository, path: str) -> str:
    """Return the first sentence of a page, or of a program's docstring; empty for other files."""
    if path in repository.folders:
        path = f"{path}/__init__.py"
    if path not in repository.places:
        return ""
    opening = {".py": r'^"""(.+?)(?:\n\n|""")', ".md": r"^# [^\n]+\n\n(\w.+?)\n\n"}.get(PurePosixPath(path).suffix)
    found = re.match(opening, repository.text(path), re.DOTALL) if opening else None
    sentence = re.match(r"(.+?[.:])(?= [A-Z]|$)", " ".join(found[1].split())) if found else None
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", sentence[1]).rstrip(".:") if sentence else ""


def picture_of(folder: str, name: str) -> str:
    """Return a text for a picture that no page describes: its run and its name."""
    words = PurePosixPath(name).stem.replace("-", " ").replace("_", " ")
    return f"{words}, of {folder.removeprefix('results/')}; the numbers are in the tables beside it"


def header(path: str, page: str) -> str:
    """Return the top of the page of a file or folder: its title, and links to the folders above it."""
    folders = [str(parent) for parent in PurePosixPath(path).parents][-2::-1]
    links = [f"[{PurePosixPath(folder).name}]({relpath(folder, PurePosixPath(page).parent)})" for folder in folders]
    return HEADER.format(title=path, where=" / ".join(links))
