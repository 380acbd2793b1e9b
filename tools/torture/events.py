"""Counting what a process does to the files of a folder, and doing something at one of these events.

Python's own `open` and the functions of `os` that change files are replaced in a child. Each write is done in
two halves, so that there is an event within it. Everything that refca writes goes this way.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHANGES = ("replace", "rename", "unlink", "remove", "rmdir", "mkdir")
HANDLES = ("fsync", "ftruncate")

Event = Callable[[str], None]


class Counter:
    """Calls `act` with the number and the name of each event at the files below `folder`, before it happens."""

    def __init__(self, folder: Path, act: Callable[[int, str], None]) -> None:
        self.folder, self.act, self.count = os.path.abspath(folder), act, 0

    def event(self, what: str, path: Any, dir_fd: int | None = None) -> None:
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        path = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else "", os.fspath(path))
        path = os.path.abspath(path)
        if path == self.folder or path.startswith(self.folder + os.sep):
            self.count += 1
            self.act(self.count, f"{what} {os.path.relpath(path, self.folder)}")

    def install(self) -> None:
        """Replace the functions of this process that change files."""
        for name in CHANGES:
            setattr(os, name, self.counted_change(name, getattr(os, name)))
        for name in HANDLES:
            setattr(os, name, self.counted_handle(name, getattr(os, name)))
        os.open = self.counted_os_open(os.open)
        builtins.open = io.open = self.counted_open(io.open)

    def counted_change(self, name: str, original: Any) -> Any:
        def change(path: Any, *rest: Any, **options: Any) -> Any:
            self.event(name, path, options.get("dir_fd"))
            return original(path, *rest, **options)

        return change

    def counted_handle(self, name: str, original: Any) -> Any:
        def change(descriptor: Any, *rest: Any) -> Any:
            self.event(name, descriptor if isinstance(descriptor, int) else descriptor.fileno())
            return original(descriptor, *rest)

        return change

    def counted_os_open(self, original: Any) -> Any:
        def opened(path: Any, flags: int, *rest: Any, **options: Any) -> int:
            if flags & (os.O_CREAT | os.O_TRUNC | os.O_WRONLY | os.O_RDWR | os.O_APPEND):
                self.event("open", path, options.get("dir_fd"))
            return int(original(path, flags, *rest, **options))

        return opened

    def counted_open(self, original: Any) -> Any:
        counter = self

        class CountedFile(io.FileIO):
            def write(self, data: Any) -> int:
                view = memoryview(data).cast("B")
                half = len(view) // 2
                counter.event("write", self.fileno())
                done = super().write(view[:half]) if half else 0
                counter.event("write the second half of", self.fileno())
                return int(done) + int(super().write(view[half:]))

        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            closefd: bool = True,
            opener: Any = None,
        ) -> Any:
            if not set(mode) & set("wax+"):
                return original(file, mode, buffering, encoding, errors, newline, closefd, opener)
            if not isinstance(file, int):
                self.event("open", file)
            raw = CountedFile(file, mode.replace("b", "").replace("t", ""), closefd, opener)
            if buffering == 0:
                return raw
            buffer: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffer
            return io.TextIOWrapper(buffer, encoding, errors, newline, buffering == 1)

        return opened
