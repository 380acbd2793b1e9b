"""Make torchvision importable beside a PyTorch without CUDA.

ncalib imports torchvision, whose wheel is compiled against PyTorch's CUDA build. Beside the CPU build its operators
cannot be loaded, and its import fails where it describes them to PyTorch. The description is left out; no step of an
automaton uses them.
"""

from __future__ import annotations

import torch

from adapters.draws import answering

try:
    import torchvision
except RuntimeError:
    with answering(torch.library, register_fake=lambda *_, **__: lambda function: function):
        import torchvision  # noqa: F401
