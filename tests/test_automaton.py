"""Tests of refca.load, refca.digit and predictions."""

from __future__ import annotations

import csv
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refca
from refca.data.decode import pixels_of, resized
from refca.drawing.palette import DEFAULT
from refca.errors import InvalidInput
from refca.segmentation.prediction import labels_at, own_part, starts

DATA = Path(os.environ.get("REFCA_DATA", "absent"))
OWN = DATA / "own_digits"
ODD = DATA / "odd_images"
own_digits = pytest.mark.skipif(not OWN.is_dir(), reason="own_digits is looked for only where REFCA_DATA has it")
odd_images = pytest.mark.skipif(not ODD.is_dir(), reason="odd_images is looked for only where REFCA_DATA has it")


def drawn_seven(side: int = 120, paper: int = 255, ink: int = 0) -> np.ndarray:
    """A seven of two strokes, in the upper left of a page, as bytes."""
    page = np.full((side, side), paper, np.uint8)
    page[10:18, 10:50] = ink
    for i in range(50):
        page[16 + i, 40 - i // 2 : 48 - i // 2] = ink
    return page


@pytest.fixture(scope="module")
def digits() -> refca.Automaton:
    return refca.load("digits", "cpu")


@pytest.fixture
def photographs(tmp_path: Path) -> refca.Automaton:
    """An automaton with random weights that looks at 16x16 pixels and has three named labels."""
    cell = refca.segmentation_cell(state=8, hidden=12)
    params = refca.init_params(cell, 0)
    rng = np.random.default_rng(0)
    params["update.weight"] = rng.normal(0, 0.2, params["update.weight"].shape).astype(np.float32)
    path = tmp_path / "own.safetensors"
    refca.save_weights(path, cell, params, classes=("sky", "sea", "land"), size=16, horizon=10)
    return refca.load(path, "reference")


# what is loaded


def test_the_best_digits_are_loaded_by_one_word(digits: refca.Automaton) -> None:
    assert digits.cell == refca.digits_cell()
    assert digits.names == tuple("0123456789")
    assert "22,499 parameters" in repr(digits)


def test_an_unknown_name_is_refused_with_those_known() -> None:
    with pytest.raises(InvalidInput, match="or one of digits, pets, digits-drawn"):
        refca.load("dogs")


def test_weights_of_any_cell_load_with_nothing_but_their_file(photographs: refca.Automaton) -> None:
    assert photographs.cell == refca.segmentation_cell(state=8, hidden=12)
    assert photographs.names == ("sky", "sea", "land")
    assert photographs.task.name == "segmentation"


def test_a_cell_that_no_program_has_a_name_for_is_saved_and_loaded(tmp_path: Path) -> None:
    cell = refca.Cell(2, 9, 7, 4, hidden_layers=0, fire_rate=0.3, alive_above=None, norm="channel", biases=False)
    refca.save_weights(tmp_path / "w.safetensors", cell, refca.init_params(cell, 1))
    loaded = refca.load(tmp_path / "w.safetensors", "reference")
    assert loaded.cell == cell
    image = np.random.default_rng(0).random((1, 5, 6, 2))
    assert loaded.labels(loaded.evolve(image, 3)).shape == (1, 5, 6)


def test_weights_of_another_cell_are_not_written(tmp_path: Path) -> None:
    params = refca.init_params(refca.digits_cell(), 0)
    with pytest.raises(InvalidInput, match=r"missing|not a parameter"):
        refca.save_weights(tmp_path / "w.safetensors", refca.segmentation_cell(), params)
    with pytest.raises(InvalidInput, match=r"ends in \.safetensors"):
        refca.save_weights(tmp_path / "w.npz", refca.digits_cell(), params)
    assert not list(tmp_path.iterdir())


# evolving


def test_evolve_goes_on_where_it_stopped(digits: refca.Automaton) -> None:
    image = np.asarray(refca.digit(drawn_seven()))[None]
    half = digits.evolve(image, 4)
    both = digits.evolve(image, 3, half, first_step=4)
    np.testing.assert_array_equal(both, digits.evolve(image, 7))
    assert digits.labels(both).shape == (1, 28, 28)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((28, 28)), r"image must have shape \(B, H, W, 1\), got \(28, 28\)"),
        (np.zeros((1, 28, 28, 3)), r"image must have shape \(B, H, W, 1\), got \(1, 28, 28, 3\)"),
        (np.full((1, 9, 9, 1), 255.0), "values from 0 to 1, got 255 to 255"),
        (np.full((1, 9, 9, 1), -1.0), "values from 0 to 1, got -1 to -1"),
        (np.full((1, 9, 9, 1), np.nan), "values from 0 to 1, got NaN or infinity"),
        (np.zeros((1, 9, 9, 1), np.uint8), "floats from 0 to 1, got uint8"),
        (np.zeros((1, 0, 9, 1)), "at least one pixel"),
    ],
)
def test_images_that_cells_cannot_have_seen_are_refused(
    digits: refca.Automaton, image: np.ndarray, message: str
) -> None:
    with pytest.raises(InvalidInput, match=message):
        digits.evolve(image, 1)


