"""The suspects of lesson 5: which letter is which wrong implementation. Read this after the lesson."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from refca.errors import InvalidInput

SUSPECTS = {  # letter: name in refca_spec.mutants.BACKENDS
    "A": "updates doubled",
    "B": "one fire mask for the batch",
    "C": "flipped kernel",
    "D": "threshold reached",
    "E": "two steps for one",
    "F": "fire masks ignored",
    "G": "sigma squared",
    "H": "wrap-around border",
    "I": "samples leak",
    "J": "live set dilated",
}


def suspect(letter: str) -> Any:
    """Return the suspect of lesson 5 with this letter, A to J: a backend that computes something else than it should.

    Raises InvalidInput for another letter.
    """
    if letter not in SUSPECTS:
        raise InvalidInput(f'letter must be one of {", ".join(SUSPECTS)}, got "{letter}"')
    mutants = import_module("refca_spec.mutants")
    return mutants.MutantBackend(mutants.BACKENDS[SUSPECTS[letter]].fault)
