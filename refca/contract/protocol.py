"""The contract of a backend: the protocol that the programs and the laws rely on, and a base class with defaults.

A backend unrolls the automaton and differentiates it. It derives from `BaseBackend` and overrides what it does
itself: `evolve` (or `step` alone) to run automata, `unroll_grads` to train them. A plain module with functions
of these names does too; the registry completes it.

Source: `spec/chapters/backends.md`.

Letters: B samples, H×W grid, s stride, K image channels, E environment channels, D state channels, L labels,
T steps, S steps that count in a loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeAlias

import autograd.numpy
import numpy as np
from autograd import make_vjp

from refca.contract.adam import adam_step
from refca.contract.checks import check_cell, check_image, check_targets, check_unroll, count_steps, dtype_name
from refca.contract.objective import Objective, loss_of_states
from refca.contract.strided_vjp import encoded, encoded_grad
from refca.definition.cell import Array, Cell, Params
from refca.definition.params import frozen
from refca.definition.randomness import Randomness, Streams
from refca.definition.state import grid, init_state
from refca.errors import NotOffered

ObjectiveFunction: TypeAlias = Callable[[Array, Any], tuple[Any, Array]]  # (states, samples) -> value, gradient
UnrollGrads: TypeAlias = tuple[Any, Params, Array | None, Array | None, Array]


class Backend(Protocol):
    """The operations of a backend that programs and laws use.

    `BaseBackend` has defaults for all of them, except that a backend needs `step` or `evolve`.
    """

    xp: Any
    dtypes: tuple[str, ...]
    devices: tuple[str, ...]
    sample_slice: int

    def asarray(self, x: Any) -> Array:
        """Return x as an array of this backend; real, boolean and integer dtypes stay."""

    def asnumpy(self, x: Array) -> np.ndarray:
        """Return an array of this backend, or of NumPy, as a NumPy array; waits for a device."""

    def put(self, x: Array, index: Any, values: Array) -> Array:
        """Return x with x[index] replaced by values. The array x must not be used again."""

    def supports(self, cell: Cell) -> Literal[True] | str:
        """Return True, or in a few words the reason why this cell cannot be computed."""

    def offers(self, operation: str) -> bool:
        """Return whether "evolve", "loss_and_grads" or "unroll_grads" can be called."""

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
        """Return the state (B, H, W, D) after `steps` steps, numbered from `first_step`; a new array."""

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

    def loss_of_states(
        self, cell: Cell, loss: Any, params: Params, image: Array, target: Array, weights: np.ndarray, states: Array
    ) -> tuple[Any, Array, Params]:
        """Return the weighted loss of states, its gradient, and the gradients of the readout's parameters."""

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
        """Unroll T steps; return the loss, its gradients, and the last state."""

    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32."""

    def adam_step(
        self, params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
    ) -> Params:
        """Return the parameters after update i, new arrays; update the moments in the dicts m and v."""

    def batch_parts(self, cell: Cell, image: Array) -> list[np.ndarray] | None:
        """Return the samples of each part of a batch, or None if a batch is computed as a whole."""

    def map_parts(self, work: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray]) -> list[Any]:
        """Return work(part) for each part, in order."""

    def use_device(self, device: str) -> None:
        """Compute on this device from now on."""

    def description(self) -> str:
        """Return what it computes on, in a few words; "" if there is nothing to say."""


class BaseBackend:
    """The defaults of a backend, for NumPy arrays.

    A backend with other arrays overrides `xp`, `asarray` and `asnumpy`, and `put` if its arrays are immutable.

    `xp` is the module of the array library. The programs use only its functions
    amax amin arange argmax concatenate exp log ones_like stack sum tanh where zeros_like, with NumPy's argument
    `axis`. Arrays need operators, `@`, `**`, comparisons, indices (integers, slices, NumPy integer arrays),
    `shape`, `dtype`, `ndim`, `T`, `reshape`, `sum`, `min`, `max` and `float`.
    """

    xp: Any = np
    dtypes: tuple[str, ...] = ("float32", "float64")  # dtypes in which it computes
    devices: tuple[str, ...] = ()  # names for `use_device`; empty: no choice
    sample_slice: int = 125  # best number of digits to evolve at a time in an evaluation, from 1 to 1,000

    def asarray(self, x: Any) -> Array:
        """Return x as an array of this backend; real, boolean and integer dtypes stay."""
        return np.asarray(x)

    def asnumpy(self, x: Array) -> np.ndarray:
        """Return an array of this backend, or of NumPy, as a NumPy array; waits for a device."""
        return np.asarray(x)

    def put(self, x: Array, index: Any, values: Array) -> Array:
        """Return x with x[index] replaced by values. The array x must not be used again.

        The default writes to x.
        """
        x[index] = values
        return x

    def supports(self, cell: Cell) -> Literal[True] | str:
        """Return True, or in a few words the reason why this cell cannot be computed."""
        return True

    def offers(self, operation: str) -> bool:
        """Return whether "step", "evolve", "loss_and_grads" or "unroll_grads" can be called.

        Evolving needs `step` or `evolve`, and losses and gradients need `unroll_grads` or `loss_and_grads`.
        """
        needs = {"evolve": ("evolve", "step"), "loss_and_grads": ("loss_and_grads", "unroll_grads")}
        return any(self.overrides(name) for name in needs.get(operation, (operation,)))

    def overrides(self, name: str) -> bool:
        """Return whether this backend has a method of its own."""
        return getattr(type(self), name) is not getattr(BaseBackend, name)

    def step(
        self,
        cell: Cell,
        params: Params,
        environment: Array,
        state: Array,
        fire_mask: Array,
        noise: Array | None,
        reset_noise: Array | None,
    ) -> Array:
        """Return the state after one step; the arguments are those of `refca.step`. Not offered by default."""
        raise NotOffered("this backend offers no step")

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
        """Return the state (B, H, W, D) after `steps` steps, numbered from `first_step`; a new array.

        The default calls `step`, for each step with its draws.
        """
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        environment = encoded(cell, params, image, self.xp)[-1]
        state = 1 * state
        for t in range(first_step, first_step + steps):
            fire_mask, *normal = randomness.at(cell, t, *grid(cell, image))
            noise, reset_noise = (self.real(x, state) for x in normal)
            state = self.step(cell, params, environment, state, self.asarray(fire_mask), noise, reset_noise)
        return state

    def real(self, x: Array | None, like: Array) -> Array | None:
        """Return recorded or drawn numbers as an array of this backend in the dtype of `like`; None stays None."""
        if isinstance(x, np.ndarray):
            return self.asarray(x.astype(dtype_name(like)))
        return x

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
        """Unroll T steps and differentiate an objective of the states after those that count.

        environment (B, H, W, E), state (B, H, W, D). in_loss (T,) is boolean, NumPy's, with at least one step
        that counts; B is at least 1. The objective is called with the states after these steps, (S, b, H, W, D),
        and with the samples of the batch that they are, a slice or NumPy integers: once for the whole batch or
        once for each part of it, in any order. It returns their value and its gradient with respect to them.

        Return the sum of the values; its gradients for the parameters of the step (others may be left out), for
        the environment (B, H, W, E) and for the first state (B, H, W, D), which without inputs_grad may be None;
        and the last state. Not offered by default.
        """
        raise NotOffered(
            "this backend cannot train with this loss: it has neither loss_and_grads for it nor unroll_grads; "
            "choose another backend"
        )

    def loss_of_states(
        self,
        cell: Cell,
        loss: Any,
        params: Params,
        image: Array,
        target: Array,
        weights: np.ndarray,
        states: Array,
    ) -> tuple[Any, Array, Params]:
        """Return the weighted loss of states, its gradient, and the gradients of the readout's parameters.

        The arguments are those of `refca.contract.objective.loss_of_states`, which is the default.
        """
        return loss_of_states(self, cell, loss, params, image, target, weights, states)

    def vjp(self, function: Callable[[Array, Any], Array], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return function(x, xp), and a function that turns the gradient of its value into the gradient of x.

        The default differentiates functions of NumPy arrays by autograd.
        """
        pullback, value = make_vjp(lambda x: function(x, autograd.numpy))(x)
        return value, pullback

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
        """Unroll T = len(weights) steps; return the loss, its gradients, and the last state.

        loss is "l2", "ce" or a function, and target (B,) or (B, sH, sW), as in `objective.py`; weights (T, B)
        are the loss weights of the readout after each step for each sample. target and weights may be NumPy arrays.
        The loss is the sum over t and b of weights[t, b] · loss[t, b]: a Python float, or a 0-dimensional array
        of the backend. The gradient of a frozen parameter is zero. `image_grad` adds the gradient with respect
        to the image, under the key "image".

        The default calls `unroll_grads`.
        """
        check_unroll(cell, params, image, state, count_steps(weights), first_step, randomness)
        check_targets(cell, loss, image, target, weights)
        xp, weights = self.xp, self.asnumpy(weights)
        inputs = {**params, **({"image": image} if image_grad else {})}
        in_loss = weights.any(axis=1)
        if not in_loss.any():  # also for a batch without samples
            given = cell, params, image, state, randomness, len(weights)
            grads = {name: xp.zeros_like(x) for name, x in inputs.items()}
            return 0.0, grads, self.evolve(*given, first_step=first_step)
        activations, to_image = encoded(cell, params, image, xp), image_grad or cell.stride > 1
        objective = Objective(self, cell, loss, params, image, target, weights[in_loss])
        given_ = cell, params, activations[-1], state, randomness, in_loss, objective
        value, step_grads, environment_grad, _, last = self.unroll_grads(
            *given_, first_step=first_step, inputs_grad=to_image
        )
        found = {name: grad for name, grad in step_grads.items() if name not in frozen(cell)} | objective.grads()
        if to_image:
            encoder_grads, of_image = encoded_grad(cell, params, activations, environment_grad, image_grad, xp)
            found |= encoder_grads | ({"image": of_image} if image_grad else {})
        grads = {name: found[name] if name in found else xp.zeros_like(x) for name, x in inputs.items()}
        return value, grads, last

    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32, as `refca.init_state`.

        Only the shape of image (B, sH, sW, K) is used: it may be NumPy's or the backend's.
        """
        check_cell(cell)
        check_image(cell, image)
        blank = np.broadcast_to(np.float32(0), tuple(image.shape))
        return self.asarray(init_state(cell, blank, streams))

    def adam_step(
        self, params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
    ) -> Params:
        """Return the parameters after update i (from 0), new arrays; update the moments in the dicts m and v.

        The moments are empty before update 0. The arguments are those of `refca.contract.adam.adam_step`, which
        is the default.
        """
        return adam_step(params, grads, m, v, int(i), float(learning_rate), normalise)

    def batch_parts(self, cell: Cell, image: Array) -> list[np.ndarray] | None:
        """Return the samples of each part of a batch (B, sH, sW, K), NumPy integers in ascending order.

        Training computes each part by a call of its own and sums the gradients of the parts over a binary tree.
        Parts depend on the batch alone. The default is None: a batch is computed as a whole.
        """
        return None

    def map_parts(self, work: Callable[[np.ndarray], Any], parts: Sequence[np.ndarray]) -> list[Any]:
        """Return work(part) for each part, in order; `work` calls this backend. The default calls one by one."""
        return [work(part) for part in parts]

    def use_device(self, device: str) -> None:
        """Compute on this device from now on; called before anything else. Raise InvalidInput if there is none."""
        raise NotOffered(f"this backend has no devices to choose from; leave --device {device} out")

    def description(self) -> str:
        """Return what it computes on, in a few words; "" if there is nothing to say."""
        return ""
