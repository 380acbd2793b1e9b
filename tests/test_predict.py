"""python -m refca.predict: pictures, folders, films, and files that cannot be used."""

from __future__ import annotations

import contextlib
import csv
import errno
import itertools
import json
import os
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_automaton import drawn_seven
from test_own_data import class_folders

import refca
from refca import predict, train
from refca.data import inputs
from refca.data.camera import device_of, newest
from refca.data.inputs import apart, expand, open_film, pages
from refca.errors import InvalidInput
from refca.playground_page.catalogue import make_catalogue
from refca.predict import main, predictions_folder
from refca.segmentation import prediction as segmentation_prediction
from refca.segmentation.prediction import labels_at
from refca.tasks import get_task

MEDIA = Path(os.environ.get("REFCA_DATA", "absent")) / "cat_and_dog_media"
ODD = Path(os.environ.get("REFCA_DATA", "absent")) / "odd_images"
media = pytest.mark.skipif(not MEDIA.is_dir(), reason="cat_and_dog_media is looked for only where REFCA_DATA has it")
odd_images = pytest.mark.skipif(not ODD.is_dir(), reason="odd_images is looked for only where REFCA_DATA has it")


@pytest.fixture(scope="module")
def sea(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A weights file of random weights for 16x16 pixels and three labels."""
    cell = refca.segmentation_cell(state=8, hidden=12)
    params = refca.init_params(cell, 0)
    rng = np.random.default_rng(0)
    params["update.weight"] = rng.normal(0, 0.2, params["update.weight"].shape).astype(np.float32)
    path = tmp_path_factory.mktemp("weights") / "sea.safetensors"
    names, colours = ("sky", "sea", "land"), ("#000000", "#0000ff", "#00ff00")
    refca.save_weights(path, cell, params, classes=names, colours=colours, size=16, horizon=10)
    return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of four pictures in folders, and a text."""
    rng = np.random.default_rng(0)
    where = tmp_path / "in"
    for name in ("a.png", "a.jpg", "below/b.bmp"):
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(where / name)
    pair = [Image.fromarray(rng.integers(0, 256, (10, 12), np.uint8)) for _ in range(2)]
    pair[0].save(where / "stack.tif", save_all=True, append_images=pair[1:])
    (where / "notes.txt").write_text("nothing")
    return where


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open() as file:
        return list(csv.DictReader(file))


def gif(path: Path, frames: int = 4) -> None:
    rng = np.random.default_rng(1)
    made = [Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)) for _ in range(frames)]
    made[0].save(path, save_all=True, append_images=made[1:], duration=100)


