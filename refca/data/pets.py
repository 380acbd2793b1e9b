"""The Oxford-IIIT Pets: photographs of cats and dogs, found on this machine or downloaded and packed once.

Source: O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", CVPR 2012; `spec/data.md`.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np

from refca.data.dataset import Dataset
from refca.data.download import download, find, user_cache
from refca.data.pets_archives import read_archives
from refca.data.pets_pack import SPLITS, read_pack, write_pack
from refca.data.photographs import Photographs
from refca.errors import InvalidInput

SIZES = (48, 96, 384)
BASE_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
MD5 = {
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
ARCHIVES = " and ".join(MD5)


def pets(
    folder: Path | None,
    size: int = 48,
    *,
    splits: Collection[str] = SPLITS,
    base_url: str = BASE_URL,
    md5: Mapping[str, str] = MD5,
    cache: Path | None = None,
) -> Dataset[Photographs]:
    """The photographs at size×size, from `folder`, its oxford_pets or its pets; with None from `cache`.

    A folder has a pack or the official archives. `cache` is the user's cache folder unless given: into it
    missing archives are downloaded if no folder is named, and what was made of the official archives is
    packed. Of a pack only `splits` are read. `base_url` ends in a slash, and `md5` holds the hash of each
    archive there.
    Raises InvalidInput for other sizes, and for files that are missing, damaged or cannot be downloaded.
    """
    if size not in SIZES:
        raise InvalidInput(f"pets come at the sizes {', '.join(map(str, SIZES))}, got {size}")
    side = 96 if size == 48 else size
    cache = (cache or user_cache()) / "pets"
    found = named(folder, side, splits, md5, cache) if folder else downloaded(side, splits, base_url, md5, cache)
    if size != side:
        found = {split: halved(photographs) for split, photographs in found.items()}
    why = (
        f"{folder} has only test photographs of {size}×{size}; to train on that size put {ARCHIVES} there, "
        "or name no folder to have them downloaded"
    )
    unread = "these photographs were not asked for when the pets were loaded"
    absent = {split: why if split in splits else unread for split in SPLITS}
    return Dataset("pets", *(found.get(split, absent[split]) for split in SPLITS))


def named(
    folder: Path, side: int, splits: Collection[str], md5: Mapping[str, str], cache: Path
) -> dict[str, Photographs]:
    """These splits at side×side from a folder that the user named, in which nothing is ever written."""
    folders = (folder, folder / "oxford_pets", folder / "pets")
    if pack := find([f"pets_{side}.npz"], folders):
        return read_pack(pack, side, splits)
    archives = [path for path in (find([name], folders) for name in md5) if path]
    if len(archives) == len(md5):
        original = [md5_of(path) for path in archives] == list(md5.values())
        return unpacked(archives, side, splits, cache if original else None)
    if side == 384 and (sample := find(["pets_384_sample.npz"], folders)):
        return read_pack(sample, side, {"test"} & set(splits))
    looked = ", ".join(map(str, folders))
    raise InvalidInput(
        f"neither pets_{side}.npz nor both {ARCHIVES} are in one of {looked}; put them there, "
        "or name no folder to have them downloaded"
    )


def downloaded(
    side: int, splits: Collection[str], base_url: str, md5: Mapping[str, str], cache: Path
) -> dict[str, Photographs]:
    """These splits at side×side from the cache, after downloading the archives if they are needed."""
    if (pack := cache / f"pets_{side}.npz").is_file():
        return read_pack(pack, side, splits)
    instead = f"{ARCHIVES}, or pets_{side}.npz,"
    paths = {name: cache / name for name in md5}
    for name, path in paths.items():
        if not path.is_file():
            download(base_url + name, md5[name], path, instead=instead)
    return unpacked(list(paths.values()), side, splits, cache)


def unpacked(archives: list[Path], side: int, splits: Collection[str], cache: Path | None) -> dict[str, Photographs]:
    """These splits of the two archives; of original ones from their pack in the cache, made if there is none.

    A cache that cannot be written is done without.
    """
    pack = cache / f"pets_{side}.npz" if cache else None
    if pack and pack.is_file():
        return read_pack(pack, side, splits)
    images, annotations = archives
    found = read_archives(images, annotations, side)
    if pack:
        with suppress(OSError):
            write_pack(pack, found)
    return {split: found[split] for split in splits}


def halved(photographs: Photographs) -> Photographs:
    """Half as many pixels each way: the rounded mean of every 2×2, and the label of its lower right one."""
    rows = photographs.pixels[:, ::2].astype(np.uint16) + photographs.pixels[:, 1::2]
    pixels = ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) // 4).astype(np.uint8)
    trimaps = np.ascontiguousarray(photographs.trimaps[:, 1::2, 1::2])
    return Photographs(pixels, trimaps, photographs.names)


def md5_of(path: Path) -> str:
    """The MD5 of a file. Raises InvalidInput if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}") from error
