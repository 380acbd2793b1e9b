"""CUDA's run-time compiler NVRTC, of any version, by its C interface: CuPy would bring one version alone.

Source: https://docs.nvidia.com/cuda/nvrtc/
"""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

from refca.errors import Unavailable


class Nvrtc:
    """NVRTC for a version of CUDA, from NVIDIA's packages or from the system. It needs no GPU and no driver."""

    def __init__(self, version: int) -> None:
        name = f"libnvrtc.so.{version}"
        nvidia = importlib.util.find_spec("nvidia")  # the packages' common folders
        folders = (nvidia and nvidia.submodule_search_locations) or []
        packages = [path for folder in folders for path in Path(folder).glob(f"*/lib/{name}")]
        try:
            self.library = ctypes.CDLL(str(packages[0]) if packages else name)
        except OSError as error:
            raise Unavailable(f"there is no NVRTC of CUDA {version} ({error})") from error

    def call(self, name: str, *arguments: object) -> int:
        """Call a function. Return its error code, 0 if there was none."""
        return int(getattr(self.library, name)(*arguments))

    def architectures(self) -> list[int]:
        """The architectures that this NVRTC compiles for, as 90."""
        count = ctypes.c_int()
        self.call("nvrtcGetNumSupportedArchs", ctypes.byref(count))
        found = (ctypes.c_int * count.value)()
        self.call("nvrtcGetSupportedArchs", found)
        return list(found)

    def compile(self, text: str, *options: str) -> str:
        """Compile a program. Return the compiler's log. Raises AssertionError with the log if it fails."""
        program, size = ctypes.c_void_p(), ctypes.c_size_t()
        self.call("nvrtcCreateProgram", ctypes.byref(program), text.encode(), b"program.cu", 0, None, None)
        given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
        failed = self.call("nvrtcCompileProgram", program, len(options), given)
        self.call("nvrtcGetProgramLogSize", program, ctypes.byref(size))
        log = ctypes.create_string_buffer(size.value)
        self.call("nvrtcGetProgramLog", program, log)
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        assert not failed, f"{' '.join(options)}\n{log.value.decode()}"
        return log.value.decode()
