"""A simulated device: arrays that record when they are waited for, and a backend on them.

A `DeviceArray` computes like the NumPy array in it, and as CuPy's does it refuses to become one unasked or
to be mixed with one. Each way in which a host can learn a number of it is counted in `WAITS`: there a real
device would have to finish everything that it was given before.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from refca.contract.registry import as_backend

WAITS: list[str] = []  # what was asked of the device, in order


def waiting(name: str) -> Callable[..., Any]:
    """Return the method of this name of the inner array, counting its calls."""

    def wait(self: DeviceArray, *args: Any) -> Any:
        WAITS.append(name)
        return getattr(self.inner, name)(*args)

    return wait


class DeviceArray(NDArrayOperatorsMixin):
    """An array of the device, `inner` its numbers."""

    def __init__(self, inner: Any) -> None:
        self.inner = np.asarray(inner)

    for _name in ("__float__", "__int__", "__bool__", "__index__", "item", "tolist", "tobytes", "nonzero"):
        locals()[_name] = waiting(_name)

    shape = property(lambda self: self.inner.shape)
    dtype = property(lambda self: self.inner.dtype)
    ndim = property(lambda self: self.inner.ndim)
    size = property(lambda self: self.inner.size)
    T = property(lambda self: DeviceArray(self.inner.T))

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("an array of the device does not become NumPy's unasked")

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, key: Any) -> DeviceArray:
        return DeviceArray(self.inner[plain_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.inner[plain_key(key)] = unmixed(value)

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return wrapped(getattr(ufunc, method)(*map(unmixed, args), **kwargs))

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if function in (np.flatnonzero, np.nonzero, np.unique, np.array_equal):
            WAITS.append(function.__name__)  # the shape of what comes out is a number of the device
        if function is np.asarray:  # with like=: NumPy's array goes to the device
            return DeviceArray(np.array(*args))
        return wrapped(function(*map(unmixed, args), **kwargs))

    def astype(self, dtype: Any) -> DeviceArray:
        return DeviceArray(self.inner.astype(dtype))

    def reshape(self, *shape: Any) -> DeviceArray:
        return DeviceArray(self.inner.reshape(*shape))

    def sum(self, *args: Any, **kwargs: Any) -> DeviceArray:
        return DeviceArray(self.inner.sum(*args, **kwargs))

    def all(self) -> DeviceArray:
        return DeviceArray(self.inner.all())

    def mean(self, *args: Any, **kwargs: Any) -> DeviceArray:
        return DeviceArray(self.inner.mean(*args, **kwargs))

    def min(self, *args: Any, **kwargs: Any) -> DeviceArray:
        return DeviceArray(self.inner.min(*args, **kwargs))

    def max(self, *args: Any, **kwargs: Any) -> DeviceArray:
        return DeviceArray(self.inner.max(*args, **kwargs))


def wrapped(x: Any) -> Any:
    """Return NumPy results, single numbers too, as arrays of the device."""
    return tuple(map(wrapped, x)) if isinstance(x, tuple) else DeviceArray(x)


def unmixed(x: Any) -> Any:
    """The numbers of an argument. Raises TypeError for an array of NumPy's among those of the device."""
    if isinstance(x, (list, tuple)):
        return type(x)(map(unmixed, x))
    if isinstance(x, np.ndarray):
        raise TypeError("an array of NumPy's is mixed with those of the device")
    return x.inner if isinstance(x, DeviceArray) else x


def plain_key(key: Any) -> Any:
    """A key to index with: numbers, slices, integers of either kind of array; booleans of the device wait."""
    if isinstance(key, tuple):
        return tuple(map(plain_key, key))
    if isinstance(key, DeviceArray):
        if key.dtype == bool:
            WAITS.append("a boolean index")
        return key.inner
    return key


def asarray(x: Any) -> DeviceArray:
    return x if isinstance(x, DeviceArray) else DeviceArray(np.array(x))


def asnumpy(x: Any) -> np.ndarray:
    if not isinstance(x, DeviceArray):
        return np.asarray(x)
    WAITS.append("asnumpy")
    return x.inner.copy()


class Namespace:
    """NumPy's functions on the device."""

    def __getattr__(self, name: str) -> Any:
        function = getattr(np, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return wrapped(function(*map(unmixed, args), **kwargs))

        return call


def device(backend: Any, **more: Any) -> Any:
    """A backend that computes what `backend` does, of NumPy arrays, on the device; with `more` names."""

    def named(arrays: dict[str, Any]) -> dict[str, Any]:
        return {name: within(x) for name, x in arrays.items()}

    def within(x: Any) -> Any:
        if not isinstance(x, DeviceArray):
            raise TypeError(f"{type(x).__name__} came where an array of the device is needed")
        return x.inner

    def evolve(cell: Any, params: Any, image: Any, state: Any, *rest: Any, **named_: Any) -> Any:
        return DeviceArray(backend.evolve(cell, named(params), within(image), within(state), *rest, **named_))

    def loss_and_grads(
        cell: Any, loss: str, params: Any, image: Any, state: Any, target: Any, weights: Any, *rest: Any
    ) -> Any:
        for x in (target, weights):
            if isinstance(x, DeviceArray):
                WAITS.append("a check of labels or weights")
        target, weights = (getattr(x, "inner", x) for x in (target, weights))
        arrays = within(image), within(state), target, weights
        value, grads, last = backend.loss_and_grads(cell, loss, named(params), *arrays, *rest)
        value = np.asarray(value, last.dtype)
        return DeviceArray(value), {k: DeviceArray(g) for k, g in grads.items()}, DeviceArray(last)

    names = {"asarray": asarray, "asnumpy": asnumpy, "xp": Namespace()}
    return as_backend(SimpleNamespace(**names, evolve=evolve, loss_and_grads=loss_and_grads, **more))
