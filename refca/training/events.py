"""TensorBoard event files of a run, beside its logs.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

EVENTS = "tensorboard"  # the folder of the event files in a run directory


def no_events(group: str, row: Mapping[str, float]) -> None:
    """Write nothing."""


@contextmanager
def event_files(out: Path, done: int) -> Iterator[Callable[[str, Mapping[str, float]], None]]:
    """Yield a function (group, row) that writes the numbers of a row as scalars, such as training/loss.

    A run that is resumed after `done` steps begins another file, in which TensorBoard is told to drop what an
    earlier file has of later steps.
    """
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(out / EVENTS), purge_step=done + 1)

    def write(group: str, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            if name != "step" and value == value:
                writer.add_scalar(f"{group}/{name}", value, int(row["step"]))

    try:
        yield write
    finally:
        writer.close()
