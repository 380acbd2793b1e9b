"""A backend on trial: calls of what it does not offer skip the law, which is then reported as not offered."""

from __future__ import annotations

from typing import Any

import pytest

from refca.contract.protocol import BaseBackend
from refca.errors import NotOffered
from refca_spec.report import NOT_OFFERED

OPERATIONS = ("evolve", "loss_and_grads", "unroll_grads")


class OnTrial:
    """A backend as the laws see it; `asked` is the name that it was asked for by."""

    def __init__(self, backend: BaseBackend, asked: str = "") -> None:
        self.backend, self.asked = backend, asked

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.backend, name)
        return self.tried(name, found) if name in OPERATIONS else found

    def tried(self, name: str, operation: Any) -> Any:
        """Return an operation that skips the law if it is not offered, or not for this cell."""

        def call(cell: Any, *args: Any, **named: Any) -> Any:
            if not self.backend.offers(name):
                pytest.skip(f"{NOT_OFFERED}: {name}")
            reason = self.backend.supports(cell)
            if reason is not True:
                pytest.skip(f"{NOT_OFFERED}: {reason}")
            try:
                return operation(cell, *args, **named)
            except NotOffered as error:
                pytest.skip(f"{NOT_OFFERED}: {error}")

        return call
