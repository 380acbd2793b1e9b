"""How the tests of the programs read a refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Capture = pytest.CaptureFixture[str]


def sentence(capsys: Capture, program: Callable[[], int]) -> str:
    """What a program that must exit with 2 says: one line."""
    capsys.readouterr()
    assert program() == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("refca: ")]
    assert len(lines) == 1, lines
    return lines[0]
