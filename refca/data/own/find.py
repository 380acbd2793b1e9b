"""Finding out what data is at a path, checking it, and loading it.

`found_at` looks at data that nothing is known of and returns settings; `load_own` loads data with the settings
that a run keeps, and so in the same way wherever it is used again.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refca.data.dataset import Dataset, Split
from refca.data.own import arrays, pictures
from refca.data.own.layout import (
    Labelled,
    class_folders,
    folders_left_out,
    label_list,
    masked,
    numbered_names,
)
from refca.data.own.masks import check_written, looks_drawn
from refca.data.own.orientation import orientation
from refca.data.own.pairing import class_sizes, masked_count, paired, some
from refca.data.own.remedies import is_archive, remedy_at, several_classes_below, unread_pictures
from refca.data.own.settings import OwnSettings
from refca.data.photographs import IGNORED, Photographs, picture_of
from refca.doubts import faint
from refca.errors import InvalidInput

OnProgress = Callable[[int, int], object]
CLASSIFICATION = "classification"
LOOKED_AT = 8  # pictures of a class that are decoded to see whether they are masks
LAST: dict[Any, Dataset[Any]] = {}
OR_CLASSES = "but a second class, train with --experiment own-classification"
NONE_TO_TRAIN_ON = "has no pictures left to train on; refca.train holds fewer out with a smaller --split"
NONE_TO_TEST = "has no test pictures; refca.train holds some out with --split (copies of one picture stay together)"


@dataclass(frozen=True)
class Found:
    """The data found at a path: fitting settings of an experiment, a description in words, and warnings."""

    kind: str
    settings: dict[str, Any]
    description: tuple[str, ...]
    warnings: tuple[str, ...]


def kind_at(path: str, wanted: str | None = None) -> str:
    """Return the kind of the data at a path, "classification" or "segmentation"; `wanted` where it may be both.

    Raises InvalidInput, saying what layouts are known, for a path where neither is.
    """
    check_exists(path)
    file = Path(path)
    if file.suffix.lower() == ".npz":
        return arrays.npz_kind(file)
    if file.is_dir() and arrays.idx_files(file):
        return "classification"
    if wanted == CLASSIFICATION and may_be_two_classes(path):
        return CLASSIFICATION
    if masked(path):
        return "segmentation"
    if "::" not in path and labelled_files(file):
        return CLASSIFICATION
    if file.suffix.lower() == ".csv":
        raise InvalidInput(f"{path} has no samples{remedy_at(file)}")
    if is_archive(file):
        raise InvalidInput(f"{path} is packed; unpack it first, and name the folder")
    raise InvalidInput(
        f"{path} has none of the known layouts: a folder for each class; names such as cat.1.jpg; IDX files; images "
        "and masks in two folders, or side by side as a.jpg and a_mask.png; a CSV with the columns image and mask, or "
        "file and label; an .npz with images and labels or masks; or --dataset IMAGES::MASKS, two folders or patterns"
        f"{'' if '::' in path else remedy_at(file)}"
    )


def may_be_two_classes(path: str) -> bool:
    """Return whether pictures and masks at a path could also be two classes: two folders, or two words in names."""
    folder = Path(path)
    listed = (class_folders(folder) or numbered_names(folder)) if folder.is_dir() else None
    return len({item.label for item in listed or ()}) == 2


def check_exists(path: str) -> None:
    """Raise InvalidInput if there is nothing at a path."""
    if "::" not in path and not Path(path).exists():
        raise InvalidInput(f"{path} does not exist; name a folder, an .npz or .csv file, or IMAGES::MASKS")


def labelled_files(path: Path) -> list[Labelled] | None:
    """Return the pictures with a label each that a table lists, or that folders or names say."""
    if found := label_list(path):
        return found
    return (class_folders(path) or numbered_names(path)) if path.is_dir() else None


def found_at(
    path: str,
    given: Mapping[str, Any],
    on_progress: OnProgress = lambda done, total: None,
    kind: str | None = None,
) -> Found:
    """Return what is at a path. `given` are settings that the user has decided on, `kind` is its kind if it is known.

    Raises InvalidInput, with the names of the first offending files, for data that cannot be learned from.
    """
    kind = kind or kind_at(path)
    wanted = {name: given[name] for name in OwnSettings.__dataclass_fields__ if name in given}
    check_written(wanted.get("mask_values", ()))
    describe = {"classification": describe_classes, "segmentation": describe_masks}[kind]
    settings, description = describe(path, wanted, on_progress)
    own = OwnSettings(**{k: v for k, v in settings.items() if k in OwnSettings.__dataclass_fields__} | wanted)
    if len(own.classes) != len(settings["classes"]):
        names = ", ".join(settings["classes"])
        raise InvalidInput(
            f"{path} has {len(settings['classes'])} classes, {names}; --classes names {len(own.classes)}: "
            f"{', '.join(own.classes)}"
        )
    looked = kind != CLASSIFICATION  # describe_masks has read all masks: the first half of the progress
    dataset = load_own(path, own, kind, lambda done, total: on_progress(done + looked * total, total + looked * total))
    counted, warnings = checked(dataset, own, kind)
    if kind == CLASSIFICATION:
        warnings += folders_left_out(Path(path))
    elif may_be_two_classes(path) and all(looks_drawn(pair.file) for pair in (masked(path) or [])[:LOOKED_AT]):
        warnings.append(f"the pictures look like masks too; if the masks are none, {OR_CLASSES}")
    if "::" not in path and (unread := unread_pictures(Path(path))):
        warnings.append(unread)
    settings |= {name: getattr(own, name) for name in OwnSettings.__dataclass_fields__}
    settings |= {"dataset": path, "labels": len(own.classes), "validation": dataset.validation}
    return Found(kind, settings, (*description, *counted), tuple(warnings))


def describe_classes(path: str, wanted: Mapping[str, Any], on_progress: OnProgress) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of data with a label for each picture, and what was found in words."""
    if whole := arrays.labelled(Path(path)):
        some_pixels, names, how = whole.sample(), whole.names, whole.how
        sizes = {whole.size}
    else:
        listed = listed_classes(path)
        check_not_masks(Path(path), listed)
        names = sorted(dict.fromkeys(item.label for item in listed), key=natural)
        counts = Counter(item.label for item in listed)
        some_pixels, sizes = pictures.sample([item.file for item in listed])
        how = f"{len(listed)} pictures in {len(names)} classes: {class_sizes({name: counts[name] for name in names})}"
    channels = wanted.get("channels") or channels_found(some_pixels)
    settings: dict[str, Any] = {"classes": tuple(names), "channels": int(channels)}
    settings["size"] = common_size(sizes, 48)
    gray = [pictures.channels_of(x, 1)[..., 0] for x in some_pixels]
    dark, bright, live = pictures.ink_of(gray)
    settings["invert"] = bool(channels == 1 and bright > 0.6)
    drawn = channels == 1 and (dark > 0.6 or bright > 0.6)
    settings["alive_above"] = 0.1 if drawn and live else None
    description = [
        how,
        f"{size_words(sizes)}, used at {wanted.get('size', settings['size'])}x{wanted.get('size', settings['size'])}",
        "gray" if channels == 1 else f"{channels} channels",
    ]
    if settings["invert"] and "invert" not in wanted:
        description.append("dark on light: inverted")
    description.append("cells live where there is ink" if settings["alive_above"] else "all cells live")
    return settings, description