def test_an_inverted_digit_is_told_of(digits: refca.Automaton) -> None:
    image = 1 - np.asarray(refca.digit(drawn_seven()))[None]
    said = "ink covers .* of the picture, but digits must be light on dark: they look inverted"
    with pytest.warns(UserWarning, match=said):
        digits.evolve(image, 1)
    with pytest.warns(UserWarning, match=said):
        result = digits.predict(image[0], raw=True, steps=1)
    assert result.doubt == result.summary()["doubt"]
    assert "doubt" not in digits.predict(image[0], steps=1).summary(), "a picture that is prepared is turned round"


def test_a_warning_is_given_at_the_line_that_asked(digits: refca.Automaton) -> None:
    image = 1 - np.asarray(refca.digit(drawn_seven()))
    with pytest.warns(UserWarning, match="they look inverted") as one:
        digits.predict(image, raw=True, steps=1)
    with pytest.warns(UserWarning, match="they look inverted") as many:
        list(digits.predict_all([image], raw=True, steps=1))
    assert {warning.filename for warning in [*one, *many]} == {__file__}


def test_an_image_of_the_backends_own_is_taken(digits: refca.Automaton) -> None:
    class OnDevice:
        """An array that converts when it is asked to, and not by itself, as CuPy's do."""

        def __init__(self, values: np.ndarray) -> None:
            self.values = values

        def __array__(self, *given: object, **options: object) -> np.ndarray:
            raise TypeError("Implicit conversion to a NumPy array is not allowed")

    class Device(type(digits.backend)):  # type: ignore[misc]
        def asnumpy(self, array: Any) -> np.ndarray:
            return array.values if isinstance(array, OnDevice) else np.asarray(array)

    image = np.asarray(refca.digit(drawn_seven()))[None]
    automaton = replace(digits, backend=Device())
    np.testing.assert_array_equal(automaton.evolve(OnDevice(image), 2), digits.evolve(image, 2))


