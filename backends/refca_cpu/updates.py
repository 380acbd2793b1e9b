"""The updates of an unroll: which live cells fire at each step, and with what noise."""

from __future__ import annotations

from typing import TypeAlias, cast

import numpy as np

from refca.contract.parts import ChosenStreams
from refca.definition.cell import Cell
from refca.definition.randomness import NOISE, RESET, Draw, Randomness, Streams
from refca_cpu import draws
from refca_cpu.arrays import Bools, Ints, Reals
from refca_cpu.layout import Live, Updates
from refca_cpu.workspace import Workspace

Source: TypeAlias = Streams | dict[int, Draw]


def source_of(cell: Cell, randomness: Randomness, shape: tuple[int, int, int], first_step: int, steps: int) -> Source:
    """The streams themselves, which can be drawn cell by cell; the draws of all steps of anything else."""
    if type(randomness) in (Streams, ChosenStreams):
        return cast(Streams, randomness)
    return {t: Draw(*randomness.at(cell, t, *shape)) for t in range(first_step, first_step + steps)}


def draw_updates(
    cell: Cell,
    source: Source,
    live: Live,
    samples: Ints,
    first: int,
    steps: int,
    cells: int,
    dtype: np.dtype,
    workspace: Workspace,
) -> Updates:
    """The updates of the live cells of some samples of the batch, at `steps` steps from `first` on.

    A sample has `cells` cells, dead ones too.
    """
    sample = samples[live.sample]
    fire = draw_fires(cell, source, live.site, sample, first, steps)
    step, who = np.nonzero(fire)
    offsets = np.searchsorted(step, np.arange(steps + 1))

    def normals(used: bool, purpose: int, name: str) -> Reals:
        """The numbers of this purpose for each update; no rows if they are not used."""
        out = workspace.empty(name, (len(who) if used else 0, cell.state_channels), dtype)
        if not used:
            return out
        if isinstance(source, Streams):
            draw = draws.draw_normals_float32 if out.dtype == np.float32 else draws.draw_normals_float64
            t = (step + first).astype(np.uint32)
            draw(out, live.site[who], numbers(source, sample)[who], t, words(source), purpose)
            return out
        for i in range(steps):
            now = slice(offsets[i], offsets[i + 1])
            rows = np.asarray(getattr(source[first + i], name)).reshape(-1, cell.state_channels)
            out[now] = rows.take((sample * cells + live.site)[who[now]], axis=0)
        return out

    row = (live.sample * cells + live.site)[who]
    noise = normals(cell.noise > 0, NOISE, "noise")
    reset_noise = normals(cell.resettable, RESET, "reset_noise")
    return Updates(live.corner[who], row, offsets, noise, reset_noise)


def draw_fires(cell: Cell, source: Source, site: Ints, sample: Ints, first: int, steps: int) -> Bools:
    """Return which live cells, each a site of a sample, fire at each step, (steps, m) boolean."""
    if isinstance(source, Streams):
        fire = np.empty((steps, len(sample)), bool)
        threshold = np.uint64(round(cell.fire_rate * 2**32))
        draws.draw_fires(fire, site, numbers(source, sample), first, words(source), threshold)
        return fire
    taken = [flat(source[t].fire_mask)[sample, site] for t in range(first, first + steps)]
    return np.array(taken, bool).reshape(steps, len(sample))


def words(streams: Streams) -> draws.Key:
    """The two words of the key."""
    low, high = streams.key
    return np.uint64(low), np.uint64(high)


def numbers(streams: Streams, sample: Ints) -> Ints:
    """The numbers of samples of the batch in the streams' numbering."""
    if isinstance(streams, ChosenStreams):
        return streams.numbers.astype(np.uint32)[sample]
    return (sample + streams.first_sample).astype(np.uint32)


def flat(x: Bools) -> Bools:
    """x (B, H, W) as (B, H·W)."""
    x = np.asarray(x)
    return x.reshape(x.shape[0], -1)
