"""Names that other packages register."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint

import pytest

import refca
from refca import data, plugins, tasks
from refca.contract.registry import GROUP, backend_names
from refca.errors import InvalidInput, Unavailable


def registering(monkeypatch: pytest.MonkeyPatch, points: list[EntryPoint]) -> Iterator[None]:
    """Register these entry points alone, until the generator goes on."""
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point for point in points if point.group == group])
    plugins.registered.cache_clear()
    yield
    plugins.registered.cache_clear()


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    points = [
        EntryPoint(name, value, GROUP) for name, value in (("b", "one"), ("cpu", "other"), ("a", "x"), ("b", "two"))
    ]
    yield from registering(monkeypatch, points)


@pytest.mark.usefixtures("packages")
def test_of_two_packages_with_one_name_the_first_found_is_taken_and_refca_s_own_names_stay_its_own() -> None:
    assert [(name, point.value) for name, point in plugins.registered(GROUP).items()] == [
        ("a", "x"),
        ("b", "one"),
        ("cpu", "other"),
    ]
    assert backend_names() == ["a", "b", "cpu", "cupy", "jax", "reference", "torch"]
    assert type(refca.get_backend("cpu")).__module__ == "refca_cpu.backend"


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A data set and a task that cannot be loaded."""
    points = [EntryPoint("birds", "no_such_module:SOURCE", group) for group in (data.GROUP, tasks.GROUP)]
    yield from registering(monkeypatch, points)


@pytest.mark.usefixtures("broken")
def test_a_package_that_cannot_be_loaded_stops_nobody_else() -> None:
    assert tasks.load_experiment("demo").dataset == "optdigits"
    assert refca.load("digits").names == tuple("0123456789")
    assert [task.name for task in tasks.all_tasks()] == ["digits", "segmentation"]
    with pytest.raises(InvalidInput, match=r"dataset must be one of mnist, .*optdigits"):
        tasks.load_experiment("demo").with_(dataset="mnits")


@pytest.mark.usefixtures("broken")
def test_a_package_that_cannot_be_loaded_is_named_where_it_is_needed() -> None:
    for need in (lambda: tasks.load_experiment("demo").with_(dataset="birds"), lambda: tasks.get_task("birds")):
        with pytest.raises(Unavailable, match=r'"birds", registered in .* as no_such_module:SOURCE, cannot be loaded'):
            need()
