"""Recorded random numbers in place of a library's random generator.

A library draws its own masks and noise. To see what it does with them, its generator is made to answer with the numbers
of a law's case, in the shape that the library asks for; a library that asks for another shape fails with a sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def answering(module: Any, **functions: Callable[..., Any]) -> Iterator[None]:
    """Within this context functions of a module are replaced by others."""
    saved = {name: getattr(module, name) for name in functions}
    for name, function in functions.items():
        setattr(module, name, function)
    try:
        yield
    finally:
        for name, function in saved.items():
            setattr(module, name, function)


def answer(x: Any, shape: Any) -> Any:
    """Return the recorded numbers if the library asked for their shape."""
    asked = tuple(shape)
    assert asked == tuple(x.shape), f"the library draws numbers of shape {asked}, not {tuple(x.shape)}"
    return x
