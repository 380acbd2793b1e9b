"""Reading one file in IDX, the format of MNIST: a magic number, big-endian sizes, then bytes.

Source: the description of the format with the original files: two zero bytes, the type (8: unsigned byte),
the number of dimensions, one 32-bit size for each of them, the data in C order.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from refca.errors import InvalidInput
from refca.reading import check_expansion, reading

UNSIGNED_BYTE = 8
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
AGAIN = "delete it and get it again"


def read_idx(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of `ndim` dimensions in an IDX file, gzipped or not (told by its content).

    Raises InvalidInput, naming the file, if it cannot be read, is cut short or damaged, or holds something else.
    """
    with reading(path, "an IDX file", AGAIN), unzipped(path) as file:
        head = file.read(4 + 4 * ndim)
        if len(head) < 4 or head[:2] != b"\0\0":
            raise InvalidInput(f"{path} is not an IDX file: {looks_like(head)}; {AGAIN}")
        if head[2] != UNSIGNED_BYTE:
            raise InvalidInput(f"{path} holds numbers of IDX type 0x{head[2]:02x}; needed are unsigned bytes, 0x08")
        if head[3] != ndim:
            raise InvalidInput(f"{path} has {head[3]} dimensions; needed are {ndim}")
        if len(head) < 4 + 4 * ndim:
            raise InvalidInput(f"{path} is damaged: it ends within its header; {AGAIN}")
        shape = tuple(int(size) for size in np.frombuffer(head[4:], ">u4"))
        size = prod(shape)
        check_expansion(path, path.stat().st_size, size)
        content = file.read(size + 1)  # reads to the end, where gzip's checksum is compared
    if len(content) != size:
        there = len(content) if len(content) < size else f"more than {size}"
        raise InvalidInput(
            f"{path} is damaged: {'x'.join(map(str, shape))} bytes are announced and {there} are there; {AGAIN}"
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


@contextmanager
def unzipped(path: Path) -> Iterator[BinaryIO]:
    """The content of a file as it is read, unzipped if it is gzipped, once or twice."""
    with path.open("rb") as file:
        layer = cast(BinaryIO, file)
        try:
            for _ in range(2):
                magic = layer.read(2)
                layer.seek(0)
                if magic != GZIP:
                    break
                layer = cast(BinaryIO, gzip.GzipFile(fileobj=layer, mode="rb"))
            yield layer
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"it cannot be unzipped ({error})") from error


def looks_like(head: bytes) -> str:
    """Say what a file is that begins with these bytes, as far as they tell."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!", b"<html", b"<?xml", b"<h", b"<b")):
        return "it is a web page that was saved under this name"
    if head.startswith(ZIP):
        return "it is a zip archive; unpack it"
    if head.startswith(GZIP):
        return "it is gzipped more than twice; unpack it"
    return f"it begins with the bytes {head[:4].hex(' ') or '(none)'}"