def describe_masks(path: str, wanted: Mapping[str, Any], on_progress: OnProgress) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of data with a label for each pixel, and what was found in words."""
    from refca.data.own.masks import find_masks

    ignore, named = wanted.get("ignore"), len(wanted.get("classes", ()))
    if Path(path).suffix.lower() == ".npz":
        whole = arrays.masked_arrays(Path(path))
        some_pixels, sizes = whole.sample(), {whole.size}
        masks, how = whole.masks(ignore, named), whole.how
    else:
        pairs = masked(path) or []
        done = iter(range(1, len(pairs) + 1))
        try:
            masks = find_masks(pairs, ignore, lambda: on_progress(next(done), 2 * len(pairs)), named_classes=named)
        except InvalidInput as error:
            if may_be_two_classes(path):
                raise InvalidInput(f"{error}; if these are no masks, {OR_CLASSES}") from error
            raise
        some_pixels, sizes = pictures.sample([pair.file for pair in pairs])
        how = masked_count(len(pairs))
    channels = wanted.get("channels") or channels_found(some_pixels)
    settings: dict[str, Any] = {"classes": masks.classes, "colours": masks.colours, "channels": int(channels)}
    settings |= {"mask_values": masks.values, "ignore": masks.ignore, "size": common_size(sizes, 48)}
    if "classes" in wanted and len(wanted["classes"]) == len(masks.classes):
        settings["classes"] = wanted["classes"]
    side = wanted.get("size", settings["size"])
    used = f"cut into tiles of {side}x{side}" if wanted.get("tiles") else f"used at {side}x{side}"
    description = [
        how,
        masks.description,
        f"{size_words(sizes)}, {used}",
        "gray" if channels == 1 else f"{channels} channels",
    ]
    description.append(f"classes {', '.join(settings['classes'])}")
    if masks.ignore >= 0:
        description.append(f"the value {masks.ignore} is ignored")
    return settings, description


def channels_found(pictures: list[np.ndarray]) -> int:
    """Return how many channels pictures have: 1 if all are gray, whatever their files say; 3 with transparency."""
    most = max(1 if gray_in_colour(x) else x.shape[-1] for x in pictures)
    return 3 if most == 4 else most


def gray_in_colour(pixels: np.ndarray) -> bool:
    """Return whether a picture in colours has gray alone."""
    return pixels.shape[-1] == 3 and bool(np.abs(pixels - pixels[..., :1]).max() < 0.02)


def listed_classes(path: str) -> list[Labelled]:
    """Return the labelled pictures at a path. Raises InvalidInput for one class alone, and a class with one picture."""
    listed = labelled_files(Path(path)) or []
    counts = Counter(item.label for item in listed)
    if not counts:
        raise InvalidInput(f"{path} has no pictures with a label each{remedy_at(Path(path))}")
    if len(counts) < 2:
        raise InvalidInput(
            f"{path} has only one class, {', '.join(counts)}; classification needs at least two"
            f"{several_classes_below(Path(path)) or remedy_at(Path(path))}"
        )
    alone = [item for item in listed if counts[item.label] == 1]
    if alone:
        raise InvalidInput(
            f"the class {alone[0].label} has one picture, {alone[0].file}: too few to learn from and to "
            f"test; add more, or "
            "leave it out"
        )
    return listed


def check_not_masks(path: Path, listed: list[Labelled]) -> None:
    """Raise InvalidInput if two classes without a table look like pictures and their masks.

    The names of their files pair up, and the files of only one class have few distinct values, as masks do.
    """
    labels = sorted({item.label for item in listed})
    if len(labels) != 2 or not path.is_dir() or label_list(path):
        return
    for part in {item.part for item in listed}:
        one, other = ([item.file for item in listed if (item.label, item.part) == (x, part)] for x in labels)
        try:
            paired(one, other, part, str(path))
        except InvalidInput:
            return
    step = -(-len(listed) // (2 * LOOKED_AT))
    drawn = {x: {looks_drawn(item.file) for item in listed[::step] if item.label == x} for x in labels}
    images, masks = sorted(labels, key=lambda label: True in drawn[label])
    if drawn[images] != {False} or drawn[masks] != {True}:
        return
    parts = any(item.part for item in listed)
    folders = all((path / label).is_dir() for label in labels)
    pattern = "" if folders else "*"
    remedy = (
        "name their folders images and masks"
        if parts
        else f"say --dataset '{path / images}{pattern}::{path / masks}{pattern}'"
    )
    raise InvalidInput(
        f"{path} has the classes {images} and {masks}, whose files have the same names and look like pictures and "
        f"masks; if they are, {remedy}; if they are classes, give the files of one class other names or numbers"
    )


def natural(name: str) -> tuple[int, int, str]:
    """Order names that are numbers by their number, before other names."""
    return (0, int(name), name) if name.isdecimal() else (1, 0, name)


def common_size(sizes: set[tuple[int, int]], default: int) -> int:
    """Return the side that pictures are used at: their own if it is small and all have it, else the default."""
    if len(sizes) == 1:
        height, width = next(iter(sizes))
        if height == width <= 64:
            return height
    return default


def size_words(sizes: set[tuple[int, int]]) -> str:
    """Return the sizes of pictures in words."""
    listed = sorted(sizes)
    words = ", ".join(f"{width}x{height}" for height, width in listed[:3])
    return words if len(listed) <= 3 else f"{words} and {len(listed) - 3} other sizes"


def load_own(
    path: str, own: OwnSettings, kind: str, on_progress: OnProgress = lambda done, total: None
) -> Dataset[Any]:
    """Return the dataset at a path, as these settings have it. Raises InvalidInput for damaged data.

    The last one is remembered: who finds out what is there loads it too.
    """
    check_exists(path)
    key = path, own, kind, stamp(path)
    if key not in LAST:
        LAST.clear()
        LAST[key] = (load_classes if kind == CLASSIFICATION else load_masks)(path, own, on_progress)
    return LAST[key]


def stamp(path: str) -> tuple[int, int]:
    """Return how many files are at a path, and when the newest was changed."""
    times = [0, *(file.stat().st_mtime_ns for file in files_of(path) if file.exists())]
    return len(times), max(times)


def files_of(path: str) -> Iterator[Path]:
    """Yield the files in a folder or matching a pattern, or a table and the files that it lists."""
    for part in path.split("::"):
        folder = Path(part)
        if folder.is_dir():
            yield from folder.rglob("*")
        elif folder.suffix.lower() == ".csv":
            yield folder
            yield from (item.file for item in label_list(folder) or ())
            yield from (file for pair in masked(path) or () for file in (pair.file, *pair.masks))
        else:
            yield from map(Path, glob.glob(part, recursive=True))


def load_classes(path: str, own: OwnSettings, on_progress: OnProgress) -> Dataset[Split]:
    """Return pictures with a label each. Raises InvalidInput for classes that are not among the settings'."""
    if whole := arrays.labelled(Path(path)):
        if own.classes and len(whole.names) > len(own.classes):
            raise InvalidInput(
                f"{path} has labels up to {whole.names[-1]}, but there are {len(own.classes)} classes: "
                f"{', '.join(own.classes)}"
            )
        pixels, labels, parts, names = whole.load(own)
        files: tuple[Path, ...] = ()
    else:
        listed = listed_classes(path)
        present = sorted({item.label for item in listed}, key=natural)
        check_known(path, present, own.classes or present)
        numbers = {name: i for i, name in enumerate(own.classes or present)}
        labels = np.array([numbers[item.label] for item in listed], np.int64)
        parts, names = [item.part for item in listed], [item.name for item in listed]
        files = tuple(item.file for item in listed)
        pixels = pictures.load_all(files, own, on_progress)
    train, test = divided(parts, names, names, labels, own.split, pixels)
    if pixels.shape[-1] == 1:
        pixels = pixels[..., 0]

    def part(chosen: np.ndarray, missing: str) -> Split | str:
        if not len(chosen):
            return f"{path} {missing}"
        return Split(pixels[chosen], labels[chosen], 255, tuple(files[i] for i in chosen) if files else ())

    return Dataset(
        path, part(train, NONE_TO_TRAIN_ON), part(test, NONE_TO_TEST), int((complete_parts(parts) == "val").sum())
    )


