"""refca: the executable specification of two neural cellular automata, self-classifying digits and segmentation.

Start with `refca/definition/cell.py` and `refca/definition/step.py`, which define the automaton;
`refca/contract/reference.py` unrolls and differentiates it.
"""

# ruff: noqa: E402
from refca.interrupt import stop_quietly_while_importing

stop_quietly_while_importing()

from typing import TYPE_CHECKING

from refca.contract.comparison import compare
from refca.contract.public import (
    alive,
    cell_accuracy,
    cross_entropy,
    init_params,
    init_state,
    iou,
    l2,
    mutate,
    step,
    total_agreement,
)
from refca.contract.registry import get_backend
from refca.definition.cell import Cell
from refca.definition.randomness import Recorded, Streams
from refca.digits.cell import digits_cell
from refca.segmentation.cell import segmentation_cell

if TYPE_CHECKING:
    from refca.automaton import Automaton, load
    from refca.digits.prepare import digit
    from refca.fitting import fit
    from refca.samples import sample_digits, sample_photographs
    from refca.version import __version__ as __version__
    from refca.weights.load import load_weights, save_weights

LAZY = {  # public names that need settings and files which the automaton does not: imported when first used
    "Automaton": "refca.automaton",
    "__version__": "refca.version",
    "digit": "refca.digits.prepare",
    "fit": "refca.fitting",
    "load": "refca.automaton",
    "load_weights": "refca.weights.load",
    "sample_digits": "refca.samples",
    "sample_photographs": "refca.samples",
    "save_weights": "refca.weights.load",
}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name on first use: some need modules that stepping an automaton does not need."""
        if name not in LAZY:
            raise AttributeError(f"module 'refca' has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(LAZY[name]), name)


__all__ = [
    "Automaton",
    "Cell",
    "Recorded",
    "Streams",
    "alive",
    "cell_accuracy",
    "compare",
    "cross_entropy",
    "digit",
    "digits_cell",
    "fit",
    "get_backend",
    "init_params",
    "init_state",
    "iou",
    "l2",
    "load",
    "load_weights",
    "mutate",
    "sample_digits",
    "sample_photographs",
    "save_weights",
    "segmentation_cell",
    "step",
    "total_agreement",
]
