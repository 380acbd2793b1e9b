"""The meaning of the values of masks: classes as gray levels, indices of a palette or colours, or numbers of things.

Letters: h×w pixels of a mask, L classes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.data.decode import DEEP, is_sideways, open_picture, size_of
from refca.data.own.pairing import LOSSY, Masked, some
from refca.data.photographs import IGNORED
from refca.errors import InvalidInput
from refca.reading import reading

MOST_CLASSES = 64
PHOTOGRAPH = 256  # different values of one mask, from which on it is taken for a photograph
SMALL = 20  # classes that are numbered from zero go to about this; 255 beside them is ignored
INSTANCES = ("instances",)  # as the values of masks in which every thing has a number of its own
FEW = 32  # values of a picture, up to which it may be a mask whose folder has another name
NEAR = 64  # values of a lossy mask from which to black or white it is not far


@dataclass(frozen=True)
class Masks:
    """The rule that makes labels of masks: the value of each class, as text, and the classes' names and colours.

    values is ("instances",) where all that is not zero is one class; a value is a number, or #rrggbb.
    """

    values: tuple[str, ...]
    classes: tuple[str, ...]
    colours: tuple[str, ...]
    ignore: int  # the value that counts in nothing; -1 for none
    description: str  # what was found, in words


def read_mask(path: Path) -> tuple[np.ndarray, list[tuple[int, int, int]] | None, bool]:
    """Return the values of a mask (h, w), its palette if it has one, and whether its values are colours.

    A gray picture in RGB has gray values; a colour is the number rrggbb. Nothing is turned upright here.
    """
    image: Any = open_picture(path)
    with reading(path, "a mask"):
        if image.mode == "P":
            palette = np.asarray(image.getpalette() or [], int).reshape(-1, 3)
            return np.asarray(image).astype(np.int64), [(int(r), int(g), int(b)) for r, g, b in palette], False
        if image.mode == "1":
            return np.asarray(image).astype(np.int64) * 255, None, False
        if image.mode in DEEP:
            values = np.asarray(image)
            if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
                raise InvalidInput(f"{path} has values that are not whole; a mask holds the number of a class")
            return values.astype(np.int64), None, False
        if image.mode in ("L", "LA"):
            return np.asarray(image.convert("L")).astype(np.int64), None, False
        rgb = np.asarray(image.convert("RGB")).astype(np.int64)
    if (rgb[..., 0] == rgb[..., 1]).all() and (rgb[..., 1] == rgb[..., 2]).all():
        return rgb[..., 0], None, False
    return (rgb[..., 0] << 16) + (rgb[..., 1] << 8) + rgb[..., 2], None, True


def lossy(path: Path) -> bool:
    return path.suffix.lower() in LOSSY


def sharpened(values: np.ndarray, path: Path) -> np.ndarray:
    """Return the values of a JPEG's mask as 0 and 255. Raises InvalidInput if many are far from both."""
    far = float(((values > NEAR) & (values < 255 - NEAR)).mean())
    if values.max() > 255 or far > 0.05:
        raise InvalidInput(
            f"{path} is a JPEG, which changes the values of a mask: {far:.0%} of its pixels are neither black nor "
            "white; save masks as PNG"
        )
    return np.where(values >= 128, 255, 0)


def looks_drawn(path: Path) -> bool:
    """Return whether a picture has as few distinct values as a mask; False if it cannot be read."""
    try:
        values, _, _ = read_mask(path)
        return len(np.unique(sharpened(values, path) if lossy(path) else values)) <= FEW
    except InvalidInput:
        return False


class Mask(NamedTuple):
    """The values of a mask (h, w), integers: gray levels, indices of a palette, or colours as numbers rrggbb."""

    name: str  # for messages
    values: np.ndarray
    palette: list[tuple[int, int, int]] | None = None
    coloured: bool = False


def masks_of(pairs: Iterable[Masked], on_progress: Any) -> Iterator[Mask]:
    """Yield the mask of each pair. Every pair must have exactly one mask file.

    Raises InvalidInput for a mask of another size than its picture: resampling leaves values of no class.
    """
    for pair in pairs:
        path = pair.masks[0]
        values, palette, coloured = read_mask(path)
        size = size_of(pair.file)
        if values.shape != size and not (values.shape == size[::-1] and is_sideways(pair.file)):
            check_shape(pair, path, values.shape, size)
        yield Mask(str(path), sharpened(values, path) if lossy(path) else values, palette, coloured)
        on_progress()


def find_masks(
    pairs: list[Masked], ignore: int | None, on_progress: Any = lambda: None, *, named_classes: int = 0
) -> Masks:
    """Return what the masks of these pairs mean. Raises InvalidInput as `meaning_of` does."""
    if any(len(pair.masks) > 1 for pair in pairs):
        return binary(INSTANCES, "a mask file for each thing: all of them are one class", -1)
    return meaning_of(masks_of(pairs, on_progress), len(pairs), ignore, named_classes)


