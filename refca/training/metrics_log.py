"""The log of a training run, metrics.csv: one row for every tenth training step and for the last.

A row has the step, its loss and the task's metrics; NaN is written as an empty field. The file holds no times:
a resumed run writes the same bytes as an uninterrupted run. A checkpoint holds the log's mark, its length and
hash at that step, so that a log which was changed, cut or lost since then is noticed.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from io import StringIO
from pathlib import Path
from typing import Any

from refca.atomic import atomic_write
from refca.errors import InvalidInput
from refca.reading import reading

LOG_FILE = "metrics.csv"  # in a run directory
EVERY = 10
LAST_ROWS = 20  # whose mean tells what a run reached
KIND = "the log of a training run"


class MetricsFile:
    """An open metrics.csv with a column for the step, the loss and each of `measured`.

    A new run begins it. A run that goes on after `done` training steps keeps the part that `mark` describes,
    and drops what follows: those rows will be made again. If that part is not there as it was written, the log begins
    anew with `drop`, and InvalidInput is raised without.
    """

    def __init__(self, path: Path, done: int, measured: Sequence[str], mark: str = "", drop: bool = False) -> None:
        self.path, self.columns = path, ("step", "loss", *measured)
        kept = b""
        try:
            if mark:
                kept = marked_part(path, done, mark)
            elif done:
                kept = rows_to(path, done, self.columns)
        except InvalidInput:
            if not drop:
                raise
        kept = kept or self.text(dict(zip(self.columns, self.columns, strict=True)))
        with atomic_write(path) as temporary:
            temporary.write_bytes(kept)
        self.length, self.hash = len(kept), blake2b(kept, digest_size=16)
        self.file = path.open("ab")

    def text(self, row: Mapping[str, Any]) -> bytes:
        """A row as it is in the file."""
        line = StringIO()
        csv.DictWriter(line, self.columns, lineterminator="\n").writerow(row)
        return line.getvalue().encode("utf-8")

    def add(self, **row: float) -> None:
        """Add a row. Raises InvalidInput if the file is no longer where it was opened."""
        self.check_place()
        content = self.text({name: "" if value != value else value for name, value in row.items()})
        self.file.write(content)
        self.file.flush()
        self.length += len(content)
        self.hash.update(content)

    @property
    def mark(self) -> str:
        """The length of the file and its hash."""
        return f"{self.length}:{self.hash.hexdigest()}"

    def sync(self) -> None:
        """Sync the rows to the disk, before a checkpoint that includes them is written."""
        self.check_place()
        self.file.flush()
        os.fsync(self.file.fileno())

    def check_place(self) -> None:
        """Raise InvalidInput if another file, or none, has the name of this one."""
        try:
            if os.path.samestat(os.stat(self.path), os.fstat(self.file.fileno())):
                return
        except FileNotFoundError:
            pass
        raise InvalidInput(
            f"{self.path} was moved, deleted or replaced while the run went on; resume the run where it is now, "
            "from its last checkpoint, or start it again"
        )

    def __enter__(self) -> MetricsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()


class NoLog:
    """The log of a rank that leaves writing to rank 0."""

    mark = ""

    def add(self, **row: float) -> None:
        pass

    def sync(self) -> None:
        pass

    def check_place(self) -> None:
        pass

    def __enter__(self) -> NoLog:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def marked_part(path: Path, done: int, mark: str) -> bytes:
    """The beginning of a log that a mark describes. Raises InvalidInput if it is not there as it was written."""
    if not path.exists():
        raise lost(path, done, "is missing")
    with reading(path, KIND):
        content, (length, expected) = path.read_bytes(), mark.split(":")
        part = content[: int(length)]
    if blake2b(part, digest_size=16).hexdigest() == expected:
        return part
    if content.startswith(b"\xef\xbb\xbf") or b";" in content.partition(b"\n")[0]:
        raise lost(path, done, "was saved by another program, perhaps a spreadsheet (a byte-order mark or semicolons)")
    raise lost(path, done, "is cut short" if len(content) < int(length) else "was changed")


def rows_to(path: Path, done: int, columns: Sequence[str]) -> bytes:
    """The rows of a log up to a training step, for checkpoints without a mark. Raises InvalidInput if any lacks."""
    if not path.exists():
        raise lost(path, done, "is missing")
    steps = [row["step"] for row in read_metrics(path, columns)]
    kept = [step for step in steps if step <= done]
    needed = list(range(EVERY, done + 1, EVERY))
    if kept[: len(needed)] != needed or len(kept) > len(needed) + 1:
        raise lost(path, done, "lacks rows, or has them in another order")
    lines = path.read_bytes().splitlines(keepends=True)
    return b"".join(lines[: 1 + len(kept)])


def lost(path: Path, done: int, what: str) -> InvalidInput:
    return InvalidInput(
        f"{path} {what} since the checkpoint after {done:,} training steps was written; put the original back, "
        "or add --drop-log (drop_log=True) to go on with a log that begins at this step"
    )


def read_metrics(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, float]]:
    """Return the complete rows of a metrics.csv, NaN for empty fields; an incomplete last row is dropped.

    Raises InvalidInput for a row with missing columns or with text that is no number.
    """
    rows: list[dict[str, float]] = []
    with reading(path, KIND):
        text = path.read_text("utf-8")
        for row in csv.DictReader(text[: text.rfind("\n") + 1].splitlines()):
            try:
                rows.append({name: number(name, row[name]) for name in columns or row})
            except (KeyError, TypeError, ValueError) as error:
                raise InvalidInput(
                    f"{path} is not a metrics file of this run: its row {row} has missing columns or text that is no "
                    "number"
                ) from error
    return rows


def last_mean(rows: Sequence[Mapping[str, float]], name: str) -> float:
    """Return the mean of a column over the last rows in which it is known; NaN if it is in none."""
    values = [row[name] for row in rows[-LAST_ROWS:] if row[name] == row[name]]
    return sum(values) / len(values) if values else float("nan")


def last_values(log: Path) -> dict[str, float]:
    """Return the last step of a log, and the mean of each column over its last rows; nothing of an empty log."""
    rows = read_metrics(log)
    last = rows[-1] if rows else {}
    return {name: value if name == "step" else last_mean(rows, name) for name, value in last.items()}


def number(name: str, text: str) -> float:
    return int(text) if name == "step" else float(text or "nan")
