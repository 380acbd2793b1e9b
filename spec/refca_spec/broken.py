"""The laws that a backend breaks, found without a run of pytest: for notebooks, and for a first look.

    from refca_spec.broken import broken
    broken(my_module)  # {"step C2": "The state after one step is wrong ..."}

A run of pytest tries more: every chapter, every dtype, and reports.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from itertools import product
from typing import Any

import pytest

from refca.contract.registry import as_backend, get_backend
from refca.errors import InvalidInput
from refca_spec.report import constraint_of, text_of
from refca_spec.strategies import restricted
from refca_spec.trial import OnTrial


def broken(
    backend: Any, chapter: str = "step", constraints: Sequence[int] | None = None, dtype: str = "float32"
) -> dict[str, str]:
    """Return the constraints of a chapter that a backend breaks, such as "step C2", and a sentence for each.

    `backend` is a name, a module, a backend, or an object with `step` or `evolve`; `constraints` are numbers, None for
    all. Laws about what the backend does not offer are left out.
    Raises InvalidInput for a chapter without laws and for a number without a law.
    """
    chosen = get_backend(backend) if isinstance(backend, str) else as_backend(backend)
    found: dict[str, str] = {}
    laws = list(laws_of(chapter))
    unknown = set(constraints or ()) - {number for number, _ in laws}
    if unknown:
        raise InvalidInput(f"constraints must be numbers of {chapter} that have a law for backends, got {min(unknown)}")
    with restricted(chosen):
        for number, law in laws:
            name = f"{chapter} C{number}"
            if (constraints is None or number in constraints) and name not in found:
                sentence = failure(law, OnTrial(chosen), dtype)
                if sentence is not None:
                    found[name] = sentence
    return found


def sentence_of(constraint: str) -> str:
    """Return the sentence of a constraint such as "step C2"; "" for one that no chapter has."""
    chapter, _, number = constraint.rpartition(" C")
    return text_of((chapter, int(number))) if number.isdigit() else ""


def laws_of(chapter: str) -> Iterator[tuple[int, Callable[..., None]]]:
    """Yield the laws of a chapter about backends, each with the number of its constraint, in order."""
    try:
        module = import_module(f"refca_spec.laws.test_{chapter}")
    except ModuleNotFoundError:
        raise InvalidInput(f'chapter must be the name of one that has laws, such as "step", got "{chapter}"') from None
    for name, law in vars(module).items():
        key = constraint_of(name)
        if key is not None and "backend" in inspect.signature(law).parameters:
            yield key[1], law


def failure(law: Callable[..., None], backend: Any, dtype: str) -> str | None:
    """Return the sentence with which a law fails on a backend, None if it holds or does not apply."""
    given = {"backend": backend, "dtype": dtype}
    wanted = inspect.signature(law).parameters
    for case in cases_of(law):
        arguments = {**given, **case}
        if not wanted.keys() <= arguments.keys():
            continue  # a law that needs a fixture of pytest
        try:
            law(**{name: arguments[name] for name in wanted})
        except pytest.skip.Exception:
            continue
        except (AssertionError, pytest.fail.Exception) as error:
            return str(error).partition(" The call: ")[0].strip() or type(error).__name__
        except Exception as error:
            return f"{type(error).__name__}: {error}"
    return None


def cases_of(law: Callable[..., None]) -> Iterator[dict[str, Any]]:
    """Yield the arguments of each case that a law is parametrised with; one empty case if it is not."""
    choices: list[list[dict[str, Any]]] = []
    for mark in getattr(law, "pytestmark", ()):
        if mark.name == "parametrize":
            names, values = mark.args
            names = names.replace(",", " ").split() if isinstance(names, str) else list(names)
            rows = [getattr(value, "values", value) for value in values]
            choices.append([dict(zip(names, row if isinstance(row, tuple) else (row,), strict=True)) for row in rows])
    for parts in product(*choices):
        yield {name: value for part in parts for name, value in part.items()}
