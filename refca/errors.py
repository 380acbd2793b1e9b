"""The errors that a user can see. Each message is one sentence: the cause and, where it helps, the remedy."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from refca.definition.errors import InvalidInput, one_line

__all__ = [
    "Diverged",
    "InvalidInput",
    "NotFinite",
    "NotOffered",
    "NotWritable",
    "ProgramFailed",
    "Unavailable",
    "did_you_mean",
]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean A or B?" with the known names that are most like a name, or "" if none is."""
    near = get_close_matches(name, list(known), 3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


class Unavailable(InvalidInput):
    """A backend, data set or task that exists but does not work on this machine. A backend may raise it on import."""


class NotOffered(InvalidInput):
    """An operation that a backend does not have, or a cell that it does not support."""


class NotFinite(InvalidInput):
    """An array that holds NaN or infinity."""


class NotWritable(InvalidInput):
    """A place that may not be written."""


class Diverged(InvalidInput):
    """A training run in which a number became NaN or infinite."""


class ProgramFailed(Exception):
    """A backend's program that died, gave no answer in time, or answered with something else than the protocol's.

    It is no InvalidInput: a program that fails has not refused what it was given.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))
