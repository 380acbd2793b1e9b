"""MNIST: the four original files, found on this machine or downloaded once.

Source: Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from refca.data.dataset import Dataset, Split
from refca.data.download import download, find, user_cache
from refca.data.idx import read_idx
from refca.errors import InvalidInput

BASE_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MD5 = {  # of the original files, as they were published
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
WHITE = 255
FOLDERS = ("mnist", "MNIST", "MNIST/raw", "mnist/raw", "raw")  # in a folder that the user names


def mnist(
    folder: Path | None,
    *,
    base_url: str = BASE_URL,
    md5: Mapping[str, str] = MD5,
    cache: Path | None = None,
) -> Dataset[Split]:
    """MNIST from `folder` or one of its FOLDERS; with folder None from `cache`, downloading what it lacks.

    The files may be gzipped or not, and have one of the names that other programs give them. `cache` is the
    user's cache folder unless given; `base_url` ends in a slash, and `md5` holds the hash of each file there.
    Raises InvalidInput for files that are missing, damaged, do not fit each other or cannot be downloaded.
    """
    paths = found(folder, md5) if folder else cached(cache or user_cache(), base_url, md5)
    train_pixels, train_labels, test_pixels, test_labels = paths
    train, test = split(train_pixels, train_labels), split(test_pixels, test_labels)
    if train.pixels.shape[1:] != test.pixels.shape[1:]:
        raise InvalidInput(
            f"{train_pixels} holds images of {train.pixels.shape[1:]}, {test_pixels} of "
            f"{test.pixels.shape[1:]}; they are not of one dataset"
        )
    return Dataset("mnist", train, test)


def split(pixels_path: Path, labels_path: Path) -> Split:
    """The digits of a file of images and a file of labels. Raises InvalidInput unless the two fit."""
    pixels, labels = read_idx(pixels_path, 3), read_idx(labels_path, 1)
    if len(pixels) != len(labels):
        raise InvalidInput(
            f"{pixels_path} holds {len(pixels)} images and {labels_path} {len(labels)} labels; "
            "get both again from one place"
        )
    if not pixels.size:
        raise InvalidInput(f"{pixels_path} holds no images")
    if labels.max() > 9:
        raise InvalidInput(f"{labels_path} holds the label {labels.max()}; the labels of digits go from 0 to 9")
    return Split(pixels, labels.astype(np.int64), WHITE)


def found(folder: Path, names: Mapping[str, str]) -> list[Path]:
    """Return the path of each file in a folder of the user. Raises InvalidInput with the folders searched."""
    places = (folder, *(folder / name for name in FOLDERS))
    paths = [find(spellings(name), [*places, *own_folders(places, name)]) for name in names]
    missing = [name for name, path in zip(names, paths, strict=True) if path is None]
    if missing:
        zipped = [path.name for place in places if place.is_dir() for path in sorted(place.glob("*.zip"))]
        instead = f"unpack {zipped[0]} there" if zipped else "put them there"
        raise InvalidInput(
            f"MNIST's {', '.join(missing)} (or without .gz) are neither in {folder} nor in its folders "
            f"{', '.join(FOLDERS)}; {instead}, or name no folder to have them downloaded"
        )
    return [path for path in paths if path]


def cached(cache: Path, base_url: str, md5: Mapping[str, str]) -> list[Path]:
    """Return the path of each file in the cache folder, after downloading missing or altered files."""
    return [download(base_url + name, md5[name], cache / "mnist" / name, instead="MNIST's four files") for name in md5]


def spellings(name: str) -> list[str]:
    """The names that a file goes by: with a dot before idx, and with or without .gz."""
    plain = name.removesuffix(".gz")
    return [f"{each}{end}" for end in (".gz", "", ".gz.gz") for each in (plain, plain.replace("-idx", ".idx"))]


def own_folders(places: Iterable[Path], name: str) -> list[Path]:
    """Folders that are called as the file in them, as some programs unpack them."""
    return [place / each for place in places for each in spellings(name) if (place / each).is_dir()]
