"""Finding the files at a path that belong together: pictures with their labels, or with their masks.

Nothing is decoded here. Each function returns None for a path that is laid out in another way.
"""

from __future__ import annotations

import csv
import glob
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from refca.data.inputs import PICTURES
from refca.errors import InvalidInput
from refca.reading import reading

IMAGE_FOLDERS = ("images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "inputs", "input", "x", "raw")
MASK_FOLDERS = (
    *("masks", "mask", "labels", "label", "annotations", "segmentation", "segmentations", "segmentationclass", "gt"),
    *("groundtruth", "ground_truth", "trimaps", "targets", "target", "y", "instances"),
)
PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= {"val": "test", "valid": "test", "validation": "test"}
MASK_WORDS = "mask|masks|seg|segmentation|label|labels|gt|groundtruth|annotation|trimap"
MASK_SUFFIX = re.compile(rf"^(?P<stem>.+?)[ ._-]+({MASK_WORDS})$|^({MASK_WORDS})[ ._-]+(?P<stem2>.+)$", re.IGNORECASE)
IMAGE_SUFFIX = re.compile(r"^(?P<stem>.+?)[ ._-]+(image|img|raw|photo|picture|rgb|sat|input)$", re.IGNORECASE)
SHOWN = 3  # names of offending files in a message


@dataclass(frozen=True)
class Labelled:
    """A picture and the name of its class."""

    file: Path
    label: str
    part: str  # "train" or "test"; "" if nothing says it
    name: str


@dataclass(frozen=True)
class Masked:
    """A picture and its mask; of several files each shows one thing."""

    file: Path
    masks: tuple[Path, ...]
    part: str
    name: str


def some(names: Iterable[object]) -> str:
    """Return the first names, and how many more there are."""
    listed = list(map(str, names))
    more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


def is_picture(path: Path) -> bool:
    """Return whether a file's suffix is one of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder and those below it, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if is_picture(path))


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def parts_of(folder: Path) -> dict[str, Path]:
    """Return the folders of the parts, train and test, of a dataset; of no parts the folder itself as ""."""
    found = {path.name.lower(): path for path in folders_in(folder) if path.name.lower() in PARTS}
    names = list(found)
    if not any(PARTS[name] == "train" for name in names):
        return {"": folder}
    tests = [name for name in ("test", "testing", "val", "valid", "validation") if name in names]
    parts = {"train": next(found[name] for name in names if PARTS[name] == "train")}
    return parts | ({"test": found[tests[0]]} if tests else {})


# a label for each picture


def class_folders(folder: Path) -> list[Labelled] | None:
    """The pictures of a folder that has a folder for each class, also in train and test."""
    found = []
    for part, below in parts_of(folder).items():
        for class_folder in folders_in(below):
            for file in pictures_in(class_folder):
                found.append(Labelled(file, class_folder.name, part, str(file.relative_to(folder))))
    return found or None


def label_list(folder: Path) -> list[Labelled] | None:
    """The pictures that a CSV with the columns file and label lists: a file labels.csv, or this file."""
    path = folder if folder.suffix.lower() == ".csv" else folder / "labels.csv"
    rows = read_csv(path, "file", "label") if path.is_file() else None
    if rows is None:
        return None
    missing = [row["file"] for row in rows if not (path.parent / row["file"]).is_file()]
    if missing:
        raise InvalidInput(f"{path} lists files that are not there: {some(missing)}")
    return [Labelled(path.parent / row["file"], row["label"], part_of(row), row["file"]) for row in rows]


def part_of(row: dict[str, str]) -> str:
    """Return the part that a row of a CSV names in its column split."""
    return PARTS.get((row.get("split") or "").strip().lower(), "")


def read_csv(path: Path, *columns: str) -> list[dict[str, str]] | None:
    """Return the rows of a CSV that has these columns, names in lower case; None if it has others."""
    with reading(path, "a CSV file"), path.open(newline="", encoding="utf-8-sig") as file:
        text = file.read()
        delimiter = ";" if text.partition("\n")[0].count(";") > text.partition("\n")[0].count(",") else ","
        rows = [
            {(key or "").strip().lower(): (value or "").strip() for key, value in row.items() if isinstance(value, str)}
            for row in csv.DictReader(text.splitlines(), delimiter=delimiter)
        ]
    return rows if rows and all(column in rows[0] for column in columns) else None


# a label for each pixel


def masked(path: str) -> list[Masked] | None:
    """The pictures and masks at a path, in any layout that is known; None if it is none.

    Raises InvalidInput for pictures without masks, masks without pictures and names that are not unique.
    """
    if "::" in path:
        images, _, masks = path.partition("::")
        return paired(files_at(images), files_at(masks), "", path)
    folder = Path(path)
    if folder.suffix.lower() == ".csv":
        return pair_list(folder)
    if not folder.is_dir():
        return None
    ways: tuple[Callable[[Path], list[Masked] | None], ...] = (pair_folders, instance_folders, side_by_side)
    for way in ways:
        if found := way(folder):
            return found
    pairs = folder / "pairs.csv"
    return pair_list(pairs) if pairs.is_file() else None


def files_at(text: str) -> list[Path]:
    """Return the pictures of a folder, or the files of a pattern. Raises InvalidInput if there are none."""
    folder = Path(text)
    files = pictures_in(folder) if folder.is_dir() else sorted(map(Path, glob.glob(text, recursive=True)))
    files = [file for file in files if file.is_file()]
    if not files:
        raise InvalidInput(f"no pictures are at {text}")
    return files


def named_like(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the folder in another one that has the first of these names, in any case; None if none has."""
    below = {path.name.lower(): path for path in folders_in(folder)}
    return next((below[name] for name in names if name in below), None)


def pair_folders(folder: Path) -> list[Masked] | None:
    """Two folders, as images and masks; in each of train and test if there are such folders."""
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        images, masks = named_like(below, IMAGE_FOLDERS), named_like(below, MASK_FOLDERS)
        if images and masks and set(parts_of(images)) != {""}:
            return swapped(folder)
        if images is None or masks is None:
            if masks is not None and images is None and any(map(is_picture, below.iterdir())):
                images = below
            else:
                return None
        files = pictures_in(images) if images != below else sorted(filter(is_picture, below.iterdir()))
        found += paired(files, pictures_in(masks), part, str(below))
    return found or None


def swapped(folder: Path) -> list[Masked] | None:
    """Two folders with train and test below them: images/train, images/test, masks/train, masks/test."""
    images, masks = named_like(folder, IMAGE_FOLDERS), named_like(folder, MASK_FOLDERS)
    if images is None or masks is None:
        return None
    found: list[Masked] = []
    for part, below in parts_of(images).items():
        other = parts_of(masks).get(part)
        if other is None:
            raise InvalidInput(f"{below} has no folder of its masks in {masks}")
        found += paired(pictures_in(below), pictures_in(other), part, str(folder))
    return found


def instance_folders(folder: Path) -> list[Masked] | None:
    """A folder for each picture, in which images has one file and masks one for each thing."""
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        holders = [path for path in folders_in(below) if named_like(path, IMAGE_FOLDERS)]
        if not holders:  # one folder more, as stage1_train
            holders = [path for outer in folders_in(below) for path in folders_in(outer)]
            holders = [path for path in holders if named_like(path, IMAGE_FOLDERS)]
        for holder in holders:
            images, masks = named_like(holder, IMAGE_FOLDERS), named_like(holder, MASK_FOLDERS)
            files = pictures_in(images) if images else []
            if masks is None or len(files) != 1 or not pictures_in(masks):
                raise InvalidInput(
                    f"{holder} must have one picture in {images} and its masks beside it, got {len(files)} pictures"
                )
            found.append(Masked(files[0], tuple(pictures_in(masks)), part, str(holder.relative_to(folder))))
    return found or None


def side_by_side(folder: Path) -> list[Masked] | None:
    """Pictures and masks in one folder, told apart by words in their names: a.jpg and a_mask.png."""
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        files = pictures_in(below)
        masks = [file for file in files if MASK_SUFFIX.match(file.stem)]
        images = [file for file in files if not MASK_SUFFIX.match(file.stem)]
        if not masks or len(masks) < len(images) / 2:
            return None
        found += paired(images, masks, part, str(below))
    return found or None


def pair_list(path: Path) -> list[Masked] | None:
    """The pairs that a CSV with the columns image and mask lists, and perhaps split; paths are relative to it."""
    rows = read_csv(path, "image", "mask")
    if rows is None:
        return None
    found = [Masked(path.parent / r["image"], (path.parent / r["mask"],), part_of(r), r["image"]) for r in rows]
    missing = [file for pair in found for file in (pair.file, *pair.masks) if not file.is_file()]
    if missing:
        raise InvalidInput(f"{path} lists files that are not there: {some(missing)}")
    return found


def paired(images: list[Path], masks: list[Path], part: str, where: str) -> list[Masked]:
    """Return pictures with the masks of the same name. Raises InvalidInput, with the first names, for others."""
    by_key: dict[str, list[Path]] = {}
    for mask in masks:
        by_key.setdefault(key_of(mask), []).append(mask)
    keys: dict[str, Path] = {}
    for image in images:
        if key_of(image) in keys:
            raise InvalidInput(
                f"{image} and {keys[key_of(image)]} have the same name, so that their masks cannot be told apart"
            )
        keys[key_of(image)] = image
    without = [image for key, image in keys.items() if key not in by_key]
    beyond = [files[0] for key, files in by_key.items() if key not in keys]
    remedy = "names must be equal, or end in _mask; a CSV with the columns image and mask says any pairs"
    if without:
        raise InvalidInput(f"{where}: {len(without)} pictures have no mask: {some(without)}; {remedy}")
    if beyond:
        raise InvalidInput(f"{where}: {len(beyond)} masks have no picture: {some(beyond)}; {remedy}")
    double = [files for files in by_key.values() if len(files) > 1]
    if double:
        raise InvalidInput(f"{where}: {double[0][0]} and {double[0][1]} are both masks of one picture")
    return [Masked(image, tuple(by_key[key]), part, str(image.name)) for key, image in keys.items()]


def key_of(path: Path) -> str:
    """Return what a picture and its mask have in common: the name without suffix and words as _mask."""
    stem = path.stem
    if match := MASK_SUFFIX.match(stem):
        stem = match["stem"] or match["stem2"]
    elif match := IMAGE_SUFFIX.match(stem):
        stem = match["stem"]
    return stem.lower()
