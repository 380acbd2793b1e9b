"""Run the laws on the cupy backend, from the checkout, on a machine with a GPU.

    make gpu-test FLAGS="[--minutes 8] [--backend MODULE] [pytest's flags]"
    PYTHONPATH=.:backends:spec:benchmarks python3 -m gpu.laws     what that runs; nothing has to be installed

First come the tests that only a GPU can run: clusters, and grids that are large enough for them. Tests run on
six processes if pytest-xdist is there. A table comes last: the device, and how many laws passed. Tests that
have not begun when the time is over are left out, and the table says so. Warnings of libraries are no errors
here, because their versions are those of the machine.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from pathlib import Path
from typing import Any

from gpu.check import describe_device, missing, no_gpu

OWN_TESTS = Path(__file__).parents[2] / "tests" / "test_cupy.py"
ON_GPU = "not test_cupy or on_a_gpu"  # the other tests of that file use the emulator or a compiler
WORKERS = 6


class Tally:
    """A pytest plugin that counts outcomes, and ends the run when its time is over."""

    def __init__(self, minutes: float) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.outcomes: Counter[str] = Counter()
        self.collected = 0

    def pytest_collection_finish(self, session: Any) -> None:
        self.collected = len(session.items)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or report.outcome != "passed":  # or skipped, or failed in a fixture
            self.outcomes[report.outcome] += 1

    def pytest_runtest_logfinish(self) -> None:
        if time.monotonic() > self.end:
            self.session.shouldstop = "the time is over"

    def pytest_sessionstart(self, session: Any) -> None:
        self.session = session

    def table(self, device: dict[str, str]) -> str:
        """Markdown: what it ran on, and how it went."""
        left = self.collected - self.outcomes.total()
        laws = f"{self.outcomes['passed']} passed, {self.outcomes['failed']} failed"
        laws += f", {self.outcomes['skipped']} skipped" + (f", {left} not tried" if left > 0 else "")
        rows = {**device, "date": time.strftime("%Y-%m-%d"), "laws": laws}
        return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())])


class SpreadTally(Tally):
    """A tally of tests that run in processes of their own."""

    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        self.collected = len(ids)

    def pytest_runtest_logfinish(self) -> None:
        if time.monotonic() > self.end:
            import pytest

            pytest.exit("the time is over", returncode=1)


def main() -> int:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="refca_cupy.gpu", metavar="MODULE")
    parser.add_argument("--minutes", type=float, default=8)
    flags, more = parser.parse_known_args()
    on_gpu = flags.backend == "refca_cupy.gpu"
    if why := missing("hypothesis", "pytest") or (no_gpu() if on_gpu else ""):
        print(f"refca: {why}", file=sys.stderr)
        return 2
    import pytest

    spread = bool(importlib.util.find_spec("xdist")) and not any(flag.startswith("-n") for flag in more)
    tally = SpreadTally(flags.minutes) if spread else Tally(flags.minutes)
    # the plugin by its module, and not by its entry point too, where the project is installed
    chosen = ["-p", "no:refca", "-p", "refca_spec.plugin", "--refca-backend", flags.backend]
    own = [str(OWN_TESTS), "-k", ON_GPU] if on_gpu and OWN_TESTS.exists() else []
    chosen += ["-n", str(WORKERS)] if spread else []
    tests = [*own, "--pyargs", "refca_spec"]
    code = pytest.main(["-q", "-W", "default", *chosen, *tests, *more], plugins=[tally])
    print("", tally.table(describe_device() if on_gpu else {"backend": flags.backend}), sep="\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
