"""The schedule of an unroll on a device: the blocks that share a sample, and the steps of one launch.

The blocks of a team work on one sample, and wait for each other. Where a team is a cluster, or one block, a
launch carries samples through all their steps. With a norm over the batch every sample waits for every other,
and on a device without clusters blocks wait only at the end of a launch: there a launch makes one phase of a
step, or a whole step where blocks wait only at its end.
"""

from __future__ import annotations

from typing import NamedTuple

from refca.definition.cell import Cell
from refca_cupy.machine import Capacity


class Schedule(NamedTuple):
    whole: bool  # one launch for all steps; else one or more for each step
    team: int  # the blocks of a sample
    teams: int  # that work at once
    cap: int  # of a block: the cells that can be its rows in one step

    @property
    def blocks(self) -> int:
        """The blocks of a launch."""
        return self.teams * self.team

    @property
    def cluster(self) -> int:
        """Blocks that wait for each other within a launch."""
        return self.team if self.whole else 1

    def keeps_weights(self, device: Capacity, weights: int) -> bool:
        """Return whether blocks copy `weights` bytes of parameters to shared memory.

        It pays where the blocks of a cluster wait for each other, which empties their caches, and where each has a
        multiprocessor, hence all of its shared memory, to itself.
        """
        return self.cluster > 1 and 2 * self.blocks <= device.resident and weights <= device.shared_memory

    @classmethod
    def of(cls, device: Capacity, cell: Cell, B: int, cells: int) -> Schedule:
        """The schedule of B samples of so many cells."""
        most = max(1, min(device.resident // B, cells // device.least_cells))
        whole = cell.norm != "batch" and (device.clusters or most == 1)
        team = min(1 << most.bit_length() - 1, device.largest_cluster) if whole else most
        teams = min(B, max(1, device.resident // team)) if whole else B
        return cls(whole, team, teams, -(-cells // team))
