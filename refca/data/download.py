"""Files that can be had again: where this user keeps them, and getting one from a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from refca.atomic import make_folder
from refca.errors import InvalidInput
from refca.locks import one_at_a_time

TIMEOUT = 30  # seconds without an answer from the server


def user_cache() -> Path:
    """The folder in which this user's programs keep what they can get again."""
    import pooch

    return Path(pooch.os_cache("refca"))


def find(names: Iterable[str], folders: Iterable[Path]) -> Path | None:
    """The first file of one of these names: the first folder that has any of them, there the first name."""
    names = tuple(names)
    return next((folder / name for folder in folders for name in names if (folder / name).is_file()), None)


def download(url: str, md5: str, path: Path, *, instead: str) -> Path:
    """The file from a URL, written to `path` once it is whole; a file that is there already is hashed first.

    Raises InvalidInput for everything that can go wrong, naming the URL and `instead`, the files that a user
    without a network puts into a folder.
    """
    import pooch

    get = pooch.HTTPDownloader(progressbar=bool(sys.stderr and sys.stderr.isatty()), timeout=TIMEOUT)
    there = f"{path} is not the original file, and " if path.is_file() else ""
    try:
        make_folder(path.parent)
        with one_at_a_time(path.parent):  # the others then find the file
            pooch.retrieve(url, f"md5:{md5}", path.name, path.parent, downloader=get)
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        cause = "its content is not the original file's" if isinstance(error, ValueError) else brief(error)
        raise InvalidInput(
            f"{there}{url} could not be downloaded: {cause}; try again, or put {instead} into a folder "
            "and name it with --data or REFCA_DATA"
        ) from error
    return path


def brief(error: OSError) -> str:
    """Return the cause of an error in one line: the server's answer, or the innermost error."""
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    text = str(error if getattr(error, "response", None) is not None else cause)
    return " ".join(text.split())[:200] or type(error).__name__
