"""Backends, data sets and tasks that other packages register with refca, through entry points.

They add names; none of them replaces one of refca's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from refca.errors import Unavailable


@cache  # reading what all packages register takes tens of milliseconds
def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, sorted by name; of two with one name, the first on Python's path."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        found.setdefault(point.name, point)
    return found


def load(group: str, name: str) -> Any:
    """Return the object that a package registered. Raises Unavailable, naming it, if it cannot be loaded."""
    point = registered(group)[name]
    try:
        return point.load()
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a module may raise anything, SystemExit too
        raise Unavailable(
            f'"{name}", registered in {group} as {point.value}, cannot be loaded: {type(error).__name__}: {error}; '
            "mend that package, or uninstall it"
        ) from error