def test_a_digit_too_faint_for_a_cell_to_live_is_told_of(digits: refca.Automaton) -> None:
    image = np.asarray(refca.digit(drawn_seven()))[None] * np.float32(16 / 255)  # optdigits taken for bytes
    with pytest.warns(UserWarning, match="no cell is alive in most of the picture: cells are alive above 0.1, and the"):
        digits.evolve(image, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_is_no_number_is_refused_in_a_picture_of_floats(
    digits: refca.Automaton, tmp_path: Path, value: float
) -> None:
    pixels = drawn_seven().astype(np.float32)
    pixels[5, 5] = value
    Image.fromarray(pixels).save(tmp_path / "seven.tif")
    for picture in (tmp_path / "seven.tif", str(tmp_path / "seven.tif")):
        with pytest.raises(InvalidInput, match=r"seven\.tif holds NaN or infinite values"):
            digits.predict(picture, steps=1)
    with pytest.raises(InvalidInput, match="picture holds NaN or infinite values"):
        digits.predict(Image.open(tmp_path / "seven.tif"), steps=1)


# digits


def test_a_digit_is_named_with_its_shares_and_a_picture(digits: refca.Automaton) -> None:
    result = digits.predict(drawn_seven(), steps=60)
    assert result.label == "7"
    assert result.shares["7"] == result.agreement > 0.9
    assert sum(result.shares.values()) == pytest.approx(1)
    assert result.image.shape == (28, 28, 1)
    shown = Image.open(BytesIO(result._repr_png_()))
    assert shown.size == (224, 224)
    assert len(shown.getcolors() or []) >= 2


@pytest.mark.parametrize("paper", [255, 0])
@pytest.mark.parametrize("side", [80, 300])
def test_digits_of_any_size_and_polarity_become_the_same_digit(paper: int, side: int) -> None:
    expected = np.asarray(refca.digit(drawn_seven()))
    made = refca.digit(drawn_seven(side, paper, 255 - paper))
    assert np.abs(np.asarray(made) - expected).mean() < 0.05
    assert ("inverted" in str(made)) == (paper == 255)
    assert "centred by mass" in str(made)


def test_a_prepared_digit_is_as_mnists(digits: refca.Automaton) -> None:
    made = np.asarray(refca.digit(drawn_seven()))
    assert made.shape == (28, 28, 1)
    assert made.dtype == np.float32
    assert made.min() == 0
    assert made.max() == 1
    ink = made[..., 0] > 0.1
    extent = [np.ptp(np.flatnonzero(ink.any(axis=axis))) + 1 for axis in (0, 1)]
    assert 19 <= max(extent) <= 20
    centre = [(made[..., 0].sum(axis=1 - axis) * np.arange(28)).sum() / made.sum() for axis in (0, 1)]
    assert np.abs(np.array(centre) - 13.5).max() <= 0.51
    again = refca.digit(made)
    np.testing.assert_array_equal(np.asarray(again), made)
    assert "left as it is" in str(again)


def test_white_ink_on_a_transparent_canvas_is_seen() -> None:
    canvas = np.full((120, 120, 4), 255, np.uint8)
    canvas[..., 3] = drawn_seven(paper=0, ink=255)
    expected = np.asarray(refca.digit(drawn_seven()))
    for picture in (canvas, Image.fromarray(canvas)):
        assert np.abs(np.asarray(refca.digit(picture)) - expected).mean() < 0.05


def test_grid_lines_at_the_edge_and_a_shadow_are_removed(digits: refca.Automaton) -> None:
    page = drawn_seven().astype(float)
    page[-4:] = page[:, -4:] = 30
    page *= np.linspace(0.5, 1, 120)[:, None]
    made = refca.digit(page.astype(np.uint8))
    assert "removed" in str(made)
    assert digits.predict(made.pixels, steps=60).label == "7"


def test_a_blank_page_has_no_digit(digits: refca.Automaton) -> None:
    with pytest.raises(InvalidInput, match="shows no ink"):
        refca.digit(np.full((50, 50), 200, np.uint8))
    nothing = digits.predict(np.zeros((28, 28)), raw=True, steps=3)
    assert nothing.label is None
    assert str(nothing) == "no live cells, so no label"


def test_raw_leaves_a_picture_as_it_is(digits: refca.Automaton) -> None:
    page = drawn_seven(70, 0, 255)
    result = digits.predict(page, raw=True, steps=2)
    assert result.image.shape == (70, 70, 1)
    assert result.prepared == ""


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((28, 28), 255.0), "values from 0 to 1, got 255 to 255; pass bytes"),
        (np.linspace(-1, 1, 784).reshape(28, 28), r"got -1 to 1; pass \(x \+ 1\) / 2"),
        (np.full((28, 28), np.nan), "holds NaN"),
        (np.zeros(784), r"got shape \(784,\)"),
        (np.zeros((2, 28, 28, 1)), r"got shape \(2, 28, 28, 1\)"),
        (None, "got NoneType"),
        (np.array([["a"]]), "must hold numbers"),
        (np.full((4, 4), 300), "values from 0 to 255, got 300 to 300"),
        ("no/such.png", "no/such.png cannot be read"),
    ],
)
def test_what_is_no_picture_is_refused(digits: refca.Automaton, picture: object, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        digits.predict(picture)


def test_options_that_there_are_not_are_named(digits: refca.Automaton, photographs: refca.Automaton) -> None:
    with pytest.raises(TypeError, match=r'predict has no option "stepz" for digits; did you mean steps\?'):
        digits.predict(drawn_seven(), stepz=3)
    with pytest.raises(TypeError, match='"raw" for photographs; there are steps, size, seed, tile'):
        photographs.predict_all([], raw=True)


@pytest.mark.parametrize("raw", [False, True])
def test_a_size_that_no_picture_has_is_refused(digits: refca.Automaton, raw: bool) -> None:
    for size in (0, -5):
        with pytest.raises(InvalidInput, match=f"size must be at least 1, got {size}"):
            digits.predict(drawn_seven(), size=size, raw=raw)


def test_predict_works_in_a_thread(digits: refca.Automaton) -> None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(digits.predict(drawn_seven(), steps=60).label))
    thread.start()
    thread.join()
    assert found == ["7"]


