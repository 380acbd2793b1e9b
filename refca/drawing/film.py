"""Writing a film frame by frame: an MP4 through PyAV, or a GIF through Pillow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refca.atomic import atomic_write
from refca.errors import InvalidInput
from refca.reading import brief


class FilmWriter(Protocol):
    """A writer of the frames of a film, (h, w, 3) uint8 of one size."""

    def add(self, frame: np.ndarray) -> None:
        """Append a frame."""


@contextmanager
def film_writer(path: Path, rate: float) -> Iterator[FilmWriter]:
    """A writer of a film at `path`, .mp4 or .gif, of `rate` frames a second; it is written whole or not at all."""
    with atomic_write(path) as temporary:
        with writing(path):
            writer: Any = Gif(rate) if path.suffix == ".gif" else Mp4(temporary, path, rate)
        try:
            yield writer
        except BaseException:
            writer.abandon()
            raise
        with writing(path):
            writer.finish(temporary)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within this block turn every failure of an encoder into InvalidInput that names the film."""
    try:
        yield
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:  # PyAV raises errors of many kinds, as FFmpeg has them
        raise InvalidInput(f"{path} cannot be written as a film: {brief(error)}") from error


class Mp4:
    """An MP4 of H.264, which every browser plays."""

    def __init__(self, temporary: Path, path: Path, rate: float) -> None:
        import av

        self.path = path
        self.container = av.open(str(temporary), "w", format="mp4")
        self.rate = Fraction(rate).limit_denominator(10**5)
        self.stream: Any = None

    def add(self, frame: np.ndarray) -> None:
        with writing(self.path):
            self.encode(frame)

    def encode(self, frame: np.ndarray) -> None:
        import av

        frame = frame[: frame.shape[0] // 2 * 2, : frame.shape[1] // 2 * 2]  # H.264 has even sides
        if self.stream is None:
            self.stream = self.container.add_stream("libx264", rate=self.rate)
            self.stream.height, self.stream.width = frame.shape[:2]
            self.stream.pix_fmt, self.stream.options = "yuv420p", {"preset": "veryfast", "crf": "24"}
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        self.container.mux(self.stream.encode(picture))

    def finish(self, path: Path) -> None:
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))
        self.container.close()

    def abandon(self) -> None:
        with suppress(Exception):  # what was written is removed anyway
            self.container.close()


class Gif:
    """An animated GIF; frames have so few colours that a palette holds them."""

    def __init__(self, rate: float) -> None:
        self.duration, self.frames = round(1000 / rate), []  # type: ignore[var-annotated]

    def add(self, frame: np.ndarray) -> None:
        from PIL import Image

        self.frames.append(Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE))

    def finish(self, path: Path) -> None:
        if self.frames:
            first, *rest = self.frames
            first.save(path, "GIF", save_all=True, append_images=rest, duration=self.duration, loop=0)

    def abandon(self) -> None:
        self.frames.clear()
