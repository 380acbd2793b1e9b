"""The backend in PyTorch: the cell as people write it there, on any device that PyTorch reaches.

`cell.py` is the cell, with convolutions over (B, channels, H, W); `streams.py` draws the random numbers on the
device; `backend.py` is the contract of `spec/chapters/backends.md`, with gradients by automatic differentiation.
Nothing is optimised by hand: every cell is computed at every step, alive or not.
"""

from refca.errors import Unavailable

try:
    import torch  # noqa: F401
except ImportError as error:
    raise Unavailable(f"the torch backend needs PyTorch ({error}): pip install 'refca[torch]'") from error

from refca_torch.backend import BACKEND, Torch

__all__ = ["BACKEND", "Torch"]
