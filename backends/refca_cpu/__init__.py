"""The fast backend for processors: NumPy arrays in and out, with compiled loops and matrix products between.

Only cells that are alive and fire are computed, about one in eleven on digits, as far as the cell's norm
allows. The first use on a machine compiles the loops and keeps them in a cache.

REFCA_THREADS sets the number of threads; the default is the processors that the process may use. Each thread
does its own matrix products: during a call the BLAS libraries of the whole process are set to one thread, and
afterwards as they were before.

Source: the contract of `spec/chapters/backends.md`.
"""

from refca_cpu.backend import BACKEND, Cpu
from refca_cpu.workers import threads

__all__ = ["BACKEND", "Cpu", "threads"]
