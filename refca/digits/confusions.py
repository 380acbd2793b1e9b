"""Confusion matrices of digits: of live cells, and of the labels that most live cells of each digit predict.

Letters: N digits, L labels.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from refca.confusion import accuracy_of, confusion, worst, written

TITLES = {
    "before": "from zero",
    "carry": "after a mutation",
    "restart": "after a restart",
}


class Votes:
    """The number of live cells of each digit that predict each label, after the last step of each part."""

    def __init__(self, labels: np.ndarray, names: Sequence[str]) -> None:
        self.labels, self.names = labels, names  # labels (N,) of all digits
        self.cells: dict[str, np.ndarray] = {}  # for each part (L, L): rows are true labels
        self.digits: dict[str, np.ndarray] = {}

    def add(self, part: str, chosen: np.ndarray, votes: np.ndarray) -> None:
        """Count the votes (n, L) of some digits, given by their numbers."""
        L, truth = len(self.names), self.labels[chosen]
        for matrices in (self.cells, self.digits):
            matrices.setdefault(part, np.zeros((L, L), np.int64))
        np.add.at(self.cells[part], truth, votes.astype(np.int64))
        live = votes.sum(axis=1) > 0  # a digit without live cells has no label
        self.digits[part] += confusion(votes[live].argmax(axis=1), truth[live], L)

    def keep(self, parts: Collection[str]) -> None:
        """Forget the votes of all other parts, whose last states mean nothing."""
        for matrices in (self.cells, self.digits):
            for part in set(matrices) - set(parts):
                del matrices[part]

    def summary(self, prefixes: dict[str, str], steps: int) -> dict[str, Any]:
        """Return the matrices and the accuracy of the majority for evaluation.json, None for a part without votes."""
        found: dict[str, Any] = {}
        for part, prefix in prefixes.items():
            known = part in self.digits
            right = float(accuracy_of(self.digits[part])) if known else float("nan")
            found[f"{prefix}majority_accuracy_at_{steps}"] = None if right != right else right
            found[f"{prefix}confusion_cells"] = written(self.cells[part]) if known else None
            found[f"{prefix}confusion_digits"] = written(self.digits[part]) if known else None
        return found

    def panels(self) -> dict[str, np.ndarray]:
        """Return the matrices by their titles."""
        found: dict[str, np.ndarray] = {}
        for part, cells in self.cells.items():
            found[f"Live cells, {TITLES[part]}"] = cells
            found[f"Majority of each digit, {TITLES[part]}"] = self.digits[part]
        return found

    def sentence(self) -> str:
        """Return the accuracy of the majority of each digit from zero, and the most frequent mistake."""
        if "before" not in self.digits:
            return "no digit has a label after the last step"
        counts = self.digits["before"]
        right = float(accuracy_of(counts))
        said = f"the label of most cells is right for {right:.1%} of the digits"
        sentence = "no digit has a live cell" if right != right else said
        if mistake := worst(counts):
            truth, predicted, count = mistake
            sentence += (
                f"; the most frequent mistake is {self.names[predicted]} for {self.names[truth]}, {count:,} times"
            )
        return sentence
