"""Tests of the laws: each mutant fails the law named for it, which the reference passes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from refca_spec.mutants import BACKENDS, DEFINITION, Mutant, MutantBackend, in_force

from refca.contract.reference import reference

ALL = BACKENDS | DEFINITION


def law(mutant: Mutant, backend: Any) -> Callable[[], None]:
    """The mutant's law on a backend, in float32 where a dtype is asked for."""
    function = getattr(importlib.import_module(f"refca_spec.laws.test_{mutant.chapter}"), mutant.law)
    arguments = dict(mutant.arguments)
    wanted = inspect.signature(function).parameters
    arguments |= {name: value for name, value in (("backend", backend), ("dtype", "float32")) if name in wanted}
    return lambda: function(**arguments)


@pytest.mark.parametrize("name", ALL)
def test_the_law_catches_the_mutant(name: str) -> None:
    mutant = ALL[name]
    if name in BACKENDS:
        failing, fault = law(mutant, MutantBackend(mutant.fault)), {}
    else:
        failing, fault = law(mutant, reference), mutant.fault
    with in_force(fault), pytest.raises((AssertionError, pytest.fail.Exception)):
        failing()


@pytest.mark.parametrize("name", sorted({mutant.law for mutant in ALL.values()}))
def test_the_reference_passes_the_law(name: str) -> None:
    for mutant in ALL.values():
        if mutant.law == name:
            law(mutant, reference)()
