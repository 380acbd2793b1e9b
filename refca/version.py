"""The version of refca, as the metadata of its package has it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("refca")
except PackageNotFoundError:  # a checkout that runs without being installed
    __version__ = "0+unknown"