@own_digits
@pytest.mark.parametrize(
    ("folder", "least"), [("drawn_28", 0.95), ("canvas_400_rgba", 0.9), ("brush_100_rgb", 0.9), ("phone_photos", 0.75)]
)
def test_digits_that_people_drew_are_read(digits: refca.Automaton, folder: str, least: float) -> None:
    with (OWN / "labels.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["file"].startswith(folder)]
    rows = rows[:: max(1, len(rows) // 100)]
    results = digits.predict_all((OWN / row["file"] for row in rows), steps=100)
    right = [result.label == row["label"] for row, result in zip(rows, results, strict=True)]
    assert np.mean(right) >= least


# photographs


def test_labels_have_the_size_of_the_picture(photographs: refca.Automaton) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (40, 50, 3), np.uint8)
    result = photographs.predict(picture)
    assert (result.labels.shape, result.labels.dtype) == ((40, 50), np.uint8)
    assert result.names == ("sky", "sea", "land")
    assert sum(result.shares.values()) == pytest.approx(1)
    assert result.overlay().shape == (40, 50, 3)
    assert Image.open(BytesIO(result._repr_png_())).size == (50, 40)


def test_a_picture_of_the_grids_size_is_what_evolve_says(photographs: refca.Automaton) -> None:
    picture = np.random.default_rng(2).random((16, 16, 3)).astype(np.float32)
    state = photographs.evolve(2 * picture[None] - 1, 10)
    np.testing.assert_array_equal(photographs.predict(picture).labels, photographs.labels(state)[0])


def test_many_pictures_are_read_a_few_at_a_time(photographs: refca.Automaton) -> None:
    ahead = 0

    def pictures() -> object:
        nonlocal ahead
        for _ in range(100):
            ahead += 1
            yield np.zeros((16, 16, 3), np.uint8)

    results = photographs.predict_all(pictures(), steps=1)  # type: ignore[arg-type]
    next(results)
    assert ahead <= 16


def test_tiles_cover_a_picture_once_and_meet_in_the_middle_of_their_overlap() -> None:
    for length in (5, 16, 17, 40, 129):
        found = starts(length, 16)
        parts = [own_part(start, found, length, 16) for start in found]
        assert [i for part in parts for i in range(length)[part]] == list(range(length))
        for start, part in zip(found, parts, strict=True):
            assert start <= part.start < part.stop <= max(start + 16, length if length < 16 else 0)


def test_tiles_see_the_picture_at_its_own_scale(photographs: refca.Automaton) -> None:
    picture = np.random.default_rng(3).random((16, 16, 3)).astype(np.float32)
    whole = photographs.predict(picture)
    np.testing.assert_array_equal(photographs.predict(picture, tile=16).labels, whole.labels)
    assert photographs.predict(np.zeros((30, 7, 3), np.uint8), tile=16).labels.shape == (30, 7)
    with pytest.raises(InvalidInput, match="tile must be a positive multiple of the stride"):
        photographs.predict(picture, tile=0)
    with pytest.raises(InvalidInput, match="size is for the whole picture and tile for parts of it"):
        photographs.predict(picture, tile=16, size=32)


def test_labels_are_interpolated_as_probabilities() -> None:
    logits = np.zeros((2, 2, 2))
    logits[:, 0, 0] = logits[:, 1, 1] = 5
    labels = labels_at(logits, 4, 8)
    assert labels.tolist() == [[0] * 4 + [1] * 4] * 4


# pictures of every kind


@pytest.mark.parametrize(("dtype", "white"), [("u2", 65535), ("i4", 255), ("f4", 1), ("f8", 1)])
def test_pictures_may_have_any_byte_order(dtype: str, white: int) -> None:
    values = np.linspace(0, white, 6).reshape(2, 3)
    expected = pixels_of(values.astype(dtype), 1)
    assert expected.max() == 1
    for order in "<>":
        np.testing.assert_array_equal(pixels_of(values.astype(order + dtype), 1), expected)


def test_channels_are_changed_only_where_it_is_clear_how() -> None:
    assert pixels_of(np.full((2, 3), 255, np.uint8), 3).shape == (2, 3, 3)
    assert pixels_of(np.zeros((2, 3, 3), np.uint8), 1).shape == (2, 3, 1)
    see_through = np.zeros((2, 3, 4), np.uint8)
    assert pixels_of(see_through, 3).min() == 1  # transparent is white
    see_through[0] = 255  # white ink
    for picture in (see_through, Image.fromarray(see_through)):
        for channels in (1, 3):
            np.testing.assert_array_equal(pixels_of(picture, channels)[:, 0, 0], [1, 0])
    with pytest.raises(InvalidInput, match="has 5 channels; needed are 3"):
        pixels_of(np.zeros((2, 3, 5), np.uint8), 3)


def test_pictures_read_in_several_threads_leave_the_filters_of_warnings_as_they_were(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), np.uint8)).save(tmp_path / "a.png")
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: pixels_of(tmp_path / "a.png"), range(200)))
    assert warnings.filters == before


