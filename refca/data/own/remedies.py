"""Remedies for data that is not found: tables, archives and unsupported kinds of files, classes in deeper folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from refca.data.own.layout import class_folders, folders_in, is_picture, table_at
from refca.data.own.pairing import some
from refca.data.own.words import MASK_FOLDERS
from refca.reading import TABLE, reading

UNREAD = {  # what to do with files that may hold the labels
    ".npy": "numpy.savez('data.npz', images=..., masks=...) puts arrays into one file that is",
    ".json": "draw its outlines into a mask for each picture",
    ".xml": "draw its outlines into a mask for each picture",
    ".mat": "save its arrays by numpy.savez('data.npz', images=..., masks=...)",
    ".h5": "save its arrays by numpy.savez('data.npz', images=..., masks=...)",
    ".hdf5": "save its arrays by numpy.savez('data.npz', images=..., masks=...)",
    ".parquet": "write a .csv with the columns file and label",
}
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst")
OTHER_PICTURES = (".heic", ".heif", ".jxl", ".jp2", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".psd", ".svg", ".dcm")
DEEPEST = 4  # folders that classes are looked for in below the one that is named
MOST_FOLDERS = 100  # that are looked into at each depth


def remedy_at(folder: Path) -> str:
    """Return why the data at a path is not found, after a semicolon, and what to do; "" if nothing is known."""
    table = table_at(folder, "labels.csv")
    if table:
        with reading(table, TABLE), table.open(encoding="utf-8-sig") as file:
            headings = file.readline().strip()
        return f"; {table} has the columns {headings}, and needs file and label, or image and mask"
    for path in folders_in(folder) if folder.is_dir() else []:
        others = [file for file in path.iterdir() if file.is_file() and not is_picture(file)]
        if path.name.lower() in MASK_FOLDERS and others:
            return f"; {path} has no pictures but files such as {others[0].name}; masks are pictures, or in an .npz"
    for other in sorted(folder.iterdir()) if folder.is_dir() else []:
        if other.suffix.lower() in UNREAD and other.is_file():
            return f"; {other.name} is not read: {UNREAD[other.suffix.lower()]}"
        if is_archive(other):
            return f"; {other.name} is packed: unpack it first"
    unread = unread_pictures(folder)
    return f"; {unread}" if unread else ""


def is_archive(path: Path) -> bool:
    """Return whether a file is packed; packed IDX files are read as they are."""
    return path.suffix.lower() in ARCHIVES and "ubyte" not in path.name.lower() and path.is_file()


def unread_pictures(folder: Path) -> str:
    """Return a sentence on the pictures in a folder, and in those below, that are not read; "" for none."""
    files = folder.rglob("*") if folder.is_dir() else ()
    shown = (file for file in files if not file.name.startswith("."))
    endings = Counter(file.suffix for file in shown if file.suffix.lower() in OTHER_PICTURES)
    if not endings:
        return ""
    ending, count = endings.most_common(1)[0]
    words = f"1 file ends in {ending}" if count == 1 else f"{count} files end in {ending}"
    return f"{words}, which refca does not read; export as JPEG, or masks as PNG"


def several_classes_below(folder: Path) -> str:
    """Return, after a semicolon, the first folder below this one that has several classes; "" for none."""
    level = folders_in(folder) if folder.is_dir() else []
    for _ in range(DEEPEST):
        for path in level:
            names = sorted({item.label for item in class_folders(path) or ()})
            if len(names) > 1:
                return f"; {path} has {len(names)}, {some(names)}: --dataset '{path}'"
        level = [below for path in level for below in folders_in(path)][:MOST_FOLDERS]
    return ""
