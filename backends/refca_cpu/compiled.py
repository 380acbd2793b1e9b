"""Compiling functions once and keeping them, wherever that is possible.

Numba keeps compiled functions beside their source, or in the user's cache folder, or where NUMBA_CACHE_DIR says.
Where it can write to none of them, they are kept for this process alone; a file of the cache that is damaged is
removed and made again, and so is one that was made from other sources. Whoever can write into the cache decides what
runs here.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba

import refca.definition


def njit(*, cache: bool = False, **options: Any) -> Callable[[Any], Any]:
    """Compile a function as `numba.njit` does, with a cache that is never in the way."""

    def decorate(function: Any) -> Any:
        compiled = numba.njit(**options)(function)
        if cache:
            keep(compiled)
        return compiled

    return decorate


def keep(compiled: Any) -> None:
    """Turn the cache of a compiled function on."""
    try:
        compiled.enable_caching()
    except (RuntimeError, OSError):  # there is nowhere to write
        config: Any = numba.config
        config.CACHE_DIR, config.CACHE_LOCATOR_CLASSES = private_folder(), ""
        compiled.enable_caching()
    file = compiled._cache._cache_file
    file._source_stamp = digest = sources_digest(Path(compiled.py_func.__code__.co_filename).parent)
    # numba writes the index before the code: a stop between them must not leave an index of this digest beside old code
    file._data_name_pattern = f"{file._index_name.removesuffix('.nbi')}-{digest[:16]}.{{number:d}}.nbc"
    load = compiled._cache.load_overload

    def load_or_remove(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:  # what unpickling half a file raises
            with suppress(OSError):
                os.unlink(compiled._cache._cache_file._index_path)
            return None

    compiled._cache.load_overload = load_or_remove


@cache
def sources_digest(folder: Path) -> str:
    """Return a digest of a folder's Python files and of the definition's.

    Numba looks for changes only in a function's own file, but the compiled code contains the functions that it calls.
    """
    digest = sha256()
    for path in sorted([*folder.glob("*.py"), *Path(refca.definition.__file__).parent.glob("*.py")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@cache
def private_folder() -> str:
    """A folder of this process, which is removed at its end."""
    folder = tempfile.mkdtemp(prefix="refca-compiled-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
