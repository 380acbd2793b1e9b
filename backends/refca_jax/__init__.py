"""The backend in JAX: the cell as people write it there, compiled by XLA for any device that JAX reaches.

`cell.py` is the cell; `streams.py` draws the random numbers on the device; `backend.py` is the contract of
`spec/chapters/backends.md`: whole unrolls are one compiled function, with gradients by automatic differentiation.
Each cell and each shape of a batch is compiled at its first use, and in training each length of an unroll. Every
cell is computed at every step, alive or not.

Importing it changes two settings of JAX for the whole process: float64 is there, and products of float32 numbers have
the precision of float32, not TF32.
"""

from refca.errors import Unavailable

try:
    import jax
except ImportError as error:
    raise Unavailable(f"the jax backend needs JAX ({error}): pip install 'refca[jax]'") from error

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_default_matmul_precision", "highest")

from refca_jax.backend import BACKEND, Jax  # noqa: E402

__all__ = ["BACKEND", "Jax"]
