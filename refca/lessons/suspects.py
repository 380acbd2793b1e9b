"""The suspects of lesson 5: which letter is which wrong implementation. Read this after the lesson."""

from __future__ import annotations

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
