"""Sample pictures that come with refca: digits and photographs to try an automaton on, without a download.

They are the playground's samples, from the test parts of MNIST and of the Oxford-IIIT Pets; the README beside them
names their licences.

Letters: S pixels on each side.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from pathlib import Path

import numpy as np

from refca.data.dataset import Split
from refca.definition.errors import check_integer
from refca.errors import InvalidInput

FOLDER = Path(__file__).parent / "playground_page" / "site" / "samples"
PHOTOGRAPH = 192  # pixels on each side of a photograph's file


def sample_digits() -> Split:
    """Return 100 test digits of MNIST, 28x28, ten of each label: the first ten are a 0, a 1 and so on to 9."""
    saved = json.loads((FOLDER / "digits.json").read_text("utf-8"))
    side, by_label = saved["size"], saved["packed"]
    pixels = [unpacked(digits[i], side * side) for i in range(len(by_label[0])) for digits in by_label]
    labels = np.tile(np.arange(len(by_label)), len(by_label[0]))
    return Split(np.stack(pixels).reshape(-1, side, side), labels, 255)


def sample_photographs(size: int = 48) -> np.ndarray:
    """Return eight photographs of cats and dogs as cells perceive them, (8, S, S, 3) float32 from -1 to 1.

    `size` is S, at most 192. Raises InvalidInput for any other size.
    """
    from refca.data.decode import open_picture, pixels_of, resized

    if not 1 <= check_integer("size", size) <= PHOTOGRAPH:
        raise InvalidInput(f"size must be from 1 to {PHOTOGRAPH}, got {size}")
    names = json.loads((FOLDER / "photographs.json").read_text("utf-8"))["files"]
    pixels = [resized(pixels_of(open_picture(FOLDER / name), 3), size, size) for name in names]
    return (2 * np.stack(pixels) - 1).astype(np.float32)


def unpacked(packed: str, length: int) -> np.ndarray:
    """Return the bytes of a packed digit, (length,) uint8: a 0 is followed by the number of further zeros."""
    content = urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    found, i = np.zeros(length, np.uint8), 0
    values = iter(content)
    for value in values:
        if value:
            found[i] = value
            i += 1
        else:
            i += 1 + next(values)
    return found
