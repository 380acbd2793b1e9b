"""Data of the user's own: layouts that are known, and mistakes that are found before training starts."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import refca
from refca import train
from refca.data.own import OwnSettings, found_at, load_own
from refca.data.photographs import picture_of
from refca.errors import InvalidInput
from refca.evaluate import main as evaluate
from refca.predict import main as predict
from refca.robustness import main as robustness
from refca.segmentation.settings import SegmentationExperiment
from refca.segmentation.training import split_validation
from refca.tasks import get_task, load_experiment, make_experiment
from refca.training.class_weights import class_weights

DATA = Path(os.environ.get("REFCA_DATA", "absent"))
nuclei = pytest.mark.skipif(not (DATA / "nuclei").is_dir(), reason="nuclei are looked for only where REFCA_DATA is set")

Paint = Callable[[np.ndarray], np.ndarray]  # of a mask of labels


def save(path: Path, pixels: np.ndarray, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def disc(i: int, side: int = 40, labels: int = 2) -> np.ndarray:
    """A mask with a disc in it, whose place and label depend on i."""
    y, x = np.mgrid[:side, :side]
    inside = (y - 12 - i % 5 * 3) ** 2 + (x - 20 + i % 3 * 4) ** 2 < 60
    return np.where(inside, 1 + i % (labels - 1), 0).astype(np.uint8)


def photograph(mask: np.ndarray, i: int, channels: int = 3) -> np.ndarray:
    """A noisy picture in which the disc is brighter."""
    rng = np.random.default_rng(i)
    picture = rng.integers(0, 80, (*mask.shape, channels)) + 90 * mask[..., None] + np.array([0, 20, 50])[:channels]
    return np.clip(picture, 0, 255).astype(np.uint8).squeeze()


def pairs(
    folder: Path,
    paint: Paint = lambda mask: mask * 255,
    names: tuple[str, str] = ("images/{}.png", "masks/{}.png"),
    count: int = 10,
    labels: int = 2,
    channels: int = 3,
) -> Path:
    """Pictures and masks of discs, painted and named in some way."""
    for i in range(count):
        mask = disc(i, labels=labels)
        save(folder / names[0].format(f"p{i}"), photograph(mask, i, channels))
        save(folder / names[1].format(f"p{i}"), paint(mask))
    return folder


def found(path: Path | str, **given: Any) -> Any:
    return found_at(str(path), given)


def loaded(path: Path | str, **given: Any) -> Any:
    settings = found(path, **given).settings
    own = OwnSettings(**{name: settings[name] for name in OwnSettings.__dataclass_fields__})
    return load_own(str(path), own, found(path, **given).kind)


def assert_labels(path: Path | str, labels: int = 2, **given: Any) -> None:
    """Assert that the label maps are those that were painted."""
    data = loaded(path, size=40, **given)
    for part in (data.train, data.test):
        for name, mask in zip(part.names, part.trimaps, strict=True):
            np.testing.assert_array_equal(mask, disc(int("".join(filter(str.isdigit, name))), labels=labels))
    assert len(data.train) + len(data.test) == 10


# layouts of pictures with masks


@pytest.mark.parametrize(
    "names",
    [
        ("images/{}.png", "masks/{}.png"),
        ("img/{}.jpg", "labels/{}.png"),
        ("Images/{}_image.bmp", "GT/{}_gt.tif"),
        ("{}.jpg", "{}_mask.png"),
        ("{}.bmp", "{}-seg.png"),
        ("{}_img.png", "mask_{}.png"),
        ("{}.png", "masks/{}.png"),
        ("{}.JPG", "{}.PNG"),
        ("SCANS/{}.TIF", "SCANS/{}_MASK.PNG"),
        ("Original Images/{}.png", "Segmentation maps/{}.png"),
        ("train/{}.jpg", "train_masks/{}_mask.png"),
        ("leftImg/train/a/{}_leftImg.png", "gtFine/train/a/{}_gtFine_labelIds.png"),
        ("images/{}.png", "labels/{}_L.png"),
        ("images/img_{}.png", "masks/seg_{}.png"),
        ("{}/image.png", "{}/mask.png"),
        ("scan_{}.ppm", "scan_{}_lab.pgm"),
        ("{}.png", "{}_drawn by Ann.png"),
        ("all/{}/raw.tif", "all/{}/annotation.png"),
        ("{}.jpg", "{}_annot.png"),
        ("{}_original.png", "{}_target.png"),
        ("rgb/{}.png", "annotated/{}.png"),
        ("scans/{}_scan.png", "seg/{}_segmentation.png"),
        ("Bilder/{}.jpg", "Masken/{}.png"),
        ("input/{}.png", "output/{}.png"),
        ("photos/{}.jpg", "masques/{}.png"),
        ("bild_{}.png", "maske_{}.png"),
    ],
)
def test_pictures_find_their_masks(tmp_path: Path, names: tuple[str, str]) -> None:
    assert_labels(pairs(tmp_path, names=names))


def test_nested_folders_with_the_same_names_in_each(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"images/patient{i}/slice.png", photograph(disc(i), i))
        save(tmp_path / f"masks/patient{i}/slice.png", disc(i) * 255)
    assert_labels(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        ("{part}_images/{i}.png", "{part}_labels/{i}.png"),
        ("{part}/{i}.png", "{part}annot/{i}.png"),
        ("images-{part}/{i}.png", "Masks-{part}/{i}.png"),
    ],
)
@pytest.mark.parametrize("parts", [("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_two_folders_for_each_part(tmp_path: Path, names: tuple[str, str], parts: tuple[str, ...]) -> None:
    for i in range(10):
        part = parts[i % len(parts)]
        save(tmp_path / names[0].format(part=part, i=i), photograph(disc(i), i))
        save(tmp_path / names[1].format(part=part, i=i), disc(i) * 255)
    assert_labels(tmp_path)
    data = loaded(tmp_path)
    assert len(data.test) == len(range(len(parts) - 1, 10, len(parts)))
    assert data.validation == (3 if len(parts) == 3 else 0)


def test_pictures_to_predict_on_beside_those_with_masks_are_left_out(tmp_path: Path) -> None:
    for part in ("train_images", "train_masks", "val_images", "val_masks", "test_images"):
        for i in range(10):
            save(tmp_path / part / f"{i}.png", disc(i) * 255 if "mask" in part else photograph(disc(i), i))
    data = loaded(tmp_path)
    assert (len(data.train), len(data.test)) == (10, 10)


def test_a_folder_for_each_set_of_pictures(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"day{i % 2}/images/{i // 2}.png", photograph(disc(i), i))
        save(tmp_path / f"day{i % 2}/masks/{i // 2}.png", disc(i) * 255)
    data = loaded(tmp_path, size=40)
    for part in (data.train, data.test):
        for name, mask in zip(part.names, part.trimaps, strict=True):
            day, number = (int("".join(filter(str.isdigit, word))) for word in name.split("/"))
            np.testing.assert_array_equal(mask, disc(2 * number + day))
    assert len(data.train) + len(data.test) == 10


@pytest.mark.parametrize("names", ["{word}.{i}.jpg", "{word}_{i:03}.png", "{word} ({i}).png"])
def test_classes_in_the_names_of_files(tmp_path: Path, names: str) -> None:
    for i in range(12):
        save(tmp_path / names.format(word=("cat", "great_dane")[i % 2], i=i), photograph(disc(i), i))
    assert found(tmp_path).settings["classes"] == ("cat", "great_dane")
    labels = loaded(tmp_path, size=40).train.labels
    assert sorted(labels.tolist()) == [0] * 5 + [1] * 5


def test_words_for_masks_before_a_name_may_be_classes(tmp_path: Path) -> None:
    for i in range(3):
        for name in ("target", "decoy", "annotated"):
            save(tmp_path / f"{name}_{i}.png", photograph(disc(i), i))
    assert found(tmp_path).settings["classes"] == ("annotated", "decoy", "target")


def test_two_classes_of_which_one_is_called_a_mask_are_classes_if_the_experiment_says_so(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "drawn" / f"target/{i}.png", disc(i) * 255)
        save(tmp_path / "drawn" / f"clutter/{i}.png", disc(i + 1) * 255)
        save(tmp_path / "photos" / f"target/{i}.png", photograph(disc(i), i))
        save(tmp_path / "photos" / f"clutter/{i}.png", photograph(disc(i), i + 4))
    says = "but a second class, train with --experiment own-classification"
    assert any(says in warning for warning in found(tmp_path / "drawn").warnings)
    with pytest.raises(InvalidInput, match=says):
        found(tmp_path / "photos")
    for name in ("drawn", "photos"):
        flags = ["--experiment", "own-classification", "--steps", "1", "--batch", "4", "--hidden", "8"]
        flags += ["--dataset", str(tmp_path / name), "--out", str(tmp_path / f"run-{name}"), "--backend", "reference"]
        assert train.main(flags) == 0
        settings = (tmp_path / f"run-{name}" / "settings.toml").read_text()
        assert 'classes = ["clutter", "target"]' in settings


def test_a_folder_for_each_picture_is_no_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path / "data", names=("{}/images/x.png", "{}/masks/x.png"))
    out = str(tmp_path / "run")
    flags = ["--experiment", "own-classification", "--dataset", str(tmp_path / "data"), "--out", out]
    assert train.main(flags) == 2
    assert "has a label for each pixel, which own-classification is not for" in capsys.readouterr().err


def test_train_may_be_a_class_beside_others(tmp_path: Path) -> None:
    for i in range(4):
        for name in ("bus", "car", "train"):
            save(tmp_path / f"{name}/{i}.png", photograph(disc(i), i))
    assert found(tmp_path).settings["classes"] == ("bus", "car", "train")


def test_folders_beside_train_are_told_of(tmp_path: Path) -> None:
    for i in range(4):
        for name in ("train/cat", "train/dog", "bus", "car"):
            save(tmp_path / f"{name}/{i}.png", photograph(disc(i), i))
    data = found(tmp_path)
    assert data.settings["classes"] == ("cat", "dog")
    assert "folders left out because they are not in train: bus, car" in data.warnings


def test_test_pictures_of_which_some_have_no_class_in_their_names_are_refused(tmp_path: Path) -> None:
    for i in range(4):
        for part in ("train", "test"):
            for name in ("cat", "dog"):
                save(tmp_path / part / f"{name}.{i}.jpg", photograph(disc(i), i))
    assert len(loaded(tmp_path, size=40).test) == 8
    save(tmp_path / "test" / "cover.jpg", photograph(disc(0), 9))
    with pytest.raises(InvalidInput, match=r"cover\.jpg among the test pictures have no class in their names"):
        found(tmp_path)


def test_classes_and_files_may_have_names_in_any_letters(tmp_path: Path) -> None:
    """Letters beyond ASCII in a log and in tables; bytes that are no UTF-8 in names of files, as zips may bring."""
    data = pairs(tmp_path / "data", count=5)
    for folder in ("images", "masks"):
        shutil.copy(data / folder / "p0.png", data / folder / os.fsdecode(b"caf\xe9.png"))
    out = tmp_path / "run"
    flags = ["--classes", "hintergrund,gegenst\u00e4nde", "--steps", "1", "--batch", "2", "--validate-every", "1"]
    flags += ["--hidden", "8", "--state", "8", "--backend", "reference"]
    assert train.main(["--dataset", str(data), "--out", str(out), *flags]) == 0
    assert "iou_gegenst\u00e4nde" in (out / "metrics.csv").read_text("utf-8")
    assert predict([str(out), str(data / "images"), "--out", str(tmp_path / "predictions")]) == 0
    assert b"caf\xe9.png" in (tmp_path / "predictions" / "predictions.csv").read_bytes()
    assert evaluate([str(out), "--backend", "reference", "--steps", "2", "--at", "1"]) == 0
    other = shutil.copytree(out, tmp_path / "other")
    assert evaluate([str(out), "--compare", str(other)]) == 0


def test_names_that_cameras_write_are_no_classes(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / f"{('IMG', 'DSC')[i % 2]}_{i:04}.jpg", photograph(disc(i), i))
    with pytest.raises(InvalidInput, match="has none of the known layouts"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("file", "remedy"),
    [("masks.npy", "numpy.savez"), ("coco.json", "into a mask for each picture"), ("y.mat", "savez")],
)
def test_labels_in_files_that_are_not_read_are_told_of(tmp_path: Path, file: str, remedy: str) -> None:
    for i in range(4):
        save(tmp_path / f"images/{i}.png", photograph(disc(i), i))
    (tmp_path / file).write_bytes(b"")
    with pytest.raises(InvalidInput, match=rf"{file} is not read: .*{remedy}"):
        found(tmp_path)


def test_integers_that_are_no_bytes_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = np.stack([disc(i) for i in range(10)])
    np.savez(tmp_path / "levels.npz", images=masks.astype(np.int64) * 15, masks=masks)
    (warning,) = found(tmp_path / "levels.npz").warnings
    assert "nearly black: their largest value is 0.059 of 1; integers are taken as bytes" in warning
    assert found(tmp_path / "levels.npz", stretch=True).warnings == ()
    np.savez(tmp_path / "bits.npz", images=masks, labels=np.arange(10) % 2)
    np.savez(tmp_path / "bytes.npz", images=masks * 255, labels=np.arange(10) % 2)
    common = ["--steps", "1", "--hidden", "4", "--backend", "reference"]
    for data, warned in (("bits", True), ("bytes", False)):
        out = str(tmp_path / data)
        assert run(["--dataset", f"{out}.npz", "--out", out, *common, "--batch", "4", "--pool", "8"]) == 0
        assert ("nearly black" in capsys.readouterr().err) == warned
        assert evaluate([out, "--steps", "1", "--mutation", "none", "--backend", "reference"]) == 0
        assert ("nearly black" in capsys.readouterr().err) == warned
    out = str(tmp_path / "levels")
    assert run(["--dataset", f"{out}.npz", "--out", out, *common, "--batch", "2"]) == 0
    capsys.readouterr()
    assert evaluate([out, "--steps", "1", "--at", "1", "--curve-samples", "1", "--backend", "reference"]) == 0
    assert "nearly black" in capsys.readouterr().err


def test_few_bright_things_on_a_dark_picture_keep_their_outlines_when_stretched(tmp_path: Path) -> None:
    y, x = np.mgrid[:128, :128]
    spot = 100 * np.clip((7 - np.hypot(y - 60, x - 60)) / 4, 0, 1)  # 0.5 % of the pixels are above half of it
    spot[5, 5] = 255  # one bright pixel
    for i in range(5):
        save(tmp_path / f"images/{i}.png", spot.astype(np.uint8))
        save(tmp_path / f"masks/{i}.png", (spot > 50).astype(np.uint8) * 255)
    data = loaded(tmp_path, size=128, stretch=True)
    found = data.train.pixels[0, ..., 0] > 127
    assert abs(found.sum() / data.train.trimaps[0].sum() - 1) < 0.2


def test_an_experiment_may_say_how_to_use_own_data(tmp_path: Path) -> None:
    pairs(tmp_path / "data")
    (tmp_path / "tiles.toml").write_text(
        'task = "segmentation"\ntiles = true\nsize = 20\nstretch = true\nsteps = 1\nhidden = 4\nbatch = 2\n'
    )
    out = tmp_path / "run"
    flags = [
        "--experiment",
        str(tmp_path / "tiles.toml"),
        "--dataset",
        str(tmp_path / "data"),
        "--backend",
        "reference",
    ]
    assert run([*flags, "--validation", "12", "--out", str(out)]) == 0  # of 8 pictures, which have 32 tiles
    text = (out / "settings.toml").read_text()
    assert all(line in text for line in ("size = 20\n", "tiles = true\n", "stretch = true\n"))
    assert run([*flags, "--size", "10", "--no-tiles", "--out", str(out) + "2"]) == 0
    assert "size = 10\n" in (tmp_path / "run2/settings.toml").read_text()


def test_one_picture_with_its_mask_is_enough_to_train_on(tmp_path: Path) -> None:
    save(tmp_path / "photograph.png", photograph(disc(1), 1))
    save(tmp_path / "drawn by hand.png", disc(1) * 255)
    data = loaded(f"{tmp_path}/photograph.png::{tmp_path}/drawn by hand.png", size=40)
    np.testing.assert_array_equal(data.train.trimaps[0], disc(1))
    with pytest.raises(InvalidInput, match=r"has no test pictures; refca\.train holds some out with --split"):
        data.test  # noqa: B018


def test_a_run_without_pictures_held_out_is_not_to_be_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs(tmp_path / "data", count=1)
    flags = ["--steps", "1", "--hidden", "4", "--batch", "2", "--backend", "reference", "--out", str(tmp_path / "run")]
    assert run(["--dataset", str(tmp_path / "data"), *flags]) == 0
    printed = capsys.readouterr()
    assert "1 picture with its mask; " in printed.out
    assert "too few pictures to hold any out, so that refca.evaluate cannot measure the run" in printed.err
    assert "no photographs were held out to measure it on" in printed.out
    assert "refca.evaluate" not in printed.out
    assert "nan" not in printed.err


@pytest.mark.parametrize(
    "heading", ["Image Path,Annotation,Set", "Filename;Label File;Fold", "\ufeffimg\tGround Truth\tsubset"]
)
def test_a_table_of_pairs_with_headings_in_other_words(tmp_path: Path, heading: str) -> None:
    pairs(tmp_path, names=("a/x{}.png", "b/y{}.png"))
    between = next(sign for sign in ",;\t" if sign in heading)
    rows = [between.join((f"a/xp{i}.png", f"b/yp{i}.png", "test" if i > 6 else "train")) for i in range(10)]
    (tmp_path / "any name.csv").write_text("\n".join([heading, *rows]))
    data = loaded(tmp_path)
    assert (len(data.train), len(data.test)) == (7, 3)
    assert_labels(tmp_path)


@pytest.mark.parametrize(
    "names", [("{p}/images/{p}{{}}.png", "{p}/masks/{p}{{}}.png"), ("img/{p}/{{}}.png", "gt/{p}/{{}}.png")]
)
def test_pictures_for_validation_are_kept_apart(tmp_path: Path, names: tuple[str, str]) -> None:
    for part, count in (("train", 5), ("val", 3), ("test", 2)):
        pairs(tmp_path, names=(names[0].format(p=part), names[1].format(p=part)), count=count)
    for image in sorted(tmp_path.glob(f"{names[0].partition('{p}')[0]}val/**/*.png")):  # other pictures than the others
        if "masks" not in image.parts:
            save(image, 255 - np.asarray(Image.open(image)))
    whole, settings = loaded(tmp_path), found(tmp_path).settings
    assert (len(whole.train), len(whole.test), settings["validation"]) == (8, 2, 3)
    assert "5 to train on, 3 for validation, 2 held out" in found(tmp_path).description
    assert [x.mean() > 128 for x in whole.train.pixels] == 5 * [False] + 3 * [True]


def test_an_instance_folder_has_its_picture_beside_the_masks(tmp_path: Path) -> None:
    for i in range(10):
        save(tmp_path / f"case{i}/image.png", photograph(disc(i), i))
        for half, name in ((disc(i)[:15], "a"), (disc(i)[15:], "b")):
            mask = np.zeros((40, 40), np.uint8)
            mask[(slice(15) if name == "a" else slice(15, None))] = half * 255
            save(tmp_path / f"case{i}/masks/{name}.png", mask)
    data = loaded(tmp_path, size=40)
    assert len(data.train) + len(data.test) == 10
    for name, mask in zip(data.train.names, data.train.trimaps, strict=True):
        np.testing.assert_array_equal(mask, disc(int(name[-1])))


def test_a_folder_as_pascal_voc_has_it(tmp_path: Path) -> None:
    pairs(tmp_path, names=("JPEGImages/{}.jpg", "SegmentationClass/{}.png"))
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "Annotations/p0.xml").write_text("<annotation/>")
    assert_labels(tmp_path)


def test_what_cannot_be_told_is_refused_with_the_flag_that_says_it(tmp_path: Path) -> None:
    pairs(tmp_path / "a", names=("{}.tif", "{}.png"))
    with pytest.raises(
        InvalidInput, match=r"a \.png and a \.tif file of each name.*--dataset '.*a/\*\.png::.*a/\*\.tif'"
    ):
        found(tmp_path / "a")
    assert_labels(f"{tmp_path}/a/*.tif::{tmp_path}/a/*.png")
    pairs(tmp_path / "b")
    for mask in (tmp_path / "b/masks").iterdir():
        mask.rename(mask.with_suffix(".npy"))
    with pytest.raises(
        InvalidInput, match=r"masks has no pictures but files such as p\d\.npy; masks are pictures, or in"
    ):
        found(tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c/list.csv").write_text("one,two\na.png,b.png\n")
    with pytest.raises(
        InvalidInput, match=r"list\.csv has the columns one,two, and needs file and label, or image and"
    ):
        found(tmp_path / "c")


def test_a_table_of_no_use_is_told_of_alone(tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("file,lable\na.png,b\n")
    with pytest.raises(
        InvalidInput, match=r"list\.csv has no samples; .* has the columns file,lable, and needs file and"
    ):
        found(table)
    table.write_bytes("file,label\na.png,übel\n".encode("latin-1"))
    with pytest.raises(InvalidInput, match=r'list\.csv is not in UTF-8; save it in that, in Excel as "CSV UTF-8"'):
        found(table)


def test_two_patterns_name_any_two_folders(tmp_path: Path) -> None:
    pairs(tmp_path, names=("one/{}.bmp", "two/sub/{}.png"))
    assert_labels(f"{tmp_path}/one::{tmp_path}/two")
    assert_labels(f"{tmp_path}/one/*.bmp::{tmp_path}/two/**/*.png")


def test_a_table_of_pairs_names_any_files_and_the_split(tmp_path: Path) -> None:
    pairs(tmp_path, names=("a/x{}.png", "b/y{}.png"))
    rows = [f"a/xp{i}.png;b/yp{i}.png;{'test' if i > 6 else 'train'}" for i in range(10)]
    (tmp_path / "list.csv").write_text("\ufeffimage;mask;split\n" + "\n".join(rows))
    assert_labels(tmp_path / "list.csv")
    data = loaded(tmp_path / "list.csv")
    assert (len(data.train), len(data.test)) == (7, 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,mask\nimages/p0.png,masks/p0.png\nimages/p1.png\n", "line 3 has no mask"),
        ("image,mask\n,masks/p0.png\n", "line 2 has no image"),
        ("file,label\nimages/p0.png,a\nimages/p1.png,\n", "line 3 has no label"),
    ],
)
def test_a_list_with_a_row_that_lacks_something_is_refused(tmp_path: Path, text: str, words: str) -> None:
    pairs(tmp_path, count=2)
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(InvalidInput, match=rf"list\.csv: {words}"):
        found_at(str(tmp_path / "list.csv"), {})


def test_folders_of_parts_are_kept(tmp_path: Path) -> None:
    pairs(tmp_path / "train", count=7)
    pairs(tmp_path / "val", count=3)
    data = loaded(tmp_path)
    assert (len(data.train), len(data.test)) == (7, 3)
    pairs(tmp_path / "b", names=("images/train/{}.png", "masks/train/{}.png"), count=4)
    pairs(tmp_path / "b", names=("images/test/{}.png", "masks/test/{}.png"), count=2)
    data = loaded(tmp_path / "b")
    assert (len(data.train), len(data.test)) == (4, 2)


def test_a_file_for_each_thing_is_put_together(tmp_path: Path) -> None:
    for i in range(10):
        mask = disc(i)
        save(tmp_path / f"stage1/p{i}/images/p{i}.png", photograph(mask, i))
        upper, lower = mask.copy(), mask.copy()
        upper[15:], lower[:15] = 0, 0
        save(tmp_path / f"stage1/p{i}/masks/a.png", upper * 255)
        save(tmp_path / f"stage1/p{i}/masks/b.png", lower * 255)
    data = loaded(tmp_path, size=40)
    for name, mask in zip(data.train.names, data.train.trimaps, strict=True):
        np.testing.assert_array_equal(mask, disc(int(name[-1])))


def test_arrays_are_read_from_one_file(tmp_path: Path) -> None:
    masks = np.stack([disc(i, labels=3) for i in range(10)])
    images = np.stack([photograph(mask, i) for i, mask in enumerate(masks)])
    np.savez(tmp_path / "d.npz", images=images, masks=masks)
    data = loaded(tmp_path / "d.npz", size=40)
    assert (data.train.classes, len(data.train) + len(data.test)) == (("0", "1", "2"), 10)
    np.savez(tmp_path / "e.npz", x_train=images[:6], y_train=masks[:6], x_test=images[6:], y_test=masks[6:])
    data = loaded(tmp_path / "e.npz", size=40)
    assert len(data.test) == 4
    assert {x.tobytes() for x in data.test.trimaps} == {x.tobytes() for x in masks[6:]}
    np.savez(tmp_path / "f.npz", pictures=images)
    with pytest.raises(InvalidInput, match="it has pictures"):
        found(tmp_path / "f.npz")


# what masks mean


def both_ways(folder: Path, paint: Paint, labels: int = 2) -> list[Any]:
    """Return what is found in pictures with masks as files, and in the same as arrays."""
    pairs(folder / "files", paint, labels=labels)
    masks = np.stack([paint(disc(i, labels=labels)) for i in range(10)])
    images = np.stack([photograph(disc(i, labels=labels), i) for i in range(10)])
    np.savez(folder / "d.npz", images=images, masks=masks)
    return [found(path).settings for path in (folder / "files", folder / "d.npz")]


@pytest.mark.parametrize(
    "paint",
    [
        lambda mask: np.where(np.arange(40) < 5, 255, mask).astype(np.uint8),  # a void
        lambda mask: mask + 2 * (np.arange(40) // 4 + 1).astype(np.uint8) * (mask > 0),  # a number for each thing
        lambda mask: mask * 255,
    ],
    ids=["void", "things", "black and white"],
)
def test_masks_mean_the_same_in_files_and_in_arrays(tmp_path: Path, paint: Paint) -> None:
    files, arrays = both_ways(tmp_path, paint, labels=3 if paint(np.ones((40, 40), np.uint8)).max() < 255 else 2)
    names = ("classes", "mask_values", "ignore", "labels")
    assert [files[name] for name in names] == [arrays[name] for name in names]


def test_a_stray_value_in_an_array_is_named(tmp_path: Path) -> None:
    masks = np.stack([disc(i) for i in range(10)])
    masks[3, 0, 0] = 9
    np.savez(tmp_path / "d.npz", images=np.zeros((10, 40, 40), np.uint8), masks=masks)
    with pytest.raises(
        InvalidInput, match=r"the value 9 is in one mask alone, mask 3 of .*d\.npz, in 1 pixel; correct"
    ):
        found(tmp_path / "d.npz")


def test_files_that_changed_are_read_again(tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "pairs.csv").write_text(
        "image,mask\n" + "".join(f"images/p{i}.png,masks/p{i}.png\n" for i in range(10))
    )
    for path in (f"{tmp_path}/images/*.png::{tmp_path}/masks/*.png", str(tmp_path / "pairs.csv")):
        before = loaded(path).train.pixels.copy()
        for file in (tmp_path / "images").iterdir():
            save(file, 255 - np.asarray(Image.open(file)))
            os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 10**9))
        assert (loaded(path).train.pixels != before).any()


def test_another_data_set_is_prepared_as_that_of_training(tmp_path: Path) -> None:
    pairs(tmp_path / "a", labels=3, paint=lambda mask: mask)
    pairs(tmp_path / "b", labels=3, paint=lambda mask: 100 * mask, channels=1)
    small = ["--size", "20", "--state", "5", "--hidden", "6", "--batch", "2", "--steps", "1", "--channels", "1"]
    given = ["--stretch", "--tiles", "--classes", "sky,sea,land"]
    assert run(["--dataset", str(tmp_path / "a"), *given, *small, "--out", str(tmp_path / "run")]) == 0
    trained: Any = refca.load(tmp_path / "run", "reference").experiment
    assert trained.on_data(trained.dataset) is trained
    other = trained.on_data(str(tmp_path / "b")).known_own
    assert (other.stretch, other.tiles, other.size, other.classes) == (True, True, 20, ("sky", "sea", "land"))
    assert other.mask_values == ("0", "100", "200")


def test_parts_with_files_of_the_same_names_are_not_mixed_by_tiles(tmp_path: Path) -> None:
    for part, count in (("train", 6), ("val", 4), ("test", 4)):
        pairs(tmp_path, names=(f"{part}/images/{{}}.png", f"{part}/masks/{{}}.png"), count=count)
    data, settings = loaded(tmp_path, tiles=True, size=16), found(tmp_path, tiles=True, size=16).settings
    experiment = SegmentationExperiment(size=16, tiles=True, labels=2, validation=settings["validation"])
    kept, held = split_validation(experiment, data.train)
    assert {name.partition("/")[0] for name in kept.names} == {"train"}
    assert {name.partition("/")[0] for name in held.names} == {"val"}
    assert len(held) == settings["validation"]


def test_gray_levels_are_classes(tmp_path: Path) -> None:
    path = pairs(tmp_path, lambda mask: mask * 100, labels=3)
    assert found(path).settings["mask_values"] == ("0", "100", "200")
    assert_labels(path, labels=3)
    assert found(path, classes=("sky", "sea", "land")).settings["classes"] == ("sky", "sea", "land")
    with pytest.raises(InvalidInput, match="has 3 classes, 0, 100, 200; --classes names 2: a, b"):
        found(path, classes=("a", "b"))


def test_gray_masks_among_coloured_ones_have_their_colours(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0]], np.uint8)

    def paint(mask: np.ndarray) -> np.ndarray:
        return colours[np.where(mask == 2, 1, mask) if mask[0, 0] == 0 and mask.sum() % 2 else mask]

    pairs(tmp_path, paint, labels=3)
    save(tmp_path / "masks/p0.png", colours[disc(0, labels=2)])
    assert set(found(tmp_path).settings["classes"]) == {"#000000", "#ffffff", "#ff0000"}
    loaded(tmp_path)


def test_weights_know_the_values_of_masks_that_they_were_trained_on(tmp_path: Path) -> None:
    for name, values in (("a", [0, 100, 200]), ("fewer", [0, 200, 200]), ("others", [0, 100, 50])):
        pairs(tmp_path / name, np.array(values, np.uint8).__getitem__, labels=3)
    settings = found(tmp_path / "a").settings | {"dataset": str(tmp_path / "a")}
    experiment = get_task("segmentation").experiment(**settings)
    few = experiment.on_data(str(tmp_path / "fewer")).load_data(None, ("train",)).train
    assert set(np.unique(few.labels(np.arange(len(few)))).tolist()) == {0, 2}
    with pytest.raises(InvalidInput, match="has masks of 0, 50, 100, and these weights know 0, 100, 200"):
        experiment.on_data(str(tmp_path / "others"))
    named = experiment.with_(classes=("2", "1", "0"))  # names that look like values are names
    for name in ("fewer", "others"):
        own = named.on_data(str(tmp_path / name)).known_own
        assert own.mask_values == (("0", "100", "200") if name == "fewer" else ("0", "50", "100"))
        assert own.classes == ("2", "1", "0")


@pytest.mark.parametrize("dtype", ["u1", "i2", "i4", "i8"])
def test_labels_that_leave_most_numbers_out_are_refused(dtype: str, tmp_path: Path) -> None:
    largest = np.iinfo(dtype).max
    labels = np.array([0, largest] * 5, dtype)
    np.savez(tmp_path / "d.npz", images=np.zeros((10, 8, 8), np.uint8), labels=labels)
    with pytest.raises(InvalidInput, match=f"go to {largest}, and only 2 of them are used; number them from 0"):
        found(tmp_path / "d.npz")


def test_weights_that_know_colours_know_gray_masks(tmp_path: Path) -> None:
    colours = np.array([[0, 0, 0], [255, 0, 0], [255, 255, 255]], np.uint8)
    pairs(tmp_path / "a", colours.__getitem__, labels=3)
    pairs(tmp_path / "gray", lambda mask: 255 * (mask > 1).astype(np.uint8), labels=3)
    experiment = get_task("segmentation").experiment(**found(tmp_path / "a").settings)
    assert experiment.mask_values == ("#000000", "#ff0000", "#ffffff")
    gray = experiment.on_data(str(tmp_path / "gray")).load_data(None, ("train",)).train
    assert set(np.unique(gray.labels(np.arange(len(gray)))).tolist()) == {0, 2}


def test_a_class_whose_name_no_file_of_settings_can_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="classes must be valid Unicode"):
        get_task("digits").experiment(labels=2, state=4, classes=("a", "K\udce4fer"))


def test_colours_are_classes_and_keep_their_colours(tmp_path: Path) -> None:
    colours = np.array([(0, 0, 0), (0, 0, 255), (200, 100, 0)], np.uint8)
    path = pairs(tmp_path, lambda mask: colours[mask], labels=3)
    assert found(path).settings["colours"] == ("#000000", "#0000ff", "#c86400")
    assert_labels(path, labels=3)


def test_indices_of_a_palette_are_classes(tmp_path: Path) -> None:
    pairs(tmp_path, labels=3)
    for i in range(10):
        indexed = Image.fromarray(disc(i, labels=3), "P")
        indexed.putpalette([10, 20, 30, 255, 0, 0, 0, 255, 0])
        indexed.save(tmp_path / f"masks/p{i}.png")
    assert found(tmp_path).settings["colours"] == ("#0a141e", "#ff0000", "#00ff00")
    assert_labels(tmp_path, labels=3)


def test_numbers_of_things_are_one_class(tmp_path: Path) -> None:
    def numbered(mask: np.ndarray) -> np.ndarray:
        things = np.cumsum(mask.ravel()).reshape(mask.shape)  # as many things as pixels
        return (things * mask).astype(np.uint16)

    path = pairs(tmp_path, numbered, names=("images/{}.png", "masks/{}.tif"))
    assert found(path).settings["mask_values"] == ("instances",)
    assert_labels(path)


def test_a_mask_in_a_jpeg_is_sharpened(tmp_path: Path) -> None:
    path = pairs(tmp_path, names=("images/{}.png", "masks/{}.jpg"))
    data = loaded(path, size=40)
    right = [
        (mask == disc(int(name[1]))).mean() for name, mask in zip(data.train.names, data.train.trimaps, strict=True)
    ]
    assert min(right) > 0.98


def test_the_value_of_a_void_is_ignored(tmp_path: Path) -> None:
    def with_void(mask: np.ndarray) -> np.ndarray:
        mask = mask.copy()
        mask[:5] = 255
        return mask

    path = pairs(tmp_path, with_void)
    assert found(path).settings["ignore"] == 255
    part = loaded(path, size=40).train
    assert (part.labels([0])[0, :5] == -1).all()
    assert part.labels([0])[0, 5:].min() == 0
    assert found(path, ignore=-1).settings["labels"] == 3


def test_tiles_cover_pictures_at_their_own_scale(tmp_path: Path) -> None:
    path = pairs(tmp_path, count=5)
    data = loaded(path, size=16, tiles=True)
    assert len(data.train) + len(data.test) == 5 * 9
    whole = {name.partition("#")[0] for name in data.train.names}
    assert not whole & {name.partition("#")[0] for name in data.test.names}
    pixels = sum(int((part.trimaps == 1).sum()) for part in (data.train, data.test))
    assert pixels == sum(int(disc(i).sum()) for i in range(5))
    assert (data.train.trimaps == 255).any()


# mistakes


def test_pictures_without_masks_are_named(tmp_path: Path) -> None:
    pairs(tmp_path)
    for i in (3, 5):
        (tmp_path / f"masks/p{i}.png").unlink()
    with pytest.raises(InvalidInput, match=r"2 pictures have no mask: .*p3\.png, .*p5\.png; names must be equal"):
        found(tmp_path)


def test_masks_without_pictures_are_named(tmp_path: Path) -> None:
    pairs(tmp_path)
    (tmp_path / "images/p7.png").unlink()
    with pytest.raises(InvalidInput, match=r"1 mask has no picture: .*masks/p7\.png"):
        found(tmp_path)


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    pairs(tmp_path)
    save(tmp_path / "masks/p4.png", disc(4, 39) * 255)
    with pytest.raises(InvalidInput, match=r"masks/p4\.png has 39x39 pixels, and its picture .*p4\.png has 40x40"):
        found(tmp_path)
    smaller = disc(4, 39) * 255
    smaller[0, 0] = 1  # as resampling leaves behind
    save(tmp_path / "masks/p4.png", smaller)
    with pytest.raises(InvalidInput, match=r"masks/p4\.png has 39x39 pixels, and its picture .*p4\.png has 40x40"):
        found(tmp_path)


@pytest.mark.parametrize("most", [59, 255])
@pytest.mark.parametrize("shape", [(40, 40, 3), (40, 40)], ids=["colour", "gray"])
def test_masks_that_are_photographs_are_named(tmp_path: Path, shape: tuple[int, ...], most: int) -> None:
    pairs(tmp_path)
    for i in range(10):
        save(tmp_path / f"masks/p{i}.png", np.random.default_rng(i).integers(0, most, shape, np.uint8))
    with pytest.raises(InvalidInput, match=r"too many different values .*masks/p0\.png"):
        found(tmp_path)


def test_a_class_that_only_pictures_held_out_have_is_named(tmp_path: Path) -> None:
    pairs(tmp_path, names=("train/images/{}.png", "train/masks/{}.png"), paint=lambda mask: mask)
    pairs(tmp_path, names=("test/images/{}.png", "test/masks/{}.png"), paint=lambda mask: 2 * mask)
    with pytest.raises(InvalidInput, match="no picture to train on has the class 2; all of its pictures are held out"):
        found(tmp_path)


def test_empty_masks_are_told_of_and_refused_if_all_are(tmp_path: Path) -> None:
    pairs(tmp_path)
    save(tmp_path / "masks/p2.png", np.zeros((40, 40), np.uint8))
    save(tmp_path / "masks/p6.png", np.zeros((40, 40), np.uint8))
    assert any("2 masks have one class alone" in text for text in found(tmp_path, split=0.0).warnings)
    for i in range(10):
        save(tmp_path / f"masks/p{i}.png", np.zeros((40, 40), np.uint8))
    with pytest.raises(InvalidInput, match=r"all masks have the one value 0, such as .*masks/p0\.png"):
        found(tmp_path)


def test_a_stray_value_is_named_with_the_flag_that_leaves_it_out(tmp_path: Path) -> None:
    pairs(tmp_path, count=10)
    stray = disc(3) * 255
    stray[0, 0] = 7
    save(tmp_path / "masks/p3.png", stray)
    with pytest.raises(InvalidInput, match=r"the value 7 is in one mask alone, .*p3\.png.*--ignore 7"):
        found(tmp_path)
    assert found(tmp_path, ignore=7).settings["mask_values"] == ("0", "255")


def test_a_picture_that_lies_on_its_side_takes_its_mask_along_or_is_refused(tmp_path: Path) -> None:
    pairs(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    mask = disc(1)[:, :30]
    lying, upright = photograph(mask, 1), np.rot90(mask, -1)
    save(tmp_path / "images/p1.png", lying, exif=exif)
    save(tmp_path / "masks/p1.png", mask * 255)  # of the file as it lies
    data = loaded(tmp_path, size=40, tiles=True, split=0.0).train
    np.testing.assert_array_equal(data.trimaps[data.names.index("p1.png#1")][:30], upright)
    save(tmp_path / "masks/p1.png", np.ascontiguousarray(upright) * 255)
    data = loaded(tmp_path, size=40, tiles=True, split=0.1).train
    if "p1.png#1" in data.names:
        np.testing.assert_array_equal(data.trimaps[data.names.index("p1.png#1")][:30], upright)
    save(tmp_path / "images/p1.png", photograph(disc(1), 1), exif=exif)
    save(tmp_path / "masks/p1.png", disc(1) * 255)
    with pytest.raises(InvalidInput, match=r"p1\.png is turned by its EXIF data"):
        found(tmp_path)


def test_copies_held_out_are_told_of(tmp_path: Path) -> None:
    pairs(tmp_path / "train", count=6)
    pairs(tmp_path / "test", count=2)
    assert any("2 of the pictures held out are among those to train on" in text for text in found(tmp_path).warnings)


def test_copies_of_pictures_with_a_label_each_are_named_by_their_files(tmp_path: Path) -> None:
    for i in range(3):
        for part in ("train", "test"):
            for k, name in enumerate(("cat", "dog")):
                copied = (i, k) == (1, 1)
                save(
                    tmp_path / part / name / f"{i}.png",
                    photograph(disc(i), i + 10 * k + 20 * (part == "test" and not copied)),
                )
    (warning,) = found(tmp_path).warnings
    assert warning.startswith("1 of the pictures held out is among those to train on too: ")
    assert warning.endswith(str(Path("test/dog/1.png")))


def test_class_folders_without_pictures_are_told_of(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for name in ("cat", "dog"):
            for i in range(3):
                save(tmp_path / part / name / f"{i}.png", photograph(disc(i), i))
    for folder in ("train/bird", "test/fish"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "notes.txt").write_text("no picture")
    said = [text for text in found(tmp_path).warnings if "no pictures" in text]
    assert said == ["folders left out because they have no pictures: bird, fish"]


def test_copies_are_never_split(tmp_path: Path) -> None:
    pairs(tmp_path, count=8)
    for i in range(8):
        mask = disc(i)
        save(tmp_path / f"images/copy{i}.png", photograph(mask, i))
        save(tmp_path / f"masks/copy{i}.png", mask * 255)
    assert not found(tmp_path).warnings
    assert len(loaded(tmp_path).test) % 2 == 0


@pytest.mark.parametrize("layout", ["empty", "text", "absent"])
def test_what_is_laid_out_otherwise_is_refused_with_what_is_known(tmp_path: Path, layout: str) -> None:
    if layout == "text":
        (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InvalidInput, match="does not exist" if layout == "absent" else "a folder for each class"):
        found(tmp_path / "absent" if layout == "absent" else tmp_path)


# a label for each picture


def class_folders(folder: Path, channels: int = 3, side: int = 20, count: int = 6) -> Path:
    for i, name in enumerate(("cat", "dog", "owl")):
        for k in range(count):
            rng = np.random.default_rng(10 * i + k)
            pixels = rng.integers(0, 60, (side, side, channels)) + 60 * i
            save(folder / name / f"{k}.png", pixels.astype(np.uint8).squeeze())
    return folder


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    data = found(class_folders(tmp_path))
    assert (data.kind, data.settings["classes"], data.settings["size"]) == (
        "classification",
        ("cat", "dog", "owl"),
        20,
    )
    assert data.settings["alive_above"] is None
    part = loaded(tmp_path)
    assert (len(part.train), len(part.test)) == (15, 3)
    assert sorted(part.test.labels.tolist()) == [0, 1, 2]
    bright = part.train.images(slice(None)).mean(axis=(1, 2, 3))
    assert np.corrcoef(bright, part.train.labels)[0, 1] > 0.99


FOLDERS = ("Fotos/{}.png", "gezeichnet/{}.png")
IN_NAMES = ("fotos_{}.png", "gezeichnet_{}.png")


@pytest.mark.parametrize(
    ("names", "remedy"),
    [
        (FOLDERS, r"say --dataset '.*Fotos::.*gezeichnet'"),
        (tuple(f"{part}/{name}" for name in FOLDERS for part in ["train"]), "name their folders images and masks"),
        (IN_NAMES, r"say --dataset '.*fotos\*::.*gezeichnet\*'"),
    ],
)
def test_two_classes_that_look_like_pictures_and_masks_are_refused(
    tmp_path: Path, names: tuple[str, str], remedy: str
) -> None:
    for i in range(6):
        mask = disc(i)
        save(tmp_path / names[0].format(i), photograph(mask, i))
        save(tmp_path / names[1].format(i), mask * 255)
    with pytest.raises(InvalidInput, match=f"the classes .otos and gezeichnet, .*{remedy}"):
        found(tmp_path)


def test_words_of_output_in_the_names_of_files_are_no_masks(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / f"real/{i}.png", photograph(disc(i), i))
        save(tmp_path / f"fake/{i + 2}_output.png", photograph(disc(i), 9 + i))
    assert found(tmp_path, split=0.5).settings["classes"] == ("fake", "real")


def test_two_classes_of_drawings_or_of_photographs_may_have_the_same_names(tmp_path: Path) -> None:
    for i in range(4):
        for name in ("cat", "dog"):
            save(tmp_path / f"photographs/{name}/{i}.png", photograph(disc(i), i))
            save(tmp_path / f"drawings/{name}/{i}.png", disc(i) * 255)
            shown = disc(i) * 255 if name == "cat" else photograph(disc(i), i)
            save(tmp_path / f"other names/{name}/{'xy'[name == 'cat']}{i * (1 + (name == 'cat'))}.png", shown)
    for folder in ("photographs", "drawings", "other names"):
        assert "8 pictures in 2 classes: cat (4), dog (4)" in found(tmp_path / folder).description


def test_only_the_first_classes_are_named(tmp_path: Path) -> None:
    for i in range(24):
        save(tmp_path / f"class {i // 2:02}/{i}.png", photograph(disc(i), i))
    first, *_ = found(tmp_path, split=0.5).description
    assert first.startswith("24 pictures in 12 classes: class 00 (2), class 01 (2), ")
    assert first.endswith("class 09 (2) and 2 more")


def test_pictures_that_are_not_read_are_told_of(tmp_path: Path) -> None:
    for i in range(6):
        file = tmp_path / f"{'ab'[i % 2]}/{i}.HEIC"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"6 files end in \.HEIC, which refca does not read; export as JPEG"):
        found(tmp_path)
    for i in range(4):
        save(tmp_path / f"{'ab'[i % 2]}/{i}.png", photograph(disc(i), i))
    assert any("6 files end in .HEIC" in text for text in found(tmp_path, split=0.5).warnings)


def test_packed_data_is_told_of(tmp_path: Path) -> None:
    file = tmp_path / "data.tar.gz"
    file.write_bytes(b"")
    with pytest.raises(InvalidInput, match=r"data\.tar\.gz is packed; unpack it first"):
        found(file)
    with pytest.raises(InvalidInput, match=r"data\.tar\.gz is packed: unpack it first"):
        found(tmp_path)


def test_classes_further_below_are_named(tmp_path: Path) -> None:
    class_folders(tmp_path / "nested/2024/raw")
    with pytest.raises(
        InvalidInput, match=r"only one class, 2024; .*raw has 3, cat, dog, owl: --dataset '.*nested/2024/raw'"
    ):
        found(tmp_path / "nested")


def labels_of_cats_and_dogs(folder: Path, line: str, end: str = "", *, heading: str = "file,label") -> Path:
    """Save four pictures in images, and a table that lists them in lines of this format."""
    for i in range(4):
        save(folder / f"images/{i}.png", photograph(disc(i), i))
    rows = [line.format(f"{i}.png", ("cat", "dog")[i % 2]) for i in range(4)]
    table = folder / "labels.csv"
    table.write_text("\n".join([heading, *rows]) + f"\n{end}")
    return table


def test_files_of_a_table_are_looked_for_in_the_folders_beside_it(tmp_path: Path) -> None:
    for line in ("images/{},{}", ".\\images\\{},{}", "{},{}"):
        assert len(loaded(labels_of_cats_and_dogs(tmp_path, line), split=0.5).train) == 2
    save(tmp_path / "more/3.png", photograph(disc(3), 3))  # not all of them: no doubt about which are meant
    assert len(loaded(labels_of_cats_and_dogs(tmp_path, "{},{}"), split=0.5).train) == 2
    (tmp_path / "images/1.png").unlink()
    with pytest.raises(InvalidInput, match=r"not there: 1\.png$"):
        found(tmp_path / "labels.csv")
    table = labels_of_cats_and_dogs(tmp_path, "{},{}", "absent.png,dog\n")
    with pytest.raises(InvalidInput, match=r"not there: absent\.png$"):
        found(table)


def test_files_of_a_table_that_lie_in_two_folders_beside_it_are_not_guessed(tmp_path: Path) -> None:
    table = labels_of_cats_and_dogs(tmp_path, "{},{}")
    shutil.copytree(tmp_path / "images", tmp_path / "small")
    with pytest.raises(InvalidInput, match=r"not there: 0\.png.* are in images and in small: write images/0\.png or"):
        found(table)


@pytest.mark.parametrize("heading", ["id,breed", "image_id,label", "id,label,source"])
def test_a_table_may_name_files_without_their_endings(tmp_path: Path, heading: str) -> None:
    table = labels_of_cats_and_dogs(tmp_path, "{},{}", heading=heading)
    table.write_text(table.read_text().replace(".png", ""))
    data = found(tmp_path, split=0.5)
    assert "4 pictures in 2 classes: cat (2), dog (2)" in data.description
    save(tmp_path / "images/2.jpg", photograph(disc(2), 2))
    with pytest.raises(InvalidInput, match=r"not there: 2, which may be 2\.jpg or 2\.png"):
        found(tmp_path)


def test_a_table_of_something_else_beside_class_folders_or_masks_is_left_alone(tmp_path: Path) -> None:
    class_folders(tmp_path / "animals")
    for rows in ("id,label\n0,cat\n1,dog\n", "name,species\ncat,Felis\ndog,\n"):
        (tmp_path / "animals/classes.csv").write_text(rows)
        assert found(tmp_path / "animals").settings["classes"] == ("cat", "dog", "owl")
    pairs(tmp_path / "scans")
    (tmp_path / "scans/metadata.csv").write_text("id,diagnosis,age\np0,healthy,9\np1,,8\n")
    assert found(tmp_path / "scans").settings["classes"] == ("background", "object")


def test_files_of_a_table_that_lie_in_several_folders_are_said_to(tmp_path: Path) -> None:
    table = labels_of_cats_and_dogs(tmp_path, "{},{}")
    (tmp_path / "more").mkdir()
    (tmp_path / "images/3.png").rename(tmp_path / "more/3.png")
    with pytest.raises(InvalidInput, match=r"files that lie in several folders: images, more; .* as in more/NAME"):
        found(table)


def test_a_column_of_files_goes_before_one_of_numbers(tmp_path: Path) -> None:
    table = labels_of_cats_and_dogs(tmp_path, "7,{},{}", heading="id,path,label")
    assert "4 pictures in 2 classes: cat (2), dog (2)" in found(table, split=0.5).description


def test_a_file_that_a_table_lists_twice_has_one_label(tmp_path: Path) -> None:
    same = labels_of_cats_and_dogs(tmp_path, "images/{},{}", "./images/1.png,dog\n")
    assert "4 pictures in 2 classes: cat (2), dog (2)" in found(same, split=0.5).description
    other = labels_of_cats_and_dogs(tmp_path, "images/{},{}", "\nimages/1.png,cat\n")
    with pytest.raises(InvalidInput, match=r"images/1\.png twice, with the label dog in line 3 and cat in line 7"):
        found(other)


def test_a_picture_that_a_table_lists_twice_has_one_mask(tmp_path: Path) -> None:
    pairs(tmp_path, count=5)
    rows = [f"images/p{i}.png,masks/p{i}.png" for i in (*range(5), 3)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image,mask", *rows]))
    assert len(loaded(tmp_path / "pairs.csv", split=0.0).train) == 5
    (tmp_path / "windows.csv").write_text("\n".join(["image,mask", *rows]).replace("/", "\\"))
    assert (
        loaded(tmp_path / "windows.csv", split=0.0).train.names == loaded(tmp_path / "pairs.csv", split=0.0).train.names
    )
    (tmp_path / "pairs.csv").write_text("\n".join(["image,mask", *rows, "images/p3.png,masks/p4.png"]))
    with pytest.raises(
        InvalidInput, match=r"p3\.png twice, with the mask masks/p3\.png in line 5 and masks/p4\.png in"
    ):
        found(tmp_path / "pairs.csv")


def test_classes_that_weights_do_not_know_are_refused(tmp_path: Path) -> None:
    class_folders(tmp_path / "animals")
    with pytest.raises(InvalidInput, match="animals has the class owl, but the classes are cat, dog"):
        load_own(str(tmp_path / "animals"), OwnSettings(classes=("cat", "dog")), "classification")
    digits = load_experiment("digits-l2-noise")
    with pytest.raises(InvalidInput, match="animals has the class cat, but the classes are 0, 1, 2"):
        digits.with_(dataset=str(tmp_path / "animals")).load_data(None)
    np.savez(tmp_path / "d.npz", images=np.zeros((9, 8, 8), np.uint8), labels=np.arange(9) % 3)
    with pytest.raises(InvalidInput, match="has labels up to 2, but there are 2 classes: cat, dog"):
        load_own(str(tmp_path / "d.npz"), OwnSettings(classes=("cat", "dog"), channels=1), "classification")


def test_some_of_the_classes_keep_their_numbers(tmp_path: Path) -> None:
    class_folders(tmp_path / "some")
    for name, digit in (("cat", "3"), ("dog", "5"), ("owl", "8")):
        (tmp_path / "some" / name).rename(tmp_path / "some" / digit)
    found = load_experiment("digits-l2-noise").with_(dataset=str(tmp_path / "some")).load_data(None)
    assert sorted(set(found.train.labels.tolist())) == [3, 5, 8]


def test_a_class_with_one_picture_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path)
    save(tmp_path / "emu/only.png", np.zeros((20, 20), np.uint8))
    with pytest.raises(InvalidInput, match=r"the class emu has one picture, .*emu/only\.png"):
        found(tmp_path)


def test_dark_ink_is_inverted_and_lives(tmp_path: Path) -> None:
    from test_automaton import drawn_seven

    for name, step in (("a", 0), ("b", 40)):
        for k in range(4):
            save(tmp_path / name / f"{k}.png", np.roll(drawn_seven(), step + k, axis=1))
    settings = found(tmp_path).settings
    assert (settings["invert"], settings["alive_above"], settings["channels"]) == (True, 0.1, 1)
    assert loaded(tmp_path).train.images([0]).mean() < 0.5


def test_idx_files_of_any_name(tmp_path: Path) -> None:
    from test_data import idx

    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (30, 9, 9)), np.arange(30) % 3
    (tmp_path / "emnist-train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "emnist-train-labels-idx1-ubyte").write_bytes(idx(labels))
    data = found(tmp_path)
    assert (data.settings["labels"], data.settings["size"]) == (3, 9)
    assert len(loaded(tmp_path).test) == 6
    (tmp_path / "emnist-test-images-idx3-ubyte").write_bytes(idx(images[:5]))
    (tmp_path / "emnist-test-labels-idx1-ubyte").write_bytes(idx(labels[:5]))
    assert len(loaded(tmp_path).test) == 5
    (tmp_path / "emnist-test-labels-idx1-ubyte").write_bytes(idx(labels[:4]))
    with pytest.raises(InvalidInput, match="5 pictures to test on, and 4 labels"):
        found(tmp_path)
    (tmp_path / "emnist-train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))  # the same, not another
    (tmp_path / "emnist-test-labels-idx1-ubyte").write_bytes(idx(labels[:5]))
    assert len(loaded(tmp_path).train) == 30
    (tmp_path / "letters-train-images-idx3-ubyte").write_bytes(idx(images))
    with pytest.raises(
        InvalidInput, match=r"has emnist-train-images-idx3-ubyte\.gz and letters-train-images-idx3-ubyte;"
    ):
        found(tmp_path)


def test_arrays_with_a_label_each(tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((12, 8, 8, 2)).astype(np.float32)
    np.savez(tmp_path / "d.npz", images=images, labels=np.arange(12) % 2)
    data = found(tmp_path / "d.npz")
    assert (data.kind, data.settings["channels"], data.settings["labels"]) == ("classification", 2, 2)
    np.savez(tmp_path / "d.npz", images=2 * images, labels=np.arange(12) % 2)
    with pytest.raises(InvalidInput, match=r"picture 0 of .*d\.npz of floats must have values from 0 to 1"):
        found(tmp_path / "d.npz")
    np.savez(tmp_path / "d.npz", images=images, labels=(np.arange(12) % 2)[:, None])
    assert found(tmp_path / "d.npz").settings["labels"] == 2


@pytest.mark.parametrize(
    ("images", "name", "targets", "words"),
    [
        ((12, 8, 8), "labels", (12, 3), "if there is a column for each class, save labels.argmax(1)"),
        ((12, 8, 8), "labels", (), "has pictures (12, 8, 8) for labels (); each needs one"),
        ((12, 8, 8), "labels", (11,), "has pictures (12, 8, 8) for labels (11,); each needs one"),
        ((12, 64), "labels", (12,), "pictures must be (N, height, width) or"),
        ((12, 3, 8, 8), "labels", (12,), "save images.transpose(0, 2, 3, 1)"),
        ((12, 8, 8, 3), "masks", (12, 8, 8, 3), "save masks.argmax(-1)"),
        ((12, 8, 8, 3), "masks", (12, 8, 9), "masks are whole numbers of the size of the pictures"),
        ((12, 8, 8), "labels", (12, 0), "if there is a column for each class, save labels.argmax(1)"),
        ((12, 8, 8), "masks", (12, 64), "masks are whole numbers of the size of the pictures"),
        ((12, 8, 8), "masks", (12, 3, 8, 8), "save masks.argmax(1) instead, or masks[:, 0] if there is one"),
        ((12, 8, 8, 3), "masks", (12,), "masks are whole numbers of the size of the pictures"),
        ((0, 8, 8), "labels", (0,), "each needs one"),
    ],
)
def test_arrays_of_other_shapes_are_refused_with_what_to_save(
    tmp_path: Path, images: tuple[int, ...], name: str, targets: tuple[int, ...], words: str
) -> None:
    arrays = {"images": np.zeros(images, np.uint8), name: np.zeros(targets, np.int64)}
    np.savez(tmp_path / "d.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=re.escape(words)):
        found(tmp_path / "d.npz")


def test_data_that_is_no_longer_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path / "cells")
    for i, name in enumerate("ab" * 4):
        save(tmp_path / "animals" / name / f"{i}.png", photograph(disc(i), i))
    few = ["--steps", "1", "--batch", "4", "--backend", "reference", "--state", "12", "--hidden", "4", "--size", "8"]
    for name in ("cells", "animals"):
        data, out = tmp_path / name, str(tmp_path / f"run-{name}")
        assert run(["--dataset", str(data), "--out", out, *few, *(["--pool", "4"] if name == "animals" else [])]) == 0
        data.rename(tmp_path / "elsewhere")
        capsys.readouterr()
        assert evaluate([out, "--steps", "1"]) == 2
        assert f"{data} does not exist" in capsys.readouterr().err
        assert run(["--out", out, "--resume"]) == 2
        assert f"{data} does not exist" in capsys.readouterr().err
        data.mkdir()
        assert run(["--out", out, "--resume"]) == 2
        assert f"{data} has no pictures with " in capsys.readouterr().err
        data.rmdir()
        (tmp_path / "elsewhere").rename(data)


@pytest.mark.parametrize(
    ("turn", "said"),
    [
        (lambda x: x, ""),
        (lambda x: x.transpose(0, 2, 1), "the digits look transposed, as EMNIST's files have them"),
        (lambda x: np.rot90(x, 1, (1, 2)), "the digits look rotated by 90 degrees"),
    ],
)
def test_digits_on_their_side_are_told_of(tmp_path: Path, turn: Paint, said: str) -> None:
    digits = refca.data.load("optdigits-28").train
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", images=turn(digits.pixels[:600]), labels=digits.labels[:600])
    assert said in " ".join(found(tmp_path / "d.npz").warnings)
    assert bool(said) == bool(found(tmp_path / "d.npz").warnings)
    np.savez(tmp_path / "d.npz", images=turn(digits.pixels[:600]), labels=rng.permutation(digits.labels[:600]))
    assert not found(tmp_path / "d.npz").warnings


# the programs


def run(arguments: list[str]) -> int:
    return train.main([*arguments, "--backend", "reference"])


def test_pictures_and_masks_train_are_measured_and_predict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs(tmp_path / "beside", lambda mask: mask * 100, names=("{}.jpg", "{}_mask.png"), labels=3)
    small = ["--size", "12", "--state", "6", "--hidden", "8", "--batch", "2", "--steps", "3"]
    assert run(["--dataset", "beside", *small, "--classes", "soil,leaf,stem"]) == 0
    said = capsys.readouterr().out
    assert "masks of 3 gray levels: 0, 100, 200" in said
    assert "classes soil, leaf, stem" in said
    out = tmp_path / "runs/beside-seed0"
    assert (out / "metrics.csv").read_text().splitlines()[0] == "step,loss,iou_soil,iou_leaf,iou_stem,gate"
    measure = ["--steps", "4", "--at", "3", "--curve-samples", "1", "--backend", "reference"]
    assert evaluate([str(out), *measure]) == 0
    assert "soil" in capsys.readouterr().out
    assert (out / "evaluation.csv").read_text().startswith("photographs,step,changes,iou_soil,iou_leaf,iou_stem")
    assert predict([str(out), "beside/p0.jpg", "--out", "seen", "--backend", "reference"]) == 0
    assert (tmp_path / "seen/predictions.csv").read_text().splitlines()[0].endswith("soil,leaf,stem")
    assert refca.load(out, "reference").names == ("soil", "leaf", "stem")


def test_cells_for_more_classes_than_channels_get_more_channels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("letters.npz", images=rng.integers(0, 256, (260, 8, 8), np.uint8), labels=np.arange(260) % 26)
    small = ["--hidden", "8", "--batch", "4", "--pool", "8", "--unroll", "2", "--steps", "1"]
    assert run(["--dataset", "letters.npz", *small, "--out", "run"]) == 0
    assert "35 state channels, because there are 26 classes" in capsys.readouterr().out
    experiment: Any = refca.load_weights("run").experiment
    assert (experiment.state, experiment.labels) == (35, 26)
    assert run(["--dataset", "letters.npz", *small, "--state", "30", "--out", "wider"]) == 0
    assert "state channels, because" not in capsys.readouterr().out
    named = ["--experiment", "own-classification", "--dataset", "letters.npz"]  # as a sweep does
    assert run([*named, *small, "--out", "named"]) == 0
    assert run(["--dataset", "letters.npz", *small, "--state", "20", "--out", "narrow"]) == 2
    assert "labels must be at most state, 20, got 26" in capsys.readouterr().err


def test_masks_that_number_a_few_things_are_one_class_if_two_classes_are_named(tmp_path: Path) -> None:
    def numbered(things: int) -> np.ndarray:
        number = np.arange(24 * 24).reshape(24, 24) % (things + 1)
        return number.repeat(2, axis=0).repeat(2, axis=1).astype(np.uint8)

    for i, things in enumerate((4, 9, 14, 5, 6, 7)):
        save(tmp_path / f"images/{i}.png", photograph(disc(i, side=48), i))
        save(tmp_path / f"masks/{i}.png", numbered(things))
    hint = "if these number things, --classes background,thing makes all above 0 one class"
    assert any(hint in line for line in found(tmp_path).description)
    named = found(tmp_path, classes=("background", "cell"))
    assert named.settings["classes"] == ("background", "cell")
    assert named.settings["mask_values"] == ("instances",)
    assert "masks number things: all numbers above 0 are one class" in named.description
    data = loaded(tmp_path, classes=("background", "cell"), split=0.0, size=48)
    np.testing.assert_array_equal(data.train.trimaps[0], numbered(4) > 0)
    several = found(tmp_path, classes=tuple("abcdefghijklmno"))
    assert len(several.settings["mask_values"]) == 15
    for i in range(6):
        save(tmp_path / f"masks/{i}.png", numbered(3))
    with pytest.raises(InvalidInput, match="has 4 classes, 0, 1, 2, 3; --classes names 2"):
        found(tmp_path, classes=("background", "cell"))


def test_the_path_of_data_may_be_relative_in_a_resumed_run_and_in_an_experiment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "animals")
    small = ["--hidden", "8", "--batch", "4", "--pool", "8", "--unroll", "2", "--steps", "2"]
    assert run(["--dataset", "./animals", *small, "--out", "run"]) == 0
    assert run(["--dataset", "./animals", "--out", "run", "--resume"]) == 0
    (tmp_path / "animals.toml").write_text('task = "digits"\ndataset = "./animals"\n')
    assert run(["--experiment", "animals.toml", *small, "--out", "second"]) == 0
    settings = [(tmp_path / out / "settings.toml").read_text().splitlines() for out in ("run", "second")]
    assert {f'dataset = "{tmp_path / "animals"}"', 'classes = ["cat", "dog", "owl"]'} <= set(settings[1])
    assert [line for line in settings[0] if line.startswith("dataset")] == settings[1][1:2]


def test_a_gateless_cell_for_colour_pictures_trains_by_flags_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    class_folders(tmp_path / "animals", side=70, count=3)
    flags = "--size 64 --hidden 6 --state 5 --fire-rate 0.3 --norm instance --hidden-layers 2 --no-biases"
    small = ["--batch", "2", "--pool", "4", "--unroll", "2", "--fresh-fraction", "0.5", "--schedule", "constant"]
    assert (
        run(["--dataset", "animals", "--out", "run", "--steps", "2", *small, *flags.split(), "--linear-readout"]) == 0
    )
    assert run(["--out", "run", "--resume", "--steps", "3"]) == 0
    weights = refca.load_weights("run")
    experiment: Any = weights.experiment
    assert (weights.done, experiment.size, experiment.resettable) == (3, 64, False)
    cell = experiment.cell
    assert (cell.image_channels, cell.labels, cell.hidden_width, cell.fire_rate) == (3, 3, 6, 0.3)
    assert (cell.alive_above, cell.biases, cell.linear_readout, cell.norm) == (None, False, True, "instance")
    assert evaluate(["run", "--steps", "2", "--backend", "reference"]) == 0
    assert predict(["run", "animals/cat/0.png", "--out", "seen", "--steps", "3", "--backend", "reference"]) == 0
    assert "cat" in (tmp_path / "seen/predictions.csv").read_text()
    capsys.readouterr()
    assert robustness(["run"]) == 2
    assert "holds weights for 3 channels and the labels cat, dog, owl" in capsys.readouterr().err
    assert run(["--dataset", "animals", "--experiment", "pets-48-small", "--out", "other"]) == 2
    assert "has a label for each picture, which pets-48-small is not for" in capsys.readouterr().err


def test_a_wider_cell_for_digits_that_fires_less_trains_by_flags_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    digits = refca.data.load("optdigits").test
    pixels = digits.pixels[:80] * np.uint8(15)
    np.savez("digits.npz", images=pixels, labels=digits.labels[:80])
    small = ["--batch", "2", "--pool", "4", "--unroll", "2", "--fresh-fraction", "0.5", "--schedule", "constant"]
    wide = ["--hidden", "128", "--fire-rate", "0.3"]
    assert run(["--dataset", "digits.npz", "--out", "run", "--steps", "2", *small, *wide]) == 0
    assert run(["--out", "run", "--resume", "--steps", "3"]) == 0
    cell = refca.load("run", "reference").cell
    assert (cell.hidden_width, cell.fire_rate, cell.alive_above) == (128, 0.3, 0.1)
    reference = ["--backend", "reference"]
    assert evaluate(["run", "--steps", "2", "--mutation", "none", *reference]) == 0
    Image.fromarray(pixels[0]).save("one.png")
    assert predict(["run", "one.png", "--out", "seen", "--steps", "2", *reference]) == 0


def test_mistakes_are_told_before_training_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs(tmp_path)
    (tmp_path / "masks/p3.png").unlink()
    assert run(["--dataset", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "1 picture has no mask" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--size", "-1"], "size must not be negative, got -1"),
        (["--size", "5000"], "size must be at most 4,096, got 5000"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--channels", "0"], "channels must be"),
        (["--mask-values", "a,b"], "mask_values must be numbers such as 0,255 or colours such as #0044aa, got 'a'"),
    ],
)
def test_settings_are_checked_before_pictures_are_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    pairs(tmp_path)
    (tmp_path / "images/p9.png").write_bytes(b"damaged")
    assert run(["--dataset", str(tmp_path), "--out", str(tmp_path / "run"), *flags]) == 2
    assert words in capsys.readouterr().err


def test_cells_may_have_fewer_channels_than_the_experiment_has_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", images=np.eye(12, dtype=np.uint8)[None].repeat(12, 0) * 255, labels=np.arange(12) % 2)
    flags = ["--steps", "1", "--batch", "4", "--pool", "8", "--backend", "reference", "--state", "6", "--hidden", "4"]
    assert run(["--dataset", str(tmp_path / "d.npz"), "--out", str(tmp_path / "run"), *flags]) == 0


def test_a_size_of_zero_is_that_of_the_data(tmp_path: Path) -> None:
    pairs(tmp_path)
    flags = ["--steps", "1", "--batch", "2", "--backend", "reference", "--size", "0"]
    assert run(["--dataset", str(tmp_path), "--out", str(tmp_path / "run"), *flags]) == 0
    assert "size = 40" in (tmp_path / "run/settings.toml").read_text()


@pytest.mark.parametrize("name", ["own-segmentation", "own-tiles", "own-classification"])
def test_the_experiments_for_own_data_are_of_their_task(name: str) -> None:
    assert load_experiment(name).task == ("digits" if name == "own-classification" else "segmentation")


# data that was not made for this


@nuclei
@pytest.mark.parametrize(
    ("path", "values", "channels"),
    [
        ("nuclei", ("0", "255"), 1),
        ("nuclei/kaggle_layout", ("instances",), 3),
        ("nuclei/test/images::nuclei/test/instances", ("instances",), 1),
    ],
)
def test_nuclei_are_found_in_every_layout(path: str, values: tuple[str, ...], channels: int) -> None:
    where = "::".join(str(DATA / part) for part in path.split("::"))
    if path == "nuclei":
        where = f"{DATA}/nuclei/test/images::{DATA}/nuclei/test/masks"
    settings = found(where).settings
    assert (settings["mask_values"], settings["channels"]) == (values, channels)


def test_masks_that_number_things_with_gaps_are_one_class(tmp_path: Path) -> None:
    def numbered(mask: np.ndarray) -> np.ndarray:
        things = mask.ravel().cumsum().reshape(mask.shape) // 2 + 1
        return np.where(mask > 0, things + things // 4, 0).astype(np.uint8)  # 4, 9, ... are missing

    pairs(tmp_path / "d", numbered)
    seen = found(tmp_path / "d")
    assert seen.settings["mask_values"] == ("instances",)
    assert seen.settings["classes"] == ("background", "object")


def test_a_digit_before_a_number_is_a_class(tmp_path: Path) -> None:
    for i in range(20):
        save(tmp_path / "d" / f"{i % 2 + 3}{'-._ '[i % 4]}{i:02}.png", photograph(disc(i), i, 3))
    assert found(tmp_path / "d").settings["classes"] == ("3", "4")


def test_an_experiment_file_names_data_by_a_path_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs(tmp_path / "d")
    monkeypatch.chdir(tmp_path)
    Path("e.toml").write_text('task = "segmentation"\ndataset = "d"\n')
    assert load_experiment("e.toml").dataset == str(tmp_path / "d")
    with pytest.raises(InvalidInput, match='or the path of your own data, and there is no "absent" here'):
        make_experiment({"task": "segmentation", "dataset": "absent"})


def test_digits_of_your_own_are_prepared_as_those_named_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Dark on light, and larger than MNIST's: cells that were trained on MNIST would all live."""
    page = np.full((80, 80), 255, np.uint8)
    for label, columns in (("1", [40]), ("7", [30, 40])):
        for i in range(5):
            digit = page.copy()
            digit[15:65, [c + k for c in columns for k in range(6)]] = i
            save(tmp_path / "d" / label / f"{i}.png", digit)
    arguments = ["--steps", "2", "--backend", "reference", "--no-pictures", "--out"]
    assert predict(["digits", "--dataset", str(tmp_path / "d"), *arguments, str(tmp_path / "set")]) == 0
    with (tmp_path / "set/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {Path(row["file"]).parent.name for row in rows} == {"1", "7"}
    assert [row["expected"] for row in rows] == [Path(row["file"]).parent.name for row in rows]
    assert predict(["digits", *(row["file"] for row in rows), *arguments, str(tmp_path / "one by one")]) == 0
    with (tmp_path / "one by one/predictions.csv").open() as file:
        for mine, row in zip(rows, csv.DictReader(file), strict=True):
            assert {k: mine[k] for k in row if k != "name"} == {k: row[k] for k in row if k != "name"}
    measured = ["digits", "--dataset", str(tmp_path / "d"), "--steps", "2", "--mutation", "none", "--out"]
    assert evaluate([*measured, str(tmp_path / "measured"), "--backend", "reference"]) == 0
    shown = capsys.readouterr().out
    assert "test digits, prepared like the training data, 28x28;" in shown
    right = sum(row["label"] == row["expected"] for row in rows) / len(rows)
    assert json.loads((tmp_path / "measured/evaluation.json").read_text())["majority_accuracy_at_2"] == right


def test_splits_of_a_table_that_are_not_known_are_refused(tmp_path: Path) -> None:
    pairs(tmp_path / "d", names=("{}.png", "masks/{}.png"))
    lines = [f"p{i}.png,masks/p{i}.png,{'holdout' if i > 7 else 'train'}" for i in range(10)]
    (tmp_path / "d/list.csv").write_text("\n".join(["image,mask,split", *lines]))
    with pytest.raises(InvalidInput, match=r"list\.csv has the split holdout, and there are train, val and test"):
        found(tmp_path / "d/list.csv")


def test_pictures_of_a_table_outside_its_folder_are_named_without_their_place(tmp_path: Path) -> None:
    """Predictions are written under these names, which must not lead out of the folder of the predictions."""
    pairs(tmp_path / "d", names=("below/{}.png", "masks/{}.png"))
    (tmp_path / "tables").mkdir()
    for where in (str(tmp_path / "d"), "../d"):
        lines = [f"{where}/below/p{i}.png,{where}/masks/p{i}.png" for i in range(10)]
        (tmp_path / "tables/list.csv").write_text("\n".join(["image,mask", *lines]))
        data = loaded(tmp_path / "tables/list.csv", size=40)
        assert sorted([*data.train.names, *data.test.names]) == [f"p{i}.png" for i in range(10)]


def test_a_hash_in_names_is_no_tile(tmp_path: Path) -> None:
    pairs(tmp_path / "d", names=("images/scan#{}.png", "masks/scan#{}.png"))
    data = loaded(tmp_path / "d", size=40)
    assert (len(data.train), len(data.test)) == (8, 2)
    tiled = loaded(tmp_path / "d", size=20, tiles=True)
    assert not {picture_of(name) for name in tiled.train.names} & {picture_of(name) for name in tiled.test.names}
    assert len({picture_of(name) for name in tiled.test.names}) == 2
    for label in ("C#", "D"):
        for i in range(10):
            save(tmp_path / "classes" / label / f"{i}.png", photograph(disc(i), i + 10 * (label == "D"), 3))
    test = loaded(tmp_path / "classes").test
    assert np.bincount(test.labels).tolist() == [2, 2]


def test_settings_of_your_own_data_are_refused_for_data_with_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    for flags, words in (
        (["--size", "16"], "the setting size is for data of your own, and --dataset optdigits is not; leave it out"),
        (["--invert"], "the setting invert is for data of your own"),
    ):
        assert run(["--experiment", "demo", "--steps", "1", *flags]) == 2
        assert words in capsys.readouterr().err


def test_an_experiment_on_own_data_is_resumed_with_the_same_command(tmp_path: Path) -> None:
    pairs(tmp_path / "d", labels=4, paint=lambda mask: mask)
    flags = ["--experiment", "own-segmentation", "--dataset", str(tmp_path / "d"), "--out", str(tmp_path / "run")]
    flags += ["--state", "5", "--hidden", "6", "--batch", "2", "--steps", "3", "--resume"]
    assert run(flags[:-1]) == 0
    assert run(flags) == 0
    assert run([*flags, "--labels", "3"]) == 2


def test_a_model_of_many_classes_is_measured(tmp_path: Path) -> None:
    """Its animation has more colours than a GIF."""
    pairs(tmp_path / "d", labels=7, paint=lambda mask: mask)
    small = ["--size", "12", "--state", "8", "--hidden", "6", "--batch", "2", "--steps", "2"]
    assert run(["--dataset", str(tmp_path / "d"), *small, "--out", str(tmp_path / "run")]) == 0
    measure = ["--steps", "2", "--at", "2", "--curve-samples", "1", "--backend", "reference"]
    assert evaluate([str(tmp_path / "run"), *measure]) == 0
    assert (tmp_path / "run/animation.gif").exists()


# the loss


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_ignored_pixels_and_weights_change_the_loss_as_they_should(backend: str) -> None:
    from refca.segmentation.loss import weighted_cross_entropy

    rng = np.random.default_rng(0)
    cell = refca.segmentation_cell(state=5, hidden=6, resettable=False)
    params = refca.init_params(cell, 0)
    params["update.weight"] = rng.normal(0, 0.3, params["update.weight"].shape).astype(np.float32)
    image = rng.uniform(-1, 1, (2, 6, 7, 3)).astype(np.float32)
    target = rng.integers(0, 3, (2, 6, 7))
    weights = np.full((2, 2), 0.25, np.float32)
    state = refca.init_state(cell, image, refca.Streams(0))

    def run(loss: Any, target: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        arguments = (params, image, state, target, weights, refca.Streams(1))
        value, grads, _ = refca.get_backend(backend).loss_and_grads(cell, loss, *arguments)
        return float(value), grads

    plain, same = run("ce", target), run(weighted_cross_entropy([1.0] * 3), target)
    assert same[0] == pytest.approx(plain[0], rel=1e-5)
    for name, grad in plain[1].items():
        np.testing.assert_allclose(same[1][name], grad, atol=1e-5)
    hidden = target.copy()
    hidden[:, 2:4] = -1
    ignoring = run(weighted_cross_entropy([1.0] * 3), hidden)
    assert ignoring[0] != pytest.approx(plain[0], rel=1e-3)
    elsewhere = np.where(hidden < 0, (target + 1) % 3, hidden)
    parts = [run(weighted_cross_entropy([1.0] * 3), np.where(hidden < 0, -1, elsewhere))[0], ignoring[0]]
    assert parts[0] == parts[1]
    nothing = run(weighted_cross_entropy([1.0] * 3), np.full_like(target, -1))
    assert nothing[0] == 0
    assert all(not grad.any() for grad in nothing[1].values())
    assert run(weighted_cross_entropy([1.0, 1.0, 9.0]), target)[0] != pytest.approx(plain[0], rel=1e-3)


def test_class_weights_are_inverse_to_the_frequency_or_to_its_root() -> None:
    counts = np.array([64, 32, 0, 4])
    for weighting, ratios in (("none", (1, 1, 1)), ("root", (1, 2**0.5, 4)), ("balanced", (1, 2, 16))):
        weights = class_weights(counts, weighting)
        np.testing.assert_allclose(weights[[0, 1, 3]] / weights[0], ratios)
        assert (weights * counts).sum() == pytest.approx(counts.sum())
        assert weights[2] == 0


def test_tiles_with_a_void_and_weights_train(tmp_path: Path) -> None:
    pairs(tmp_path / "d", labels=3, paint=lambda mask: mask, count=6)
    small = ["--size", "16", "--state", "5", "--hidden", "6", "--batch", "2", "--steps", "8"]
    flags = ["--dataset", str(tmp_path / "d"), "--tiles", "--ignore", "2", "--class-weights", "balanced", *small]
    assert run([*flags, "--out", str(tmp_path / "run")]) == 0
    experiment: Any = refca.load(tmp_path / "run", "reference").experiment
    assert (experiment.tiles, experiment.ignore, experiment.labels) == (True, 2, 2)
    rows = (tmp_path / "run/metrics.csv").read_text().splitlines()
    assert 0 < float(rows[-1].split(",")[1]) < 5
