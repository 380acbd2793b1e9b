"""Reading files that others wrote: one way to say what is wrong with a file, and how large it may become.

Every reader of a format wraps its parsing in `reading`, whatever the parser raises. Source: `spec/programs.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refca.definition.errors import one_line
from refca.errors import InvalidInput

AGAIN = "get the file again"
TABLE = "a CSV file"
UNCHECKED = 64 * 2**20  # bytes that compressed content may become whatever its size in the file
EXPANSION = 200  # times its size in the file that it may become beyond that; label maps reach about 80


@contextmanager
def reading(what: Path | str, kind: str, remedy: str = AGAIN) -> Iterator[None]:
    """Within this block every failure is an InvalidInput that names `what`, a path or a file in an archive.

    `kind` says with its article what was expected, for example "an IDX file". Parsers of damaged files raise
    a dozen kinds of exceptions (RecursionError, OverflowError, struct.error, ...), so all are caught.
    """
    try:
        yield
    except InvalidInput:
        raise
    except MemoryError as error:
        raise InvalidInput(f"{what} needs more memory than there is") from error
    except OSError as error:
        if error.errno is not None:
            raise InvalidInput(f"{what} cannot be read: {error.strerror or error}") from error
        raise InvalidInput(damaged(what, kind, error, remedy)) from error
    except UnicodeDecodeError as error:
        if kind != TABLE:
            raise InvalidInput(damaged(what, kind, error, remedy)) from error
        raise InvalidInput(f'{what} is not in UTF-8; save it in that, in Excel as "CSV UTF-8"') from error
    except Exception as error:
        raise InvalidInput(damaged(what, kind, error, remedy)) from error
    except BaseException as error:  # a panic in a parser written in Rust is no Exception
        if type(error).__name__ != "PanicException":
            raise
        raise InvalidInput(damaged(what, kind, error, remedy)) from error


def damaged(what: Path | str, kind: str, error: BaseException, remedy: str) -> str:
    return f"{what} is damaged: {brief(error)} ({kind} was expected); {remedy}"


def brief(error: BaseException) -> str:
    """Return the text of an error in at most 200 characters, or its class if it has none."""
    return one_line(" ".join(str(error).split()), 200) or type(error).__name__


def check_expansion(what: Path | str, stored: int, declared: int) -> None:
    """Raise InvalidInput if `stored` bytes of a file claim to become far more than such content does."""
    if declared > UNCHECKED and declared > EXPANSION * stored:
        raise InvalidInput(
            f"{what} claims to hold {declared:,} bytes in {stored:,} bytes of the file, which no real data does"
        )
