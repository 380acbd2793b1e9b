"""Finding the files at a path that belong together: pictures with their labels, or with their masks.

Nothing is decoded here. Each function returns None for a path that is laid out in another way.
"""

from __future__ import annotations

import csv
import glob
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from refca.data.inputs import PICTURES
from refca.data.own.pairing import LOSSY, MASK_SUFFIX, Masked, names_of, paired, some
from refca.data.own.words import IMAGE_FOLDERS, IMAGE_WORDS, MASK_FOLDERS, MASK_WORDS
from refca.errors import InvalidInput
from refca.reading import TABLE, reading

PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
PARTS |= {"val": "val", "valid": "val", "validation": "val", "dev": "val"}
PART_WORDS = "|".join(sorted(PARTS, key=len, reverse=True))
PART_NAME = re.compile(rf"^(?:(?P<part>{PART_WORDS})(?P<after>.*)|(?P<before>.+?)(?P<part2>{PART_WORDS}))$")
NUMBERED = re.compile(r"^(?P<word>.*?[^\W\d_]|\d(?=[ ._-])) *[._-]*\(?\d+\)?$")  # cat.12, dog (4), 7-3
CAMERA_WORDS = {"img", "image", "dsc", "dscn", "dscf", "pxl", "picture", "photo", "p", "frame", "scan", "slice"}
CAMERA_WORDS |= {"bild", "foto"}
COLUMNS = {  # the heading of a column of a CSV file, in other words
    "image": {"image", "img", "picture", "photo", "input", "imagefile", "imagepath", "imagename", "imgpath", "scan"},
    "mask": {"mask", "annotation", "segmentation", "gt", "groundtruth", "target", "maskfile", "maskpath", "maskname"},
    "file": {"file", "filename", "filepath", "path", "name", "image", "imagepath", "imagefile", "img", "picture"},
    "label": {"label", "class", "classname", "category", "target", "y", "species", "breed", "diagnosis"},
    "split": {"split", "part", "set", "subset", "fold"},
}
COLUMNS["file"] |= {"imagename", "imageid", "id"}
COLUMNS["image"] |= {"imageid", "id"}
COLUMNS["label"] |= {"labelfile", "labelpath"}
COLUMNS["mask"] |= {"segmentationpath", "annotationpath", "labelfile", "labelpath", "annotationfile", "labelmap"}


@dataclass(frozen=True)
class Labelled:
    """A picture and the name of its class."""

    file: Path
    label: str
    part: str  # "train", "val" or "test"; "" if nothing says it
    name: str


def is_picture(path: Path) -> bool:
    """Return whether a file's suffix is one of a picture; hidden files are none."""
    return path.suffix.lower() in PICTURES and not path.name.startswith(".") and path.is_file()


def pictures_in(folder: Path) -> list[Path]:
    """Return the pictures of a folder and those below it, in the order of their names."""
    return sorted(path for path in folder.rglob("*") if is_picture(path))


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def parts_of(folder: Path) -> dict[str, Path]:
    """Return the folders of the parts of a dataset, train, val and test; of no parts the folder itself as "".

    A folder val without one of test is the part test.
    """
    found: dict[str, Path] = {}
    for path in folders_in(folder):
        if part := PARTS.get(path.name.lower()):
            found.setdefault(part, path)
    if "train" not in found:
        return {"": folder}
    if "test" not in found and "val" in found:
        found["test"] = found.pop("val")
    return {part: found[part] for part in ("train", "val", "test") if part in found}


# a label for each picture


def class_folders(folder: Path) -> list[Labelled] | None:
    """The pictures of a folder that has a folder for each class, also in train and test."""
    found = []
    for part, below in class_parts(folder).items():
        for class_folder in folders_in(below):
            for file in pictures_in(class_folder):
                found.append(Labelled(file, class_folder.name, part, str(file.relative_to(folder))))
    return found or None


def class_parts(folder: Path) -> dict[str, Path]:
    """Return the parts of a folder of classes; none if train is itself a class, beside others and without folders."""
    parts = parts_of(folder)
    classes_below = any(has_pictures(below) for part in parts.values() for below in folders_in(part))
    return parts if classes_below or not beside_parts(folder) else {"": folder}


def beside_parts(folder: Path) -> list[Path]:
    """Return the folders with pictures whose names are no part's."""
    return [path for path in folders_in(folder) if path.name.lower() not in PARTS and has_pictures(path)]