def meaning_of(masks: Iterable[Mask], total: int, ignore: int | None, named_classes: int = 0) -> Masks:
    """Return the meaning of the values in `total` masks; `named_classes` is how many classes the user named, 0 if none.

    Raises InvalidInput, with the first names, for masks that are photographs, for a value in one mask alone,
    and if there is but one class.
    """
    counted: dict[bool, dict[int, int]] = {True: {}, False: {}}  # pixels of each value: in coloured masks, in others
    seen: dict[bool, dict[int, list[str]]] = {True: {}, False: {}}  # the first masks that have it
    many: list[str] = []
    first = ""
    numbered = 0  # masks whose values are 0, 1, 2, ... without gaps
    largest: set[int] = set()  # the largest value of each such mask
    with_gaps = 0  # masks whose values are such numbers with few gaps
    palettes: dict[int, tuple[int, int, int]] = {}
    colours, most, deep = False, 0, 0
    for name, values, palette, coloured in masks:
        first = first or name
        colours |= coloured
        unique, count = np.unique(values, return_counts=True)
        most = max(most, len(unique))
        if len(unique) > 2 and (unique == np.arange(len(unique))).all():
            numbered += 1
            largest.add(len(unique) - 1)
        with_gaps += len(unique) > 2 and looks_numbered(unique)
        deep += int(values.max(initial=0) > 255) and not coloured
        beyond = len(unique) > PHOTOGRAPH and (coloured or unique[-1] <= 255 or not looks_numbered(unique))
        if beyond or (len(unique) > SMALL and is_rough(values)):
            many.append(name)
        counts, seen_in = counted[coloured], seen[coloured]
        for value, n in zip(unique.tolist(), count.tolist(), strict=True):
            if len(counts) < 4096 or value in counts:
                counts[value] = counts.get(value, 0) + n
                if len(seen_in.setdefault(value, [])) < 2:
                    seen_in[value].append(name)
        for value in unique.tolist():
            if palette and value < len(palette):
                palettes.setdefault(value, palette[value])
    counts, seen_in = {}, {}
    for coloured in (True, False):
        factor = GRAY if colours and not coloured else 1
        for value, n in counted[coloured].items():
            counts[factor * value] = counts.get(factor * value, 0) + n
            seen_in[factor * value] = (seen_in.get(factor * value, []) + seen[coloured][value])[:2]
    if many or (colours and len(counts) > MOST_CLASSES):
        names = many or [seen_in[value][0] for value in list(counts)[-SHOWN_VALUES:]]
        raise InvalidInput(
            f"masks have too many different values to be classes; they look like photographs: {some(names)}; a mask "
            "has one value or colour for each class"
        )
    half = total / 2
    may_number_things = numbered >= half and most > 3
    asked = named_classes == 2 and len(largest) > 2
    without_gaps = may_number_things and (deep or len(counts) > SMALL or asked)
    if not colours and (without_gaps or (len(counts) > MOST_CLASSES and with_gaps >= half)):
        return binary(INSTANCES, "masks number things: all numbers above 0 are one class", -1)
    if len(counts) > MOST_CLASSES:
        raise InvalidInput(
            f"masks have {len(counts)} different values, and at most {MOST_CLASSES} classes are possible; the first of "
            f"these masks is {first}; if each value is a thing, make all values above 0 one"
        )
    if ignore is None:
        others = sorted(set(counts) - {IGNORED})
        voc = IGNORED in counts and not colours and len(others) >= 2 and others == list(range(len(others)))
        ignore = IGNORED if voc and len(others) <= SMALL else -1
    kept = sorted(value for value in counts if value != ignore)
    check_values(kept, seen_in, counts, total)
    if len(kept) == 2 and not colours and not palettes:
        return binary(tuple(map(str, kept)), f"masks of {kept[0]} and {kept[1]}", ignore)
    found = several(kept, palettes, colours, ignore)
    if may_number_things and len(largest) > 2 and not named_classes:
        hint = "if these number things, --classes background,thing makes all above 0 one class"
        return replace(found, description=f"{found.description} ({hint})")
    return found


SHOWN_VALUES = 3
GRAY = 0x010101  # a level of gray times this is its colour, as #rrggbb


def is_rough(values: np.ndarray) -> bool:
    """Return whether most neighbours in a row differ, as in photographs; the classes and things of masks are areas."""
    return bool(values.shape[1] > 1 and np.mean(values[:, 1:] == values[:, :-1]) < 0.5)


def looks_numbered(unique: np.ndarray) -> bool:
    """Return whether the values of a mask of many values number things: from zero, with few gaps."""
    return bool(unique[0] == 0 and len(unique) > 0.5 * unique[-1])


