"""Figures and animations: the contents of the files, which are whole or absent."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from refca.atomic import atomic_write
from refca.data import CLASSES
from refca.digits.figures import curves, digit_grid
from refca.digits.rollout import of_all_labels, of_other_labels
from refca.drawing.animation import write_animation
from refca.drawing.palette import (
    ARTICLE,
    COLORBLIND,
    PALETTES,
    SIGNED,
    get_palette,
    in_colour,
    in_few_colours,
    lay_over,
    many,
    paint,
    predicted_labels,
    signed,
)
from refca.drawing.plots import LINES, apart, loss_curve, running_median
from refca.drawing.vision import contrasts, differences, seen
from refca.errors import InvalidInput
from refca.segmentation.evaluation import CONDITIONS, columns
from refca.segmentation.figures import SEGMENTATION, iou_curves, magnitude_curves
from refca.segmentation.rollout import Rollout
from refca.segmentation.rollout import write_animation as write_photographs

Frames = tuple[np.ndarray, np.ndarray, np.ndarray]


def frames(T: int = 4, B: int = 3, size: int = 8, changes: int | None = None) -> Frames:
    """Squares whose cells have label t in frame t; from frame `changes` on the squares are larger."""
    image = np.zeros((T, B, size, size, 1), np.float32)
    image[:, :, 2:5, 2:5] = 1
    if changes is not None:
        image[changes:, :, 2:6, 2:6] = 1
    live = image[..., 0] > 0.1
    labels = np.broadcast_to(np.arange(T).reshape(T, 1, 1, 1) % 10, live.shape)
    return labels, live, image


def decoded(path: Path) -> tuple[list[np.ndarray], list[int]]:
    """Each frame (H, W, 3) uint8 and its milliseconds."""
    with Image.open(path) as file:
        pictures, durations = [], []
        for t in range(getattr(file, "n_frames", 1)):
            file.seek(t)
            pictures.append(np.asarray(file.convert("RGB")))
            durations.append(int(file.info.get("duration", 0)))
        return pictures, durations


def count(picture: np.ndarray, colour: tuple[int, ...]) -> int:
    return int((picture == np.array(colour)).all(axis=-1).sum())


def evaluation(T: int = 50, mutation: int | None = 25) -> dict[str, Any]:
    step = np.arange(1, T + 1)
    return {
        "step": step,
        "accuracy": step / T,
        "agreement": np.where(step < 5, np.nan, step / T),
        "state_magnitude": step / 10,
        "update_magnitude": 1 / step,
        "mutation": mutation,
    }


# files


def test_replacing_puts_the_whole_file_in_place(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("whole")
        assert (temporary.parent, temporary.suffix) == (path.parent, ".txt")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert os.listdir(path.parent) == ["a.txt"]
    plain = tmp_path / "plain"
    plain.write_text("")
    assert path.stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_replacing_leaves_the_old_file_if_the_block_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def half() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("ha")
            raise error

    with pytest.raises(type(error)):
        half()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


# palettes


def test_the_articles_colours() -> None:
    assert ARTICLE.labels[0] == (128, 0, 0)
    assert ARTICLE.labels[9] == (128, 128, 0)
    assert (ARTICLE.undecided, ARTICLE.background) == ((0, 0, 0), (255, 255, 255))
    assert {len(set(palette.labels)) for palette in PALETTES.values()} == {10}
    assert get_palette("colorblind") is COLORBLIND
    with pytest.raises(InvalidInput, match='palette must be one of article, colorblind, got "pastel"'):
        get_palette("pastel")


def test_every_palette_but_the_articles_is_told_apart_by_everyone_and_seen_on_white_and_black() -> None:
    colours = np.array([*COLORBLIND.labels, COLORBLIND.undecided, COLORBLIND.background])
    apart = differences(colours, colours)
    assert apart[np.triu_indices(12, 1)].min() > 25
    assert contrasts(np.array(COLORBLIND.labels), np.array([255, 255, 255])).min() > 2
    assert contrasts(np.array(COLORBLIND.labels), np.array([0, 0, 0])).min() > 2
    lines = np.array([[int(line[i : i + 2], 16) for i in (1, 3, 5)] for line in LINES])
    assert differences(lines, lines)[np.triu_indices(len(lines), 1)].min() > 15
    assert contrasts(lines, np.array([255, 255, 255])).min() > 2


@pytest.mark.parametrize(("count", "least"), [(3, 25), (11, 25), (20, 12), (64, 4)])
def test_many_labels_have_colours_as_different_as_so_many_can_be(count: int, least: float) -> None:
    colours = np.array(many(tuple(map(str, range(count)))).labels)
    assert differences(colours, colours)[np.triu_indices(count, 1)].min() > least
    assert contrasts(colours, np.array([255, 255, 255])).min() > 1.7


def test_the_articles_palette_is_not_which_is_why_there_is_another() -> None:
    colours = np.array(ARTICLE.labels)
    assert differences(colours, colours)[np.triu_indices(10, 1)].min() < 10
    assert contrasts(colours, np.array([255, 255, 255])).min() < 1.2


def test_labels_over_photographs_are_told_apart_by_everyone_in_every_tone() -> None:
    tones = np.linspace(-1, 1, 16).reshape(1, 1, 16, 1).repeat(3, axis=-1)
    over = [lay_over(SEGMENTATION, np.full((1, 1, 16), label), tones).reshape(16, 3) for label in range(3)]
    between = differences(np.concatenate(over), np.concatenate(over))
    same = np.equal.outer(np.arange(48) // 16, np.arange(48) // 16)
    assert between[~same].min() > 40
    assert contrasts(np.array(SEGMENTATION.labels), np.array([255, 255, 255])).min() > 1.8


def test_known_differences_and_contrasts() -> None:
    red, green, white, black = np.array([[255, 0, 0], [0, 255, 0], [255, 255, 255], [0, 0, 0]])
    assert contrasts(np.array([black]), white) == pytest.approx(21, abs=0.01)
    assert seen(np.array([white]))[0, 0] == pytest.approx([100, 0, 0], abs=0.1)
    normal = np.linalg.norm(np.subtract(*seen(np.array([red, green]))[0]))
    assert normal == pytest.approx(170.6, abs=1)
    assert differences(np.array([red]), np.array([green]))[0, 0] < normal / 2


def test_the_playground_has_the_same_colours() -> None:
    source = (Path(__file__).parents[1] / "refca/playground_page/site/palettes.js").read_text("utf-8")

    def triples(part: str) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(int, rgb)) for rgb in re.findall(r"\[(\d+), (\d+), (\d+)\]", part))

    for name, palette in PALETTES.items():
        (part,) = re.findall(rf"^  {name}: \[\n(.*?)^  \],", source, re.S | re.M)
        assert triples(part) == palette.labels
    (part,) = re.findall(r"SEGMENTATION = \[\n(.*?)^\];", source, re.S | re.M)
    assert triples(part) == SEGMENTATION.labels


def test_labels_lie_over_a_gray_photograph() -> None:
    photograph = np.array([[1.0, 1, 1], [-1, -1, -1], [1, -1, -1]]).reshape(1, 1, 3, 3)
    gray = lay_over(SEGMENTATION, np.full((1, 1, 3), -1), photograph)
    assert gray.tolist() == [[[[255] * 3, [0] * 3, [68] * 3]]]  # 0.299 to the nearest of 16 tones
    blue = lay_over(SEGMENTATION, np.zeros((1, 1, 3), int), photograph)
    expected = np.round(0.6 * np.array(SEGMENTATION.labels[0]) + 0.4 * gray[0, 0].astype(float))
    np.testing.assert_array_equal(blue[0, 0], expected)


def test_numbers_as_colours() -> None:
    painted = signed(np.array([-9.0, -2.0, 0.0, 1.0, 2.0]), 2.0)
    low, white, high = (list(colour) for colour in SIGNED.labels)
    assert painted[[0, 1, 2, 4]].tolist() == [low, low, white, high]
    np.testing.assert_array_equal(painted[3], np.round(255 + (np.array(high) - 255) / 2))


def test_photographs_in_few_colours() -> None:
    pixels = in_colour(np.random.default_rng(0).uniform(-1, 1, (2, 3, 20, 30, 3)))
    few = in_few_colours(pixels, 50)
    assert few.shape == pixels.shape
    assert len(np.unique(few.reshape(-1, 3), axis=0)) <= 50
    assert np.abs(few.astype(int) - pixels).mean() < 50


def test_paint_colours_live_cells_by_label() -> None:
    labels = np.array([[[3, -1, 7, -1]]])
    live = np.array([[[True, True, False, True]]])
    image = np.array([1, 1, 1, 0.4], np.float32).reshape(1, 1, 4, 1)
    painted = paint(ARTICLE, labels, live, image)
    assert painted.dtype == np.uint8
    assert painted.tolist() == [[[[210, 245, 60], [0, 0, 0], [255, 255, 255], [153, 153, 153]]]]


@pytest.mark.parametrize("label", [-2, 10])
def test_paint_refuses_labels_without_a_colour_but_only_of_live_cells(label: int) -> None:
    labels, image = np.array([[[label, 0]]]), np.ones((1, 1, 2, 1))
    with pytest.raises(ValueError, match="labels must be from -1 to 9"):
        paint(ARTICLE, labels, np.array([[[True, True]]]), image)
    painted = paint(ARTICLE, labels, np.array([[[False, True]]]), image)
    assert painted[0, 0].tolist() == [[255, 255, 255], [128, 0, 0]]


def test_paint_refuses_shapes_that_differ() -> None:
    labels, live, image = frames()
    with pytest.raises(ValueError, match="shapes differ"):
        paint(ARTICLE, labels, live, image[..., 0])


def test_a_cell_says_nothing_while_all_its_numbers_are_below_a_hundredth() -> None:
    readout = np.array([[[[0.0, 0.009, -5], [0.01, 0, 0.01], [-1, -1, 2]]]])
    assert predicted_labels(readout).tolist() == [[[-1, 0, 2]]]


# animations


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp"])
def test_an_animation_has_every_frame_in_exact_colours(tmp_path: Path, suffix: str) -> None:
    labels, live, image = frames(T=10)
    write_animation(tmp_path / f"a{suffix}", labels, live, image, scale=3, frame_ms=50, hold_ms=900)
    pictures, durations = decoded(tmp_path / f"a{suffix}")
    assert len(pictures) == 10
    assert durations == [50] * 9 + [900]
    chips = [count(pictures[i - 1], colour) for i, colour in enumerate(COLORBLIND.labels)]  # no digit has it
    for t, picture in enumerate(pictures):
        found = [count(picture, colour) for colour in COLORBLIND.labels]
        cells = [(found[i] - chips[i]) // 9 for i in range(10)]
        assert cells == [3 * 9 if i == t else 0 for i in range(10)]
    assert os.listdir(tmp_path) == [f"a{suffix}"]


def test_a_new_digit_is_marked_for_a_while(tmp_path: Path) -> None:
    labels, live, image = frames(T=20, B=2, changes=5)
    image[5:, 1] = image[4, 1]  # the second digit stays
    write_animation(tmp_path / "a.gif", np.zeros_like(labels), live, image, scale=3)
    dark = [count(picture, (28, 28, 28)) for picture in decoded(tmp_path / "a.gif")[0]]
    frame = (8 * 3 + 6) ** 2 - (8 * 3) ** 2  # pixels of one heavy frame
    assert min(dark[5:15]) > max(dark[:5]) + frame
    assert max(dark[15:]) + frame < min(dark[5:15])


def test_steps_are_shown_and_rows_are_made(tmp_path: Path) -> None:
    labels, live, image = frames(T=2, B=6)
    for name, steps, width in (("a", [0, 1], 3), ("b", [0, 2], 3), ("c", [0, 1], 6)):
        write_animation(tmp_path / f"{name}.png", labels, live, image, steps=steps, columns=width)
    (a, b, c) = (decoded(tmp_path / f"{name}.png")[0] for name in "abc")
    assert (a[0] == b[0]).all()
    assert (a[1] != b[1]).any()
    assert a[0].shape[0] > c[0].shape[0]
    assert a[0].shape[1] < c[0].shape[1]


def test_every_palette_fits_a_gif_with_every_tone_of_ink(tmp_path: Path) -> None:
    ink = np.linspace(0.11, 1, 28 * 28, dtype=np.float32).reshape(1, 1, 28, 28, 1)
    image = np.repeat(ink, 12, axis=0)
    image[6:] = image[6:, :, ::-1]
    labels = np.full(image.shape[:-1], -1)
    labels[:, :, :10, 0] = np.arange(10)
    for name, palette in PALETTES.items():
        write_animation(tmp_path / f"{name}.gif", labels, image[..., 0] > 0.1, image, palette=palette)
        assert len(decoded(tmp_path / f"{name}.gif")[0]) == 12


def test_colours_that_do_not_fit_a_gif_become_similar_ones(tmp_path: Path) -> None:
    """64 labels on every tone of ink, against a file that keeps all colours."""
    image = np.linspace(0, 1, 64).reshape(1, 1, 1, 64, 1).repeat(2, 0).repeat(64, 2).astype(np.float32)
    labels = np.arange(64).reshape(1, 1, 64, 1).repeat(2, 0).repeat(64, 3)
    for suffix in (".gif", ".png"):
        palette = many(tuple(map(str, range(64))))
        write_animation(tmp_path / f"a{suffix}", labels, image[..., 0] > 0.1, image, palette=palette)
    frames, exact = (np.stack(decoded(tmp_path / f"a{suffix}")[0]) for suffix in (".gif", ".png"))
    assert len(np.unique(exact.reshape(-1, 3), axis=0)) > 256 >= len(np.unique(frames.reshape(-1, 3), axis=0))
    difference = np.abs(frames.astype(int) - exact)
    assert difference.mean() < 1
    assert difference.max() < 80


def test_an_animation_of_24_digits_is_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((120, 24, 28, 28, 1), np.float32)
    image[:, :, 8:20, 8:20] = 1  # 144 cells, a digit has 137
    live = image[..., 0] > 0.1
    labels = rng.integers(0, 10, live.shape)  # no two cells or steps agree: nothing compresses worse
    labels[30:] = 4
    write_animation(tmp_path / "a.gif", labels, live, image)
    assert (tmp_path / "a.gif").stat().st_size < 3_000_000


def film(T: int = 4, B: int = 2, side: int = 12) -> Rollout:
    """Noise in every colour, and new noise in frame 3; labels that change in every frame."""
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (2, B, side, side, 3))
    said = rng.integers(0, 3, (T, B, side, side))
    state = rng.normal(size=(T, side, side, 2))
    return Rollout(np.arange(T), said, np.arange(T) // 3, image, said[:2], None, state)


def test_an_animation_of_photographs_fits_a_gif_whatever_their_colours(tmp_path: Path) -> None:
    write_photographs(film(), tmp_path / "a.gif")
    pictures, _ = decoded(tmp_path / "a.gif")
    assert len(pictures) == 4
    assert all(count(pictures[0], colour) > 700 for colour in SEGMENTATION.labels)  # the legend
    dark = [count(picture, (28, 28, 28)) for picture in pictures]
    assert dark[3] > dark[2] + 2 * 6 * (96 + 2 * 96)  # two heavy frames around photograph and labels


def test_animations_that_cannot_be_are_refused(tmp_path: Path) -> None:
    labels, live, image = frames()
    with pytest.raises(InvalidInput, match=r"a\.mp4: the name of an animation must end in one of \.gif"):
        write_animation(tmp_path / "a.mp4", labels, live, image)
    with pytest.raises(InvalidInput, match="at least one digit"):
        write_animation(tmp_path / "a.gif", labels[:0], live[:0], image[:0])
    with pytest.raises(ValueError, match="shapes differ"):
        write_animation(tmp_path / "a.gif", labels, live[:2], image)
    assert os.listdir(tmp_path) == []


# figures


def test_a_digit_grid_holds_each_digit_at_each_step(tmp_path: Path) -> None:
    labels, live, image = frames(T=4, B=2, size=28)
    path = tmp_path / "grid.png"
    digit_grid(path, labels, live, image, [1, 5, 20, "200"], scale=3)
    (picture,), _ = decoded(path)
    chip = count(picture, COLORBLIND.labels[6])  # a chip that no digit shares
    for t in range(4):
        assert count(picture, COLORBLIND.labels[t]) > chip * 0.5 + 2 * 9 * 9
    assert count(picture, (28, 28, 28)) < 2000


def test_a_grid_with_true_labels_names_them_and_shows_each_digit_as_it_is_drawn(tmp_path: Path) -> None:
    labels, live, image = frames(T=4, B=2, size=28, changes=2)
    truth = np.array([[3, 7], [3, 7], [5, 1], [5, 1]])
    digit_grid(tmp_path / "plain.png", labels, live, image, [1, 2, 3, 4], scale=3)
    digit_grid(tmp_path / "named.png", labels, live, image, [1, 2, 3, 4], scale=3, truth=truth)
    (plain,), (named,) = (decoded(tmp_path / f"{name}.png")[0] for name in ("plain", "named"))
    assert named.shape[1] > plain.shape[1] + 2 * 3 * 28
    ink = 2 * 9 * (9 + 16)  # each digit before and after its change: squares of 3 and 4 cells
    assert count(named, (0, 0, 0)) == count(plain, (0, 0, 0)) + ink
    other = truth.copy()
    other[0, 0] = 4
    digit_grid(tmp_path / "other.png", labels, live, image, [1, 2, 3, 4], scale=3, truth=other)
    difference = (decoded(tmp_path / "other.png")[0][0] != named).any(axis=-1)
    assert difference.any()
    assert not difference[:, 100:].any()
    assert not difference[named.shape[0] // 2 :].any()


def test_true_labels_stand_below_the_digits_of_an_animation(tmp_path: Path) -> None:
    labels, live, image = frames(T=2, B=3)
    truth = np.array([[1, 2, 3], [1, 2, 4]])
    write_animation(tmp_path / "plain.png", labels * 0, live, image)
    write_animation(tmp_path / "named.png", labels * 0, live, image, truth=truth)
    plain, named = (decoded(tmp_path / f"{name}.png")[0] for name in ("plain", "named"))
    assert named[0].shape[0] == plain[0].shape[0] + 18
    below = (named[0] != named[1]).any(axis=-1)[140:]
    assert below.any()
    assert not below[:, : 2 * below.shape[1] // 3 - 60].any()


def test_small_digits_are_shaded_by_their_ink_and_large_ones_are_not() -> None:
    for size, shaded in ((8, True), (15, True), (16, False), (28, False)):
        image = np.full((1, size, size, 1), 0.5, np.float32)
        painted = paint(COLORBLIND, np.zeros((1, size, size), int), image[..., 0] > 0.1, image)
        assert (painted[0, 0, 0].tolist() != list(COLORBLIND.labels[0])) == shaded
        full = paint(COLORBLIND, np.zeros((1, size, size), int), image[..., 0] > 0.1, image * 2)
        assert full[0, 0, 0].tolist() == list(COLORBLIND.labels[0])


def test_digits_mutate_to_other_labels_and_pictures_show_as_many_labels_as_possible() -> None:
    labels = np.array([1, 2, 1, 1, 2, 1])  # in an evaluation 0 becomes 3, which has the same label
    found = of_other_labels(np.arange(6), labels)
    assert (labels[found] != labels).all()
    assert found[0] == 4
    assert of_other_labels(np.arange(2), np.zeros(2, int)).tolist() == [1, 0]
    assert of_all_labels(np.array([7, 7, 2, 7, 1, 2]), 4) == [0, 1, 2, 4]
    assert of_all_labels(np.array([7, 7]), 4) == [0, 1]


def test_a_line_divides_a_grid_where_the_digits_change(tmp_path: Path) -> None:
    for name, changes in (("same", None), ("new", 2)):
        digit_grid(tmp_path / f"{name}.png", *frames(T=8, B=2, changes=changes), steps=range(1, 9))
    (same,), _ = decoded(tmp_path / "same.png")
    (new,), _ = decoded(tmp_path / "new.png")
    assert new.shape[1] > same.shape[1]
    columns = (new == 28).all(axis=-1).sum(axis=0)
    assert (columns > 0.6 * new.shape[0]).sum() == 2  # a line of two pixels


def test_a_grid_needs_a_head_for_each_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="labels must be"):
        digit_grid(tmp_path / "grid.png", *frames(T=4), steps=[1, 2, 3])
    assert os.listdir(tmp_path) == []


def measured(T: int = 50, gate: float = 0.5) -> dict[str, dict[str, np.ndarray]]:
    curve: dict[str, np.ndarray] = {key: np.linspace(0.1, 0.9, T) for key in columns(CLASSES)}
    curve |= {"step": np.arange(1, T + 1), "changes": np.arange(T) // 20, "gate": np.full(T, gate)}
    return dict.fromkeys(CONDITIONS, curve)


def test_curves_of_photographs_of_one_run_or_of_several(tmp_path: Path) -> None:
    nan, endless = float("nan"), np.repeat([1.0, 9.0, np.inf, np.nan, np.inf], 10)
    for name, runs in {
        "one": {"": measured()},
        "two": {"a": measured(), "b": measured(T=30)},
        "ungated": {"": measured(gate=nan)},
        "half": {"a": measured(gate=nan), "b": measured()},
        "short": {"": measured(T=1)},
        "diverged": {"": {way: curve | {"state": endless} for way, curve in measured().items()}},
        "closed": {"": measured(gate=0.0)},
    }.items():
        iou_curves(runs, tmp_path / f"{name}.png")
        magnitude_curves(runs, tmp_path / f"{name}-magnitudes.png")
    sizes = {path.stem: decoded(path)[0][0].shape[:2] for path in tmp_path.iterdir()}
    assert len({sizes[name] for name in ("one", "two", "short", "diverged", "closed")}) == 1
    assert sizes["ungated-magnitudes"][1] < sizes["half-magnitudes"][1]  # without the gate's column
    two = decoded(tmp_path / "two.png")[0][0]
    assert count(two, (0, 0x72, 0xB2)) > 20
    assert count(two, (0xD5, 0x5E, 0)) > 20


NOTHING = {key: np.full(50, np.nan) for key in ("agreement", "state_magnitude", "update_magnitude")}


@pytest.mark.parametrize(
    "drawn",
    [
        evaluation(),
        evaluation(mutation=None),
        evaluation(T=1),
        evaluation() | NOTHING,
        {"L2": evaluation(), "L2 + noise": evaluation(T=40)},
        {f"run {i}": evaluation() for i in range(9)},
    ],
    ids=["one", "unchanged", "one step", "NaN", "two runs", "nine runs"],
)
def test_curves_are_drawn_large_enough_to_read(tmp_path: Path, drawn: dict[str, Any]) -> None:
    curves(drawn, tmp_path / "curves.png")
    (picture,), _ = decoded(tmp_path / "curves.png")
    assert picture.shape[0] >= 800
    assert picture.shape[1] >= 1200
    assert count(picture, (255, 255, 255)) > picture.size // 3 // 2
    assert count(picture, (0, 0x72, 0xB2)) > 20  # the first run's colour


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"accuracy": np.zeros(3)}, '3 values of "accuracy" for 50 steps'),
        ({"agreement": None}, 'no "agreement"'),
    ],
)
def test_curves_refuse_arrays_that_do_not_fit(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    run = {key: value for key, value in (evaluation() | change).items() if value is not None}
    with pytest.raises(InvalidInput, match=f"the evaluation mine has {message}"):
        curves({"mine": run}, tmp_path / "curves.png")
    with pytest.raises(InvalidInput, match="at least one evaluation"):
        curves({}, tmp_path / "curves.png")
    assert os.listdir(tmp_path) == []


def test_a_loss_curve_is_drawn_of_numbers_or_their_text(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"step": i, "loss": 100 / (i + 1)} for i in range(300)]
    rows[7]["loss"] = float("nan")
    rows[8]["loss"] = 0
    texts = [{key: str(value) for key, value in row.items()} for row in rows]
    loss_curve(rows, tmp_path / "numbers.png")
    loss_curve(texts, tmp_path / "texts.png")
    numbers, text = (decoded(tmp_path / f"{name}.png")[0][0] for name in ("numbers", "texts"))
    np.testing.assert_array_equal(numbers, text)
    assert count(numbers, (0, 0x72, 0xB2)) > 500


def test_a_loss_curve_of_one_point_or_none(tmp_path: Path) -> None:
    loss_curve([{"step": 0, "loss": 3.0}], tmp_path / "one.png")
    with pytest.raises(InvalidInput, match="no loss to draw"):
        loss_curve([{"step": 0, "loss": "nan"}], tmp_path / "none.png")
    assert os.listdir(tmp_path) == ["one.png"]


def test_the_running_median_ignores_a_spike() -> None:
    assert running_median(np.array([1, 1, 90, 2, 2.0]), 1).tolist() == [1, 1, 2, 2, 2]


def test_words_at_the_end_of_lines_keep_their_distance_and_stay_inside() -> None:
    assert apart([], 0.1) == []
    assert apart([0.2, 0.5], 0.1) == [0.2, 0.5]
    np.testing.assert_allclose(apart([0.95, 0.96, 0.97], 0.1), [0.8, 0.9, 1.0])
    np.testing.assert_allclose(apart([0.0, 0.01, 0.5], 0.1), [0.0, 0.1, 0.5])


DRAWN: dict[str, Callable[[Path], None]] = {
    "grid.png": lambda path: digit_grid(path, *frames(), steps=[1, 2, 3, 4]),
    "a.gif": lambda path: write_animation(path, *frames()),
    "curves.png": lambda path: curves(evaluation(), path),
    "loss.png": lambda path: loss_curve([{"step": 1, "loss": 1}], path),
    "iou.png": lambda path: iou_curves({"": measured()}, path),
    "photographs.gif": lambda path: write_photographs(film(), path),
}


@pytest.mark.parametrize("name", DRAWN)
def test_a_picture_is_whole_or_the_old_one_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).write_bytes(b"the old one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            DRAWN[name](tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"the old one"
    assert os.listdir(tmp_path) == [name]
    DRAWN[name](tmp_path / name)
    assert len(decoded(tmp_path / name)[0]) >= 1


def test_drawing_leaves_matplotlibs_global_state_alone(tmp_path: Path) -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    curves(evaluation(), tmp_path / "curves.png")
    assert dict(matplotlib.rcParams) == before
