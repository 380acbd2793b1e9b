"""The parts of a page that a program writes: those between two marks.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from pathlib import Path

from refca.atomic import write_text
from refca.errors import InvalidInput

END = "<!-- to here -->"


def write_between(path: Path, program: str, text: str) -> None:
    """Replace what a page has between a program's mark and the next END; leave a page without the mark alone.

    Raises InvalidInput if the second mark is missing.
    """
    begin = f"<!-- written by tools/results/{program}: from here -->"
    if not path.exists() or begin not in (page := path.read_text("utf-8")):
        return
    before, _, after = page.partition(begin)
    if END not in after:
        raise InvalidInput(f"{path} has the mark {begin} but not {END}")
    write_text(path, f"{before}{begin}\n\n{text}\n\n{END}{after.partition(END)[2]}")
