"""How an unroll is laid over a device: blocks that share a sample, and whether one launch makes all steps.

A team of blocks on one sample waits for its own members alone. Where the members are a cluster, or one block,
a launch carries samples through all their steps. A norm over the batch makes every sample wait for every
other, and on a device without clusters only the end of a launch makes blocks wait: there a launch makes one
phase of a step, or a whole step where blocks wait only at its end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from refca.definition.cell import Cell


class Schedule(NamedTuple):
    whole: bool  # one launch for all steps; else one or more for each step
    team: int  # blocks of a sample
    blocks: int  # of a launch
    cap: int  # slots of a block: cells that can be its rows in one step

    @property
    def cluster(self) -> int:
        """Blocks that wait for each other within a launch."""
        return self.team if self.whole else 1

    @classmethod
    def of(cls, device: Any, cell: Cell, B: int, cells: int) -> Schedule:
        """The schedule of B samples of so many cells."""
        most = max(1, min(device.resident // B, cells // device.least_cells))
        whole = cell.norm != "batch" and (device.clusters or most == 1)
        team = min(1 << most.bit_length() - 1, device.largest_cluster) if whole else most
        teams = min(B, max(1, device.resident // team)) if whole else B
        return cls(whole, team, teams * team, -(-cells // team))
