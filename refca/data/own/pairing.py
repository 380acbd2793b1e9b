"""Finding the mask of each picture by the names of both.

A picture and its mask have the same name, or names that differ by words such as _mask, or by what all names of one
kind begin or end with, such as _leftImg8bit and _gtFine_labelIds.
"""

from __future__ import annotations

import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from refca.data.own.words import IMAGE_WORDS, MASK_WORDS
from refca.errors import InvalidInput

MASK, IMAGE = "|".join(MASK_WORDS), "|".join(IMAGE_WORDS)
# at the beginning of a name fewer words mean a mask: target_1.png may be a picture of the class target
BEFORE = "masks|mask|maske|masque|seg|segmentation|labels|label|gt|groundtruth|annotation|trimap"
MASK_SUFFIX = re.compile(rf"^(?P<stem>.+?)[ ._-]+({MASK})$|^({BEFORE})[ ._-]+(?P<stem2>.+)$", re.IGNORECASE)
IMAGE_SUFFIX = re.compile(rf"^(?P<stem>.+?)[ ._-]+({IMAGE})$", re.IGNORECASE)
LOSSY = {".jpg", ".jpeg", ".jpe", ".jfif"}  # suffixes that masks seldom have
SHOWN = 3  # names of offending files in a message
SHOWN_CLASSES = 10
Key = Callable[[Path], str]


@dataclass(frozen=True)
class Masked:
    """A picture and its mask; of several files each shows one thing."""

    file: Path
    masks: tuple[Path, ...]
    part: str  # "train", "val" or "test"; "" if nothing says it
    name: str


def some(names: Iterable[object]) -> str:
    """Return the first names, and how many more there are."""
    listed = list(map(str, names))
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def class_sizes(sizes: Mapping[str, int]) -> str:
    """Return the first classes with the number of pictures that each has: "cat (8), dog (9)"."""
    words = [f"{name} ({size:,})" for name, size in sizes.items()]
    more = f" and {len(words) - SHOWN_CLASSES} more" if len(words) > SHOWN_CLASSES else ""
    return ", ".join(words[:SHOWN_CLASSES]) + more


def masked_count(count: int) -> str:
    """Return a number of pictures with masks in words."""
    return "1 picture with its mask" if count == 1 else f"{count} pictures with masks"


def paired(images: list[Path], masks: list[Path], part: str, where: str) -> list[Masked]:
    """Return pictures with the masks of the same name. Raises InvalidInput, with the first names, for others."""
    if len(images) == len(masks) == 1:
        return [Masked(images[0], (masks[0],), part, images[0].name)]
    ways = [(key_of, key_of), below(images, masks, key_of)]
    ways += [(without_affixes(images), without_affixes(masks))]
    ways += [below(images, masks, *ways[-1])]
    for of_image, of_mask in ways:
        by_key = {of_mask(mask): mask for mask in masks}
        keys = [of_image(image) for image in images]
        if len(by_key) == len(masks) == len(images) and set(keys) == set(by_key):
            named = zip(images, keys, names_of(images), strict=True)
            return [Masked(image, (by_key[key],), part, name) for image, key, name in named]
    raise mismatch(images, masks, where)


def names_of(images: list[Path]) -> list[str]:
    """Return the name of each picture in its data set: with its folder, if several have the same name."""
    counts = Counter(path.name for path in images)
    return [
        image.name if counts[image.name] == 1 else str(image.relative_to(os.path.commonpath(images)))
        for image in images
    ]


def mismatch(images: list[Path], masks: list[Path], where: str) -> InvalidInput:
    """Return the error that names pictures without masks, masks without pictures, or names that are not unique."""
    by_key: dict[str, list[Path]] = {}
    for mask in masks:
        by_key.setdefault(key_of(mask), []).append(mask)
    keys: dict[str, Path] = {}
    for image in images:
        if key_of(image) in keys:
            return InvalidInput(
                f"{image} and {keys[key_of(image)]} have the same name, so that their masks cannot be told apart"
            )
        keys[key_of(image)] = image
    without = [image for key, image in keys.items() if key not in by_key]
    beyond = [files[0] for key, files in by_key.items() if key not in keys]
    remedy = "names must be equal, or end in _mask; --dataset pairs.csv with the columns image and mask says any pairs"
    if without:
        return InvalidInput(f"{where}: {counted(without)} no mask: {some(without)}; {remedy}")
    if beyond:
        return InvalidInput(f"{where}: {counted(beyond, 'mask')} no picture: {some(beyond)}; {remedy}")
    double = next(files for files in by_key.values() if len(files) > 1)
    return InvalidInput(f"{where}: {double[0]} and {double[1]} are both masks of one picture")


def key_of(path: Path) -> str:
    """Return what a picture and its mask have in common: the name without suffix and words such as _mask."""
    stem = path.stem
    if match := MASK_SUFFIX.match(stem):
        stem = match["stem"] or match["stem2"]
    elif match := IMAGE_SUFFIX.match(stem):
        stem = match["stem"]
    return stem.lower()


def below(images: list[Path], masks: list[Path], of_image: Key, of_mask: Key | None = None) -> tuple[Key, Key]:
    """Return keys that also hold the folders below the one that all pictures, or all masks, are in."""

    def with_folder(paths: list[Path], key: Key) -> Key:
        root = os.path.commonpath([path.parent for path in paths]) if paths else ""
        return lambda path: f"{path.parent.relative_to(root)}/{key(path)}"

    return with_folder(images, of_image), with_folder(masks, of_mask or of_image)


def without_affixes(paths: list[Path]) -> Key:
    """Return a key: the name without the prefix and the suffix that all these names share; digits are kept."""
    stems = [path.stem.lower() for path in paths]
    prefix, suffix = common_start(stems), common_start([stem[::-1] for stem in stems])[::-1]
    return lambda path: path.stem.lower().removeprefix(prefix).removesuffix(suffix)


def common_start(texts: list[str]) -> str:
    """Return what all texts begin with, without digits at its end; "" for a single text."""
    if len(texts) < 2:
        return ""
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(min(texts), max(texts), strict=False))
    return "".join(letter for letter, _ in same).rstrip("0123456789")


def counted(names: Sequence[object], what: str = "picture") -> str:
    """Return how many there are, with the verb: "1 picture has", "2 pictures have"."""
    return f"1 {what} has" if len(names) == 1 else f"{len(names)} {what}s have"