def test_resampling_keeps_means_and_range() -> None:
    pixels = np.random.default_rng(0).random((12, 8, 2)).astype(np.float32)
    small = resized(pixels, 6, 4)
    np.testing.assert_allclose(small, pixels.reshape(6, 2, 4, 2, 2).mean(axis=(1, 3)), atol=1e-6)
    large = resized(pixels, 30, 31)
    assert (large.shape, large.min() >= 0, large.max() <= 1) == ((30, 31, 2), True, True)


@odd_images
@pytest.mark.parametrize(
    ("name", "shape", "mean"),
    [
        ("pil_sample_cmyk.jpg", (100, 100, 3), None),
        ("hopper_orientation_6.jpg", (128, 128, 3), None),
        ("hopper_gray.jpg", (128, 128, 1), None),
        ("hopper.gif", (128, 128, 3), None),
        ("hopper_bw_500.png", (500, 500, 1), None),
        ("pil123p.png", (150, 162, 3), None),
        ("frozenpond.mpo", (480, 640, 3), None),
        ("TUM_depth.png", (480, 640, 1), 0.2),
        ("stardist_img2d.tif", (512, 512, 1), 0.1),
    ],
)
def test_odd_files_are_read(name: str, shape: tuple[int, ...], mean: float | None) -> None:
    pixels = pixels_of(ODD / name)
    assert pixels.shape == shape
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert pixels.max() > 0.8  # 16-bit pictures are scaled by their largest value, not clipped and not black
    if mean is not None:
        assert mean < pixels.mean() < 0.8


