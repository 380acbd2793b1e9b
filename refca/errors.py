"""The errors that a user can meet. Each message is one sentence: the cause and, where it helps, the remedy."""

from __future__ import annotations

from refca.definition.errors import InvalidInput

__all__ = ["Diverged", "InvalidInput", "Unavailable"]


class Unavailable(InvalidInput):
    """A backend that exists but cannot work on this machine. A backend may raise it while it is imported."""


class Diverged(InvalidInput):
    """A training run whose numbers stopped being finite."""
