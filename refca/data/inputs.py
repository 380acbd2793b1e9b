"""The pictures and films that paths name: files, folders, globs, pages of a TIFF, frames of a GIF or a video.

Everything is read when it is asked for, so that any number of pictures and any length of film fits in memory.
"""

from __future__ import annotations

import glob
import queue
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from refca.data.camera import device_of, is_camera, newest
from refca.data.decode import from_image, not_decoded, open_picture, with_channels
from refca.data.pictures import check_size, decoding
from refca.errors import InvalidInput
from refca.reading import AGAIN, reading

PICTURES = frozenset(  # suffixes of files that are looked at in folders
    "." + suffix
    for suffix in "png apng jpg jpeg jpe jfif gif bmp webp tif tiff ppm pgm pbm pnm mpo avif".split(" ")  # noqa: SIM905
)
FILMS = frozenset(".mp4 .m4v .mov .avi .mkv .webm .mpg .mpeg .wmv .ogv".split(" "))  # noqa: SIM905
ANIMATED = ("GIF", "WEBP", "PNG")  # formats of Pillow whose frames are a film, not pages
LONGEST_NAME = 200  # bytes; file systems take 255, and suffixes are added
WIDEST = 640  # pixels of a film's longer side; larger ones are made smaller while they are read


@dataclass(frozen=True)
class Source:
    """A file that was named, and its path in the folder that was named, without suffix: the name of its results."""

    path: Path
    name: str


@dataclass(frozen=True)
class Film:
    """The frames of a film, (h, w, 3) uint8 each, read one at a time; frames a second, and how many if known."""

    frames: Iterable[np.ndarray]
    rate: float
    count: int | None


def expand(inputs: Iterable[str]) -> tuple[list[Source], list[InvalidInput]]:
    """Return the files and cameras that paths name, a folder's in the order of their names, each once; and errors.

    There is an error for each path that does not exist, each pattern that nothing matches, and each folder without
    pictures. Raises the first of them if nothing else is named.
    """
    found: dict[Path, Source] = {}
    missing: list[InvalidInput] = []
    for text in inputs:
        try:
            for file, name in files_of(text):
                found.setdefault(file, Source(file, str(PurePosixPath(name).with_suffix(""))))
        except InvalidInput as error:
            missing.append(error)
    if missing and not found:
        raise missing[0]
    return list(found.values()), missing


def files_of(text: str) -> list[tuple[Path, Path]]:
    """Return the files that a path or a pattern names, or a camera, each with its name. Raises InvalidInput.

    The name of a file in a folder is its path in that folder. A pattern may match folders too.
    """
    path = Path(text)
    if is_camera(text):
        return [(path, Path(re.sub(r"\W+", "-", text).strip("-")))]
    if path.is_dir():
        pairs = media_in(path)
        if not pairs:
            raise InvalidInput(f"{path} holds no pictures; known suffixes are {' '.join(sorted(PICTURES | FILMS))}")
        return pairs
    if path.exists():
        return [(path, Path(path.name))]
    if not glob.has_magic(text):
        raise InvalidInput(f"{path} does not exist; name a picture, a film, a folder, or a pattern such as '*.png'")
    pairs = []
    for match in map(Path, sorted(glob.glob(text, recursive=True))):
        pairs += media_in(match) if match.is_dir() else [(match, Path(match.name))] if match.is_file() else []
    if not pairs:
        raise InvalidInput(f"no picture matches the pattern {text}")
    return pairs


def media_in(folder: Path) -> list[tuple[Path, Path]]:
    """Return the pictures and films in a folder and the folders in it, each with its path there."""
    files = sorted(file for file in folder.rglob("*") if is_media(file) and file.is_file())
    return [(file, file.relative_to(folder)) for file in files]


def is_media(path: Path) -> bool:
    """Return whether a file has the suffix of a picture or a film and is not hidden."""
    return path.suffix.lower() in PICTURES | FILMS and not path.name.startswith(".")


def apart(name: str, page: str, used: set[str]) -> str:
    """Return a name for the files of a page's result that is not used yet, and add it to the used ones.

    Of two equal names the second gets -2. Longer names are cut to LONGEST_NAME bytes.
    """
    path = PurePosixPath(name)
    whole = path.name.encode(errors="surrogateescape")  # a name may be no UTF-8
    plain = str(path.with_name(whole[:LONGEST_NAME].decode(errors="ignore") or "file")) + page
    name, number = plain, 1
    while name in used:
        number += 1
        name = f"{plain}-{number}"
    used.add(name)
    return name


