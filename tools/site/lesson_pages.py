"""Pages of the lessons, with outputs where `build/lessons` has a notebook of the same code."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

NOTE = """!!! note "A notebook to run yourself"

    [Download {stem}.ipynb]({stem}.ipynb), without answers and outputs. [How to set up](README.md).
"""
NOT_RUN = """
    This site was built without running this lesson, so the pictures are missing here: they appear when you run it.
    `make lessons site` builds the site with them.
"""


def read_lesson(path: Path, built: Path) -> tuple[Any, bool]:
    """Return the notebook of a lesson, and whether it has outputs. They come from `built` if its code is unchanged."""
    import jupytext

    notebook = jupytext.read(path)
    if built.exists():
        executed = jupytext.read(built)
        if [cell.source for cell in executed.cells] == [cell.source for cell in notebook.cells]:
            return executed, True
    return notebook, False


def notebook_file(path: Path) -> str:
    """Return a lesson as .ipynb, without outputs."""
    import jupytext

    return str(jupytext.writes(jupytext.read(path), fmt="ipynb"))


def lesson_page(stem: str, notebook: Any, executed: bool) -> tuple[str, dict[str, bytes]]:
    """Return the Markdown of a lesson, and its pictures by name."""
    pieces: list[str] = []
    pictures: dict[str, bytes] = {}
    said = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            pieces.append(cell.source)
            said = cell.source
            if len(pieces) == 1:
                title, _, rest = cell.source.partition("\n")
                pieces = [title, NOTE.format(stem=stem) + ("" if executed else NOT_RUN), rest]
        elif cell.source.strip():
            pieces.append(f"```python\n{cell.source}\n```")
            for output in cell.get("outputs", ()):
                picture = output.get("data", {}).get("image/png")
                if picture:
                    name = f"{stem}-{len(pictures) + 1}.png"
                    pictures[name] = base64.b64decode(picture)
                    pieces.append(f"![{description(said)}]({name})")
                elif text := output_text(output):
                    pieces.append(f"```{{ .text .output }}\n{text}\n```")
    return "\n\n".join(pieces) + "\n", pictures


def output_text(output: Any) -> str:
    """Return what a cell printed or returned."""
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    return re.sub(r"\x1b\[[\d;]*m", "", text).rstrip()


def description(said: str) -> str:
    """Return a text for a picture: the last paragraph of the lesson before the code that draws it."""
    paragraph = re.split(r"\n\s*\n", said.strip())[-1]
    words = " ".join(re.sub(r"[*`#\[\]|]", "", paragraph).split())
    return f"Picture drawn by the code above. {words}"
