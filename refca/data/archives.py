"""Reading files out of a .tar.gz archive, or out of the folder that it was unpacked into.

`tarfile` alone does not compare gzip's checksum, and takes whatever size a header claims. Here the checksum is
compared, headers and files have limits, and only files that are asked for are read.
"""

from __future__ import annotations

import gzip
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

from refca.errors import InvalidInput
from refca.reading import reading

KIND, AGAIN = "a .tar.gz archive", "delete it and get it again"
GZIP = b"\x1f\x8b"
LARGEST_FILE = 32 * 2**20  # bytes
LARGEST_HEADER = 2**20  # a long name or other metadata of a file
LARGEST_SKIPPED = 2**30  # a file that nobody asked for; `tarfile` reads on for hours to skip what is not there
MOST_PADDING = 2**20  # zero bytes after the last file


class TarHeader(tarfile.TarInfo):
    """A file's header, refused where it claims metadata so large that reading it would fill the memory."""

    METADATA = (
        tarfile.XHDTYPE,
        tarfile.XGLTYPE,
        tarfile.SOLARIS_XHDTYPE,
        tarfile.GNUTYPE_LONGNAME,
        tarfile.GNUTYPE_LONGLINK,
    )

    def _proc_member(self, tar: tarfile.TarFile) -> tarfile.TarInfo:
        if self.type in self.METADATA and self.size > LARGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {self.size:,} bytes of metadata")
        member = cast(tarfile.TarInfo, super()._proc_member(tar))  # type: ignore[misc]
        if member.size > LARGEST_SKIPPED:
            raise tarfile.ReadError(f"a header claims a file of {member.size:,} bytes")
        return member


def read_files(source: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each wanted file of an archive, or of the folder that it was unpacked into.

    Names are as in the archive, for example images/Abyssinian_1.jpg, without folders on top of it. The last
    file is followed by a check of the whole archive: what was read before is to be used only after the end.
    Raises InvalidInput, naming the archive, if it is damaged or a wanted file is too large.
    """
    if source.is_dir():
        yield from unpacked_files(source, wanted)
        return
    top = source.name.partition(".")[0]
    with reading(source, KIND, AGAIN), source.open("rb") as raw:
        zipped = raw.read(2) == GZIP
        raw.seek(0)
        content = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if zipped else raw
        with tarfile.open(fileobj=content, mode="r|", tarinfo=TarHeader) as tar:
            for member in tar:
                name = below(top, member.name)
                if not (member.isfile() and wanted(name)):
                    continue
                if member.issparse() or member.size > LARGEST_FILE:
                    raise InvalidInput(f"{source}: {name} claims {member.size:,} bytes; {LARGEST_FILE:,} are allowed")
                file = tar.extractfile(member)
                assert file is not None  # a regular file has content
                data = file.read()
                if len(data) != member.size:
                    raise InvalidInput(f"{source} is damaged: it is cut short at {name}; {AGAIN}")
                yield name, data
        if len(content.read(MOST_PADDING)) == MOST_PADDING:  # to the end, where gzip's checksum is compared
            raise InvalidInput(f"{source} is damaged: something else follows the archive; {AGAIN}")


def unpacked_files(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each wanted file below a folder, named as in the archive that it was unpacked from."""
    with reading(folder, "a folder"):
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in paths:
        name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
        if not wanted(name):
            continue
        with reading(path, "a file"):
            size = path.stat().st_size
            if size > LARGEST_FILE:
                raise InvalidInput(f"{path} has {size:,} bytes; {LARGEST_FILE:,} are allowed")
            yield name, path.read_bytes()


def below(top: str, name: str) -> str:
    """The name of a file from the folder `top` on, whatever folders that is in."""
    parts = name.split("/")
    return "/".join(parts[parts.index(top) :]) if top in parts else name.removeprefix("./")
