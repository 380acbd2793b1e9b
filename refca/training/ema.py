"""An exponential moving average of the parameters over the updates of a run.

Source: Kingma, Ba, "Adam", ICLR 2015, section 7.2; `spec/chapters/ema.md`.
"""

from __future__ import annotations

from refca.definition.cell import Params


def ema_step(ema: Params, params: Params, i: int, decay: float) -> Params:
    """Return the average after update i (from 0), new arrays.

    `ema` is the average before the update, empty before update 0, and `params` are the parameters after it.
    """
    share = (1 - decay) / (1 - decay ** (i + 1))
    return {name: ema[name] + share * (x - ema[name]) if i else 1 * x for name, x in params.items()}
