"""The photographs: contents, search paths, and messages for missing files."""

from __future__ import annotations

import errno
import io
import os
import tarfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from folders import Files, everything, md5s, write
from PIL import Image
from server import Server, serving

import refca.atomic
from refca.data import CLASSES, Dataset, Photographs, load
from refca.data.pets import MD5, halved, pets
from refca.data.pets_archives import read_archives
from refca.data.pets_pack import read_arrays, read_pack, read_split, write_pack
from refca.data.photographs import in_order
from refca.data.pictures import opened
from refca.errors import InvalidInput

real = pytest.mark.skipif(
    "REFCA_DATA" not in os.environ, reason="the real photographs are looked for only if REFCA_DATA is set"
)
NAMES = {"train": [f"Bombay_{i}" for i in range(5)], "test": [f"pug_{i}" for i in range(3)]}
EMPTY = {  # trimaps that are all background, as published, though a pet is there
    "train": "Egyptian_Mau_162 Egyptian_Mau_165 Egyptian_Mau_196 leonberger_18 miniature_pinscher_14 "
    "saint_bernard_15 saint_bernard_108",
    "test": "Egyptian_Mau_20 Persian_259 japanese_chin_199 keeshond_7 saint_bernard_60 saint_bernard_78 "
    "wheaten_terrier_195",
}


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def packed(size: int = 96, splits: tuple[str, ...] = ("train", "test")) -> dict[str, np.ndarray]:
    """A small pack with plain pixels."""
    rng = np.random.default_rng(size)
    arrays: dict[str, np.ndarray] = {}
    for split in splits:
        n = len(NAMES[split])
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, size, size, 3), np.uint8)
        arrays[f"{split}_trimaps"] = rng.integers(0, 3, (n, size, size), np.uint8)
        arrays[f"{split}_names"] = np.array(NAMES[split], "S30")
    return arrays


