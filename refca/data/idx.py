"""Reading one file in IDX, the format of MNIST: a magic number, big-endian sizes, then bytes.

Source: the description of the format with the original files: two zero bytes, the type (8: unsigned byte),
the number of dimensions, one 32-bit size for each of them, the data in C order.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from refca.errors import InvalidInput

UNSIGNED_BYTE = 8
GZIP = b"\x1f\x8b"


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in an IDX file, gzipped or not (told by its content).

    Raises InvalidInput, naming the file, if it cannot be read, is cut short or damaged, or holds something else.
    """
    content = contents(path)
    if len(content) < 4 or content[:2] != b"\0\0":
        raise InvalidInput(f"{path} is not an IDX file: it begins with the bytes {content[:4].hex(' ') or '(none)'}")
    if content[2] != UNSIGNED_BYTE:
        raise InvalidInput(f"{path} holds numbers of IDX type 0x{content[2]:02x}; needed are unsigned bytes, 0x08")
    if content[3] != ndim:
        raise InvalidInput(f"{path} has {content[3]} dimensions; needed are {ndim}")
    start = 4 + 4 * ndim
    shape = tuple(int(size) for size in np.frombuffer(content[4:start].ljust(4 * ndim, b"\0"), ">u4"))
    size = math.prod(shape)
    if len(content) != start + size:
        raise InvalidInput(
            f"{path} is damaged: {' × '.join(map(str, shape))} bytes are announced and "
            f"{max(0, len(content) - start)} are there; delete it and get it again"
        )
    return np.frombuffer(content, np.uint8, size, start).reshape(shape)


def contents(path: Path) -> bytes:
    """The bytes of a file, unzipped if it is gzipped. Raises InvalidInput, naming the file."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP) else content
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InvalidInput(f"{path} is damaged: it cannot be unzipped ({error}); delete it and get it again") from error
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
