"""Trying to break refca: kills, damaged files, full disks and odd command lines, counted.

`python -m torture` (with `tools` on Python's path; `make torture`) runs everything; each module is one kind of
trouble. Whatever is random comes from the printed seed. Source: `spec/torture.md`.
"""

import os
from functools import cache
from importlib import metadata

for threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "REFCA_THREADS"):
    os.environ[threads] = "1"  # children are forked, which is safe from a process with one thread
setattr(metadata, "entry_points", cache(metadata.entry_points))  # noqa: B010  installed packages do not change, and are asked for often
