"""Backends, data sets and tasks that other packages register with refca, through entry points.

They add names; none of them replaces one of refca's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points


@cache  # reading what all packages register takes tens of milliseconds
def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, sorted by name; of two with one name, the first on Python's path."""
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        found.setdefault(point.name, point)
    return found
