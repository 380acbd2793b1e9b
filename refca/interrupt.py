"""Ctrl-C while Python still imports, or ends: the process ends in a word instead of a traceback.

`import refca` calls this first, where a program of refca is what Python was started for.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

STOPPED = 130  # the exit code
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")  # what MPI launchers set


def stop_quietly_while_importing() -> None:
    """Until `cli.exit_code` takes over, let Ctrl-C end a program of refca with one line and exit code 130."""
    given = sys.orig_argv
    module = given[given.index("-m") + 1 :][:1] if "-m" in given else []
    ours = any(name.startswith("refca.") or name == "refca" for name in module)
    ours = ours or any(os.path.basename(name).startswith("refca-") for name in given[1:2])
    here = threading.current_thread() is threading.main_thread()
    if ours and here and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, stop)


def stop(number: int, frame: object) -> None:
    os.write(2, b"refca: stopped\n")
    if launched_size() > 1:
        die_of(signal.SIGINT)
    os._exit(STOPPED)


def launched_size() -> int:
    """Return the number of processes that an MPI launcher started together with this one; 1 without a launcher."""
    sizes = [int(os.environ[name]) for name in SIZES if os.environ.get(name, "").isdecimal()]
    return max(sizes, default=1)


def die_of(number: int) -> None:
    """End by a signal: a launcher ends the other processes too, which would wait for this one to start MPI."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def raise_again() -> bool:
    """From now on Ctrl-C raises KeyboardInterrupt, if it ended the process; return whether it did."""
    if signal.getsignal(signal.SIGINT) is not stop:
        return False
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return True


def caused_by_ctrl_c(error: BaseException | None) -> bool:
    """Return whether an error is KeyboardInterrupt or was caused by one, as ImportError is in compiled modules."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def stop_again() -> None:
    """From now on Ctrl-C ends the process with one line and exit code 130."""
    signal.signal(signal.SIGINT, stop)
