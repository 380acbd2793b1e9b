"""Finding a backend by name. Ours come in by everyone's door: the entry-point group `refca.backends`.

Source: `spec/chapters/backends.md`, which says what a backend has to have.
"""

from __future__ import annotations

import importlib
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

from refca.errors import InvalidInput, Unavailable

GROUP = "refca.backends"
OURS = {  # found also where nothing is installed
    "reference": "refca.contract.reference",
    "cpu": "refca_cpu",
    "cupy": "refca_cupy.gpu",
    "cupy-emulated": "refca_cupy.emulated",
}
FASTEST_FIRST = ("cupy", "cpu", "reference")
CONTRACT = ("asarray", "asnumpy", "xp", "evolve", "loss_and_grads")


def backend_names() -> list[str]:
    """The names of our backends and of those that other packages registered."""
    return sorted({*OURS, *(point.name for point in entry_points(group=GROUP))})


def get_backend(name: str | None = None) -> Any:
    """The backend of this name, or of this dotted module name; None: the fastest that works here.

    Raises InvalidInput for an unknown one, with the list of those known, and Unavailable for one that lacks
    its hardware or its library.
    """
    if name is None:
        return fastest()[1]
    backend = load(name)
    missing = [attribute for attribute in CONTRACT if not hasattr(backend, attribute)]
    if missing:
        raise InvalidInput(f'"{name}" is not a backend: it has no {", ".join(missing)}')
    return backend


def fastest() -> tuple[str, Any]:
    """The name and the module of the fastest of ours that works here."""
    for name in FASTEST_FIRST:
        with suppress(InvalidInput):
            return name, get_backend(name)
    raise Unavailable("no backend works here")


def load(name: str) -> Any:
    """The module of a registered backend, of ours, or of that dotted name."""
    known = name in backend_names()
    try:
        for point in entry_points(group=GROUP, name=name):
            return point.load()
        return importlib.import_module(OURS.get(name, name))
    except Unavailable:
        raise
    except ImportError as error:
        if known or not absent(name, error):
            raise Unavailable(f'the backend "{name}" cannot be loaded: {error}') from error
    except (TypeError, ValueError):  # no module can have this name
        pass
    names = ", ".join(backend_names())
    raise InvalidInput(f'unknown backend "{name}"; known are {names}, or a dotted module name')


def absent(module: str, error: ImportError) -> bool:
    """Return whether an ImportError says that this module, or a package that contains it, does not exist."""
    return isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
