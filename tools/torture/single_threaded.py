"""Imported before anything else: keeps this process at one thread, so that children can be forked from it."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "REFCA_THREADS"):
    os.environ[name] = "1"
