"""Folders of files for the tests of data."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TypeAlias

Files: TypeAlias = dict[str, bytes]


def md5s(files: Files) -> dict[str, str]:
    return {name: hashlib.md5(content).hexdigest() for name, content in files.items()}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def everything(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())