def check_known(path: str, present: Sequence[str], classes: Sequence[str]) -> None:
    """Raise InvalidInput, naming the first, for classes at a path that are not among those expected."""
    others = [name for name in present if name not in classes]
    if others:
        raise InvalidInput(f"{path} has the class {others[0]}, but the classes are {', '.join(classes)}")


def load_masks(path: str, own: OwnSettings, on_progress: OnProgress) -> Dataset[Photographs]:
    """Return pictures with a label for each pixel."""
    if Path(path).suffix.lower() == ".npz":
        pixels, labels, parts, names = arrays.masked_arrays(Path(path)).load(own)
    else:
        pairs = masked(path)
        if not pairs:
            raise InvalidInput(f"{path} has no pictures with masks")
        pixels, labels, parts, names = pictures.load_pairs(pairs, own, on_progress)
    wholes = list(map(picture_of, names)) if own.tiles else names
    train, test = divided(parts, names, wholes, None, own.split, pixels)

    def part(chosen: np.ndarray, missing: str) -> Photographs | str:
        if not len(chosen):
            return f"{path} {missing}"
        return Photographs(pixels[chosen], labels[chosen], tuple(names[i] for i in chosen), own.classes, own.colours)

    return Dataset(
        path, part(train, NONE_TO_TRAIN_ON), part(test, NONE_TO_TEST), int((complete_parts(parts) == "val").sum())
    )


