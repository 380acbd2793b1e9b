"""Reading one picture out of a file's bytes, whatever its format."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING

from refca.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image


def opened(content: bytes, what: str) -> Image:
    """The decoded picture in the bytes of a file. Raises InvalidInput, saying what it is, if it is damaged."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(BytesIO(content))
        picture.load()
        return picture
    except UnidentifiedImageError as error:
        raise InvalidInput(f"{what} is not a picture; get the file again") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise InvalidInput(f"{what} is damaged: {error}; get the file again") from error
