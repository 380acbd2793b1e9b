"""The profile of the cpu backend's phases computes what the backend computes."""

from __future__ import annotations

import numpy as np
import phases
import pytest
from refca_cpu import BACKEND as cpu

import refca


@pytest.mark.parametrize("setting", ["digits", "depthwise-instance"])
def test_the_profile_s_gradients_are_those_of_the_backend(setting: str) -> None:
    profile = phases.Profile(setting, 1)
    (grads,) = profile.round()
    given = profile.image, profile.state, profile.label, profile.weights, refca.Streams(0)
    _, expected, _ = cpu.loss_and_grads(profile.cell, profile.loss, profile.params, *given)
    for name, grad in grads.named(profile.cell).items():
        np.testing.assert_allclose(grad, expected[name], atol=1e-5 * np.abs(grad).max(), err_msg=name)
    assert all(seconds[0] > 0 for seconds in profile.seconds.values())
    assert profile.operations["perceive, gradient"] == 2 * profile.operations["perceive"] > 0