def divided(
    parts: list[str],
    names: list[str],
    wholes: list[str],
    labels: np.ndarray | None,
    split: float,
    pixels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the samples to train on and of those held out.

    `wholes` has the name of the picture that each sample is, or is a tile of.
    The data's own parts are kept, with those for validation at the end of those to train on. Without a test part a
    fraction of each class is held out, chosen by a hash of the names, so that it is the same everywhere; copies of
    one picture, and the tiles of one, stay together.
    """
    known = complete_parts(parts)
    if (known == "test").any():
        numbers = [ordered(np.flatnonzero(chosen), names) for chosen in (known == "train", known == "val")]
        return np.concatenate(numbers), ordered(np.flatnonzero(known == "test"), names)
    groups: dict[str, list[int]] = {}
    first_of: dict[bytes, str] = {}
    for i, whole in enumerate(wholes):
        content = first_of.setdefault(hashlib.md5(pixels[i].tobytes(), usedforsecurity=False).digest(), whole)
        groups.setdefault(content if whole == names[i] else whole, []).append(i)
    held: list[int] = []
    for label in [None] if labels is None else sorted(set(labels.tolist())):
        mine = [key for key, members in groups.items() if label is None or labels[members[0]] == label]  # type: ignore[index]
        mine.sort(key=by_hash)
        count = max(1, round(split * len(mine))) if split > 0 and len(mine) > 1 else 0
        held += [i for key in mine[:count] for i in groups[key]]
    test = np.array(sorted(held), int)
    return ordered(np.setdiff1d(np.arange(len(names)), test), names), ordered(test, names)


def complete_parts(parts: list[str]) -> np.ndarray:
    """Return "train", "val" or "test" for each sample, (N,); samples for validation are "test" where none are."""
    known = np.array(parts)
    known = np.where(known == "", "train", known)
    return known if (known == "test").any() else np.where(known == "val", "test", known)


def by_hash(name: str) -> bytes:
    """Return a key that sorts names in an order that is the same everywhere and has nothing to do with them."""
    return hashlib.md5(os.fsencode(name), usedforsecurity=False).digest()


def ordered(numbers: np.ndarray, names: list[str]) -> np.ndarray:
    """Return numbers of samples shuffled by a hash of their names, so that the first are a fair sample."""
    return np.array(sorted(numbers.tolist(), key=lambda i: by_hash(names[i])), int)


def checked(dataset: Dataset[Any], own: OwnSettings, kind: str) -> tuple[list[str], list[str]]:
    """Return how many samples there are, in words, and warnings. Raises InvalidInput for data without a class."""
    train, test = dataset.train, dataset.held_out
    sizes = {"to train on": len(train) - dataset.validation, "for validation": dataset.validation}
    sizes["held out"] = 0 if isinstance(test, str) else len(test)
    counted = [", ".join(f"{size:,} {what}" for what, size in sizes.items() if size or what != "for validation")]
    warning = None if kind == CLASSIFICATION else faint(train.pixels.max() / 255)  # `digits.training` looks at its own
    warnings = [warning] if warning else []
    if isinstance(test, str) and own.split > 0:
        warnings.append("there are too few pictures to hold any out, so that refca.evaluate cannot measure the run")
    hashes = {hashlib.md5(x.tobytes()).digest() for x in train.pixels}
    held_out = [] if isinstance(test, str) else list(test.pixels)
    same = [i for i, x in enumerate(held_out) if hashlib.md5(x.tobytes()).digest() in hashes and x.any()]
    if same:
        are = "is" if len(same) == 1 else "are"
        names = [name_of(dataset.test, i) for i in same]
        warnings.append(f"{len(same)} of the pictures held out {are} among those to train on too: {some(names)}")
    if kind != CLASSIFICATION:
        for number, name in enumerate(own.classes):
            if not any((x == number).any() for x in train.trimaps):
                if not isinstance(test, str) and any((x == number).any() for x in dataset.test.trimaps):
                    raise InvalidInput(f"no picture to train on has the class {name}; all of its pictures are held out")
                raise InvalidInput(
                    f"no picture to train on has the class {name} at {own.size}x{own.size}; try a larger "
                    f"--size, or --tiles"
                )
        empty = [train.names[i] for i, x in enumerate(train.trimaps) if not own.tiles and len(np.unique(x)) < 2]
        if empty:
            have = "1 mask has" if len(empty) == 1 else f"{len(empty)} masks have"
            warnings.append(f"{have} one class alone, as empty masks do: {some(empty)}")
        ignored = np.mean([(x == IGNORED).mean() for x in train.trimaps])
        if ignored > 0.5:
            warnings.append(f"{ignored:.0%} of all pixels are ignored")
    else:
        way = orientation(train, own.classes)
        if way != "upright":
            warnings.append(
                f"the digits look {way}, as EMNIST's files have them; cells trained on them will not read upright "
                "digits: turn the pictures first"
            )
        present = set(train.labels.tolist())
        for number, name in enumerate(own.classes):
            if number not in present:
                raise InvalidInput(f"no picture to train on is of the class {name}; all of its pictures are held out")
    return counted, warnings


def name_of(samples: Any, i: int) -> str:
    """Return the name of a sample, the path of its file, or its number if it is from an array."""
    if isinstance(samples, Photographs):
        return samples.names[i]
    return str(samples.files[i]) if samples.files else f"number {i}"
