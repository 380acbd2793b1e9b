"""The contract of `spec/chapters/backends.md` in PyTorch.

Letters: B samples, H×W grid, E environment channels, D state channels, S counted steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from refca.contract.checks import check_unroll
from refca.contract.protocol import BaseBackend, ObjectiveFunction, UnrollGrads
from refca.contract.strided_vjp import encoded
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import INITIAL, Randomness, Streams
from refca.definition.state import grid
from refca.errors import InvalidInput
from refca_torch.cell import kernels, step
from refca_torch.streams import as_tensor, draw, normals

UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # which PyTorch does not compare


class Torch(BaseBackend):
    """Tensors on one device: "cpu", "cuda:0", "mps" or another that PyTorch has.

    `compiled` compiles the step, and `layout` is PyTorch's memory format of what convolutions see.
    """

    xp = torch

    def __init__(
        self, device: str = "cpu", compiled: bool = False, layout: torch.memory_format = torch.contiguous_format
    ) -> None:
        self.layout = layout
        self.compute_on(torch.device(device))
        self.step_of = torch.compile(step, fullgraph=True, dynamic=False) if compiled else step
        if compiled:
            torch._dynamo.config.recompile_limit = 256  # for each cell and shape of a batch; one more is an error

    @property
    def devices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The devices that PyTorch finds here."""
        gpus = (f"cuda:{i}" for i in range(torch.cuda.device_count()))
        return ("cpu", *gpus, *(name for name in ("mps", "xpu") if getattr(torch, name).is_available()))

    @property
    def dtypes(self) -> tuple[str, ...]:  # type: ignore[override]
        """The dtypes that the device computes in."""
        return ("float32",) if self.device.type == "mps" else ("float32", "float64")

    @property
    def sample_slice(self) -> int:  # type: ignore[override]
        """The best number of samples to evolve at a time."""
        return 125 if self.device.type == "cpu" else 1000

    def use_device(self, device: str) -> None:
        """Compute on this device from now on; a number is a GPU's. Raise InvalidInput if PyTorch cannot."""
        try:
            found = torch.device(f"cuda:{device}" if device.isdecimal() else device)
            torch.zeros(1, device=found).item()
        except (RuntimeError, AssertionError) as error:
            known = ", ".join(self.devices)
            raise InvalidInput(f"device must be one that PyTorch can use here, {known}, got {device}") from error
        self.compute_on(found)

    def compute_on(self, device: torch.device) -> None:
        """Compute on this device, where convolutions then have the precision of float32 and repeat their bits."""
        self.device = device
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True

    def description(self) -> str:
        """Return the device and the version of PyTorch."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else str(self.device)
        return f"{name}, PyTorch {torch.__version__}"

    def asarray(self, x: Any) -> Array:
        """Return x as a tensor on the device; real, boolean and integer dtypes stay."""
        return as_tensor(x, self.device)

    def asnumpy(self, x: Array) -> np.ndarray:
        """Return a tensor, or an array of NumPy, as a NumPy array; waits for the device."""
        return x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)

    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32, drawn on the device."""
        if not cell.normal_start or type(streams) is not Streams:
            return super().initial_state(cell, image, streams)
        B, H, W = grid(cell, image)
        like = torch.empty(B, cell.state_channels, H, W, device=self.device, dtype=torch.float32)
        return channels_last(normals(streams, INITIAL, 0, like))

    def evolve(
        self,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        steps: int,
        *,
        first_step: int = 0,
    ) -> Array:
        """Return the state (B, H, W, D) after `steps` steps, numbered from `first_step`; a new tensor."""
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        check_tensors({**params, "image": image, "state": state})
        if not steps or not len(state):
            return state.clone()
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False), enough_memory():
            weights, environment = kernels(params), self.channels_first(encoded(cell, params, image, torch)[-1])
            state = self.channels_first(state)
            for t in range(first_step, first_step + steps):
                state = self.step_of(cell, weights, environment, state, *draw(cell, randomness, t, state))
            return channels_last(state)

    def unroll_grads(
        self,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        randomness: Randomness,
        in_loss: np.ndarray,
        objective: ObjectiveFunction,
        *,
        first_step: int = 0,
        inputs_grad: bool = True,
    ) -> UnrollGrads:
        """Unroll T steps and differentiate an objective of the states after those that count."""
        check_tensors({**params, "image": environment, "state": state})
        exact = torch.autocast(self.device.type, enabled=False)
        with torch.inference_mode(False), torch.enable_grad(), exact, enough_memory():
            leaves = {name: leaf(x, True) for name, x in params.items()}
            inputs = [leaf(x, inputs_grad) for x in (environment, state)]
            weights, (environment, state), states = kernels(leaves), map(self.channels_first, inputs), []
            for i, counts in enumerate(in_loss):
                drawn = draw(cell, randomness, first_step + i, state)
                state = self.step_of(cell, weights, environment, state, *drawn)
                states += [state] if counts else []
            counted = torch.stack(states).movedim(2, -1)  # (S, B, H, W, D)
            with torch.no_grad():  # parameters of the caller may require gradients
                value, gradient = objective(counted.detach(), slice(None))
            wanted = [*leaves.values(), *(inputs if inputs_grad else [])]
            found = torch.autograd.grad(counted, wanted, gradient, allow_unused=True)
        grads = {name: x for name, x in zip(leaves, found, strict=False) if x is not None}  # none of a readout
        environment_grad, state_grad = found[len(leaves) :] if inputs_grad else (None, None)
        return value, grads, environment_grad, state_grad, channels_last(state.detach())

    def loss_and_grads(
        self,
        cell: Cell,
        loss: Any,
        params: Params,
        image: Array,
        state: Array,
        target: Array,
        weights: Array,
        randomness: Randomness,
        *,
        first_step: int = 0,
        image_grad: bool = False,
    ) -> tuple[Any, Params, Array]:
        """Unroll T = len(weights) steps; return the loss, its gradients, and the last state."""
        if getattr(target, "dtype", None) in UNSIGNED:
            target = target.long()
        given = cell, loss, params, image, state, target, weights, randomness
        return super().loss_and_grads(*given, first_step=first_step, image_grad=image_grad)

    def channels_first(self, x: torch.Tensor) -> torch.Tensor:
        """Return (B, H, W, channels) as (B, channels, H, W), as PyTorch's convolutions take it."""
        return x.movedim(-1, 1).contiguous(memory_format=self.layout)

    def vjp(self, function: Callable[[Array, Any], Array], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return function(x, torch), and a function that turns the gradient of its value into the gradient of x."""
        with torch.inference_mode(False), torch.enable_grad():
            x = leaf(x, True)
            value = function(x, torch)
        return value.detach(), lambda gradient: torch.autograd.grad(value, x, gradient)[0]


def leaf(x: torch.Tensor, requires_grad: bool) -> torch.Tensor:
    """Return a tensor with the same numbers that autograd begins at."""
    return (x.clone() if x.is_inference() else x.detach()).requires_grad_(requires_grad)


def channels_last(x: torch.Tensor) -> torch.Tensor:
    """Return (B, channels, H, W) as (B, H, W, channels)."""
    return x.movedim(1, -1).contiguous()


def check_tensors(arrays: Mapping[str, Array]) -> None:
    """Raise InvalidInput, naming the argument, if one is not a tensor."""
    for name, x in arrays.items():
        if not isinstance(x, torch.Tensor):
            raise InvalidInput(
                f"{name} must be a tensor, got {type(x).__name__}; asarray of the backend makes one of it"
            )


@contextmanager
def enough_memory() -> Iterator[None]:
    """Within this block, a device whose memory is exhausted raises MemoryError, as every backend does."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


BACKEND = Torch()
