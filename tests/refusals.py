"""Reading error messages in the tests of programs."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Capture = pytest.CaptureFixture[str]


def sentence(capsys: Capture, program: Callable[[], int]) -> str:
    """Return the one line that a program prints before it exits with 2."""
    capsys.readouterr()
    assert program() == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refca: ")]
    assert len(lines) == 1, lines
    return lines[0]