def test_a_folder_is_predicted_with_all_that_is_in_it(sea: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([sea, str(folder), "--out", str(out), "--backend", "reference"]) == 0
    assert [row["name"] for row in rows_of(out)] == ["a", "a-2", "below/b", "stack-001", "stack-002"]
    for row in rows_of(out):
        assert sum(float(row[name]) for name in ("sky", "sea", "land")) == pytest.approx(1, abs=1e-5)
    labels = np.load(out / "below/b-labels.npy")
    assert labels.shape == (20, 30)
    with Image.open(out / "below/b-labels.png") as indexed:
        np.testing.assert_array_equal(np.asarray(indexed), labels)
        assert indexed.convert("RGB").getpixel((0, 0)) == ((0, 0, 0), (0, 0, 255), (0, 255, 0))[labels[0, 0]]
    with Image.open(out / "a-overlay.png") as shown:
        assert shown.size == (30, 20)
    legend = json.loads((out / "legend.json").read_text())
    assert [(entry["name"], entry["colour"]) for entry in legend] == [
        ("sky", "#000000"),
        ("sea", "#0000ff"),
        ("land", "#00ff00"),
    ]


def test_pages_and_long_names_never_share_the_files_of_a_result(sea: str, folder: Path, tmp_path: Path) -> None:
    for name in ("stack-001.png", f"{'x' * 240}.png", f"{'x' * 241}.png"):
        Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(folder / name)
    out = tmp_path / "out"
    assert main([sea, str(folder), "--out", str(out), "--backend", "reference"]) == 0
    names = [row["name"] for row in rows_of(out)]
    long = "x" * 200
    assert apart("x" * 250, "-002", set()) == f"{long}-002"
    assert names == ["a", "a-2", "below/b", "stack-001", "stack-001-2", "stack-002", long, f"{long}-2"]
    for name in names:
        assert (out / f"{name}-labels.png").exists()


def test_a_folder_of_data_does_not_hide_shipped_weights(
    sea: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "digits-large-batch", "pets"):
        Path(name).mkdir()
    assert main(["pets", str(folder / "a.png"), "--steps", "1", "--backend", "reference"]) == 0
    assert rows_of(tmp_path / "runs/pets-predictions")
    assert len(make_catalogue([Path(sea)])) == len(make_catalogue()) + 1


def test_the_result_of_a_picture_is_that_of_the_library(sea: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([sea, str(folder / "a.png"), "--out", str(out), "--backend", "reference"]) == 0
    expected = refca.load(sea, "reference").predict(folder / "a.png")
    np.testing.assert_array_equal(np.load(out / "a-labels.npy"), expected.labels)


def test_digits_are_named_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(drawn_seven()).save(tmp_path / "seven.png")
    flags = ["--json", "--steps", "60", "--backend", "reference"]  # a compiler would say that it takes long
    assert main(["digits", str(tmp_path / "seven.png"), *flags, "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = json.loads(printed.out)
    assert (found["label"], found["agreement"] > 0.9) == ("7", True)
    assert "inverted" in found["prepared"]
    with Image.open(tmp_path / "seven-cells.png") as cells:
        painted = {f"#{red:02x}{green:02x}{blue:02x}" for _, (red, green, blue) in cells.convert("RGB").getcolors()}  # type: ignore[union-attr,misc]
    legend = json.loads((tmp_path / "legend.json").read_text())
    assert [entry["name"] for entry in legend] == list("0123456789")
    assert legend[7]["label"] == 7
    assert legend[7]["colour"] in painted
    assert rows_of(tmp_path)[0]["label"] == "7"


def test_a_file_among_others_that_is_no_picture_is_passed_over(
    sea: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    assert main([sea, str(folder), "--out", str(out), "--no-pictures"]) == 2
    printed = capsys.readouterr()
    skipped = f"refca: {folder / 'broken.png'} is not a picture"
    assert any(line.startswith(skipped) for line in printed.err.replace("\r", "\n").splitlines())
    assert "5 done, 1 skipped" in printed.out
    assert len(rows_of(out)) == 5
    assert sorted(file.name for file in out.iterdir()) == ["legend.json", "predictions.csv"]


def test_inputs_that_name_no_file_are_passed_over_among_others(
    sea: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    inputs = [str(folder / "absent.png"), str(folder / "a.png"), f"{folder}/*.nothing"]
    assert main([sea, *inputs, "--out", str(out), "--no-pictures", "--backend", "reference"]) == 2
    printed = capsys.readouterr()
    assert "absent.png does not exist" in printed.err
    assert "no picture matches the pattern" in printed.err
    assert printed.err.count("; skipped") == 2
    assert "1 done, 2 skipped" in printed.out
    assert [row["name"] for row in rows_of(out)] == ["a"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.png"], "absent.png does not exist"),
        (["*.nothing"], "no picture matches the pattern *.nothing"),
        (["."], "holds no pictures"),
        (["text.png"], "text.png is not a picture"),
        (["a.png", "--steps", "0"], "--steps must be at least 1, got 0"),
        (["a.png", "--tile", "-4"], "tile must be a positive multiple of the stride, 1, got -4"),
        (["a.png", "--raw"], "--raw"),
        (["film.gif", "--tile", "8"], "a film is segmented at --size"),
    ],
)
def test_what_cannot_be_predicted_is_refused_in_a_sentence(
    sea: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if arguments[0] == "text.png":
        Path("text.png").write_text("text")
    if arguments[0] == "a.png":
        Image.fromarray(drawn_seven()).save("a.png")
    if arguments[0] == "film.gif":
        gif(Path("film.gif"))
    assert main([sea, *arguments, "--out", "out"]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert any(line.startswith(("refca: ", "usage: ")) for line in printed.splitlines())
    assert "Traceback" not in printed
    assert not list(Path().rglob("predictions.csv"))


def test_a_film_is_not_squeezed_into_a_tile() -> None:
    cell = refca.segmentation_cell(4, 4)
    experiment = get_task("segmentation").experiment(size=24, state=4, hidden=4, tiles=True)
    params = refca.init_params(cell, 0)
    automaton = refca.Automaton("tiles", experiment.cell, params, experiment, refca.get_backend("reference"))
    frames = [np.zeros((96, 96, 3), np.uint8)]
    with pytest.raises(InvalidInput, match=r"these weights see tiles of 24x24 .*--size N"):
        list(segmentation_prediction.follow(automaton, frames))
    assert len(list(segmentation_prediction.follow(automaton, frames, size=12))) == 1


def test_transparent_frames_lie_on_white_as_pictures_do(tmp_path: Path) -> None:
    clear = [Image.fromarray(np.full((8, 8, 4), (0, 0, 0, alpha), np.uint8)) for alpha in (255, 0)]
    clear[0].putpixel((0, 0), (0, 0, 0, 0))
    for ending in ("png", "webp", "gif"):
        path = tmp_path / f"a.{ending}"
        clear[0].save(path, save_all=True, append_images=clear[1:], duration=100, lossless=True)
        first = next(iter(open_film(path).frames))
        assert first[0, 0].tolist() == [255, 255, 255], ending
        assert first[4, 4].tolist() == [0, 0, 0], ending


def test_the_background_of_a_film_is_white_in_every_frame(tmp_path: Path) -> None:
    frames = [np.zeros((8, 8, 4), np.uint8) for _ in range(2)]
    frames[0][2:6, 2:6] = 255  # white ink alone, which a picture would have on black
    frames[1][2:6, 2:6] = 255, 0, 0, 255
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "a.png", save_all=True, append_images=others, duration=100)
    assert all(frame[0, 0].tolist() == [255, 255, 255] for frame in open_film(tmp_path / "a.png").frames)


def test_a_picture_whose_states_overflow_is_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cell = refca.digits_cell()
    params = {name: 0 * x for name, x in refca.init_params(cell, 0).items()}
    params["perceive.weight"][1, 1, :2, 0] = 1e20, 1  # where there is ink above 0.97
    params["perceive.bias"][0] = -0.97e20
    params["hidden.0.weight"][0, 0] = 1
    params["update.weight"][0] = 1e10
    refca.save_weights(tmp_path / "w.safetensors", cell, params)
    for name, ink in (("a", 128), ("b", 255), ("c", 200)):
        Image.fromarray(np.full((28, 28), ink, np.uint8)).save(tmp_path / f"{name}.png")
    out = tmp_path / "out"
    given = [str(tmp_path / "w.safetensors"), *(str(tmp_path / f"{name}.png") for name in "abc")]
    with np.errstate(all="ignore"):
        assert main([*given, "--raw", "--steps", "20", "--backend", "reference", "--out", str(out)]) == 2
    assert [row["name"] for row in rows_of(out)] == ["a", "c"]
    assert f"{tmp_path / 'b.png'}: the states of these cells became NaN or infinite" in capsys.readouterr().err


def test_labels_of_photographs_whose_states_overflow_are_refused() -> None:
    cell = refca.segmentation_cell(4, 4)
    experiment = get_task("segmentation").experiment(size=8, state=4, hidden=4)
    params = refca.init_params(cell, 0)
    params["update.weight"] = np.full_like(params["update.weight"], 3e38)
    automaton = refca.Automaton("wild", experiment.cell, params, experiment, refca.get_backend("reference"))
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = np.zeros((1, 8, 8, 3), np.float32)
    with np.errstate(all="ignore"):
        for ask in (
            lambda: automaton.predict(frame),
            lambda: automaton.predict(frame, tile=8),
            lambda: list(segmentation_prediction.follow(automaton, [frame])),
            lambda: automaton.labels(automaton.evolve(image, 10)),
            lambda: automaton.paint(image, automaton.evolve(image, 10)),
        ):
            with pytest.raises(InvalidInput, match="NaN or infinite"):
                ask()


def test_the_state_of_a_film_goes_on_from_frame_to_frame(
    sea: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gif(tmp_path / "film.gif")
    assert main([sea, str(tmp_path / "film.gif"), "--out", str(tmp_path / "out"), "--backend", "reference"]) == 0
    assert "4 frames at" in capsys.readouterr().out
    with Image.open(tmp_path / "out/film-overlay.gif") as film:
        assert (film.n_frames, film.size) == (4, (32, 24))  # type: ignore[attr-defined]
    automaton = refca.load(sea, "reference")
    frames = list(open_film(tmp_path / "film.gif").frames)
    state, done = None, 0
    for frame in frames:
        seen = np.asarray(Image.fromarray(frame).resize((16, 16), Image.Resampling.BOX), np.float32)[None]
        steps = 10 if state is None else 5
        state = automaton.evolve(2 * (seen / np.float32(255)) - 1, steps, state, first_step=done)
        done += steps
    *_, (last, _) = automaton.task.prediction.follow(automaton, frames)
    expected = labels_at(automaton.readout(state)[0], 24, 32)
    np.testing.assert_array_equal(last.labels, expected)


def test_a_video_is_read_and_written(sea: str, tmp_path: Path) -> None:
    pytest.importorskip("av")
    from refca.drawing.film import film_writer

    path = tmp_path / "film.mp4"
    with film_writer(path, 12.5) as writer:
        for i in range(5):
            writer.add(np.full((48, 64, 3), 40 * i, np.uint8))
    film = open_film(path)
    frames = list(film.frames)
    assert (film.rate, film.count, len(frames)) == (12.5, 5, 5)
    assert [round(frame.mean() / 40) for frame in frames] == [0, 1, 2, 3, 4]
    assert main([sea, str(path), "--out", str(tmp_path / "out"), "--backend", "reference"]) == 0
    assert len(list(open_film(tmp_path / "out/film-overlay.mp4").frames)) == 5


CAMERA = "testsrc=size=64x48:rate=10"  # FFmpeg's own endless source of pictures, in a camera's place


@pytest.fixture
def camera(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setattr(inputs, "device_of", lambda name: ("lavfi", CAMERA))


@pytest.mark.usefixtures("camera")
def test_a_camera_is_followed_for_some_frames(sea: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--frames", "3", "--out", str(tmp_path), "--json", "--backend", "reference"]
    assert main([sea, "camera:0", *flags]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["file"], found["frames"]) == ("camera:0", 3)
    frames = list(open_film(tmp_path / "camera-0-overlay.mp4").frames)
    assert [frame.shape for frame in frames] == 3 * [(48, 64, 3)]


@pytest.mark.usefixtures("camera")
def test_a_camera_is_followed_until_a_stop_is_requested(
    sea: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = itertools.chain([False] * 4, itertools.repeat(True))  # before the pictures and the films, and two frames
    monkeypatch.setattr(predict, "stoppable", lambda: contextlib.nullcontext(lambda: next(asked)))
    assert main([sea, "camera:0", "--out", str(tmp_path), "--backend", "reference"]) == 0
    assert len(list(open_film(tmp_path / "camera-0-overlay.mp4").frames)) == 2
    assert [row["name"] for row in rows_of(tmp_path)] == ["camera-0"]


def test_what_is_done_before_a_stop_is_listed(
    sea: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = itertools.chain([False] * 4, itertools.repeat(True))  # twice for each picture
    monkeypatch.setattr(predict, "stoppable", lambda: contextlib.nullcontext(lambda: next(asked)))
    assert main([sea, str(folder), "--out", str(tmp_path / "out"), "--backend", "reference", "--no-pictures"]) == 130
    assert "stopped: 2 done" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "out")) == 2


@pytest.mark.usefixtures("camera")
def test_a_stop_before_the_first_frame_replaces_no_film(
    sea: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "camera-0-overlay.mp4").write_bytes(b"an earlier film")
    asked = itertools.chain([False] * 2, itertools.repeat(True))  # before the pictures and the films
    monkeypatch.setattr(predict, "stoppable", lambda: contextlib.nullcontext(lambda: next(asked)))
    assert main([sea, "camera:0", "--out", str(tmp_path), "--backend", "reference"]) == 2
    assert (tmp_path / "camera-0-overlay.mp4").read_bytes() == b"an earlier film"


def test_what_is_done_before_a_full_disk_is_listed(
    sea: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = refca.load(sea, "reference").task.prediction
    write, written = task.write_result, list[str]()

    def full(result: Any, out: Path, name: str) -> None:
        if len(written) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(name)
        write(result, out, name)

    monkeypatch.setattr(task, "write_result", full)
    assert main([sea, str(folder), "--out", str(tmp_path / "out"), "--backend", "reference"]) != 0
    assert "No space left on device" in capsys.readouterr().err
    assert [row["name"] for row in rows_of(tmp_path / "out")] == written


def test_the_pages_before_a_damaged_one_are_predicted(
    sea: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def damaged(path: Path) -> Iterator[tuple[str, Any]]:
        yield "-1", Image.new("RGB", (20, 20))
        raise InvalidInput("page 2 is damaged")

    Image.new("RGB", (20, 20)).save(tmp_path / "two.tif")
    monkeypatch.setattr(predict, "pages", damaged)
    assert main([sea, str(tmp_path / "two.tif"), "--out", str(tmp_path / "out"), "--backend", "reference"]) == 2
    printed = capsys.readouterr()
    assert "two.tif: page 2 is damaged; skipped" in printed.err
    assert "1 done, 1 skipped" in printed.out
    assert len(rows_of(tmp_path / "out")) == 1


@pytest.mark.usefixtures("camera")
def test_the_frames_of_a_camera_are_pictures_of_digits(tmp_path: Path) -> None:
    flags = ["--frames", "2", "--steps", "1", "--out", str(tmp_path), "--backend", "reference", "--no-pictures"]
    assert main(["digits", "camera:/dev/video7", *flags]) == 0
    assert [row["name"] for row in rows_of(tmp_path)] == ["camera-dev-video7-00001", "camera-dev-video7-00002"]


def test_a_camera_that_is_not_there_is_refused(
    sea: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("av")
    assert main([sea, "camera:/dev/nothing", "--out", str(tmp_path)]) == 2
    assert "camera:/dev/nothing cannot be read: No such file or directory" in capsys.readouterr().err
    for platform, device in (("linux", "/dev/video1"), ("darwin", "1"), ("win32", "video=1")):
        monkeypatch.setattr("sys.platform", platform)
        assert device_of("camera:1")[1] == device


def test_only_the_newest_frame_of_a_camera_is_used() -> None:
    given, used = threading.Event(), threading.Event()

    def frames() -> Iterator[Any]:
        yield 1
        given.set()
        used.wait(10)
        yield 2
        yield 3
        raise ValueError("unplugged")

    found = newest(frames())
    assert given.wait(0) or next(found) == 1
    used.set()
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(work)"):
            thread.join(10)
    assert next(found) == 3
    with pytest.raises(ValueError, match="unplugged"):
        next(found)


def test_the_test_samples_of_a_data_set_are_predicted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "animals")
    small = ["--batch", "4", "--pool", "8", "--unroll", "2", "--hidden", "4", "--steps", "1"]
    reference = ["--backend", "reference"]
    assert train.main(["--dataset", "animals", "--out", "run", *small, *reference]) == 0
    capsys.readouterr()
    assert main(["run", "--dataset", "animals", "--steps", "2", "--out", "seen", *reference]) == 0
    rows = rows_of(tmp_path / "seen")
    assert sorted(row["expected"] for row in rows) == ["cat", "dog", "owl"]
    right = sum(row["label"] == row["expected"] for row in rows) / 3
    assert f"3 done, {right:.1%} labelled right; see" in capsys.readouterr().out
    kept = (tmp_path / "seen/predictions.csv").read_bytes()
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "other.png").write_bytes(b"")
    assert main(["run", "empty.png", "other.png", "--out", "seen", *reference]) == 2
    assert (tmp_path / "seen/predictions.csv").read_bytes() == kept, "a run without results replaced another's"
    capsys.readouterr()
    assert main(["run", "--dataset", "animals", "--size", "16", "--steps", "1", "--out", "small", *reference]) == 0
    with Image.open(next(Path("small").glob("*-cells.png"))) as picture:
        assert picture.size == (128, 128)
    capsys.readouterr()
    assert main(["run", "animals/cat/0.png", "--dataset", "animals"]) == 2
    assert "or --dataset; one of them, not both" in capsys.readouterr().err
    assert main(["run", "--dataset", "absent"]) == 2
    assert "absent" in capsys.readouterr().err


def test_earlier_predictions_are_not_replaced_unless_their_folder_is_named(
    sea: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.png").write_bytes(b"")
    given = ["--backend", "reference", "--steps", "1"]
    assert main([sea, "broken.png", *given]) == 2
    assert not list(tmp_path.glob("runs/*/*")), "a run without results left files"
    for name in ("sea-predictions", "sea-predictions-2", "sea-predictions-3"):
        assert main([sea, str(folder / "a.png"), *given]) == 0
        assert len(rows_of(Path("runs") / name)) == 1
    assert "runs/sea-predictions-3/predictions.csv" in capsys.readouterr().out
    for _ in range(2):
        assert main([sea, str(folder / "a.png"), *given, "--out", "mine"]) == 0
    assert predictions_folder(tmp_path / "runs/x/checkpoint.safetensors") == Path("runs/x-predictions")


def test_a_sample_is_not_taken_for_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in "01":
        for i in range(2):
            (tmp_path / "d" / label).mkdir(parents=True, exist_ok=True)
            Image.fromarray(drawn_seven(ink=10 * i)).save(tmp_path / "d" / label / f"{i}.png")
    given = ["--steps", "1", "--backend", "reference", "--out", str(tmp_path / "out")]
    assert main(["digits", "--dataset", str(tmp_path / "d"), *given]) == 0
    assert ".png0" not in capsys.readouterr().out


def test_pictures_that_are_inverted_for_the_cells_are_inverted_once(sea: str, folder: Path, tmp_path: Path) -> None:
    weights = refca.load_weights(sea)
    experiment: Any = weights.experiment
    settings = {"classes": experiment.classes, "size": 16, "horizon": 10, "invert": True}
    path = tmp_path / "inverted.safetensors"
    refca.save_weights(path, experiment.cell, weights.params, **settings)
    assert main([str(path), str(folder / "a.png"), "--out", str(tmp_path / "out"), "--backend", "reference"]) == 0
    with Image.open(folder / "a.png") as picture:
        inverted = 255 - np.asarray(picture)
    expected = refca.load(sea, "reference").predict(inverted)
    np.testing.assert_array_equal(np.load(tmp_path / "out/a-labels.npy"), expected.labels)


@pytest.mark.parametrize("what", ["open", "add_stream"])
def test_a_film_that_cannot_be_written_is_said_in_a_sentence(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    av = pytest.importorskip("av")
    from refca.drawing.film import film_writer

    def failing(*given: object, **options: object) -> None:
        raise ValueError("unknown encoder\n'libx264'")

    if what == "open":
        monkeypatch.setattr(av, "open", failing)
    else:
        monkeypatch.setattr("refca.drawing.film.Mp4.encode", failing)
    with (
        pytest.raises(InvalidInput, match=r"film\.mp4 cannot be written as a film: unknown encoder 'libx264'"),
        film_writer(tmp_path / "film.mp4", 10) as writer,
    ):
        writer.add(np.zeros((16, 16, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_a_broken_video_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "film.mp4").write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match=r"film\.mp4 is not a whole|film\.mp4 is damaged|film\.mp4"):
        list(open_film(tmp_path / "film.mp4").frames)


def test_thousands_of_pictures_stream_at_constant_memory(sea: str, tmp_path: Path) -> None:
    where = tmp_path / "many"
    where.mkdir()
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(where / "0.png")
    for i in range(1, 300):
        os.link(where / "0.png", where / f"{i}.png")
    peaks = []
    for named in ([f"{where}/1*.png"], [str(where)]):  # 111 pictures, and 300
        tracemalloc.start()
        assert main([sea, *named, "--steps", "1", "--out", str(tmp_path / "out"), "--no-pictures"]) == 0
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_000_000  # 189 more pictures would take 9 MB


def test_files_are_named_once_and_told_apart(folder: Path) -> None:
    found, _ = expand([str(folder), str(folder / "a.png"), f"{folder}/*.jpg"])
    assert [source.name for source in found] == ["a", "a", "below/b", "stack"]
    used: set[str] = set()
    assert [apart(source.name, "", used) for source in found] == ["a", "a-2", "below/b", "stack"]


def test_a_pattern_that_matches_folders_names_what_is_in_them(folder: Path) -> None:
    assert [source.name for source in expand([f"{folder.parent}/{folder.name[:-1]}?"])[0]] == [
        "a",
        "a",
        "below/b",
        "stack",
    ]
    assert [source.name for source in expand([f"{folder}/b*"])[0]] == ["b"]
    with pytest.raises(InvalidInput, match=r"no picture matches the pattern .*/\*\.gif"):
        expand([f"{folder}/*.gif"])


@odd_images
def test_a_photograph_with_a_second_view_is_one_picture() -> None:
    assert [name for name, _ in pages(ODD / "frozenpond.mpo")] == [""]


@media
def test_a_film_of_a_dog_is_followed(tmp_path: Path, sea: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = MEDIA / "01_dog_240x135_5fps.gif"
    assert main([sea, str(path), "--json", "--steps", "1", "--out", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["frames"] == 49
    assert found["frames_per_second"] > 0
