"""The page's preparation of a digit beside refca.digit: the same bytes and the same words, picture by picture."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from exec_client import node
from PIL import Image, ImageDraw
from safetensors.numpy import save_file

import refca
from refca.digits.prepare import Digit
from refca.errors import InvalidInput

OWN = Path(os.environ.get("REFCA_DATA", "absent")) / "own_digits"
PROGRAM = Path(__file__).with_name("digit_picture.mjs")

FIVE = [[(0.68, 0.2), (0.36, 0.2)], [(0.36, 0.2), (0.34, 0.47), (0.58, 0.45), (0.68, 0.6), (0.6, 0.76), (0.34, 0.78)]]
APART = [[(0.85, -0.1), (0.5, 0.28)], [(0.25, 0.38), (0.3, 0.55), (0.62, 0.55), (0.66, 0.76), (0.34, 0.88)]]


def drawn(height: int, width: int, stroke: int, lines: list[list[tuple[float, float]]] = FIVE) -> np.ndarray:
    """A five, black on white, (height, width) bytes."""
    page = Image.new("L", (width, height), 255)
    for line in lines:
        ImageDraw.Draw(page).line([(x * width, y * height) for x, y in line], fill=20, width=stroke, joint="curve")
    return np.asarray(page)


def rgba(*planes: np.ndarray) -> np.ndarray:
    """One plane, three or four as RGBA bytes, (h, w, 4)."""
    opaque = np.full_like(planes[0], 255)
    return np.ascontiguousarray(np.stack([*(planes * 3 if len(planes) == 1 else planes), opaque][:4], axis=-1))


def shaded(page: np.ndarray, light: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """A page under a light that depends on the place, both from 0 to 1."""
    y, x = np.mgrid[: page.shape[0], : page.shape[1]] / max(page.shape)
    return (page * light(x, y)).astype(np.uint8)


def with_grid(page: np.ndarray) -> np.ndarray:
    """A page with tilted lines along its edges, as a form has them, and a corner of a neighbour's ink."""
    picture = Image.fromarray(page)
    h, w = page.shape
    draw = ImageDraw.Draw(picture)
    draw.line((3, 0, 1, h), fill=60, width=3)
    draw.line((0, h - 4, w, h - 2), fill=90, width=2)
    draw.ellipse((w - 8, h // 3, w + 8, h // 3 + 9), fill=40)
    return np.asarray(picture)


def pictures() -> dict[str, np.ndarray]:
    """Drawn pictures by what they show, RGBA bytes."""
    rng = np.random.default_rng(0)
    square, thin = drawn(128, 128, 9), drawn(400, 400, 3)
    specks = np.where(rng.random((128, 128)) < 0.002, 60, square).astype(np.uint8)
    noisy = np.clip(0.6 * square + 30 + rng.normal(0, 8, square.shape), 0, 255).astype(np.uint8)
    bar = np.full((40, 40), 255, np.uint8)
    bar[10:30, 12:19] = 0
    pair = np.full((31, 31), 255, np.uint8)
    pair[5:20, 4:8] = pair[5:20, 20:24] = 0
    prepared = np.round(255 * refca.digit(square).pixels[..., 0]).astype(np.uint8)
    white = np.full_like(thin, 255)
    return {
        **{f"{h}x{w}": rgba(drawn(h, w, max(1, max(h, w) // 14))) for h, w in ((28, 28), (90, 300), (211, 37), (9, 7))},
        "bold at 28x28": rgba(drawn(28, 28, 6)),
        "thin": rgba(thin),
        "light on dark": rgba(255 - square),
        "light on dark at 28x28": rgba(255 - drawn(28, 28, 2)),
        "bold light on dark": rgba(255 - drawn(64, 64, 14)),
        "white ink on a transparent canvas": rgba(white, white, white, 255 - thin),
        "black ink on a transparent canvas": rgba(white * 0, white * 0, white * 0, 255 - thin),
        "half transparent": rgba(square, square // 2, square, np.maximum(square // 3, 90)),
        "coloured paper": rgba(square, (0.9 * square).astype(np.uint8), square // 2),
        "light from one side": rgba(shaded(square, lambda x, y: 1 - 0.5 * x - 0.3 * y)),
        "hard shadow": rgba(shaded(square, lambda x, y: np.where(x + 0.3 * y > 0.7, 0.55, 1))),
        "lamp": rgba(shaded(square, lambda x, y: 1 - 0.8 * ((x - 0.4) ** 2 + (y - 0.6) ** 2))),
        "specks": rgba(specks),
        "noise": rgba(noisy),
        "lines at the edges": rgba(with_grid(square)),
        "lines and a shadow": rgba(shaded(with_grid(square), lambda x, y: 1 - 0.5 * y)),
        "parts at the edge": rgba(drawn(100, 80, 7, APART)),
        "a bar between two columns": rgba(bar),
        "two equal marks": rgba(pair),
        "prepared": rgba(prepared),
        "prepared, off centre": rgba(np.roll(prepared, 3, axis=1)),
        "prepared, inverted": rgba(255 - prepared),
        "one pixel of ink": rgba(np.where(np.arange(900).reshape(30, 30) == 400, 0, 255).astype(np.uint8)),
        "blank": rgba(np.full((50, 50), 200, np.uint8)),
        "one pixel": rgba(np.zeros((1, 1), np.uint8)),
    }


PICTURES = pictures()


def prepared_by_the_page(found: Mapping[str, np.ndarray], folder: Path) -> dict[str, dict]:
    """The page's answers to pictures, by name."""
    save_file(dict(found), folder / "pictures.safetensors")
    command = [node(), str(PROGRAM), str(folder / "pictures.safetensors")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    return prepared_by_the_page(PICTURES, tmp_path_factory.mktemp("pictures"))


def assert_same_digit(picture: np.ndarray | Path, answer: dict) -> None:
    """Assert that both make the same bytes and say the same, or both find no ink."""
    if "message" in answer:
        with pytest.raises(InvalidInput) as error:
            refca.digit(picture)
        assert answer["message"] == str(error.value)
        return
    expected = refca.digit(picture)
    assert answer["done"] == list(expected.done)
    np.testing.assert_array_equal(np.round(255 * expected.pixels).ravel(), answer["pixels"])


@pytest.mark.parametrize("name", PICTURES)
def test_the_page_prepares_a_digit_as_the_library(page: dict[str, dict], name: str) -> None:
    assert_same_digit(PICTURES[name], page[name])


@pytest.mark.skipif(not OWN.is_dir(), reason="own_digits is looked for only where REFCA_DATA has it")
def test_the_page_prepares_digits_of_people_as_the_library(tmp_path: Path) -> None:
    with (OWN / "labels.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    chosen = [name for name in names if "drawn_28" not in name] + [name for name in names if "drawn_28" in name][::25]
    found = {name: np.array(Image.open(OWN / name).convert("RGBA")) for name in chosen}
    answers = prepared_by_the_page(found, tmp_path)
    for name, picture in found.items():
        assert_same_digit(picture, answers[name])
    for name in chosen[::8]:
        assert_same_digit(OWN / name, answers[name])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("prepared", "left as it is"),
        ("prepared, inverted", "inverted: dark ink"),
        ("light on dark", "kept: light ink"),
        ("white ink on a transparent canvas", "kept: light ink"),
        ("black ink on a transparent canvas", "inverted: dark ink"),
        ("thin", "thickened strokes of"),
        ("light from one side", "evened out the light"),
        ("lines at the edges", "removed"),
        ("specks", "removed"),
    ],
)
def test_a_digit_says_what_was_done(name: str, words: str) -> None:
    assert words in str(refca.digit(PICTURES[name]))


def unlike(made: Digit, expected: Digit) -> float:
    """The mean difference of two digits; where the centre of mass was rounded to another pixel counts for nothing."""
    shifts = [(y, x, 0) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    return min(float(np.abs(np.roll(made.pixels, shift, (0, 1, 2)) - expected.pixels).mean()) for shift in shifts)


@pytest.mark.parametrize(
    ("name", "stroke"),
    [
        ("light on dark", 9),
        ("bold light on dark", 14),
        ("light from one side", 9),
        ("hard shadow", 9),
        ("lamp", 9),
        ("specks", 9),
        ("noise", 9),
        ("lines at the edges", 9),
        ("lines and a shadow", 9),
    ],
)
def test_light_and_dirt_do_not_change_the_digit(name: str, stroke: int) -> None:
    h, w = PICTURES[name].shape[:2]
    clean = drawn(h, w, stroke)
    assert unlike(refca.digit(PICTURES[name]), refca.digit(clean)) < 0.02


def test_a_part_of_a_digit_that_touches_the_edge_is_kept() -> None:
    assert "removed" not in str(refca.digit(PICTURES["parts at the edge"]))


@pytest.mark.parametrize("stroke", [1, 2, 4, 8])
def test_thin_strokes_become_as_wide_as_a_quarter_of_mnists(stroke: int) -> None:
    ink = refca.digit(drawn(200, 200, stroke)).pixels.sum()
    length = sum(np.hypot(*np.subtract(b, a)) for line in FIVE for a, b in pairwise(line))
    assert 1.9 < ink / (length * (20 - 2.1) / 0.58) < 2.3
