"""The schedule of an unroll on a device: the blocks that share a sample, and the steps of one launch.

The blocks of a team work on one sample, and wait for each other. Where a team is a cluster, or one block, a
launch carries samples through all their steps. With a norm over the batch every sample waits for every other,
and on a device without clusters blocks wait only at the end of a launch: there a launch makes one phase of a
step, or a whole step where blocks wait only at its end.

`Shared` says what blocks keep in shared memory.
"""

from __future__ import annotations

from typing import NamedTuple

from refca.definition.cell import Cell
from refca_cupy.layout import layout, round_up4
from refca_cupy.machine import Capacity

OWN_SHARED_MEMORY = 36 << 10  # bytes, at least what the kernels declare themselves
OWN_BESIDE_STATES = 26 << 10
TILE = 16  # rows of a product


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

    def alone(self, device: Capacity) -> Schedule:
        """The same with at most one block on each multiprocessor, where a team is one block."""
        return self._replace(teams=min(self.teams, max(1, device.resident // 2))) if self.team == 1 else self

    @classmethod
    def of(cls, device: Capacity, cell: Cell, B: int, cells: int) -> Schedule:
        """The schedule of B samples of so many cells."""
        most = max(1, min(device.resident // B, cells // device.least_cells))
        whole = cell.norm != "batch" and (device.clusters or most == 1)
        team = min(1 << most.bit_length() - 1, device.largest_cluster) if whole else most
        teams = min(B, max(1, device.resident // team)) if whole else B
        return cls(whole, team, teams, -(-cells // team))


class Shared(NamedTuple):
    """The contents of a block's shared memory, and their sizes."""

    what: str = "nothing"  # one of `SHARED` of `sources.py`
    forward: int = 0  # bytes, in the forward pass
    backward: int = 0
    part: int = 0  # rows of a step, where states are kept: the block works on so many at once, at most

    @classmethod
    def of(
        cls, device: Capacity, schedule: Schedule, cell: Cell, H: int, W: int, itemsize: int, kept: bool = True
    ) -> Shared:
        """The contents for blocks of a schedule, with numbers of `itemsize` bytes.

        It pays where the blocks of a cluster wait for each other, which empties their caches, and where each has a
        multiprocessor, hence all of its shared memory, to itself. States are kept where no norm is over cells, and
        layers are `kept` for the backward pass, if there is one. The rows of a step can be many: the block works on a
        part of them at a time.
        """
        where = layout(cell)
        apart = schedule.cluster > 1 and 2 * schedule.blocks <= device.resident
        fits = cell.norm in ("none", "channel") and not cell.depthwise and kept
        if device.shared_states and fits and schedule.whole and (schedule.team == 1 or apart):
            pixel = round_up4(cell.environment_channels + cell.state_channels)
            layers = (cell.hidden_layers + 1) * round_up4(cell.hidden_width)
            row = layers + round_up4(cell.state_channels + cell.resettable)
            forward, backward = where.size + (H + 2) * (W + 2) * pixel, where.back_size
            if schedule.team > 1:  # new states of a step, and where they belong
                forward += schedule.cap * (round_up4(cell.state_channels) + 1)
            free = (device.shared_memory - OWN_BESIDE_STATES) // itemsize
            part = min((free - forward) // (row + 2), (free - backward) // (2 * row + 2), schedule.cap + TILE - 1)
            if part >= TILE:
                part -= part % TILE
                sizes = forward + part * (row + 2), backward + part * (2 * row + 2)
                return cls("states", sizes[0] * itemsize, sizes[1] * itemsize, part)
        weights = where.weights * itemsize
        if apart and weights <= device.shared_memory - OWN_SHARED_MEMORY:
            return cls("weights", weights, weights)
        return cls()
