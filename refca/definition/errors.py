"""The one error for input that cannot be used."""


class InvalidInput(ValueError):
    """An input that cannot be used. The message is one sentence: the cause and, where it helps, the remedy."""
