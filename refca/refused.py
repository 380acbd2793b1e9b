"""The one way to say that input cannot be used. This file imports nothing: every other may import it."""


class Refused(ValueError):
    """Input that cannot be used. The message is one sentence: the cause, and where it helps the remedy."""
