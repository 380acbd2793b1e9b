"""The laws of `spec/chapters/distill.md`: the article's own weights and steps, where REFCA_DATA has them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refca.definition.randomness import Recorded
from refca.digits.cell import digits_cell
from refca_spec.calls import evolve
from refca_spec.strategies import Case


def published(name: str) -> dict[str, np.ndarray]:
    """An archive of `distill_mnist` as a dict; skips where there is none."""
    folder = os.environ.get("REFCA_DATA")
    if not folder:
        pytest.skip("REFCA_DATA is not set: it names the folder with distill_mnist/, the article's own steps")
    path = Path(folder) / "distill_mnist" / name
    if not path.exists():
        pytest.skip(f"{path} is absent: it holds the article's own steps")
    with np.load(path) as archive:
        return dict(archive)


def test_distill_c1_four_published_steps_are_followed(backend: Any, dtype: str) -> None:
    params, steps = published("weights.npz"), published("steps.npz")
    image, fire = steps["image"], steps["fire"]
    B, H, W, _ = image.shape
    case = Case(digits_cell(), B, H, W, len(fire), 0)
    # the recorded noise is already sigma times a standard normal number
    source = Recorded(fire, steps["noise"].astype(np.float64) / case.cell.noise)
    for t in range(1, len(fire) + 1):
        got = evolve(backend, dtype, case, source, steps=t, params=params, image=image, state=steps["state_0"])
        error = float(np.abs(got - steps[f"state_{t}"].astype(np.float64)).max())
        # the published states are float32 themselves: float64 is no nearer to them than float32
        assert error <= 5e-6, f"after step {t} the state is {error:.1e} from the published one, over 5e-6"
