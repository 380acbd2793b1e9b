"""The parts of a batch: each is computed by itself, and their gradients are summed over a fixed binary tree.

Parts depend on the batch alone. Whoever computes which part, one process or many, the same numbers are added in
the same order, so that sums are the same bit for bit.

Source: `spec/chapters/backends.md`, `docs/cluster.md`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from refca.definition.philox import Words, philox
from refca.definition.randomness import Streams

Term = TypeVar("Term")


@dataclass(frozen=True)
class ChosenStreams(Streams):
    """The draws of some samples of a batch, in the order of `samples`; their numbers count from first_sample."""

    samples: tuple[int, ...] = ()

    def words(self, purpose: int, block: int, t: int, B: int, H: int, W: int) -> tuple[Words, ...]:
        """Return four (B, H, W) uint32 arrays as `Streams.words`, for the chosen samples."""
        site = np.arange(H * W).reshape(1, H, W)
        return philox((site, self.numbers.reshape(-1, 1, 1), t, (purpose << 16) + block), self.key)

    @property
    def numbers(self) -> np.ndarray:
        """The numbers of the chosen samples, (B,) int64."""
        return (np.array(self.samples, np.int64) + self.first_sample) % 2**32


def streams_of(streams: Streams, samples: np.ndarray) -> Streams:
    """Return the streams of some samples of a batch: plain `Streams` if the samples are consecutive."""
    first = int(samples[0])
    if np.array_equal(samples, np.arange(first, first + len(samples))):
        return replace(streams, first_sample=(streams.first_sample + first) % 2**32)
    return ChosenStreams(streams.seed, streams.first_sample, tuple(map(int, samples)))


def contiguous_parts(batch: int, count: int) -> list[np.ndarray]:
    """Split a batch into `count` parts of samples in a row, of about the same size; fewer if it has fewer samples."""
    return [part for part in np.array_split(np.arange(batch), count) if len(part)]


def tree_sum(terms: Sequence[Term], add: Callable[[Term, Term], Term]) -> Term:
    """Return the sum of terms over a binary tree: neighbours are added, then neighbouring sums, up to the root.

    A sum without a neighbour goes up a level unchanged. There is at least one term.
    """
    level = list(terms)
    while len(level) > 1:
        pairs = [add(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]
