"""Tests in Debian's Chromium, driven by node."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from exec_client import node

BROWSER_TESTS = Path(__file__).parent / "browser"


def node_test(name: str, **environment: str) -> None:
    """Run a file of browser tests; fail with its output. Skips where the browser or its driver is missing."""
    browser()
    run = subprocess.run(
        [node(), "--test", str(BROWSER_TESTS / name)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def browser() -> None:
    """Skip the test unless Chromium and playwright-core are installed."""
    node()
    chromium = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    if shutil.which(chromium) is None:
        pytest.skip(f"{chromium} is not installed: the page is not tested")
    if not (BROWSER_TESTS / "node_modules" / "playwright-core").is_dir():
        pytest.skip("playwright-core is not installed (npm ci in tests/browser): the page is not tested")