def folders_left_out(path: Path) -> list[str]:
    """Return a warning for each kind of folder that gives no class: empty ones, and those outside train and test."""
    found = None if label_list(path) or not path.is_dir() else class_folders(path)
    if not found:
        return []
    parts = class_parts(path)
    names = {below.name for part in parts.values() for below in folders_in(part)}
    empty = sorted(names - {item.label for item in found})
    other = [] if "" in parts else [each.name for each in beside_parts(path)]
    return [
        *([f"folders left out because they have no pictures: {some(empty)}"] if empty else []),
        *([f"folders left out because they are not in {' or '.join(parts)}: {some(other)}"] if other else []),
    ]


def numbered_names(folder: Path) -> list[Labelled] | None:
    """The pictures of one folder, or of train and test, whose names are classes with numbers: cat.12.jpg, dog_3.jpg.

    There must be two classes at least, and two pictures of each; words that cameras write are no classes. A part test
    without any class in its names is left out: its pictures are there to predict on.
    Raises InvalidInput for a part test where some names have a class and some have none.
    """
    found, unlabelled = [], []
    for part, below in parts_of(folder).items():
        for file in sorted(filter(is_picture, below.iterdir())):
            match = NUMBERED.match(file.stem)
            if match and match["word"].lower() not in CAMERA_WORDS:
                found.append(Labelled(file, match["word"], part, str(file.relative_to(folder))))
            elif part == "test":
                unlabelled.append(file)
            else:
                return None
    counts = Counter(item.label for item in found)
    if len(counts) < 2 or min(counts.values()) < 2:
        return None
    if unlabelled and any(item.part == "test" for item in found):
        raise InvalidInput(
            f"{some([str(file) for file in unlabelled])} among the test pictures have no class in their names, as "
            f"{found[-1].file.name} has {found[-1].label}; rename them, or take them away"
        )
    return found


def label_list(folder: Path) -> list[Labelled] | None:
    """The pictures that a CSV with the columns file and label lists: a file labels.csv, or this file."""
    path = table_at(folder, "labels.csv")
    rows = read_csv(path, "file", "label") if path else None
    if path is None or rows is None:
        return None
    if path != folder and path.name.lower() != "labels.csv" and not lists_files(path, rows):
        return None  # a table of something else, such as the numbers and names of the classes
    check_complete(path, rows, "file", "label")
    files = files_listed(path, [row["file"] for row in rows])
    rows, files = each_once(path, rows, files, "file", "label")
    return [
        Labelled(file, row["label"], part_of(row, path), row["file"]) for row, file in zip(rows, files, strict=True)
    ]


def lists_files(table: Path, rows: list[dict[str, str]]) -> bool:
    """Return whether a table names at least a fifth of the pictures below its folder: numbers name some by chance."""
    root, by_stem = table.parent, cache(pictures_by_stem)

    def names_one(name: str) -> bool:
        below = (bool(candidates(place, name, by_stem)) for place in folders_in(root))
        return bool(candidates(root, name, by_stem)) or sum(below) == 1

    named = sum(names_one(row["file"]) for row in rows)
    return named > 0 and named >= len(pictures_in(root)) / 5


def files_listed(table: Path, names: list[str]) -> list[Path]:
    """Return the files that a table lists: by paths from it or from a folder beside it, perhaps without their endings.

    Windows' backslashes are read too. Raises InvalidInput for files that are not there, or lie in two folders.
    """
    by_stem = cache(pictures_by_stem)
    found = [[candidates(table.parent, name, by_stem) for name in names]]
    if all(len(files) == 1 for files in found[0]):
        return [file for (file,) in found[0]]
    places = [table.parent, *folders_in(table.parent)]
    found += [[candidates(place, name, by_stem) for name in names] for place in places[1:]]
    whole = [i for i, files in enumerate(found) if all(len(each) == 1 for each in files)]
    if len(whole) == 1:
        return [file for (file,) in found[whole[0]]]
    if whole:
        known = " and in ".join(places[i].name for i in whole)
        written = " or ".join(f"{places[i].name}/{names[0]}" for i in whole)
        raise InvalidInput(f"{table} lists files that are not there: {some(names)} are in {known}: write {written}")
    if all(any(len(files[i]) == 1 for files in found) for i in range(len(names))):
        used = [place.name for place, files in zip(places, found, strict=True) if any(files)]
        raise InvalidInput(
            f"{table} lists files that lie in several folders: {some(used)}; write the folder before each name, as in "
            f"{used[-1]}/NAME"
        )
    nearest = max(found, key=lambda files: sum(map(bool, files)))
    missing = [
        name + (f", which may be {' or '.join(file.name for file in files)}" if files else "")
        for name, files in zip(names, nearest, strict=True)
        if len(files) != 1
    ]
    raise InvalidInput(f"{table} lists files that are not there: {some(missing)}")