def jpegs(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same pack with JPEG files in the place of pixels."""
    packed = {name: array for name, array in arrays.items() if not name.endswith("images")}
    for split in NAMES:
        files = [encoded(pixels, "JPEG") for pixels in arrays[f"{split}_images"]]
        packed[f"{split}_images_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        packed[f"{split}_images_offsets"] = np.cumsum([0, *map(len, files)])
    return packed


def save(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **arrays)
    return path.parent


def official() -> tuple[Files, Files]:
    """Return small archives of images and of annotations: pictures of many sizes, and other files."""
    rng = np.random.default_rng(0)
    images, annotations = {"images/Bombay_0.mat": b"not a picture"}, {"annotations/README": b"read me"}
    for split, file in (("train", "trainval"), ("test", "test")):
        annotations[f"annotations/{file}.txt"] = "".join(f"{n} 1 1 1\n" for n in NAMES[split]).encode()
        for i, name in enumerate(NAMES[split]):
            H, W = 100 + 10 * i, 120 - 5 * i
            images[f"images/{name}.jpg"] = encoded(rng.integers(0, 256, (H, W, 3), np.uint8), "JPEG")
            trimap = encoded(rng.integers(1, 4, (H, W), np.uint8), "PNG")
            annotations[f"annotations/trimaps/{name}.png"] = trimap
            annotations[f"annotations/trimaps/._{name}.png"] = b"\0\5\x16\7"
    return images, annotations


def archive(files: Files) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture(scope="module")
def archives() -> Files:
    return {name: archive(files) for name, files in zip(MD5, official(), strict=True)}


@pytest.fixture
def server(archives: Files, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(dict(archives)) as server:
        yield server


# what photographs give


def small() -> Photographs:
    rng = np.random.default_rng(0)
    pixels, trimaps = rng.integers(0, 256, (4, 6, 6, 3), np.uint8), rng.integers(0, 3, (4, 6, 6), np.uint8)
    return Photographs(pixels, trimaps, ("a_1", "b_1", "c_1", "d_1"))


def test_images_go_from_minus_one_to_one_in_float32() -> None:
    pixels = np.array([0, 51, 255] * 4, np.uint8).reshape(1, 2, 2, 3)
    images = Photographs(pixels, np.zeros((1, 2, 2), np.uint8), ("a_1",)).images([0, 0])
    assert images.dtype == np.float32
    assert images.shape == (2, 2, 2, 3)
    assert images[1, 1, 1].tolist() == [-1, pytest.approx(-0.6, abs=1e-7), 1]


def test_labels_are_int64_and_both_take_slices_sequences_and_none_at_all() -> None:
    photographs = small()
    assert len(photographs) == 4
    for numbers in (slice(1, 3), [1, 2], np.array([1, 2])):
        labels = photographs.labels(numbers)
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, photographs.trimaps[1:3])
        np.testing.assert_array_equal(photographs.images(numbers), photographs.images(slice(4))[1:3])
    assert photographs.images([]).shape == (0, 6, 6, 3)
    assert photographs.labels([]).shape == (0, 6, 6)
    for get in (photographs.images, photographs.labels):
        with pytest.raises(IndexError):
            get([4])


def test_a_fingerprint_is_of_pixels_trimaps_and_their_order() -> None:
    whole = small()
    again = Photographs(whole.pixels.copy(), whole.trimaps.copy(), whole.names)
    assert whole.fingerprint() == again.fingerprint()
    again.trimaps[2, 3, 4] += 1
    assert whole.fingerprint() != again.fingerprint()
    backwards = Photographs(whole.pixels[::-1], whole.trimaps[::-1], whole.names[::-1])
    assert whole.fingerprint() != backwards.fingerprint()
    assert backwards.fingerprint() == backwards.fingerprint()


def test_halving_takes_the_rounded_mean_and_the_lower_right_label() -> None:
    pixels = np.array([[0, 1, 255, 255], [0, 1, 255, 254]], np.uint8)[None, :, :, None].repeat(3, axis=3)
    trimaps = np.array([[[0, 0, 1, 1], [0, 2, 1, 0]]], np.uint8)
    half = halved(Photographs(pixels, trimaps, ("a_1",)))
    assert half.pixels.dtype == np.uint8
    assert half.pixels[0, 0].tolist() == [[1, 1, 1], [255, 255, 255]]
    assert half.trimaps.tolist() == [[[2, 0]]]


def test_halved_trimaps_are_pillows_nearest() -> None:
    trimaps = small().trimaps
    half = halved(Photographs(np.zeros((4, 6, 6, 3), np.uint8), trimaps, small().names)).trimaps
    for got, trimap in zip(half, trimaps, strict=True):
        expected = Image.fromarray(trimap).resize((3, 3), Image.Resampling.NEAREST)
        np.testing.assert_array_equal(got, np.asarray(expected))


# packs


@pytest.mark.parametrize("below", ["", "oxford_pets", "pets"])
def test_a_pack_is_found_in_the_folder_its_oxford_pets_or_its_pets(tmp_path: Path, below: str) -> None:
    arrays = packed()
    save(tmp_path / below / "pets_96.npz", arrays)
    dataset = load("pets", tmp_path, size=96)
    assert dataset.name == "pets"
    for split, photographs in (("train", dataset.train), ("test", dataset.test)):
        assert list(photographs.names) == in_order(NAMES[split])
        for i, name in enumerate(photographs.names):
            was = NAMES[split].index(name)
            np.testing.assert_array_equal(photographs.pixels[i], arrays[f"{split}_images"][was])
            np.testing.assert_array_equal(photographs.trimaps[i], arrays[f"{split}_trimaps"][was])
    assert everything(tmp_path) == ["pets_96.npz"]


def test_photographs_of_48_are_those_of_96_halved(tmp_path: Path) -> None:
    save(tmp_path / "pets_96.npz", packed())
    default, large = load("pets", tmp_path).train, load("pets", tmp_path, size=96).train
    assert default.pixels.shape == (5, 48, 48, 3)
    assert default.fingerprint() == halved(large).fingerprint()


def test_jpeg_files_in_a_pack_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = jpegs(packed())
    monkeypatch.setenv("REFCA_DATA", str(save(tmp_path / "pets_96.npz", arrays)))
    test = load("pets", size=96).test
    first, end = arrays["test_images_offsets"][1:3]
    expected = np.asarray(Image.open(io.BytesIO(arrays["test_images_jpeg"][first:end].tobytes())))
    np.testing.assert_array_equal(test.pixels[test.names.index("pug_1")], expected)


def test_a_written_pack_reads_as_it_was(tmp_path: Path) -> None:
    save(tmp_path / "pets_96.npz", packed())
    splits = read_pack(tmp_path / "pets_96.npz", 96)
    write_pack(tmp_path / "new" / "pack.npz", splits)
    for split, again in read_pack(tmp_path / "new" / "pack.npz", 96).items():
        assert again.names == splits[split].names
        assert again.fingerprint() == splits[split].fingerprint()


def test_only_the_splits_asked_for_are_read(tmp_path: Path) -> None:
    arrays = packed()
    arrays["train_trimaps"][:] = 7  # refused if it is read
    save(tmp_path / "pets_96.npz", arrays)
    for size in (48, 96):
        dataset = load("pets", tmp_path, size=size, splits=("test",))
        assert len(dataset.test) == 3
        with pytest.raises(InvalidInput, match="these photographs were not asked for"):
            _ = dataset.train
    with pytest.raises(InvalidInput, match="the label 7 in train_trimaps"):
        load("pets", tmp_path, splits=("train",))
    with pytest.raises(InvalidInput, match="these photographs were not asked for"):
        _ = load("pets", save(tmp_path / "b" / "pets_96.npz", packed()), splits=("train",)).test


def test_photographs_that_are_in_order_are_not_copied(tmp_path: Path) -> None:
    path = tmp_path / "pack.npz"
    save(path, packed(8))
    write_pack(path, read_pack(path, 8))
    arrays = read_arrays(path, "test", 8)
    assert read_split(path, arrays, "test", 8).pixels is arrays["test_images"]


def test_a_sample_of_384_has_photographs_to_test_on_only(tmp_path: Path) -> None:
    save(tmp_path / "pets_384_sample.npz", packed(384, ("test",)))
    dataset = load("pets", tmp_path, size=384)
    assert dataset.test.pixels.shape == (3, 384, 384, 3)
    with pytest.raises(InvalidInput, match=f"{tmp_path} has only test photographs of 384x384; to train on that"):
        _ = dataset.train
    assert "Photographs" in repr(dataset)


def cut_jpeg(arrays: dict[str, np.ndarray]) -> None:
    ends = arrays["test_images_offsets"]
    half = ends[1] // 2
    arrays["test_images_jpeg"] = np.delete(arrays["test_images_jpeg"], slice(half, ends[1]))
    ends[1:] -= ends[1] - half


def other_label(arrays: dict[str, np.ndarray]) -> None:
    arrays["test_trimaps"][1, 2, 3] = 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("train_names"), "not a pack with train photographs: .* train_names"),
        (lambda a: a.update(test_names=np.arange(3)), "not a pack with test photographs"),
        (lambda a: a.update(test_names=np.array([], "S9")), "not a pack with test photographs"),
        (
            lambda a: a.update(test_names=np.array([b"a_1"] * 3)),
            "names 3 test photographs, of which 1 differ",
        ),
        (lambda a: a.pop("test_trimaps"), "not a whole pack of photographs: it has no test_trimaps"),
        (lambda a: a.pop("test_images_jpeg"), "it has no test_images"),
        (lambda a: a.pop("test_images_offsets"), "test_images_offsets .* needed are 4 integers"),
        (lambda a: a.update(test_images_offsets=np.arange(4)), "do not cut .* into 3 JPEG files"),
        (lambda a: a.update(test_images_jpeg=np.zeros(9)), "test_images_jpeg float64"),
        (lambda a: a.update(test_images_jpeg=np.uint8(3)), r"test_images_jpeg uint8 \(\); needed are uint8"),
        (
            lambda a: a.update(train_trimaps=a["test_trimaps"]),
            r"uint8 \(3, 96, 96\); needed are .*\(5, 96, 96\)",
        ),
        (lambda a: a.update(train_trimaps=np.zeros((5, 96, 96))), r"float64 \(5, 96, 96\); needed are uint8"),
        (other_label, "the label 7 in test_trimaps; labels are 0 background, 1 object, 2 boundary"),
        (cut_jpeg, "pug_0 in .* is damaged: .*truncated"),
        (lambda a: a.update(jpegs(packed(32)) | {"test_trimaps": a["test_trimaps"]}), r"needed are .*96"),
        (lambda a: a["test_images_jpeg"].fill(0), "pug_0 in .* is not a picture"),
    ],
)
def test_a_pack_with_something_wrong_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, np.ndarray]], object], message: str
) -> None:
    arrays = {name: array.copy() for name, array in jpegs(packed()).items()}
    change(arrays)
    save(tmp_path / "pets_96.npz", arrays)
    with pytest.raises(InvalidInput, match=message) as refusal:
        load("pets", tmp_path)
    assert str(tmp_path / "pets_96.npz") in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_jpeg_files_of_another_size_are_refused(tmp_path: Path) -> None:
    arrays = jpegs(packed(32))
    arrays |= {name: array for name, array in packed().items() if name.endswith("trimaps")}
    save(tmp_path / "pets_96.npz", arrays)
    with pytest.raises(InvalidInput, match=r"Bombay_0 in .* has 32x32 pixels; needed are 96x96"):
        load("pets", tmp_path)


def test_every_way_to_damage_a_pack_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "pack.npz"
    np.savez_compressed(path, allow_pickle=False, **packed(8))
    whole, splits = path.read_bytes(), read_pack(path, 8)
    damaged = [whole[:length] for length in (0, 1, 4, 30, 1000, len(whole) // 2, len(whole) - 1)]
    for place in (*rng.integers(0, len(whole), 300), *range(len(whole) - 400, len(whole))):
        damaged.append(whole[:place] + bytes([whole[place] ^ int(rng.integers(1, 256))]) + whole[place + 1 :])
    refused = 0
    for content in damaged:
        path.write_bytes(content)
        try:
            again = read_pack(path, 8)
        except InvalidInput:
            refused += 1
        else:
            assert all(again[split].fingerprint() == splits[split].fingerprint() for split in splits)
    assert refused > len(damaged) / 2


def test_other_files_are_not_packs(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", np.arange(3))
    for name, content in {
        "pets_96.npz": (tmp_path / "one.npy").read_bytes(),
        "page.npz": b"<html>",
        "pickle.npz": b"\x80\x04]\x94.",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidInput, match=r"is damaged: File is not a zip file .*; delete it and get it again"):
            read_pack(tmp_path / name, 96)
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_pack(tmp_path, 96)


def test_pictures_cut_or_changed_anywhere_are_decoded_or_refused() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
    for kind in ("JPEG", "PNG", "GIF"):
        whole = encoded(pixels, kind)
        for length in range(len(whole)):
            changed = bytearray(whole)
            changed[length] ^= int(rng.integers(1, 256))
            for content in (whole[:length], bytes(changed)):
                with warnings.catch_warnings(action="ignore"), suppress(InvalidInput):
                    opened(content, "it").convert("RGB")


# the official archives


def test_archives_are_scaled_as_a_whole_and_labels_renamed(tmp_path: Path, archives: Files) -> None:
    images, annotations = official()
    write(tmp_path / "oxford_pets", archives)
    dataset = load("pets", tmp_path, size=96)
    for split, photographs in (("train", dataset.train), ("test", dataset.test)):
        assert list(photographs.names) == in_order(NAMES[split])
        for i, name in enumerate(photographs.names):
            image = Image.open(io.BytesIO(images[f"images/{name}.jpg"]))
            expected = np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR))
            np.testing.assert_array_equal(photographs.pixels[i], expected)
            trimap = np.asarray(Image.open(io.BytesIO(annotations[f"annotations/trimaps/{name}.png"])))
            H, W = trimap.shape
            rows, columns = ((np.arange(96) + 0.5) * n // 96 for n in (H, W))
            nearest = trimap[np.ix_(rows.astype(int), columns.astype(int))]
            np.testing.assert_array_equal(photographs.trimaps[i], np.array([9, 1, 0, 2])[nearest])
    assert everything(tmp_path) == sorted(MD5)


def test_all_sizes_come_from_archives_and_48_again_from_96(tmp_path: Path, archives: Files) -> None:
    write(tmp_path, archives)
    sizes = {size: load("pets", tmp_path, size=size) for size in (24, 48, 96, 384)}
    assert [d.train.pixels.shape for d in sizes.values()] == [(5, s, s, 3) for s in sizes]
    assert sizes[48].test.fingerprint() == halved(sizes[96].test).fingerprint()
    assert sizes[24].test.fingerprint() == halved(sizes[48].test).fingerprint()


def test_archives_win_over_the_sample_and_a_pack_over_archives(tmp_path: Path, archives: Files) -> None:
    write(tmp_path, archives)
    save(tmp_path / "pets_384_sample.npz", packed(384, ("test",)))
    assert len(load("pets", tmp_path, size=384).train) == 5
    save(tmp_path / "pets" / "pets_96.npz", packed())
    pack = read_pack(tmp_path / "pets" / "pets_96.npz", 96)
    assert load("pets", tmp_path, size=96).train.fingerprint() == pack["train"].fingerprint()


def test_original_archives_in_a_folder_are_packed_once_in_the_cache(
    tmp_path: Path, archives: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, cache = write(tmp_path / "data", archives), tmp_path / "cache"
    first = pets(folder, md5=md5s(archives), cache=cache)
    assert everything(cache) == ["pets_96.npz"]
    monkeypatch.setattr("refca.data.pets.read_archives", None)
    again = pets(folder, md5=md5s(archives), cache=cache)
    assert again.train.fingerprint() == first.train.fingerprint()
    assert again.test.names == first.test.names
    assert everything(folder) == sorted(archives)


def test_other_archives_in_a_folder_are_not_mistaken_for_the_original(tmp_path: Path, archives: Files) -> None:
    folder, cache = write(tmp_path / "data", archives), tmp_path / "cache"
    save(cache / "pets" / "pets_96.npz", packed())
    assert pets(folder, cache=cache).train.fingerprint() == load("pets", folder).train.fingerprint()


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, archives: Files) -> None:
    folder = write(tmp_path / "data", archives)
    (tmp_path / "cache").write_bytes(b"a file where the folder should be")
    assert len(pets(folder, md5=md5s(archives), cache=tmp_path / "cache").train) == 5


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_a_cache_that_may_not_be_written_is_done_without(
    tmp_path: Path, archives: Files, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(path: Path) -> tuple[Path, int]:
        raise OSError(number, "refused", str(path))

    monkeypatch.setattr(refca.atomic, "create", refused)
    folder = write(tmp_path / "data", archives)
    assert len(pets(folder, md5=md5s(archives), cache=tmp_path / "cache").train) == 5


Change = Callable[[Files, Files], object]


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (lambda i, a: i.pop("images/pug_1.jpg"), 0, "lacks 1 of the 8 files .* such as images/pug_1.jpg"),
        (lambda i, a: i.clear(), 0, "lacks 8 of the 8 files .* such as images/Bombay_0.jpg"),
        (lambda i, a: i.update({"images/pug_1.jpg": b"nothing"}), 0, "images/pug_1.jpg in .* not a picture"),
        (
            lambda i, a: i.update({"images/pug_1.jpg": i["images/pug_1.jpg"][:-900]}),
            0,
            "images/pug_1.jpg in .* is damaged: .*truncated",
        ),
        (lambda i, a: a.pop("annotations/test.txt"), 1, "has no annotations/test.txt"),
        (lambda i, a: a.update({"annotations/test.txt": b"\n# none\n"}), 1, "that names no photograph"),
        (
            lambda i, a: a.pop("annotations/trimaps/pug_1.png"),
            1,
            "lacks 1 of the 8 files .* such as annotations/trimaps/pug_1.png",
        ),
        (
            lambda i, a: a.update({"annotations/trimaps/pug_1.png": encoded(np.full((9, 9), 4, np.uint8), "PNG")}),
            1,
            "pug_1.png in .* the label 4; labels are 1 pet, 2 background, 3 boundary",
        ),
        (
            lambda i, a: a.update({"annotations/trimaps/pug_1.png": encoded(np.zeros((9, 9), np.uint8), "PNG")}),
            1,
            "the label 0; labels are 1 pet",
        ),
        (
            lambda i, a: a.update({"annotations/trimaps/pug_1.png": i["images/pug_1.jpg"]}),
            1,
            "is not a trimap: it has RGB pixels",
        ),
    ],
)
def test_archives_with_something_wrong_are_refused_by_name(
    tmp_path: Path, change: Change, name: int, message: str
) -> None:
    images, annotations = official()
    change(images, annotations)
    write(tmp_path, {name: archive(files) for name, files in zip(MD5, (images, annotations), strict=True)})
    with pytest.raises(InvalidInput, match=message) as refusal:
        load("pets", tmp_path)
    assert str(tmp_path / list(MD5)[name]) in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_archives_cut_short_or_of_something_else_are_refused(tmp_path: Path, archives: Files) -> None:
    for name, content in archives.items():
        for cut in (0, 1, 11, 300, len(content) // 2):
            write(tmp_path, {**archives, name: content[:cut]})
            with pytest.raises(InvalidInput, match=r"is damaged|lacks|has no|cannot be read") as refusal:
                read_archives(tmp_path / "images.tar.gz", tmp_path / "annotations.tar.gz", 8)
            assert str(tmp_path / name) in str(refusal.value)
        write(tmp_path, {**archives, name: b"<html>not found</html>"})
        with pytest.raises(InvalidInput, match="is damaged"):
            read_archives(tmp_path / "images.tar.gz", tmp_path / "annotations.tar.gz", 8)


# nothing there


@pytest.mark.parametrize("size", [48, 96, 384])
def test_absent_photographs_are_refused_with_where_they_were_looked_for(tmp_path: Path, size: int) -> None:
    (tmp_path / "images.tar.gz").write_bytes(b"")
    with pytest.raises(InvalidInput) as refusal:
        load("pets", tmp_path, size=size)
    message = str(refusal.value)
    assert f"neither pets_{max(size, 96)}.npz nor both images.tar.gz and annotations.tar.gz are in" in message
    assert f"{tmp_path}, {tmp_path / 'oxford_pets'}, {tmp_path / 'pets'}" in message


@pytest.mark.parametrize("size", [0, 47, 192, -48])
def test_sizes_that_are_not_offered_are_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(InvalidInput, match=f"pets come at the sizes 24, 48, 96, 384, got {size}"):
        load("pets", tmp_path, size=size)


# from a server


def test_a_download_fills_the_cache_once(tmp_path: Path, server: Server, archives: Files) -> None:
    fingerprints = set()
    for _ in range(2):
        dataset = pets(None, base_url=server.url, md5=md5s(archives), cache=tmp_path)
        fingerprints.add(dataset.train.fingerprint())
    assert server.asked == list(MD5)
    assert everything(tmp_path) == sorted([*MD5, "pets_96.npz"])
    assert fingerprints == {load("pets", write(tmp_path / "data", archives)).train.fingerprint()}


def test_another_size_needs_no_second_download(tmp_path: Path, server: Server, archives: Files) -> None:
    for size in (48, 96, 384):
        assert len(pets(None, size, base_url=server.url, md5=md5s(archives), cache=tmp_path).train) == 5
    assert server.asked == list(MD5)
    assert everything(tmp_path) == sorted([*MD5, "pets_96.npz", "pets_384.npz"])


def test_an_archive_with_another_hash_is_refused_and_not_kept(tmp_path: Path, server: Server, archives: Files) -> None:
    server.files["annotations.tar.gz"] += b"!"
    with pytest.raises(InvalidInput, match="its content is not the original file's") as refusal:
        pets(None, base_url=server.url, md5=md5s(archives), cache=tmp_path)
    assert server.url + "annotations.tar.gz" in str(refusal.value)
    assert "pets_96.npz, into a folder and name it with --data or REFCA_DATA" in str(refusal.value)
    assert everything(tmp_path) == ["images.tar.gz"]


def test_a_connection_that_breaks_off_leaves_nothing_and_the_next_try_works(
    tmp_path: Path, server: Server, archives: Files
) -> None:
    server.cut.add("images.tar.gz")
    with pytest.raises(InvalidInput, match="could not be downloaded"):
        pets(None, base_url=server.url, md5=md5s(archives), cache=tmp_path)
    assert everything(tmp_path) == []
    server.cut.clear()
    assert len(pets(None, base_url=server.url, md5=md5s(archives), cache=tmp_path).test) == 3


def test_a_named_folder_is_never_filled_by_a_download(tmp_path: Path, server: Server) -> None:
    with pytest.raises(InvalidInput, match="neither"):
        pets(tmp_path / "absent", base_url=server.url, cache=tmp_path / "cache")
    assert server.asked == []
    assert everything(tmp_path) == []


# the real photographs


@cache
def really(size: int) -> Dataset[Photographs]:
    return load("pets", size=size)


@real
@pytest.mark.parametrize("size", [48, 96])
def test_the_real_photographs_have_their_known_content(size: int) -> None:
    dataset = really(size)
    assert (len(dataset.train), len(dataset.test)) == (3680, 3669)
    assert not set(dataset.train.names) & set(dataset.test.names)
    fractions = {"train": (0.5852, 0.3009, 0.1140), "test": (0.5758, 0.3010, 0.1232)}
    within = 5e-5 if size == 96 else 2e-3  # halving takes every fourth label
    for split, photographs in (("train", dataset.train), ("test", dataset.test)):
        assert photographs.pixels.shape[1:] == (size, size, 3)
        assert len({name.rpartition("_")[0] for name in photographs.names}) == 37
        got = np.bincount(photographs.trimaps.ravel(), minlength=3) / photographs.trimaps.size
        np.testing.assert_allclose(got, fractions[split], atol=within, err_msg=str(CLASSES))
        empty = [name for name, t in zip(photographs.names, photographs.trimaps, strict=True) if not t.any()]
        assert sorted(empty) == sorted(EMPTY[split].split())


@real
def test_the_real_sample_of_384_is_of_the_test_photographs() -> None:
    dataset = load("pets", size=384)
    if len(dataset.test) == 64:
        assert set(dataset.test.names) <= set(really(96).test.names)
        got = np.bincount(dataset.test.trimaps.ravel(), minlength=3) / dataset.test.trimaps.size
        np.testing.assert_allclose(got, (0.5884, 0.2822, 0.1295), atol=5e-5)
