"""refca: the executable specification of two neural cellular automata, self-classifying digits and segmentation.

Start with `refca/definition/cell.py` and `refca/definition/step.py`, which define the automaton;
`refca/contract/reference.py` unrolls and differentiates it.
"""

from typing import TYPE_CHECKING

from refca.contract.registry import get_backend
from refca.definition.cell import Cell
from refca.definition.losses import cross_entropy, l2
from refca.definition.metrics import cell_accuracy, iou, total_agreement
from refca.definition.params import init_params
from refca.definition.randomness import Recorded, Streams
from refca.definition.state import init_state, mutate
from refca.definition.step import step
from refca.digits.settings import digits_cell
from refca.segmentation.settings import segmentation_cell

if TYPE_CHECKING:
    from refca.weights.load import load_weights
else:

    def __getattr__(name: str) -> object:
        """Import load_weights on first use: it needs modules that stepping an automaton does not need."""
        if name != "load_weights":
            raise AttributeError(f"module 'refca' has no attribute {name!r}")
        from refca.weights.load import load_weights

        return load_weights


__all__ = [
    "Cell",
    "Recorded",
    "Streams",
    "cell_accuracy",
    "cross_entropy",
    "digits_cell",
    "get_backend",
    "init_params",
    "init_state",
    "iou",
    "l2",
    "load_weights",
    "mutate",
    "segmentation_cell",
    "step",
    "total_agreement",
]