def candidates(folder: Path, name: str, by_stem: Callable[[Path], dict[str, list[Path]]]) -> list[Path]:
    """Return the files in a folder that a name in a table may mean: of this name, or else pictures of this stem."""
    path = folder / name.replace("\\", "/")
    exact = [each for each in (folder / name, path) if each.is_file()]
    return exact[:1] or by_stem(path.parent).get(path.name, [])


def pictures_by_stem(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures in a folder by their names without endings; none if there is no such folder."""
    found: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(filter(is_picture, folder.iterdir())) if folder.is_dir() else ():
        found[path.stem].append(path)
    return found


def each_once(
    table: Path, rows: list[dict[str, str]], files: list[Path], name: str, value: str
) -> tuple[list[dict[str, str]], list[Path]]:
    """Return the rows of a table, and their files, without those that repeat an earlier one.

    Raises InvalidInput, naming the file and the lines, for a file with two values or in two parts.
    """
    first: dict[str, dict[str, str]] = {}
    kept = []
    for row, file in zip(rows, files, strict=True):
        before = first.setdefault(os.path.normpath(file), row)
        if before is row:
            kept.append((row, file))
        for column in (value, "split"):
            if row.get(column) != before.get(column):
                raise InvalidInput(
                    f"{table} lists {row[name]} twice, with the {column} {before[column] or 'none'} in line "
                    f"{before['line']} and {row[column] or 'none'} in line {row['line']}; remove one of the lines"
                )
    return [row for row, _ in kept], [file for _, file in kept]


def table_at(folder: Path, name: str) -> Path | None:
    """Return the CSV file at a path: this file, the one of this name in the folder, or the only one there."""
    if folder.suffix.lower() == ".csv":
        return folder
    if not folder.is_dir():
        return None
    tables = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv")
    named = [path for path in tables if path.name.lower() == name]
    return named[0] if named else tables[0] if len(tables) == 1 else None


def part_of(row: dict[str, str], path: Path) -> str:
    """Return the part that a row of a CSV names in its column split, "" for none. Raises InvalidInput for others."""
    part = (row.get("split") or "").strip()
    if part and part.lower() not in PARTS:
        raise InvalidInput(
            f"{path} has the split {part}, and there are train, val and test; give that row one of these, or the "
            "column another heading if it means something else"
        )
    return PARTS.get(part.lower(), "")


def read_csv(path: Path, *columns: str) -> list[dict[str, str]] | None:
    """Return the rows of a CSV that has these columns, in these words or others of COLUMNS; None if it has others.

    Each row also has the number of its line in the file.
    """
    with reading(path, TABLE), path.open(newline="", encoding="utf-8-sig") as file:
        text = file.read()
        delimiter = max(",;\t", key=text.partition("\n")[0].count)
        table = csv.DictReader(text.splitlines(), delimiter=delimiter)
        names = {heading: re.sub("[^a-z]", "", heading.lower()) for heading in table.fieldnames or ()}
        wanted: dict[str, str] = {}
        for column in (*columns, "split"):
            exact = [heading for heading, name in names.items() if name == column]
            others = [heading for heading, name in names.items() if name in COLUMNS[column]]
            others.sort(key=lambda heading: names[heading] == "id")  # which may number the rows
            if free := [heading for heading in exact + others if heading not in wanted.values()]:
                wanted[column] = free[0]
        if not all(column in wanted for column in columns):
            return None
        rows = [
            {column: (row[heading] or "").strip() for column, heading in wanted.items()} | {"line": str(table.line_num)}
            for row in table
        ]
    return rows


def check_complete(table: Path, rows: list[dict[str, str]], *columns: str) -> None:
    """Raise InvalidInput, naming the line, for a row with an empty cell in one of these columns."""
    for row in rows:
        for column in columns:
            if not row[column]:
                raise InvalidInput(f"{table}: line {row['line']} has no {column}")


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
    ways: tuple[Callable[[Path], list[Masked] | None], ...]
    ways = (pair_list, pair_folders, part_folders, instance_folders, two_folders, side_by_side, same_names, one_ending)
    found = next((found for way in ways if (found := way(folder))), None)
    return found and told_apart(found)


def told_apart(pairs: list[Masked]) -> list[Masked]:
    """Return pairs with their parts in their names, if pictures of several parts have one name."""
    if len({pair.name for pair in pairs}) == len(pairs):
        return pairs
    return [replace(pair, name=f"{pair.part}/{pair.name}" if pair.part else pair.name) for pair in pairs]


def files_at(text: str) -> list[Path]:
    """Return the pictures of a folder, or the files of a pattern. Raises InvalidInput if there are none."""
    folder = Path(text)
    files = pictures_in(folder) if folder.is_dir() else sorted(map(Path, glob.glob(text, recursive=True)))
    files = [file for file in files if file.is_file()]
    if not files:
        raise InvalidInput(f"no pictures are at {text}")
    return files


def named_like(folder: Path, names: Iterable[str]) -> Path | None:
    """Return the folder with pictures in another one that has the first of these names, in any case, if any has."""
    below = {path.name.lower(): path for path in folders_in(folder) if has_pictures(path)}
    return next((below[name] for name in names if name in below), None)


def has_pictures(folder: Path) -> bool:
    """Return whether there is a picture in a folder or below it."""
    return any(map(is_picture, folder.rglob("*")))


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
    return paired_parts(parts_of(images), masks, folder)


def paired_parts(parts: dict[str, Path], masks: Path, folder: Path) -> list[Masked]:
    """The pictures of each part with the masks of the same part. Raises InvalidInput for a part without masks."""
    found: list[Masked] = []
    for part, below in parts.items():
        other = parts_of(masks).get(part)
        if other is None:
            raise InvalidInput(f"{below} has no folder of its masks in {masks}")
        found += paired(pictures_in(below), pictures_in(other), part, str(folder))
    return found


def part_folders(folder: Path) -> list[Masked] | None:
    """Two folders for each part, with both in their names: train_images, train_masks, test_images; train, trainannot.

    A part without masks is left out: its pictures are there to predict on.
    """
    kinds: dict[str, dict[bool, Path]] = defaultdict(dict)
    for path in filter(has_pictures, folders_in(folder)):
        match = PART_NAME.match(re.sub("[^a-z]", "", path.name.lower()))
        rest = match and (match["before"] or match["after"] or "")
        if match is None or (rest and rest not in IMAGE_WORDS + MASK_WORDS):
            continue
        kind = kinds[PARTS[match["part"] or match["part2"]]]
        if (rest in MASK_WORDS) in kind:
            return None  # two folders of pictures, or of masks
        kind[rest in MASK_WORDS] = path
    kinds = {part: kind for part, kind in kinds.items() if set(kind) == {False, True}}
    if "train" not in kinds or len(kinds) < 2:
        return None
    if "test" not in kinds:
        kinds["test"] = kinds.pop("val")
    found: list[Masked] = []
    for part, kind in kinds.items():
        pairs = paired(pictures_in(kind[False]), pictures_in(kind[True]), part, str(folder))
        found += [replace(pair, name=f"{kind[False].name}/{pair.name}") for pair in pairs]
    return found


def instance_folders(folder: Path) -> list[Masked] | None:
    """A folder for each picture, beside which, or in masks, there is one mask file, or one for each thing."""
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        holders = [path for path in folders_in(below) if is_holder(path)]
        if not holders:  # one folder more, as stage1_train
            holders = [path for outer in folders_in(below) for path in folders_in(outer) if is_holder(path)]
        for holder in holders:
            images, masks = named_like(holder, IMAGE_FOLDERS), named_like(holder, MASK_FOLDERS)
            files = pictures_in(images) if images else sorted(filter(is_picture, holder.iterdir()))
            drawn = pictures_in(masks) if masks else [file for file in files if is_mask_name(file)]
            files = [file for file in files if file not in drawn]
            if images and masks and len(files) > 1:  # a folder for each set of pictures
                pairs = paired(files, drawn, part, str(holder))
                found += [replace(pair, name=f"{holder.relative_to(folder)}/{pair.name}") for pair in pairs]
                continue
            if not drawn or len(files) != 1:
                raise InvalidInput(
                    f"{holder} must have one picture in {images or holder} and its masks beside it, got {len(files)} "
                    "pictures"
                )
            found.append(Masked(files[0], tuple(drawn), part, str(holder.relative_to(folder))))
    return found or None


def is_holder(folder: Path) -> bool:
    """Return whether a folder has one picture, in images or by itself, and its masks."""
    if named_like(folder, MASK_FOLDERS):
        return bool(named_like(folder, IMAGE_FOLDERS)) or len(list(filter(is_picture, folder.iterdir()))) == 1
    files = list(filter(is_picture, folder.iterdir()))
    return len(files) > 1 and sum(not is_mask_name(file) for file in files) == 1


def is_mask_name(path: Path) -> bool:
    """Return whether a file is called a mask: a_mask.png, or mask.png."""
    return bool(MASK_SUFFIX.match(path.stem)) or has_mask_word(path.stem)


def has_mask_word(name: str) -> bool:
    """Return whether one of the words of a name is one for masks: of gtFine, gt-fine and "GT fine" gt, or the whole."""
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return any(part.lower() in MASK_WORDS for part in [*parts, re.sub(r"\W", "", name)])


def two_folders(folder: Path) -> list[Masked] | None:
    """Two folders of which one has a word for masks in its name: train and train_masks, Scans and Segmentation maps."""
    filled = list(filter(has_pictures, folders_in(folder)))
    masks = [path for path in filled if has_mask_word(path.name)]
    images = [path for path in filled if path not in masks]
    if len(masks) != 1 or not images:
        return None
    if len(images) > 1:
        words = {part.lower() for part in re.findall("[A-Za-z]+", masks[0].name)}.difference(MASK_WORDS)
        named = {
            path: {part.lower() for part in re.findall("[A-Za-z]+", path.name)}.difference(IMAGE_WORDS)
            for path in images
        }
        images = [path for path in images if named[path] == words]
        if len(images) != 1:
            return None
    parts = parts_of(images[0])
    if set(parts) == {""}:
        return paired(pictures_in(images[0]), pictures_in(masks[0]), "", str(folder))
    return paired_parts(parts, masks[0], folder)


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


def same_names(folder: Path) -> list[Masked] | None:
    """Pictures and masks in one folder that differ by their suffixes alone: a.jpg and a.png.

    Raises InvalidInput if both could be the masks.
    """
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        kinds: dict[str, list[Path]] = defaultdict(list)
        for file in pictures_in(below):
            kinds[file.suffix.lower()].append(file)
        lossy = [suffix for suffix in kinds if suffix in LOSSY]
        stems = [sorted(str(file.with_suffix("")) for file in files) for files in kinds.values()]
        if len(kinds) != 2 or stems[0] != stems[1]:
            return None
        if len(lossy) != 1:
            one, two = kinds
            raise InvalidInput(
                f"{below} has a {one} and a {two} file of each name, and either could be the mask; say it with "
                f"--dataset '{below}/*{one}::{below}/*{two}', pictures first"
            )
        (masks,) = (files for suffix, files in kinds.items() if suffix not in lossy)
        found += paired(kinds[lossy[0]], masks, part, str(below))
    return found or None


def one_ending(folder: Path) -> list[Masked] | None:
    """Pictures and masks in one folder, where each mask is named after its picture, with one common ending: a, a_lab.

    The endings of files may differ. Nothing below the folder counts.
    """
    found: list[Masked] = []
    for part, below in parts_of(folder).items():
        files = {file.stem.lower(): file for file in sorted(filter(is_picture, below.iterdir()))}
        shortest = min(files, key=len, default="")
        endings = {stem.removeprefix(shortest) for stem in files if stem.startswith(shortest) and stem != shortest}
        for ending in sorted(ending for ending in endings if not re.search(r"\d", ending)):
            masks = {stem.removesuffix(ending): file for stem, file in files.items() if stem.endswith(ending)}
            images = {stem: file for stem, file in files.items() if not stem.endswith(ending)}
            if masks.keys() == images.keys():
                found += [Masked(file, (masks[stem],), part, file.name) for stem, file in images.items()]
                break
        else:
            return None
    return found or None


def pair_list(path: Path) -> list[Masked] | None:
    """The pairs that a CSV with the columns image and mask lists, and perhaps split; paths are relative to it."""
    table = table_at(path, "pairs.csv")
    rows = (read_csv(table, "image", "mask") or read_csv(table, "file", "label")) if table else None
    if table is None or not rows:
        return None
    rows = [{"image": row.get("file", ""), "mask": row.get("label", "")} | row for row in rows]
    if Path(rows[0]["mask"]).suffix.lower() not in PICTURES:
        return None  # labels of pictures
    check_complete(table, rows, "image", "mask")
    folder = table.parent
    files = files_listed(table, [row["image"] for row in rows])
    rows, files = each_once(table, rows, files, "image", "mask")
    masks = files_listed(table, [row["mask"] for row in rows])
    names = [  # as listed, with / in place of Windows' backslashes
        row["image"] if folder / row["image"] == file else row["image"].replace("\\", "/")
        for row, file in zip(rows, files, strict=True)
    ]
    if any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):  # predictions are named after them
        names = names_of([file.resolve() for file in files])
    return [
        Masked(file, (mask,), part_of(row, table), name)
        for row, file, mask, name in zip(rows, files, masks, names, strict=True)
    ]
