"""The number of threads to compute on, for every library that would choose one itself.

Libraries read their number from the environment when they are loaded; those that are loaded already are told.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from refca.errors import InvalidInput

MOST = 1024
VARIABLES = (
    *("REFCA_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS"),
    *("VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS"),
    "NPROC",  # read by XLA, which JAX computes with
)
NUMBA = "NUMBA_NUM_THREADS"


def processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def thread_limit(count: int | None) -> Iterator[None]:
    """Compute on `count` threads within this block; None leaves everything as it is.

    Raises InvalidInput for a number that is not from 1 to 1,024.
    """
    if count is None:
        yield
        return
    if not 1 <= count <= MOST:
        raise InvalidInput(f"--threads must be from 1 to {MOST:,}, got {count}")
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, str(count)))
    try:
        with ExitStack() as stack:
            limit_loaded(count, stack)
            yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def limit_loaded(count: int, stack: ExitStack) -> None:
    """Tell libraries that are loaded already; what can be undone is undone when the stack is closed."""
    numba, torch = sys.modules.get("numba"), sys.modules.get("torch")
    if numba is None:
        os.environ[NUMBA] = str(count)  # stays: numba compares it with the threads that it has started
    else:
        stack.callback(numba.set_num_threads, numba.get_num_threads())
        numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    if torch is not None:
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(count)
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:  # refca without its extras: NumPy's library has read the environment or keeps its number
        return
    stack.enter_context(threadpool_limits(count))
