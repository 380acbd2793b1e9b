"""Run the lessons and write them as notebooks: `python tools/build_lessons.py FOLDER`, with `1 5` only these two.

The lessons are Python files, `lessons/*.py`, in Jupytext's percent format, so that they are reviewed as code.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

LESSONS = sorted((Path(__file__).parent.parent / "lessons").glob("[0-9]_*.py"))
CELL_SECONDS = 900  # a cell that runs longer fails


def plain(path: Path) -> Any:
    """Return the notebook of a lesson without outputs."""
    import jupytext

    return jupytext.read(path)


def executed(path: Path, folder: Path) -> Any:
    """Return the notebook of a lesson with its outputs; it runs in `folder`. Raises CellExecutionError if it fails."""
    import nbclient

    notebook = plain(path)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=resources).execute()
    return notebook


def printed(notebook: Any) -> str:
    """Return the text that the cells of a notebook printed, warnings included."""
    outputs = (output for cell in notebook.cells for output in cell.get("outputs", ()))
    return "".join(output["text"] for output in outputs if output.output_type == "stream")


def main() -> None:
    """Write each lesson into the folder as NAME.ipynb, and print how long it ran."""
    import jupytext

    parser = argparse.ArgumentParser(description="Run the lessons and write them as notebooks with their outputs.")
    parser.add_argument("folder", type=Path, help="folder to write the notebooks into")
    parser.add_argument("numbers", nargs="*", help="numbers of the lessons to run, such as 1 5; default: all")
    arguments = parser.parse_args()
    folder = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for path in LESSONS:
        if arguments.numbers and path.stem[0] not in arguments.numbers:
            continue
        began = time.perf_counter()
        with TemporaryDirectory() as scratch:
            notebook = executed(path, Path(scratch))
        jupytext.write(notebook, folder / f"{path.stem}.ipynb")
        print(f"{path.stem}: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
