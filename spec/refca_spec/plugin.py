"""The pytest plugin: which backends the laws are tried on.

    pytest --pyargs refca_spec --refca-backend mypkg.mymodule [--refca-backend …] [--refca-examples 100]

Without the option: every registered backend. A named backend that cannot be used ends the run with one
sentence; a registered one that cannot work on this machine is skipped, and the summary says why.

The laws' fixtures are `backend`, a module as `spec/chapters/backends.md` describes, and `dtype`, "float32" or
"float64"; a backend with an attribute `dtypes` is tried on these only. Nothing here touches other tests.
"""

from __future__ import annotations

import secrets
import sys
from typing import Any

import pytest

LAWS = "refca_spec.laws."
DTYPES = ("float32", "float64")
ABSENT: dict[str, str] = {}  # backends that cannot work here, and why


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refca", "the laws of refca")
    group.addoption(
        "--refca-backend",
        action="append",
        metavar="NAME",
        help="try the laws on this backend: a registered name or a dotted module name (repeatable)",
    )
    parser.addini("refca_backends", "the backends to try the laws on without --refca-backend", type="args")
    group.addoption("--refca-examples", type=int, metavar="N", help="how many examples to try each law on (20)")
    group.addoption(
        "--refca-seed",
        metavar="N",
        help="try random examples of this seed, or of a new one with 'random'; default: the same examples always",
    )


def pytest_configure(config: pytest.Config) -> None:
    examples, text = config.getoption("--refca-examples"), config.getoption("--refca-seed")
    if examples or text:
        from refca_spec.strategies import EXAMPLES, register

        register(examples or EXAMPLES, seed_of(text))
    names = config.getoption("--refca-backend") or ()
    here = str(config.invocation_params.dir)
    if names and here not in sys.path:
        sys.path.insert(0, here)  # the `pytest` command, unlike `python -m pytest`, does not
    for name in names:
        named(name)


def seed_of(text: str | None) -> int | None:
    """The seed that --refca-seed names; None for the examples that never change."""
    if text is None:
        return None
    if text == "random":
        return secrets.randbelow(2**32)
    if not text.isdecimal():
        raise pytest.UsageError(f"--refca-seed must be a number or 'random', got {text!r}")
    return int(text)


def pytest_report_header(config: pytest.Config) -> str | None:
    from refca_spec.strategies import random_seed

    return f"refca: random examples; repeat them with --refca-seed {random_seed[0]}" if random_seed else None


def named(name: str) -> Any:
    """The backend that was asked for by name. Raises UsageError if it cannot be used."""
    from refca.contract.registry import get_backend

    try:
        return get_backend(name)
    except (ImportError, ValueError) as error:
        raise pytest.UsageError(f"--refca-backend {name}: {error}") from error


def registered(config: pytest.Config) -> dict[str, Any]:
    """Every registered backend that works here, by name, the reference first; the others go into ABSENT.

    The setting `refca_backends` of pytest's configuration can name others.
    """
    from refca.contract.registry import backend_names, get_backend
    from refca.errors import Unavailable

    found = {}
    for name in sorted(
        config.getini("refca_backends") or backend_names(), key=lambda name: (name != "reference", name)
    ):
        try:
            found[name] = get_backend(name)
        except Unavailable as error:
            ABSENT[name] = str(error)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not metafunc.module.__name__.startswith(LAWS) or "backend" not in metafunc.fixturenames:
        return
    names = metafunc.config.getoption("--refca-backend")
    backends = {name: named(name) for name in names} if names else registered(metafunc.config)
    if "dtype" in metafunc.fixturenames:
        wanted: tuple[str, ...] = ("backend", "dtype")
        params = [
            pytest.param(backend, dtype, id=f"{name}-{dtype}")
            for name, backend in backends.items()
            for dtype in backend.dtypes
        ]
    else:
        wanted = ("backend",)
        params = [pytest.param(backend, id=name) for name, backend in backends.items()]
    nothing = [None] * len(wanted)
    skips = [pytest.param(*nothing, id=name, marks=pytest.mark.skip(why)) for name, why in ABSENT.items()]
    metafunc.parametrize(wanted, [*params, *skips])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if header := pytest_report_header(config):
        terminalreporter.write_line(header)
    for name, why in ABSENT.items():
        terminalreporter.write_line(f'refca: the laws were not tried on the backend "{name}": {why}')
