"""The pictures of a camera, as they come: `camera:0` is the first camera of this machine.

PyAV reads cameras through FFmpeg's devices: v4l2 on Linux, avfoundation on macOS, dshow on Windows.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CAMERA = "camera:"  # in front of a number or a device's own name
DEVICES = {  # of a platform: FFmpeg's name of its devices, and the name of the camera with a number
    "linux": ("v4l2", "/dev/video{}"),
    "darwin": ("avfoundation", "{}"),
    "win32": ("dshow", "video={}"),
}


def is_camera(path: Path | str) -> bool:
    """Return whether this names a camera, not a file."""
    return str(path).startswith(CAMERA)


def device_of(name: str) -> tuple[str, str]:
    """Return FFmpeg's format and file for the name of a camera: camera:0, or camera:/dev/video2."""
    device = name.removeprefix(CAMERA)
    kind, numbered = DEVICES.get(sys.platform, DEVICES["linux"])
    return kind, numbered.format(device) if device.isdecimal() or kind == "dshow" else device


def newest(frames: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield frames that a thread reads ahead, each time the newest one: frames that nobody waited for are dropped."""
    changed = threading.Condition()
    latest: list[Any] = []
    error: list[BaseException] = []
    ended = False

    def work() -> None:
        nonlocal ended
        try:
            for frame in frames:
                with changed:
                    if ended:
                        return
                    latest[:] = [frame]
                    changed.notify()
        except BaseException as problem:  # raised again where the frames are used
            error.append(problem)
        finally:
            with changed:
                ended = True
                changed.notify()

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: latest or ended)
                if not latest:
                    break
                frame = latest.pop()
            yield frame
    finally:
        with changed:
            ended = True
    if error:
        raise error[0]
