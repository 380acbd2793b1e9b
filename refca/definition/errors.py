"""The one error for input that cannot be used."""

LONGEST = 1000  # characters of a message


class InvalidInput(ValueError):
    """An input that cannot be used. The message is one sentence: the cause and, where it helps, the remedy.

    Names out of files are part of many messages, so the message is kept on one line and short.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(one_line(str(message)))


def one_line(text: str, longest: int = LONGEST) -> str:
    """Return text without control characters, which are escaped, and with its middle left out if it is long."""
    if len(text) > longest:
        tail = longest // 4
        text = f"{text[: longest - tail - 5]} ... {text[-tail:]}"
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
