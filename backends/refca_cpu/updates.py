"""The updates of an unroll: which live cells fire at each step, and with what noise."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from refca.definition.cell import Array, Cell
from refca.definition.randomness import NOISE, RESET, Draw, Randomness, Streams
from refca_cpu import draws
from refca_cpu.layout import Live, Updates
from refca_cpu.room import Room

Source: TypeAlias = Streams | dict[int, Draw]


def source_of(cell: Cell, randomness: Randomness, shape: Any, first_step: int, steps: int) -> Source:
    """Streams themselves, for they can be drawn cell by cell; of anything else, all its draws."""
    if type(randomness) is Streams:
        return randomness
    return {t: randomness.at(cell, t, *shape) for t in range(first_step, first_step + steps)}


def draw_updates(
    cell: Cell,
    source: Source,
    live: Live,
    part: Array,
    first: int,
    steps: int,
    cells: int,
    dtype: Any,
    room: Room,
) -> Updates:
    """The updates of the live cells of a part, samples of the batch, at `steps` steps from `first` on.

    A sample has `cells` cells, dead ones too.
    """
    sample = part[live.sample]
    if isinstance(source, Streams):
        key = tuple(np.uint64(word) for word in source.key)
        number = (sample + source.first_sample).astype(np.uint32)
        fires = np.empty((steps, len(sample)), bool)
        draws.draw_fires(fires, live.cell, number, first, key, np.uint64(round(cell.fire_rate * 2**32)))
    else:
        taken = [flat(source[t].fire_mask)[sample, live.cell] for t in range(first, first + steps)]
        fires = np.array(taken, bool).reshape(steps, len(sample))
    step, who = np.nonzero(fires)
    offsets = np.searchsorted(step, np.arange(steps + 1))

    def normals(used: Any, purpose: int, name: str) -> Array:
        """The numbers of this purpose for each update; none if they are not used."""
        out = room.empty(name, (len(who) if used else 0, cell.state_channels), dtype)
        if not used:
            return out
        if isinstance(source, Streams):
            draw = draws.draw_normals_float32 if out.dtype == np.float32 else draws.draw_normals_float64
            draw(out, live.cell[who], number[who], (step + first).astype(np.uint32), key, purpose)
            return out
        for i in range(steps):
            now = slice(offsets[i], offsets[i + 1])
            rows = np.asarray(getattr(source[first + i], name)).reshape(-1, cell.state_channels)
            out[now] = rows.take((sample * cells + live.cell)[who[now]], axis=0)
        return out

    place = (live.sample * cells + live.cell)[who]
    noise, z = normals(cell.noise, NOISE, "noise"), normals(cell.resettable, RESET, "reset_noise")
    return Updates(live.corner[who], place, offsets, noise, z)


def flat(x: Array) -> Array:
    """(B, H, W, …) as (B, H·W, …)."""
    x = np.asarray(x)
    return x.reshape(x.shape[0], -1, *x.shape[3:])