def check_values(values: list[int], seen_in: dict[int, list[str]], counts: dict[int, int], masks: int) -> None:
    """Raise InvalidInput for a class that is alone, and for one that a single mask has in a few pixels."""
    if len(values) < 2:
        where = f", such as {seen_in[values[0]][0]}" if values else ""
        raise InvalidInput(f"all masks have the one value {values[0] if values else 'none'}{where}: no class to learn")
    total = sum(counts.values())
    for value in values:
        if len(seen_in[value]) < 2 and masks > 4 and counts[value] < 1e-4 * total:
            pixels = "1 pixel" if counts[value] == 1 else f"{counts[value]} pixels"
            raise InvalidInput(
                f"the value {value} is in one mask alone, {seen_in[value][0]}, in {pixels}; correct that mask, or pass "
                f"--ignore {value}"
            )


def binary(values: tuple[str, ...], description: str, ignore: int) -> Masks:
    return Masks(values, ("background", "object"), (), ignore, description)


def several(values: list[int], palettes: dict[int, tuple[int, int, int]], colours: bool, ignore: int) -> Masks:
    """Return masks of several classes, with the colours that the files have."""
    if colours:
        texts = tuple(f"#{value:06x}" for value in values)
        return Masks(texts, texts, texts, ignore, f"masks of {len(values)} colours")
    names = tuple(map(str, values))
    found = [palettes.get(value) for value in values]
    from_palette = tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in filter(None, found)) if all(found) else ()
    if len(set(from_palette)) < len(values):
        from_palette = ()
    kind = "indices of a palette" if palettes else "gray levels"
    return Masks(names, names, from_palette, ignore, f"masks of {len(values)} {kind}: {', '.join(names)}")


def labels_of(pair: Masked, values: tuple[str, ...], ignore: int, shape: tuple[int, int]) -> np.ndarray:
    """Return the label of each pixel of a picture of this shape, (h, w) uint8, 255 where it is ignored.

    Raises InvalidInput, naming the file, for another size and for a value that no class has.
    """
    if values == INSTANCES:
        labels = np.zeros(shape, np.uint8)
        for path in pair.masks:
            mask = read_mask(path)[0]
            check_shape(pair, path, mask.shape, shape)
            labels |= (mask > (127 if lossy(path) else 0)).astype(np.uint8)
        return labels
    path = pair.masks[0]
    mask, _, coloured = read_mask(path)
    if lossy(path):
        mask = sharpened(mask, path)
    check_shape(pair, path, mask.shape, shape)
    return indexed(mask, values, ignore, coloured, path)


def check_written(values: Iterable[str]) -> None:
    """Raise InvalidInput, naming the first, for values of masks that are neither numbers nor colours."""
    for value in values:
        if value not in INSTANCES:
            number_of(value)


def is_value(text: str) -> bool:
    """Return whether a text is a value of masks, a number or #rrggbb."""
    return re.fullmatch("#[0-9a-fA-F]{6}|-?[0-9]{1,18}", text) is not None


def number_of(value: str) -> int:
    """Return a value of masks, written as a number or as #rrggbb, as a number. Raises InvalidInput for another text."""
    if not is_value(value):
        raise InvalidInput(f"mask_values must be numbers such as 0,255 or colours such as #0044aa, got {value!r}")
    return int(value[1:], 16) if value.startswith("#") else int(value)


def are_among(values: Iterable[str], known: tuple[str, ...]) -> bool:
    """Return whether all values of masks are among the known ones; a gray level is also the colour that it has."""
    if known[0].startswith("#"):
        values = (f"#{int(value) * GRAY:06x}" if value.isdecimal() else value for value in values)
    return set(values) <= set(known)


def indexed(mask: np.ndarray, values: tuple[str, ...], ignore: int, coloured: bool, path: Any) -> np.ndarray:
    """Return the labels of a mask's values. Raises InvalidInput for a value that no class has."""
    numbers = [number_of(value) for value in values]
    if values[0].startswith("#") and not coloured:
        mask = mask * GRAY
    order = np.argsort(numbers)
    ascending = np.asarray(numbers)[order]
    place = np.searchsorted(ascending, mask).clip(0, len(numbers) - 1)
    known = ascending[place] == mask
    labels = np.where(known, order[place], IGNORED).astype(np.uint8)
    strange = ~known & (mask != ignore)
    if strange.any():
        value = int(mask[strange][0])
        shown = f"#{value:06x}" if coloured else value
        raise InvalidInput(
            f"{path} has the value {shown}, which is no class; classes are {', '.join(values)}; --ignore "
            f"{value} leaves it "
            "out"
        )
    return labels


def check_shape(pair: Masked, path: Path, got: tuple[int, ...], needed: tuple[int, int]) -> None:
    """Raise InvalidInput unless a mask has the size of its picture."""
    if got != needed:
        raise InvalidInput(
            f"{path} has {got[1]}x{got[0]} pixels, and its picture {pair.file} has {needed[1]}x{needed[0]}; a mask has "
            "the size of its picture"
        )
