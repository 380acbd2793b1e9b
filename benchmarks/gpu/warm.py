"""Build every module that `run.sh` uses, on all cores, into CuPy's cache.

python3 -m gpu.warm [--count]     --count: only say how many there are
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing import get_context

import numpy as np
from refca_cupy.schedule import Schedule, Shared
from refca_cupy.sources import FOLDER, source

import refca
from refca.definition.cell import NORMS

KERNEL = {"unroll": "sum_gradients", "initial": "initial", "adam": "adam_step"}  # one of each module


class Hopper:
    """The capacity of an H100 or H200."""

    resident, clusters, least_cells, largest_cluster, shared_memory = 264, True, 16, 8, 227 << 10
    shared_states = True


class Phases(Hopper):
    """The same without clusters."""

    clusters = False


class Unshared(Hopper):
    """The same without states in shared memory."""

    shared_states = False


def programs() -> list[tuple[str, str]]:
    """The programs of the modules, each with the name of one of its kernels."""
    found = {source("gpu", name, dtype): KERNEL[name] for name in ("initial", "adam") for dtype in DTYPES}
    for dtype in DTYPES:
        for whole in (True, False):
            found[source("gpu", "unroll", dtype, None, 1, whole)] = KERNEL["unroll"]
    digits = refca.digits_cell()
    small = [refca.segmentation_cell(17, 22, norm=norm, depthwise=d) for norm in NORMS for d in (False, True)]
    wanted = [(cell, 3, 12, dtype) for cell in (digits, *small) for dtype in DTYPES]
    wanted += [(digits, B, 28, "float32") for B in (2, 16, 64, 128, 256)]
    for depthwise in (False, True):
        photographs = refca.segmentation_cell(32, 48, depthwise=depthwise)
        wanted += [(photographs, B, 48, "float32") for B in (2, 32)] + [(photographs, 2, 16, "float32")]
    for cell, B, side, dtype in wanted:
        for capacity in (Hopper(), Phases(), Unshared()):
            schedule = Schedule.of(capacity, cell, B, side * side)
            shared = Shared.of(capacity, schedule, cell, side, side, np.dtype(dtype).itemsize)
            how = schedule.cluster, schedule.whole, True, shared.what
            text = source("gpu", "unroll", dtype, cell, *how)
            found[text] = KERNEL["unroll"]
    return list(found.items())


DTYPES = ("float32", "float64")


def build(program: tuple[str, str]) -> str:
    """Build a program. Return an error, or an empty string."""
    import cupy

    text, kernel = program
    try:
        cupy.RawModule(code=text, options=("-std=c++17", f"-I{FOLDER}")).get_function(kernel)
    except Exception as error:  # of the compiler, or of the driver
        return f"{type(error).__name__}: {error}"[:2000]
    return ""


def main() -> int:
    begun, wanted = time.monotonic(), programs()
    print(len(wanted), "modules", flush=True)
    if "--count" in sys.argv:
        return 0
    with get_context("spawn").Pool(min(12, os.cpu_count() or 1)) as pool:
        errors = [error for error in pool.imap_unordered(build, wanted) if error]
    print(f"{time.monotonic() - begun:.0f} s, {len(errors)} could not be built", *errors, sep="\n", flush=True)
    return int(bool(errors))


if __name__ == "__main__":
    sys.exit(main())
