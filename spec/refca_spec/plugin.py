"""The pytest plugin: which backends the laws are tried on.

    pytest --pyargs refca_spec --refca-backend mypkg.mymodule [--refca-backend ...] [--refca-examples 100]
    pytest --pyargs refca_spec --refca-backend exec:./program --refca-level evolve --refca-report report

Without the option: every registered backend. A named backend that cannot be used ends the run with one
sentence; a registered one that cannot work on this machine is skipped, and the summary says why.

With --refca-backend a table comes last, and each broken constraint is quoted: the lowest level first. A failed law is
one sentence with the call to repeat; --tb=long shows its traceback. Laws about what a backend does not offer are
skipped, and reported as not offered; a law whose data is missing is reported as not tried. The suite then uses one
thread of OpenMP and BLAS libraries, since its arrays are small.

The laws' fixtures are `backend`, a module as `spec/chapters/backends.md` describes, and `dtype`, "float32" or
"float64"; a backend with an attribute `dtypes` is tried on these only. Nothing here touches other tests.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from refca_spec import report

LAWS = "refca_spec.laws."
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "REFCA_THREADS")
# OpenBLAS multiplies in vector lanes that it does not use, for example where a matrix has 5 columns. If the stack
# happens to hold a signalling NaN there, NumPy warns although the product is right. NaN in a result fails a law anyway.
FALSE_ALARM = "ignore:invalid value encountered in matmul:RuntimeWarning"
RESULT = "refca"  # the property of a test's report that holds a law's result
REPORTS: dict[str, report.Report] = {}  # of each backend asked for by name
ABSENT: dict[str, str] = {}  # backends that cannot work here, and why


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("refca", "the laws of refca")
    group.addoption(
        "--refca-backend",
        action="append",
        metavar="NAME",
        help="try the laws on this backend: a registered name, a dotted module name, or exec:PROGRAM (repeatable)",
    )
    parser.addini("refca_backends", "the backends to try the laws on without --refca-backend", type="args")
    group.addoption(
        "--refca-level",
        choices=report.LEVELS,
        help="try only the laws up to this level: single steps, evolutions, gradients, training (all)",
    )
    group.addoption(
        "--refca-known",
        metavar="FILE",
        type=Path,
        help='constraints that may fail, a line each such as "step C10: reason"; they are tried all the same',
    )
    group.addoption(
        "--refca-report", metavar="DIR", type=Path, help="write report.json, report.md and badge.json into this folder"
    )
    group.addoption("--refca-examples", type=int, metavar="N", help="how many examples to try each law on (20)")
    group.addoption(
        "--refca-seed",
        metavar="N",
        help="try random examples of this seed, or of a new one with 'random'; default: the same examples always",
    )


def pytest_configure(config: pytest.Config) -> None:
    examples, seed = config.getoption("--refca-examples"), seed_of(config.getoption("--refca-seed"))
    if examples or seed is not None:
        from refca_spec.strategies import EXAMPLES, register

        register(examples or EXAMPLES, seed)
        config.option.refca_seed = None if seed is None else str(seed)  # processes that share the laws draw no other
    names = config.getoption("--refca-backend") or ()
    here = str(config.invocation_params.dir)
    if names and here not in sys.path:
        sys.path.insert(0, here)  # the `pytest` command, unlike `python -m pytest`, does not
    if names:
        limit_threads()
        if config.option.tbstyle == "auto":
            config.option.tbstyle = "short"
    REPORTS.clear()
    for name in names:
        REPORTS[name] = report.Report(name, tuple(named(name).dtypes), examples or 20, seed)
    if known := config.getoption("--refca-known"):
        try:
            report.read_known(known)
        except (OSError, ValueError) as error:
            raise pytest.UsageError(f"--refca-known: {error}") from error


def limit_threads() -> None:
    """Have libraries that are loaded now or later use one thread: small arrays gain nothing from more."""
    for name in THREADS:
        os.environ.setdefault(name, "1")
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return
    threadpool_limits(1)


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
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)  # several test processes share the processors
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if not metafunc.module.__name__.startswith(LAWS) or "backend" not in metafunc.fixturenames:
        return
    from refca_spec.trial import OnTrial

    names = metafunc.config.getoption("--refca-backend")
    backends = {name: named(name) for name in names} if names else registered(metafunc.config)
    if "dtype" in metafunc.fixturenames:
        wanted: tuple[str, ...] = ("backend", "dtype")
        params = [
            pytest.param(OnTrial(backend, name), dtype, id=f"{name}-{dtype}")
            for name, backend in backends.items()
            for dtype in backend.dtypes
        ]
    else:
        wanted = ("backend",)
        params = [pytest.param(OnTrial(backend, name), id=name) for name, backend in backends.items()]
    nothing = [None] * len(wanted)
    skips = [pytest.param(*nothing, id=name, marks=pytest.mark.skip(why)) for name, why in ABSENT.items()]
    metafunc.parametrize(wanted, [*params, *skips])


def key_of(item: pytest.Item) -> report.Key | None:
    """Return the constraint of a law that is tried on a backend; None for any other test."""
    if not getattr(getattr(item, "module", None), "__name__", "").startswith(LAWS) or backend_of(item) is None:
        return None
    return report.constraint_of(item.name)


def backend_of(item: pytest.Item) -> Any:
    """Return the backend that a law is tried on, None without one."""
    return getattr(item, "callspec", None) and item.callspec.params.get("backend")  # type: ignore[attr-defined]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out higher levels, and laws without a backend where one was named; mark what is known to fail."""
    level, names = config.getoption("--refca-level"), config.getoption("--refca-backend")
    known = report.read_known(config.getoption("--refca-known")) if config.getoption("--refca-known") else {}
    chosen, left = [], []
    for item in items:
        key = key_of(item)
        law = getattr(getattr(item, "module", None), "__name__", "").startswith(LAWS)
        too_high = key and level and report.LEVELS.index(report.level_of(key)) > report.LEVELS.index(level)
        if too_high or (law and not key and names):
            left.append(item)
            continue
        chosen.append(item)
        if law:
            item.add_marker(pytest.mark.filterwarnings(FALSE_ALARM))
        if not key:
            continue
        if report.level_of(key) in ("gradients", "training") and not backend_of(item).offers("loss_and_grads"):
            item.add_marker(pytest.mark.skip(f"{report.NOT_OFFERED}: gradients"))
        if names and key in known:
            item.add_marker(pytest.mark.xfail(reason=known[key], strict=False))
    if left:
        config.hook.pytest_deselected(items=left)
        items[:] = chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Have the law draw only cells that its backend supports."""
    from refca_spec.strategies import restricted

    with restricted(backend_of(item).backend if key_of(item) else None):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo) -> Any:
    """Note the result of a law, and quote the constraint that it breaks."""
    outcome = yield
    key = key_of(item)
    found = REPORTS.get(backend_of(item).asked) if key else None
    if not key or not found or (outcome.when != "call" and outcome.outcome == "passed"):
        return outcome
    status, why = outcome.outcome, ""
    if hasattr(outcome, "wasxfail"):
        status, why = ("known", outcome.wasxfail) if status == "skipped" else ("surprising", "")
    elif status == "skipped":
        why = outcome.longrepr[2] if isinstance(outcome.longrepr, tuple) else str(outcome.longrepr)
        why = why.removeprefix("Skipped: ")
        status = "not_offered" if why.startswith(report.NOT_OFFERED) else "not_tried"
    elif status == "failed":
        why = " ".join(str(call.excinfo.value if call.excinfo else outcome.longrepr).split())
        if item.config.option.tbstyle == "short" and (text := sentences(call)):
            outcome.longrepr = f"{report.named(key)}\n{text}"
        else:
            outcome.sections.append(("refca", f"broken: {report.named(key)}"))
    outcome.user_properties.append((RESULT, [found.backend, *key, status, item.name, why]))
    return outcome


def sentences(call: pytest.CallInfo) -> str:
    """Return what a law says about a wrong result; "" if anything else went wrong, which a traceback explains."""
    error = call.excinfo.value if call.excinfo else None
    if not call.excinfo or not isinstance(error, AssertionError):
        return ""
    if Path(__file__).parent not in Path(call.excinfo.traceback[-1].path).parents:
        return ""  # an assertion of the backend's own
    message, _, repeat = str(error).partition(" The call: ")
    return "\n".join([message, *([f"The call: {repeat}"] if repeat else getattr(error, "__notes__", []))])


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Enter the result of a law into its backend's table; under pytest-xdist it comes from another process."""
    for name, value in report.user_properties:
        if name == RESULT:
            backend, chapter, number, status, law, why = cast(list[Any], value)
            REPORTS[backend].of((chapter, number)).add(status, law, why)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> Iterator[None]:
    """Print the tables below all that pytest prints, and write the reports."""
    yield
    if header := pytest_report_header(config):
        terminalreporter.write_line(header)
    for name, why in ABSENT.items():
        terminalreporter.write_line(f'refca: the laws were not tried on the backend "{name}": {why}')
    for found in REPORTS.values():
        for line in found.lines() if found.results else []:
            terminalreporter.write_line(line)
    if folder := config.getoption("--refca-report"):
        report.write_reports(folder, list(REPORTS.values()))
        terminalreporter.write_line(f"refca: see {folder / 'report.md'}")
