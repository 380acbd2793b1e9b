"""The label of a picture, as the cells of an automaton agree on it.

Letters: B pictures at once, H×W grid, K image channels, L labels.
"""

from __future__ import annotations

import json
from argparse import Namespace, _ArgumentGroup
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from refca.atomic import atomic_write, write_text
from refca.data import Split
from refca.data.batches import batched
from refca.data.decode import Picture, adjusted, pixels_of, resized
from refca.data.own.pictures import as_bytes
from refca.definition.metrics import predict
from refca.definition.step import alive
from refca.digits.prepare import BOX, PAGE, digit
from refca.doubts import doubt
from refca.drawing.canvas import enlarge
from refca.drawing.palette import DEFAULT, for_names, paint, predicted_labels
from refca.errors import InvalidInput
from refca.outputs import check_outputs, result_or_error
from refca.training.experiment import Experiment

if TYPE_CHECKING:
    from refca.automaton import Automaton

LOWEST = 0  # an image holds numbers from this to 1
STEPS = 200  # the article measures after as many
BATCH = 64  # pictures moved at a time
FILMS = False  # the frames of a film are pictures, each for itself
# data sets whose pictures are prepared as MNIST's
HANDWRITTEN = ("mnist", "optdigits", "optdigits-28", "mnist-optdigits", "")

DEFAULTS: Mapping[str, Any] = {"raw": False}


class Prepared(NamedTuple):
    """An image as cells perceive it, (H, W, K) float32, and a description of its preparation."""

    image: np.ndarray
    words: str


@dataclass(frozen=True)
class Classification:
    """The classification of one picture.

    `label` is the name of the label that most live cells predict, `shares` the share of the live cells that
    predict each label, and `agreement` the largest of them: 1.0 is the article's total agreement. Without live
    cells `label` is None and all shares are NaN.
    """

    label: str | None
    shares: dict[str, float]
    agreement: float
    names: tuple[str, ...]
    image: np.ndarray = field(repr=False)  # (H, W, K), what the cells saw
    labels: np.ndarray = field(repr=False)  # (H, W), each cell's; -1 for a cell that says nothing, or does not live
    prepared: str = ""  # what was done to the picture first
    doubt: str | None = None  # why the picture is unlike the training data, if it is

    def picture(self, scale: int = 8) -> np.ndarray:
        """Return the cells in the colours of their labels, (scale·H, scale·W, 3) uint8."""
        palette = for_names(DEFAULT, self.names)
        live = self.labels >= 0
        ink = self.image[None, ..., :1]
        return enlarge(paint(palette, self.labels[None], live[None], ink), scale)[0]

    def _repr_png_(self) -> bytes:
        from PIL import Image

        file = BytesIO()
        Image.fromarray(self.picture()).save(file, "PNG")
        return file.getvalue()

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON has it."""
        nan = self.label is None
        shares = {name: None if nan else round(share, 6) for name, share in self.shares.items()}
        agreement = None if nan else round(self.agreement, 6)
        found = {"label": self.label, "agreement": agreement, "shares": shares, "prepared": self.prepared}
        return found | ({"doubt": self.doubt} if self.doubt else {})

    def __str__(self) -> str:
        """The result in a line."""
        if self.label is None:
            return "no live cells, so no label"
        return f"{self.label} ({self.agreement:.0%} of the cells agree)"


def add_flags(group: _ArgumentGroup) -> None:
    """Add the flags that only pictures with one label have."""
    group.add_argument(
        "--raw",
        action="store_true",
        default=None,
        help="use pictures as they are; by default digits are converted to MNIST's format",
    )


def write_legend(automaton: Automaton, out: Path) -> None:
    """Write legend.json: the number, the name and the colour of each label."""
    write_text(out / "legend.json", json.dumps(for_names(DEFAULT, automaton.names).legend(), indent=2) + "\n")


def write_result(result: Classification, out: Path, name: str) -> None:
    """Write NAME-cells.png, the cells in the colours of their labels. Raises OSError as the file system does."""
    with atomic_write(out / f"{name}-cells.png") as temporary:
        temporary.write_bytes(result._repr_png_())


def paint_labels(automaton: Automaton, image: np.ndarray, logits: np.ndarray) -> np.ndarray:
    """Return images (B, H, W, K) in the colours of their cells' labels, (B, H, W, 3) uint8."""
    palette, live = for_names(DEFAULT, automaton.names), alive(automaton.cell, image)
    return paint(palette, np.where(live, predicted_labels(logits), -1), live, image[..., :1])


def follow(automaton: Automaton, frames: Iterable[np.ndarray], **options: Any) -> Iterator[Any]:
    """Raise InvalidInput: a film has no label of its own."""
    raise InvalidInput("a film is predicted frame by frame")


def options_of(flags: Namespace) -> dict[str, Any]:
    """Return the options of `predict_all` that flags ask for."""
    return {"raw": bool(flags.raw)}


