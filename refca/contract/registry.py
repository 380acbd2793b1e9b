"""The registry of backends: refca's own and others use the entry-point group `refca.backends`.

Source: `spec/chapters/backends.md`, the contract of a backend.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from refca.contract.module_backend import ModuleBackend
from refca.contract.protocol import BaseBackend
from refca.errors import InvalidInput, ProgramFailed, Unavailable
from refca.plugins import registered

GROUP = "refca.backends"
PROGRAM = "exec:"  # followed by the path of a program and its arguments
OURS = {  # also found in a checkout that is not installed
    "reference": "refca.contract.reference",
    "cpu": "refca_cpu",
    "cupy": "refca_cupy.gpu",
    "torch": "refca_torch",
    "jax": "refca_jax",
}
HIDDEN = {"cupy-emulated": "refca_cupy.emulated"}  # for testing kernels: found by name, not listed
FASTEST_FIRST = ("cpu", "reference")  # cupy must be named until the laws have passed on a GPU


def backend_names() -> list[str]:
    """Return the names of refca's backends and of those that other packages registered."""
    return sorted({*OURS, *registered(GROUP)})


def get_backend(name: str | None = None) -> BaseBackend:
    """Return the backend of this name, dotted module name, or program, as in exec:./program.

    None is the first of FASTEST_FIRST that is available.

    Raises InvalidInput for an unknown name and for a module that raises an error on import, Unavailable for a
    backend without its hardware or library.
    """
    if name is not None and not isinstance(name, str):
        raise InvalidInput(f"the name of a backend must be text, such as cpu, got {type(name).__name__}")
    if name is not None and name.startswith(PROGRAM):
        return of_program(name.removeprefix(PROGRAM))
    return fastest()[1] if name is None else as_backend(load(name), name)


@cache
def of_program(command: str) -> BaseBackend:
    """Return the backend that a program is, always the same one. Raises Unavailable if it cannot be started."""
    from refca.contract.exec_backend import ExecBackend

    backend = ExecBackend(command)
    try:
        backend.described  # noqa: B018
    except ProgramFailed as error:
        raise Unavailable(str(error)) from error
    return backend


def fastest() -> tuple[str, BaseBackend]:
    """Return the name and the backend of the first of FASTEST_FIRST that is available."""
    for name in FASTEST_FIRST:
        try:
            return name, get_backend(name)
        except Unavailable:
            continue
    raise Unavailable("no backend is available on this machine")


def as_backend(found: Any, name: str = "this object") -> BaseBackend:
    """Return the backend of an instance, of a module with `BACKEND`, or of a module with functions.

    Raises InvalidInput for any other object.
    """
    found = getattr(found, "BACKEND", found)
    if isinstance(found, BaseBackend):
        return found
    return of_module(found, name) if found.__hash__ else ModuleBackend(found, name)


@cache
def of_module(module: Any, name: str) -> ModuleBackend:
    """Return the backend of a module, always the same one."""
    return ModuleBackend(module, name)


def load(name: str) -> Any:
    """Return the object of a registered backend, or the module of a dotted name."""
    places = OURS | HIDDEN
    known = name in places or name in backend_names()
    if not known and not all(part.isidentifier() for part in name.split(".")):
        raise unknown(name)
    try:
        if name not in places and name in registered(GROUP):
            return registered(GROUP)[name].load()
        return importlib.import_module(places.get(name, name))
    except Unavailable:
        raise
    except ImportError as error:
        if known or not absent(name, error):
            raise Unavailable(f'the backend "{name}" cannot be loaded: {error}') from error
        raise unknown(name) from None
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:  # a module may raise anything, SystemExit and panics too
        cause = f'the backend "{name}" raises {type(error).__name__} while loading: {error}'
        raise (Unavailable if known else InvalidInput)(cause) from error


def unknown(name: str) -> InvalidInput:
    """Return the error for a name that is neither a backend's nor a module's."""
    return InvalidInput(f'unknown backend "{name}"; known are {", ".join(backend_names())}, or a dotted module name')


def absent(module: str, error: ImportError) -> bool:
    """Return whether an ImportError says that this module, or a package that contains it, does not exist."""
    return isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
