"""The two official archives of the Oxford-IIIT Pets, every photograph scaled as it is read.

images.tar.gz has images/NAME.jpg. annotations.tar.gz has annotations/trimaps/NAME.png, whose labels are
1 pet, 2 background and 3 boundary, and the splits annotations/trainval.txt and annotations/test.txt, a line
for each photograph that begins with its name. Both may have been unpacked into folders of these names.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from refca.data.archives import read_files
from refca.data.photographs import Photographs, in_order
from refca.data.pictures import opened, rgb
from refca.errors import InvalidInput

LISTS = {"train": "annotations/trainval.txt", "test": "annotations/test.txt"}
LABELS = np.array([255, 1, 0, 2], np.uint8)  # refca's, of the official 1, 2 and 3

Place = tuple[str, int]  # a split, and the index of a photograph in it


def read_archives(
    images: Path,
    annotations: Path,
    size: int,
    *,
    original: bool = False,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> dict[str, Photographs]:
    """The splits at size×size, each in the order of `in_order`.

    Whole photographs are stretched to the square, bilinear with antialiasing; of a trimap it is the nearest
    pixel. A trimap must have the size of its photograph, unless the archives are the original ones.
    `on_progress` is called with the number of photographs read and of all.
    Raises InvalidInput, naming the archive, if one cannot be read, is damaged or lacks something.
    """
    splits = {split: blank(names, size) for split, names in read_lists(annotations).items()}
    places = {name: (split, i) for split in splits for i, name in enumerate(splits[split].names)}
    pixel_sizes: dict[str, tuple[int, int]] = {}
    for name, content, what in each(annotations, "annotations/trimaps/{}.png", places):
        split, i = places[name]
        splits[split].trimaps[i], pixel_sizes[name] = trimap(content, what, size)
    for done, (name, content, what) in enumerate(each(images, "images/{}.jpg", places), 1):
        split, i = places[name]
        splits[split].pixels[i], found = pixels(content, what, size)
        if found != pixel_sizes[name] and not original:
            raise InvalidInput(
                f"{what} has {found[0]}x{found[1]} pixels and its trimap "
                f"{pixel_sizes[name][0]}x{pixel_sizes[name][1]}; they must have the same size"
            )
        on_progress(done, len(places))
    return splits


def read_lists(annotations: Path) -> dict[str, list[str]]:
    """The names in the lists of each split. Raises InvalidInput if a list is missing or names one twice."""
    files = dict(read_files(annotations, set(LISTS.values()).__contains__))
    names = {split: listed(files, path, annotations) for split, path in LISTS.items()}
    both = set(names["train"]) & set(names["test"])
    if both:
        raise InvalidInput(
            f"{annotations} names {len(both)} photographs in both lists, such as {min(both)}; a photograph is "
            "either for training or for the test"
        )
    return names


def listed(files: dict[str, bytes], path: str, archive: Path) -> list[str]:
    """The names in a list of photographs, in the order of `in_order`. Raises InvalidInput if there are none."""
    lines = files.get(path, b"").decode("utf-8-sig", "replace").splitlines()
    names = [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]
    if not names:
        raise InvalidInput(f"{archive} has no {path}, or one that names no photograph; get it again")
    if len(set(names)) < len(names):
        raise InvalidInput(f"{archive} names a photograph twice in {path}; get it again")
    return in_order(names)


def each(source: Path, pattern: str, places: dict[str, Place]) -> Iterator[tuple[str, bytes, str]]:
    """For each photograph its name, and a file's content and description; the file is `pattern` of the name.

    Raises InvalidInput after the last if a photograph has no file, and for a file that is there twice.
    """
    files, missing = {pattern.format(name): name for name in places}, set(places)
    for file, content in read_files(source, files.__contains__):
        name = files[file]
        if name not in missing:
            raise InvalidInput(f"{source} holds {file} twice; get it again")
        missing.remove(name)
        yield name, content, f"{file} in {source}"
    if missing:
        raise InvalidInput(
            f"{source} lacks {len(missing)} of the {len(places)} files it should have, such as "
            f"{pattern.format(min(missing))}; get it again"
        )


def blank(names: list[str], size: int) -> Photographs:
    """Photographs of these names, their pixels not yet written."""
    N = len(names)
    return Photographs(np.zeros((N, size, size, 3), np.uint8), np.zeros((N, size, size), np.uint8), tuple(names))


def pixels(content: bytes, what: str, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A photograph, stretched: (size, size, 3) uint8, and its own width and height. Raises InvalidInput."""
    from PIL.Image import Resampling

    picture = rgb(opened(content, what), what)
    return np.asarray(picture.resize((size, size), Resampling.BILINEAR)), picture.size


def trimap(content: bytes, what: str, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A trimap, stretched: (size, size) uint8 with refca's labels, and its own width and height.

    Raises InvalidInput.
    """
    from PIL.Image import Resampling

    picture = opened(content, what)
    labels = np.asarray(picture)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise InvalidInput(f"{what} is not a trimap: it has {picture.mode} pixels, not one number for each")
    if not 1 <= labels.min() <= labels.max() <= 3:
        wrong = labels.max() if labels.max() > 3 else labels.min()
        raise InvalidInput(f"{what} holds the label {wrong}; labels are 1 pet, 2 background, 3 boundary")
    return LABELS[np.asarray(picture.resize((size, size), Resampling.NEAREST))], picture.size