def predict_all(
    automaton: Automaton,
    pictures: Iterable[Picture],
    *,
    steps: int | None = None,
    size: int | None = None,
    seed: int = 0,
    raw: bool = False,
) -> Iterator[Classification | InvalidInput]:
    """Yield the label of each picture, in batches of pictures of one size.

    Digits are made like MNIST's first unless they are `raw`; other pictures are resampled to the size that the
    automaton was trained on. Raises InvalidInput for a picture that cannot be used, and yields it in the place of one
    whose states become NaN or infinite.
    """
    steps = STEPS if steps is None else steps
    if steps < 1:
        raise InvalidInput(f"steps must be at least 1, got {steps}")
    if size is not None and size < 1:
        raise InvalidInput(f"size must be at least 1, got {size}")
    first = 0
    alone = automaton.cell.norm == "batch"  # statistics of other pictures would change the result
    ready = (prepare(automaton, picture, size=size, raw=raw) for picture in pictures)
    for batch in batched(ready, 1 if alone else BATCH):
        for same in runs_of_one_shape(list(batch)):
            images = np.stack([image for image, _ in same])
            outputs = automaton.settled(images, steps, seed, first)
            live = alive(automaton.cell, images)
            for i, (image, words) in enumerate(same):
                yield result_or_error(classified, automaton, image, outputs[i], live[i], words)
            first += len(same)


def runs_of_one_shape(batch: list[Prepared]) -> Iterator[list[Prepared]]:
    """Yield the pictures of a batch in their order, as long as they have one shape together."""
    run: list[Prepared] = []
    for item in batch:
        if run and item.image.shape != run[0].image.shape:
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def prepare(
    automaton: Automaton, picture: Picture, *, size: int | None = None, raw: bool = False, **_: Any
) -> Prepared:
    """Return what the cells are to see of a picture; of a prepared one itself."""
    if isinstance(picture, Prepared):
        return picture
    experiment = automaton.experiment
    if handwritten(experiment) and not raw:
        pixels, words = like_training(experiment, picture)
        return Prepared(pixels if size is None else resized(pixels, size, size), words)
    pixels = adjusted(pixels_of(picture, experiment.channels), experiment.invert, experiment.stretch)
    side = (None if raw else experiment.size or None) if size is None else size
    if side is None or pixels.shape[:2] == (side, side):
        return Prepared(pixels, "")
    words = f"resampled from {pixels.shape[1]}x{pixels.shape[0]} to {side}x{side}"
    return Prepared(resized(pixels, side, side), words)


def like_training(experiment: Experiment, picture: Picture) -> Prepared:
    """Prepare a picture of a digit in the format of MNIST, or of optdigits if the cells were trained on optdigits."""
    made = digit(picture)
    pixels = made.pixels
    if experiment.dataset == "optdigits":  # fills its 8×8 pixels
        edge = (PAGE - BOX) // 2
        pixels = resized(pixels[edge:-edge, edge:-edge], 8, 8)
    return Prepared(pixels, str(made))


def all_like_training(experiment: Experiment, digits: Split) -> Split:
    """Prepare digit files for cells that were trained on handwritten digits; return other digits unchanged."""
    if not digits.files or not handwritten(experiment):
        return digits
    pixels = [as_bytes(like_training(experiment, file).image[..., 0]) for file in digits.files]
    return replace(digits, pixels=np.stack(pixels), white=255)


def handwritten(experiment: Experiment) -> bool:
    """Return whether cells were trained on handwritten digits, so that pictures are prepared in that format."""
    return experiment.channels == 1 and experiment.dataset in HANDWRITTEN and experiment.labels == 10


def samples_of(automaton: Automaton, digits: Split, **options: Any) -> Iterator[tuple[str, Path | None, Prepared, int]]:
    """Yield for each digit of a data set its number as a name, its file, what the cells are to see, and its label.

    Files of digits are prepared as pictures that are named one by one.
    """
    for i, label in enumerate(digits.labels):
        file = digits.files[i] if digits.files else None
        if file and handwritten(automaton.experiment):
            ready = prepare(automaton, file, **options)
        else:
            pixels, size = digits.images([i])[0], options.get("size")
            ready = Prepared(pixels if size is None else resized(pixels, size, size), "")
        yield f"{i:05}", file, ready, int(label)


def classified(
    automaton: Automaton, image: np.ndarray, outputs: np.ndarray, live: np.ndarray, words: str
) -> Classification:
    """Return the result of one picture: image (H, W, K), outputs (H, W, L), live (H, W)."""
    names = automaton.names
    check_outputs(outputs)
    votes = np.bincount(predict(outputs)[live], minlength=len(names))
    total = int(votes.sum())
    shares = votes / total if total else np.full(len(names), np.nan)
    label = names[int(votes.argmax())] if total else None
    each = np.where(live, predicted_labels(outputs), -1).astype(np.int16)
    return Classification(
        label,
        dict(zip(names, map(float, shares), strict=True)),
        float(shares.max()) if total else float("nan"),
        names,
        image,
        each,
        words,
        doubt(automaton.cell, image[None]),
    )
