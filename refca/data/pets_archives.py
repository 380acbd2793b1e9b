"""The two official archives of the Oxford-IIIT Pets, every photograph scaled as it is read.

images.tar.gz has images/NAME.jpg. annotations.tar.gz has annotations/trimaps/NAME.png, whose labels are
1 pet, 2 background and 3 boundary, and the splits annotations/trainval.txt and annotations/test.txt, a line
for each photograph that begins with its name.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refca.cli import progress_bar
from refca.data.photographs import Photographs, in_order
from refca.data.pictures import opened
from refca.errors import InvalidInput

LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
LABELS = np.array([255, 1, 0, 2], np.uint8)  # refca's, of the official 1, 2 and 3


def read_archives(images: Path, annotations: Path, size: int) -> dict[str, Photographs]:
    """The splits at size×size, each in the order of `in_order`.

    Whole photographs are stretched to the square, bilinear with antialiasing; of a trimap it is the nearest
    pixel. Raises InvalidInput, naming the archive, if one cannot be read, is damaged or lacks something.
    """
    files = dict(members(annotations))
    splits = {split: blank(listed(files, path, annotations), size) for split, path in LISTS.items()}
    places = {name: (split, i) for split in splits for i, name in enumerate(splits[split].names)}
    for name, (split, i) in places.items():
        file = f"annotations/trimaps/{name}.png"
        if file not in files:
            raise InvalidInput(f"{annotations} lists {name} but has no {file}; get it again")
        splits[split].trimaps[i] = trimap(files[file], f"{file} in {annotations}", size)
    with progress_bar(len(places), unit="photographs") as bar:
        for file, content in members(images):
            name = file.removeprefix("images/").removesuffix(".jpg")
            if file.endswith(".jpg") and name in places:
                split, i = places.pop(name)
                splits[split].pixels[i] = pixels(content, f"{file} in {images}", size)
                bar.update()
    if places:
        raise InvalidInput(f"{images} lacks {len(places)} photographs, such as images/{min(places)}.jpg; get it again")
    return splits


def members(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file in an archive, in its order. Raises InvalidInput."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                if file := tar.extractfile(member) if member.isfile() else None:
                    yield member.name.removeprefix("./"), file.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise InvalidInput(f"{archive} is damaged: {error}; delete it and get it again") from error
    except OSError as error:
        raise InvalidInput(f"{archive} cannot be read: {error.strerror or error}") from error


def listed(files: dict[str, bytes], path: str, archive: Path) -> list[str]:
    """The names in a list of photographs, in the order of `in_order`. Raises InvalidInput if there are none."""
    lines = files.get(path, b"").decode("ascii", "replace").splitlines()
    names = {line.split()[0] for line in lines if line.strip() and not line.startswith("#")}
    if not names:
        raise InvalidInput(f"{archive} has no {path}, or one that names no photograph; get it again")
    return in_order(names)


def blank(names: list[str], size: int) -> Photographs:
    """Photographs of these names, their pixels not yet written."""
    N = len(names)
    return Photographs(np.empty((N, size, size, 3), np.uint8), np.empty((N, size, size), np.uint8), tuple(names))


def pixels(content: bytes, what: str, size: int) -> np.ndarray:
    """A photograph, stretched: (size, size, 3) uint8. Raises InvalidInput."""
    from PIL.Image import Resampling

    picture = opened(content, what).convert("RGB")
    return np.asarray(picture.resize((size, size), Resampling.BILINEAR))


def trimap(content: bytes, what: str, size: int) -> np.ndarray:
    """A trimap, stretched: (size, size) uint8 with refca's labels. Raises InvalidInput."""
    from PIL.Image import Resampling

    picture = opened(content, what)
    labels = np.asarray(picture)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InvalidInput(f"{what} is not a trimap: it has {picture.mode} pixels, not one number for each")
    if not 1 <= labels.min() <= labels.max() <= 3:
        wrong = labels.max() if labels.max() > 3 else labels.min()
        raise InvalidInput(f"{what} holds the label {wrong}; labels are 1 pet, 2 background, 3 boundary")
    return LABELS[np.asarray(picture.resize((size, size), Resampling.NEAREST))]
