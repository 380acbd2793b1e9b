"""The data sets for training and measuring, by name or by path.

    mnist            digits of 28×28, 60,000 to train on and 10,000 to test: the article's
    optdigits        8×8, 1,500 and 297: comes with scikit-learn, needs no download
    optdigits-28     the same, enlarged to 28×28: digits that were not written for MNIST
    mnist-optdigits  both together to train on, 72,000 with each of the optdigits eight times; MNIST's 10,000 to test
    pets             photographs of cats and dogs, 3,680 and 3,669, with a label for each pixel: the paper's

A dataset is of a kind, which says what its samples are: "classification" has a label for each picture (`Split`),
"segmentation" one for each pixel (`Photographs`). Other packages add datasets through the entry-point group
`refca.datasets`; each names a `Source`.

Source: the article, "Model"; the paper's experiments; `spec/data.md`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, overload

from refca.data.dataset import Dataset, Split
from refca.data.photographs import CLASSES, Photographs
from refca.errors import InvalidInput, Unavailable
from refca.plugins import load as load_plugin
from refca.plugins import registered

__all__ = ["CLASSES", "Dataset", "Photographs", "Request", "Source", "Split"]
__all__ += ["full_path", "is_path", "kind_of", "load", "names"]

GROUP = "refca.datasets"
KINDS = ("classification", "segmentation")
SPLITS = ("train", "test")
OnProgress = Callable[[int, int], object]


@dataclass(frozen=True)
class Request:
    """A request for a data set: the folder of its files (None: its own), and the parts that are needed."""

    folder: Path | None
    size: int = 48  # the side of its pictures in pixels, where it has several
    splits: Collection[str] = SPLITS
    on_progress: OnProgress = lambda done, total: None


@dataclass(frozen=True)
class Source:
    """A dataset that has a name: its kind, and what loads it."""

    kind: str
    load: Callable[[Request], Dataset[Any]]


def load_mnist(request: Request) -> Dataset[Any]:
    from refca.data.mnist import mnist

    return mnist(request.folder)


def load_optdigits(request: Request) -> Dataset[Any]:
    from refca.data.optdigits import optdigits

    return optdigits()


def load_optdigits_28(request: Request) -> Dataset[Any]:
    from refca.data.optdigits import optdigits

    return optdigits(28)


def load_mnist_optdigits(request: Request) -> Dataset[Any]:
    from refca.data.mnist import mnist
    from refca.data.optdigits import with_optdigits

    return with_optdigits(mnist(request.folder))


def load_pets(request: Request) -> Dataset[Any]:
    from refca.data.pets import pets

    return pets(request.folder, request.size, splits=request.splits, on_progress=request.on_progress)


OURS = {
    "mnist": Source("classification", load_mnist),
    "optdigits": Source("classification", load_optdigits),
    "optdigits-28": Source("classification", load_optdigits_28),
    "mnist-optdigits": Source("classification", load_mnist_optdigits),
    "pets": Source("segmentation", load_pets),
}


def source(name: str) -> Source | None:
    """Return the source of the dataset of this name; None for an unknown name."""
    if name in OURS or name not in registered(GROUP):
        return OURS.get(name)
    found: Source = load_plugin(GROUP, name)
    return found


def names(kind: str | None = None) -> list[str]:
    """The names of the datasets of a kind, ours first; of all, also of those that cannot be loaded, if None."""
    known = list(dict.fromkeys([*OURS, *registered(GROUP)]))
    return known if kind is None else [name for name in known if has_kind(name, kind)]


def has_kind(name: str, kind: str) -> bool:
    """Return whether there is a dataset of this name that can be loaded and is of this kind."""
    with suppress(Unavailable):
        return kind_of(name) == kind
    return False


def kind_of(name: str) -> str | None:
    """The kind of the dataset of this name; None for an unknown name."""
    found = source(name)
    return found.kind if found else None


def full_path(name: str) -> str:
    """Return the name of a dataset as it is, and a path that exists, or IMAGES::MASKS, from the root of the disk."""
    if source(name) is not None or not name:
        return name
    if "::" in name:
        return "::".join(os.path.abspath(part) for part in name.split("::", 1))
    return os.path.abspath(name) if os.path.exists(name) else name


def is_path(name: str) -> bool:
    """Return whether this is the path of the user's own data, not the name of a data set."""
    return source(name) is None and (os.sep in name or "/" in name or "::" in name)


@overload
def load(
    name: Literal["pets"],
    folder: Path | str | None = ...,
    *,
    size: int = ...,
    splits: Collection[str] = ...,
    on_progress: OnProgress = ...,
) -> Dataset[Photographs]: ...


@overload
def load(
    name: str,
    folder: Path | str | None = ...,
    *,
    size: int = ...,
    splits: Collection[str] = ...,
    on_progress: OnProgress = ...,
) -> Dataset[Any]: ...


def load(
    name: str,
    folder: Path | str | None = None,
    *,
    size: int = 48,
    splits: Collection[str] = SPLITS,
    on_progress: OnProgress = lambda done, total: None,
) -> Dataset[Any]:
    """The dataset of this name: of Photographs for segmentation, of Split for classification.

    `folder` is where its files are; None: the environment's REFCA_DATA; without that, the user's cache
    folder, into which missing files are downloaded. The optdigits need no files. `size` is the side of the
    photographs in pixels, 24, 48, 96 or 384, and `splits` what is read of them; digits are read whole.
    `on_progress` is called with the number of photographs read out of archives so far, and of all.
    Raises InvalidInput for an unknown name or size, and for files that are missing, damaged or cannot be
    downloaded.
    """
    found = source(name)
    if found is None:
        raise InvalidInput(f'unknown dataset "{name}"; known are {", ".join(names())}')
    given = folder or os.environ.get("REFCA_DATA")
    return found.load(Request(Path(given) if given else None, size, splits, on_progress))
