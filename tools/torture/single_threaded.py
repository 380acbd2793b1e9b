"""Imported before anything else: keeps this process at one thread, so that children can be forked from it."""

import os
from functools import cache
from importlib import metadata

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "REFCA_THREADS"):
    os.environ[name] = "1"
setattr(metadata, "entry_points", cache(metadata.entry_points))  # noqa: B010  asked for often, and does not change
