"""The handwritten digits that the automaton learns from and is measured on, by name.

    mnist          28×28, 60,000 training and 10,000 test digits: the article's
    optdigits      8×8, 1,500 and 297: comes with scikit-learn, needs no download
    optdigits-28   the same, enlarged to 28×28: digits that were not written for MNIST

Source: the article, "Model"; `spec/data.md`.
"""

from __future__ import annotations

import os
from pathlib import Path

from refca.data.dataset import Dataset, Split
from refca.refused import Refused

__all__ = ["NAMES", "Dataset", "Split", "load"]

NAMES = ("mnist", "optdigits", "optdigits-28")


def load(name: str, folder: Path | str | None = None) -> Dataset:
    """The dataset of this name, one of NAMES.

    `folder` is where its files are; None: the environment's REFCA_DATA; without that, the user's cache
    folder, into which missing files are downloaded. The optdigits need no files.
    Raises Refused for an unknown name, and for files that are missing, damaged or cannot be downloaded.
    """
    if name not in NAMES:
        raise Refused(f'unknown dataset "{name}"; known are {", ".join(NAMES)}')
    if name == "mnist":
        from refca.data.mnist import mnist

        given = folder or os.environ.get("REFCA_DATA")
        return mnist(Path(given) if given else None)
    from refca.data.optdigits import optdigits

    return optdigits(28 if name == "optdigits-28" else None)
