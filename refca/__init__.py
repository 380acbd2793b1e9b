"""refca: the executable specification of neural cellular automata.

Start with `cell.py` and `step.py`: they are the automaton. `reference.py` unrolls and differentiates it.
The functions `step` and `mutate` are exported under the names of their modules.
"""

from refca.backend import get_backend
from refca.cell import Cell, digits_cell, init_params, init_state, segmentation_cell
from refca.loss import cross_entropy, l2
from refca.metrics import cell_accuracy, iou, total_agreement
from refca.mutate import mutate
from refca.randomness import Recorded, Streams
from refca.step import step

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
    "mutate",
    "segmentation_cell",
    "step",
    "total_agreement",
]
