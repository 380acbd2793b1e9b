"""The error for invalid input, and the checks of integers."""

from __future__ import annotations

from operator import index
from typing import Any

LONGEST = 1000  # characters of a message


class InvalidInput(ValueError):
    """Invalid input. The message is one sentence: the cause and, where it helps, the remedy.

    Many messages quote names out of files; they are therefore cut to one short line.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def check_integer(name: str, value: Any) -> int:
    """Return a number as an int; NumPy's integers are integers too. Raises InvalidInput for any other, naming it."""
    try:
        return index(value)
    except TypeError:
        got = "an array" if hasattr(value, "shape") else repr(value)
        raise InvalidInput(f"{name} must be an integer, got {got}") from None


def check_count(name: str, value: Any, bits: int) -> int:
    """Return a number as an int. Raises InvalidInput, naming it, unless it is an integer from 0 to 2**bits - 1."""
    count = check_integer(name, value)
    if not 0 <= count < 2**bits:
        raise InvalidInput(f"{name} must be from 0 to 2**{bits} - 1, got {count}")
    return count


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return text on one line: control characters escaped, the middle cut out if it is long."""
    text = cut(text, longest)  # a long text is not escaped as a whole
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return cut(text, longest)


def cut(text: str, longest: int) -> str:
    """Return text with its middle cut out if it is longer than this."""
    tail = longest // 4
    return text if len(text) <= longest else f"{text[: longest - tail - 5]} ... {text[-tail:]}"
