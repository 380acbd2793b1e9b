"""Names that other packages register."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

import refca
from refca import plugins
from refca.contract.registry import GROUP, backend_names


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = [
        EntryPoint(name, value, GROUP) for name, value in (("b", "one"), ("cpu", "other"), ("a", "x"), ("b", "two"))
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point for point in points if point.group == group])
    plugins.registered.cache_clear()
    yield
    plugins.registered.cache_clear()


@pytest.mark.usefixtures("packages")
def test_of_two_packages_with_one_name_the_first_found_is_taken_and_refca_s_own_names_stay_its_own() -> None:
    assert [(name, point.value) for name, point in plugins.registered(GROUP).items()] == [
        ("a", "x"),
        ("b", "one"),
        ("cpu", "other"),
    ]
    assert backend_names() == ["a", "b", "cpu", "cupy", "jax", "reference", "torch"]
    assert type(refca.get_backend("cpu")).__module__ == "refca_cpu.backend"
