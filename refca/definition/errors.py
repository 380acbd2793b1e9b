"""The error for invalid input."""

LONGEST = 1000  # characters of a message


class InvalidInput(ValueError):
    """Invalid input. The message is one sentence: the cause and, where it helps, the remedy.

    Many messages quote names out of files; they are therefore cut to one short line.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return text on one line: control characters escaped, the middle cut out if it is long."""
    if len(text) > longest:
        tail = longest // 4
        text = f"{text[: longest - tail - 5]} ... {text[-tail:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
