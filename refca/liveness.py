"""Finding out whether another process on this machine has ended.

Source: refca's own.
"""

from __future__ import annotations

import os
import socket


def has_died(host: str, pid: int) -> bool:
    """Return whether a process of this machine has ended; of other machines this is not known."""
    if host != socket.gethostname():
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
