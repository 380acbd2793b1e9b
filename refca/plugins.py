"""Backends, data sets and tasks that other packages register with refca, through entry points.

A name of refca's own is always refca's own; other packages add to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points


@cache  # reading what all packages register takes tens of milliseconds
def registered(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group by name, sorted by name."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda point: point.name)}
