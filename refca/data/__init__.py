"""What the automata learn from and are measured on, by name.

    mnist          digits of 28×28, 60,000 to train on and 10,000 to test: the article's
    optdigits      8×8, 1,500 and 297: comes with scikit-learn, needs no download
    optdigits-28   the same, enlarged to 28×28: digits that were not written for MNIST
    pets           photographs of cats and dogs, 3,680 and 3,669, with a label for each pixel: the paper's

Source: the article, "Model"; the paper's experiments; `spec/data.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, overload

from refca.data.dataset import Dataset, Split
from refca.data.photographs import CLASSES, Photographs
from refca.errors import InvalidInput

__all__ = ["CLASSES", "DIGITS", "NAMES", "PHOTOGRAPHS", "Dataset", "Photographs", "Split", "load"]

DIGITS = ("mnist", "optdigits", "optdigits-28")
PHOTOGRAPHS = ("pets",)
NAMES = (*DIGITS, *PHOTOGRAPHS)


@overload
def load(
    name: Literal["pets"],
    folder: Path | str | None = ...,
    *,
    size: int = ...,
    splits: Collection[str] = ...,
    on_progress: Callable[[int, int], object] = ...,
) -> Dataset[Photographs]: ...


@overload
def load(
    name: str,
    folder: Path | str | None = ...,
    *,
    size: int = ...,
    splits: Collection[str] = ...,
    on_progress: Callable[[int, int], object] = ...,
) -> Dataset[Any]: ...


def load(
    name: str,
    folder: Path | str | None = None,
    *,
    size: int = 48,
    splits: Collection[str] = ("train", "test"),
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Dataset[Any]:
    """The dataset of this name, one of NAMES: of Photographs for pets, of Split for the digits.

    `folder` is where its files are; None: the environment's REFCA_DATA; without that, the user's cache
    folder, into which missing files are downloaded. The optdigits need no files. `size` is the side of the
    photographs in pixels, 24, 48, 96 or 384, and `splits` what is read of them; digits are read whole.
    `on_progress` is called with the number of photographs read out of archives so far, and of all.
    Raises InvalidInput for an unknown name or size, and for files that are missing, damaged or cannot be
    downloaded.
    """
    if name not in NAMES:
        raise InvalidInput(f'unknown dataset "{name}"; known are {", ".join(NAMES)}')
    given = folder or os.environ.get("REFCA_DATA")
    if name == "mnist":
        from refca.data.mnist import mnist

        return mnist(Path(given) if given else None)
    if name == "pets":
        from refca.data.pets import pets

        return pets(Path(given) if given else None, size, splits=splits, on_progress=on_progress)
    from refca.data.optdigits import optdigits

    return optdigits(28 if name == "optdigits-28" else None)
