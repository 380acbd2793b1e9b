"""The Oxford-IIIT Pets: photographs of cats and dogs, found on this machine or downloaded and packed once.

Source: O. M. Parkhi, A. Vedaldi, A. Zisserman, C. V. Jawahar, "Cats and Dogs", CVPR 2012; `spec/data.md`.

Letters: N photographs, S×S pixels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refca.atomic import make_folder
from refca.data.dataset import Dataset
from refca.data.download import download, find, user_cache
from refca.data.pets_archives import read_archives
from refca.data.pets_pack import SPLITS, read_pack, sources_of, write_pack
from refca.data.photographs import Photographs
from refca.errors import InvalidInput
from refca.locks import one_at_a_time

SIZES = (24, 48, 96, 384)
BASE_URL = "https://www.robots.ox.ac.uk/~vgg/data/pets/data/"
MD5 = {
    "images.tar.gz": "5c4f3ee8e5d25df40f4fd59a7f44e54c",
    "annotations.tar.gz": "95a8c909bbe2e81eed6a22bccdf3f68f",
}
ARCHIVES = " and ".join(MD5)
FOLDERS = ("oxford_pets", "pets", "oxford-iiit-pet", "oxford-iiit-pets")  # in a folder that the user names


def pets(
    folder: Path | None,
    size: int = 48,
    *,
    splits: Collection[str] = SPLITS,
    base_url: str = BASE_URL,
    md5: Mapping[str, str] = MD5,
    cache: Path | None = None,
    on_progress: Callable[[int, int], object] = lambda done, total: None,
) -> Dataset[Photographs]:
    """The photographs at size×size, from `folder` or one of its FOLDERS; with None from `cache`.

    A folder has a pack or the official archives, which may have been unpacked. `cache` is the user's cache
    folder unless given: into it missing archives are downloaded if no folder is named, and what was made of
    the official archives is packed. Of a pack only `splits` are read. `base_url` ends in a slash, and `md5`
    holds the hash of each archive there. `on_progress` is called with the number of photographs read out of
    archives so far, and of all.
    Raises InvalidInput for other sizes, and for files that are missing, damaged or cannot be downloaded.
    """
    if size not in SIZES:
        raise InvalidInput(f"pets come at the sizes {', '.join(map(str, SIZES))}, got {size}")
    side = max(size, 96)
    store = Cache((cache or user_cache()) / "pets", side, tuple(md5.values()), on_progress)
    found = named(folder, splits, md5, store) if folder else downloaded(splits, base_url, md5, store)
    while side > size:
        side //= 2
        found = {split: halved(photographs) for split, photographs in found.items()}
    why = (
        f"{folder} has only test photographs of {size}x{size}; to train on that size put {ARCHIVES} there, "
        "or name no folder to have them downloaded"
    )
    unread = "these photographs were not asked for when the pets were loaded"
    absent = {split: why if split in splits else unread for split in SPLITS}
    train, test = (found.get(split, absent[split]) for split in SPLITS)
    return Dataset("pets", train, test)


@dataclass(frozen=True)
class Cache:
    """The folder that keeps archives and packs of one size, and what packs in it are made from."""

    folder: Path
    side: int
    original: tuple[str, ...]  # the hashes of the official archives
    on_progress: Callable[[int, int], object]

    @property
    def pack(self) -> Path:
        return self.folder / f"pets_{self.side}.npz"

    def current(self) -> bool:
        """Return whether there is a complete pack made from the official archives."""
        with suppress(InvalidInput):
            return self.pack.is_file() and sources_of(self.pack) == self.original
        return False

    def read(self, archives: list[Path], splits: Collection[str], original: bool) -> dict[str, Photographs]:
        """Return splits from the two archives; the original archives are packed first, unless they have been.

        A cache that cannot be written is done without.
        """
        images, annotations = archives
        with self.alone() if original else nullcontext():
            if original and self.current():
                return read_pack(self.pack, self.side, splits)
            found = read_archives(images, annotations, self.side, original=original, on_progress=self.on_progress)
            if original:
                with suppress(OSError, InvalidInput):
                    write_pack(self.pack, found, self.original)
        return {split: found[split] for split in splits}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Run this block while no other process does, which would pack the same; at once if there can be no folder."""
        with ExitStack() as stack:
            with suppress(OSError, InvalidInput):
                make_folder(self.folder)
                stack.enter_context(one_at_a_time(self.folder))
            yield


def named(folder: Path, splits: Collection[str], md5: Mapping[str, str], cache: Cache) -> dict[str, Photographs]:
    """Return splits from a folder of the user, into which nothing is written."""
    side = cache.side
    folders = (folder, *(folder / name for name in FOLDERS))
    if pack := find([f"pets_{side}.npz"], folders):
        return read_pack(pack, side, splits)
    archives = [path for path in (find([name], folders) for name in md5) if path]
    if len(archives) == len(md5):
        return cache.read(archives, splits, tuple(map(md5_of, archives)) == cache.original)
    for each in folders:
        unpacked = [each / name.partition(".")[0] for name in md5]
        if all(map(Path.is_dir, unpacked)):
            return cache.read(unpacked, splits, original=False)
    if side == 384 and (sample := find(["pets_384_sample.npz"], folders)):
        return read_pack(sample, side, {"test"} & set(splits))
    looked = ", ".join(map(str, folders))
    raise InvalidInput(
        f"neither pets_{side}.npz nor both {ARCHIVES} are in one of {looked}; put them there, "
        "or name no folder to have them downloaded"
    )


def downloaded(splits: Collection[str], base_url: str, md5: Mapping[str, str], cache: Cache) -> dict[str, Photographs]:
    """Return splits from the cache, after downloading missing or altered archives."""
    paths = [cache.folder / name for name in md5]
    if cache.current() or (cache.pack.is_file() and not all(map(Path.is_file, paths))):
        return read_pack(cache.pack, cache.side, splits)
    for path in paths:
        download(base_url + path.name, md5[path.name], path, instead=f"{ARCHIVES}, or pets_{cache.side}.npz,")
    return cache.read(paths, splits, original=True)


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
