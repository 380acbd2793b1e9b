"""Finding out whether another process on this machine has ended.

Source: refca's own.
"""

from __future__ import annotations

import os
import socket
from typing import NamedTuple


class Place(NamedTuple):
    """The place of a process: two containers may share the name of their host and have processes of their own."""

    host: str
    namespace: str  # of process numbers; "" where the system has none
    pid: int

    @classmethod
    def here(cls) -> Place:
        """Return the place of this process."""
        try:
            namespace = os.readlink("/proc/self/ns/pid")
        except OSError:
            namespace = ""
        return cls(socket.gethostname(), namespace, os.getpid())


def has_died(place: Place) -> bool:
    """Return whether a process that this one can see has ended; of any other this is not known."""
    here, pid = Place.here(), place.pid
    if (place.host, place.namespace) != (here.host, here.namespace):
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    try:  # a zombie can still be signalled
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"Z", b"X")
    except OSError:  # macOS has no /proc; where there is one, the process has just gone, and the next call says so
        return False