@odd_images
def test_a_picture_that_lies_on_its_side_is_turned_upright() -> None:
    upright, turned = pixels_of(ODD / "hopper.gif", 1), pixels_of(ODD / "hopper_orientation_6.jpg", 1)
    assert np.corrcoef(upright.ravel(), turned.ravel())[0, 1] > 0.95


@odd_images
def test_a_cut_off_archive_is_no_picture() -> None:
    with pytest.raises(InvalidInput, match="is not a picture"):
        pixels_of(ODD / "kmnist_cut_off_t10k-images-idx3-ubyte.gz")


# pictures of labels, and samples


def test_cells_of_a_digit_are_painted_in_the_colours_of_their_labels(digits: refca.Automaton) -> None:
    image = refca.sample_digits().images([7])
    state = np.zeros((1, 28, 28, 19), np.float32)
    state[..., 9 + 3] = 1  # every cell predicts 3, dead ones too
    live = image[..., 0] > 0.1
    painted = digits.paint(image, state)
    assert painted.shape == (1, 28, 28, 3)
    assert painted.dtype == np.uint8
    assert (painted[live] == DEFAULT.labels[3]).all()
    assert (painted[~live] == 255).all()
    black = digits.paint(image, 0 * state)  # no label yet: ink in its own tone
    assert (black[live] < 240).all()
    assert (black[..., 0] == black[..., 1]).all()


def test_a_photograph_is_painted_in_the_colours_of_its_pixels_labels(photographs: refca.Automaton) -> None:
    image = np.zeros((1, 4, 6, 3), np.float32)
    state = np.zeros((1, 4, 6, 8), np.float32)
    state[0, :, 3:] = 1
    painted, labels = photographs.paint(image, state), photographs.labels(state)
    assert painted.shape == (1, 4, 6, 3)
    assert len(np.unique(labels)) == len(np.unique(painted.reshape(-1, 3), axis=0))


def test_pictures_of_another_state_are_refused(digits: refca.Automaton) -> None:
    image = refca.sample_digits().images([0, 1])
    with pytest.raises(
        InvalidInput, match=r"rows and columns of the image, got \(1, 28, 28, 19\) for an image \(2, 28"
    ):
        digits.paint(image, np.zeros((1, 28, 28, 19), np.float32))
    with pytest.raises(InvalidInput, match="state must have shape"):
        digits.paint(image, np.zeros((2, 28, 28, 5), np.float32))


def test_the_sample_digits_are_ten_of_each_label_in_the_order_of_labels(digits: refca.Automaton) -> None:
    samples = refca.sample_digits()
    assert samples.labels.tolist() == 10 * list(range(10))
    image = samples.images(slice(0, 30))
    votes = digits.labels(digits.evolve(image, 60))
    live = refca.alive(digits.cell, image)
    majority = [np.bincount(vote[on]).argmax() for vote, on in zip(votes, live, strict=True)]
    assert (np.array(majority) == samples.labels[:30]).mean() > 0.9


@pytest.mark.skipif(not (DATA / "mnist").is_dir(), reason="MNIST is looked for only where REFCA_DATA has it")
def test_the_sample_digits_are_the_first_test_digits_of_mnist() -> None:
    mnist, samples = refca.data.load("mnist").test, refca.sample_digits()
    for label in range(10):
        expected = mnist.pixels[mnist.labels == label][:10]
        assert np.array_equal(samples.pixels[samples.labels == label], expected)


def test_the_sample_photographs_have_any_size_and_the_range_of_cells() -> None:
    small, large = refca.sample_photographs(24), refca.sample_photographs(192)
    assert small.shape == (8, 24, 24, 3)
    assert small.dtype == np.float32
    assert -1 <= large.min() < -0.9 < 0.9 < large.max() <= 1
    blocks = large.reshape(8, 24, 8, 24, 8, 3).mean(axis=(2, 4))
    assert np.abs(blocks - small).max() < 0.02
    with pytest.raises(InvalidInput, match="size must be from 1 to 192, got 193"):
        refca.sample_photographs(193)