def is_video(path: Path) -> bool:
    """Return whether PyAV reads this: a video file, or a camera."""
    return is_camera(path) or path.suffix.lower() in FILMS


def is_film(path: Path) -> bool:
    """Return whether a file is a video or a camera, or a GIF, WebP or PNG with several frames. Raises InvalidInput."""
    if is_video(path):
        return True
    if path.suffix.lower() not in (".gif", ".webp", ".png", ".apng"):
        return False
    with not_decoded(path) as image:
        return image.format in ANIMATED and getattr(image, "n_frames", 1) > 1


def pages(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the pixels (h, w, C) of each page of a picture, and what to add to its name: "" if there is one.

    A photograph in MPO is one page: the others show the same again. The pages of a video are its frames. Raises
    InvalidInput.
    """
    if is_video(path):
        for number, frame in enumerate(video(path).frames, 1):
            yield f"-{number:05}", frame
        return
    image = open_picture(path)
    with decoding(path):
        count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    for page in range(count):
        with decoding(path):
            image.seek(page)
            check_size(image, path)
            pixels = from_image(image, str(path))
        yield (f"-{page + 1:03}" if count > 1 else ""), pixels


def open_film(path: Path) -> Film:
    """Return the frames of a film. Raises InvalidInput if it cannot be read, or PyAV is needed and not there."""
    return video(path) if is_video(path) else animation(path)


def animation(path: Path) -> Film:
    """Return the frames of a GIF, WebP or PNG, at the rate of its first frame."""
    from PIL import Image

    image: Any = open_picture(path)
    with decoding(path, "an animation"):
        duration = float(image.info.get("duration", 0) or 100)  # milliseconds
        count = int(image.n_frames)

    def frames() -> Iterator[np.ndarray]:
        for number in range(count):
            with decoding(path, "an animation"):
                image.seek(number)
                check_size(image, path)
                pixels = with_channels(from_image(image, str(path), frame=True), 3)
                frame = Image.fromarray(np.rint(255 * pixels).astype(np.uint8))
                frame.thumbnail((WIDEST, WIDEST))
            yield np.asarray(frame)

    return Film(frames(), 1000 / duration, count)


def video(path: Path) -> Film:
    """Return the frames of a video or a camera, decoded by PyAV, turned upright and no larger than WIDEST."""
    av, camera = import_av(path), is_camera(path)
    if not camera and not path.is_file():
        raise InvalidInput(f"{path} does not exist")
    with reading(path, "a video", "is it connected, and free?" if camera else AGAIN):
        kind, file = device_of(str(path)) if camera else (None, str(path))
        container = av.open(file, format=kind)
        if not container.streams.video:
            container.close()
            raise InvalidInput(f"{path} holds no video")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        rate = float(stream.average_rate or stream.guessed_rate or 25)
        count = int(stream.frames) or None

    def frames() -> Iterator[np.ndarray]:
        with container:
            decoded = container.decode(stream)
            while True:
                with reading(path, "a video"):
                    frame = next(decoded, None)
                    if frame is None:
                        return
                    scale = min(1.0, WIDEST / max(frame.width, frame.height))
                    size = {"width": even(frame.width * scale), "height": even(frame.height * scale)}
                    turns = round(getattr(frame, "rotation", 0) / 90) % 4
                    pixels = np.rot90(frame.reformat(format="rgb24", **size).to_ndarray(), turns)
                yield np.ascontiguousarray(pixels)

    return Film((newest if camera else ahead)(frames()), rate, count)


def ahead(items: Iterator[np.ndarray], most: int = 4) -> Iterator[np.ndarray]:
    """Yield the items of an iterator that a thread works on ahead, so that decoding takes another processor."""
    ready: queue.Queue[Any] = queue.Queue(most)
    stop = threading.Event()

    def put(item: Any) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put((item, None))
                if stop.is_set():
                    return
            put((None, None))
        except BaseException as error:  # raised again where the items are used
            put((None, error))

    threading.Thread(target=work, daemon=True).start()
    try:
        while True:
            item, error = ready.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        stop.set()


def even(length: float) -> int:
    """Return the even number next to a length: video codecs need even sides."""
    return max(2, 2 * round(length / 2))


def import_av(path: Path) -> Any:
    """Return PyAV. Raises InvalidInput, naming the file that needs it, if it is not installed."""
    try:
        import av
    except ImportError as error:
        kind = "camera" if is_camera(path) else "video"
        raise InvalidInput(
            f"{path} is a {kind}, which needs PyAV: pip install 'refca[video]'; a GIF needs nothing"
        ) from error
    return av
