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
    text = cut(text, longest)  # a long text is not escaped as a whole
    text = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return cut(text, longest)


def cut(text: str, longest: int) -> str:
    """Return text with its middle cut out if it is longer than this."""
    tail = longest // 4
    return text if len(text) <= longest else f"{text[: longest - tail - 5]} ... {text[-tail:]}"
