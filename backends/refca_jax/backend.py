"""The contract of `spec/chapters/backends.md` in JAX.

Letters: B samples, H×W grid, E environment channels, D state channels, T steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from refca.contract import adam
from refca.contract.checks import check_unroll
from refca.contract.objective import loss_of_states
from refca.contract.protocol import BaseBackend, ObjectiveFunction, UnrollGrads
from refca.contract.strided_vjp import encoded
from refca.definition.cell import Array, Cell, Params
from refca.definition.randomness import INITIAL, Randomness, Streams
from refca.definition.state import grid
from refca.errors import InvalidInput
from refca_jax.cell import default_device, step
from refca_jax.streams import Source, normals, source_of

try:
    from jax import enable_x64
except ImportError:  # before JAX 0.8
    from jax.experimental import enable_x64

F = TypeVar("F", bound=Callable[..., Any])


def with_float64(method: F) -> F:
    """A method in which JAX has 64 bits: the random numbers need them, whatever the caller or its thread has set."""

    @wraps(method)
    def call(*arguments: Any, **named: Any) -> Any:
        with enable_x64(True):
            return method(*arguments, **named)

    return cast(F, call)


class Jax(BaseBackend):
    """JAX's arrays on its default device, and functions that XLA compiles."""

    xp = jnp

    @property
    def devices(self) -> tuple[str, ...]:  # type: ignore[override]
        """The devices that JAX finds here."""
        return tuple(f"{device.platform}:{device.id}" for device in jax.devices())

    @property
    def sample_slice(self) -> int:  # type: ignore[override]
        """The best number of samples to evolve at a time."""
        return 125 if jax.default_backend() == "cpu" else 1000

    def use_device(self, device: str) -> None:
        """Compute on this device from now on, a name or its number. Raise InvalidInput if there is none."""
        for number, found in enumerate(jax.devices()):
            if device in (f"{found.platform}:{found.id}", found.platform, str(number)):
                jax.config.update("jax_default_device", found)
                return
        raise InvalidInput(f"device must be one that JAX can use here, {', '.join(self.devices)}, got {device}")

    def description(self) -> str:
        """Return the device and the version of JAX."""
        device = default_device()
        return f"{device.device_kind} ({device.platform}:{device.id}), JAX {jax.__version__}"

    @with_float64
    def asarray(self, x: Any) -> Array:
        """Return x as an array of JAX; real, boolean and integer dtypes stay."""
        return x if isinstance(x, jax.Array) else jnp.array(x)

    def asnumpy(self, x: Array) -> np.ndarray:
        """Return an array of JAX, or of NumPy, as a NumPy array; waits for the device."""
        return np.array(x) if isinstance(x, jax.Array) else np.asarray(x)

    def put(self, x: Array, index: Any, values: Array) -> Array:
        """Return x with x[index] replaced by values; x itself stays."""
        return x.at[index].set(values)

    @with_float64
    def initial_state(self, cell: Cell, image: Array, streams: Streams | None = None) -> Array:
        """Return the state before the first step, (B, H, W, D), float32, drawn on the device."""
        if not cell.normal_start or type(streams) is not Streams:
            return super().initial_state(cell, image, streams)
        blank = jnp.zeros((*grid(cell, image), cell.state_channels), np.float32)
        return initial(source_of(cell, streams, 0, 1, blank), blank)

    @with_float64
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
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        if not steps or not len(state):
            return jnp.array(state)
        source = source_of(cell, randomness, first_step, steps, state)
        with enough_memory():
            return evolved(cell, params, encoded(cell, params, image, jnp)[-1], state, source, steps)

    @with_float64
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
        source, counted = source_of(cell, randomness, first_step, len(in_loss), state), np.flatnonzero(in_loss)
        with enough_memory():
            given = counted, params, environment, state, source
            states, last, pullback = forward(cell, len(in_loss), inputs_grad, *given)
            value, gradient = objective(states, slice(None))
            grads, *of_inputs = backward(pullback, gradient)
        environment_grad, state_grad = of_inputs or (None, None)
        return value, grads, environment_grad, state_grad, last

    @with_float64
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

        Losses that have a name are compiled; a function may be a new one at each call.
        """
        given = params, image, target, weights.astype(states.dtype), states
        return super().loss_of_states(cell, loss, *given) if callable(loss) else named_loss(cell, loss, *given)

    @with_float64
    def adam_step(
        self, params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
    ) -> Params:
        """Return the parameters after update i, new arrays; update the moments in the dicts m and v."""
        params, moments, squares = updated(params, grads, dict(m), dict(v), int(i), float(learning_rate), normalise)
        m.update(moments)
        v.update(squares)
        return params

    @with_float64
    def vjp(self, function: Callable[[Array, Any], Array], x: Array) -> tuple[Array, Callable[[Array], Array]]:
        """Return function(x, jax.numpy), and a function that turns the gradient of its value into the gradient of x."""
        value, pullback = jax.vjp(lambda x: function(x, jnp), x)
        return value, lambda gradient: pullback(gradient)[0]


@partial(jax.jit, static_argnums=0)
def evolved(
    cell: Cell, params: Params, environment: jax.Array, state: jax.Array, source: Source, steps: int
) -> jax.Array:
    """Return the state after a number of steps, which is no part of what is compiled."""

    def body(i: jax.Array, state: jax.Array) -> jax.Array:
        return step(cell, params, environment, state, *source.draw_traced(cell, i, state))

    return lax.fori_loop(0, steps, body, state)


@partial(jax.jit, static_argnums=(0, 1, 2))
def forward(
    cell: Cell,
    steps: int,
    inputs_grad: bool,
    counted: jax.Array,
    params: Params,
    environment: jax.Array,
    state: jax.Array,
    source: Source,
) -> tuple[jax.Array, jax.Array, Any]:
    """Return the states after the counted steps, the last state, and what `backward` needs."""

    def unroll(params: Params, environment: jax.Array = environment, state: jax.Array = state) -> Any:
        def body(state: jax.Array, i: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = step(cell, params, environment, state, *source.draw_traced(cell, i, state))
            return state, state

        last, states = lax.scan(body, state, jnp.arange(steps))  # states (T, B, H, W, D)
        return states[counted], last

    states, pullback, last = jax.vjp(unroll, params, *((environment, state) if inputs_grad else ()), has_aux=True)
    return states, last, pullback


@partial(jax.jit)
def backward(pullback: Any, gradient: jax.Array) -> Any:
    """Return the gradients of the parameters, and with inputs_grad of environment and first state."""
    return pullback(gradient)


@partial(jax.jit, static_argnums=(0, 1))
def named_loss(cell: Cell, loss: str, *given: Any) -> tuple[jax.Array, jax.Array, Params]:
    """Return the loss of states and its gradients, for a loss that has a name."""
    return loss_of_states(BACKEND, cell, loss, *given)


@partial(jax.jit, static_argnums=6)
def updated(
    params: Params, grads: Params, m: Params, v: Params, i: int, learning_rate: float, normalise: bool
) -> tuple[Params, Params, Params]:
    """Return parameters and moments after an update."""
    return adam.adam_step(params, grads, m, v, i, learning_rate, normalise), m, v


@partial(jax.jit)
def initial(source: Any, blank: jax.Array) -> jax.Array:
    """Return standard normal states in the shape of others."""
    return normals(source, INITIAL, 0, blank)


@contextmanager
def enough_memory() -> Iterator[None]:
    """Within this block, a device whose memory is exhausted raises MemoryError, as every backend does."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(str(error).splitlines()[0]) from error
        raise


BACKEND = Jax()
