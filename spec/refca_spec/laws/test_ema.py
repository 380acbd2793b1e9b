"""The laws of `spec/chapters/ema.md`."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refca.definition.cell import Params
from refca.training.ema import ema_step
from refca_spec import formulas
from refca_spec.calls import to_backend
from refca_spec.compare import assert_close, assert_same
from refca_spec.strategies import Case, cases, exact, law

decays = st.floats(0.01, 0.9999)


def after_updates(case: Case, count: int) -> list[Params]:
    """Parameters after updates, of different sizes."""
    rng = case.rng("updates")
    return [
        {name: exact((1 + i) * rng.standard_normal(param.shape)) for name, param in case.params.items()}
        for i in range(count)
    ]


@law
@given(case=cases(), decay=decays, count=st.integers(1, 6))
def test_ema_c1_later_parameters_weigh_more_by_the_decay(
    backend: Any, dtype: str, case: Case, decay: float, count: int
) -> None:
    history = after_updates(case, count)
    ema: Params = {}
    for i, params in enumerate(history):
        ema = ema_step(ema, {name: to_backend(backend, x, dtype) for name, x in params.items()}, i, decay)
    for name in case.params:
        expected = formulas.moving_average([params[name] for params in history], decay)
        got = backend.asnumpy(ema[name])
        assert got.dtype == dtype, f"{name} became {got.dtype} in {dtype}"
        unit = 1 + float(np.abs([params[name] for params in history]).max())
        assert_close(got / unit, expected / unit, count, f"The average of {name} after {count} updates", case)


@law
@given(case=cases(), decay=decays)
def test_ema_c2_parameters_and_averages_are_not_written(case: Case, decay: float) -> None:
    ema: Params = {}
    for i, params in enumerate(after_updates(case, 2)):
        before = [{name: 1 * x for name, x in arrays.items()} for arrays in (ema, params)]
        later = ema_step(ema, params, i, decay)
        for x in later.values():
            x += 1
        for arrays, kept in zip((ema, params), before, strict=True):
            assert arrays.keys() == kept.keys(), "the names of the arrays passed in"
            for name in arrays:
                assert_same(arrays[name], kept[name], f"{name} as it was given", case)
        ema = ema_step(ema, params, i, decay)


@law
@given(case=cases(), decay=decays)
def test_ema_c3_parameters_that_stay_are_their_average(backend: Any, dtype: str, case: Case, decay: float) -> None:
    params = {name: to_backend(backend, x, dtype) for name, x in case.params.items()}
    ema: Params = {}
    for i in range(4):
        ema = ema_step(ema, params, i, decay)
        for name, x in params.items():
            assert_same(backend.asnumpy(ema[name]), backend.asnumpy(x), f"The average of {name}", case)
