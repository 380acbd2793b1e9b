"""Damaged, crafted or misnamed files: each raises InvalidInput with its name, or changes nothing."""

from __future__ import annotations

import gzip
import io
import resource
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from folders import Files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from refca.data.idx import read_idx
from refca.data.inputs import pages
from refca.data.own import found_at
from refca.data.pets_archives import read_archives
from refca.data.pictures import FORMATS, MOST_PIXELS, opened, rgb
from refca.definition.errors import LONGEST, InvalidInput
from refca.npz import open_npz

SIZE = 8
NAMES = {"trainval": ("a_1", "a_2", "b_1"), "test": ("c_1",)}
QUICK = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)


def encoded(pixels: np.ndarray, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def photograph(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)


def pets() -> tuple[Files, Files]:
    """The files of images.tar.gz and of annotations.tar.gz: four photographs."""
    names = [name for split in NAMES.values() for name in split]
    images = {f"images/{name}.jpg": encoded(photograph(i), "JPEG") for i, name in enumerate(names)}
    trimap = encoded(np.random.default_rng(9).integers(1, 4, (12, 10), np.uint8))
    annotations = {f"annotations/trimaps/{name}.png": trimap for name in names}
    for split, names_of in NAMES.items():
        annotations[f"annotations/{split}.txt"] = "".join(f"{name} 1 1 1\n" for name in names_of).encode()
    return images, annotations


def tar_gz(files: Files) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return file.getvalue()


def put(folder: Path, images: bytes | None = None, annotations: bytes | None = None) -> tuple[Path, Path]:
    """The two archives in a folder, whole unless given."""
    paths = folder / "images.tar.gz", folder / "annotations.tar.gz"
    for path, content, whole in zip(paths, (images, annotations), pets(), strict=True):
        path.write_bytes(tar_gz(whole) if content is None else content)
    return paths


def fingerprints(images: Path, annotations: Path) -> dict[str, str]:
    return {split: x.fingerprint() for split, x in read_archives(images, annotations, SIZE).items()}


def unless_refused(read: Callable[[], Any], name: str) -> Any:
    """Return the result of `read`, or None if it raises InvalidInput with this name in the message."""
    try:
        return read()
    except InvalidInput as error:
        said = str(error)
    assert name in said
    return None


# archives of photographs


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.booleans())
@QUICK
def test_a_turned_bit_in_an_archive_is_noticed(tmp_path: Path, place: float, bit: int, which: bool) -> None:
    whole = fingerprints(*put(tmp_path))
    content = bytearray(tar_gz(pets()[which]))
    content[int(place * len(content))] ^= 1 << bit
    paths = put(tmp_path, **{("annotations" if which else "images"): bytes(content)})
    assert unless_refused(lambda: fingerprints(*paths), str(tmp_path)) in (None, whole)


@pytest.mark.parametrize(
    ("archive", "file", "content", "message"),
    [
        ("annotations", "annotations/test.txt", b"c_1 1\na_1 1\n", "names 1 photographs in both lists, such as a_1"),
        ("annotations", "annotations/test.txt", b"c_1 1\nc_1 1\n", "names a photograph twice in annotations/test"),
        ("images", "images/b_1.jpg", encoded(photograph(0)[:6], "JPEG"), "10x6 pixels and its trimap 10x12"),
        (
            "images",
            "images/b_1.jpg",
            encoded(np.full((12, 10), 70_000, np.int32), "TIFF"),
            "pixels from 70000 to 70000; gray pictures of 16 bits go from 0 to 65535",
        ),
        ("images", "images/b_1.jpg", encoded(np.ones((12, 10), np.float32), "TIFF"), "has floating-point pixels"),
    ],
)
def test_photographs_that_do_not_fit_are_refused(
    tmp_path: Path, archive: str, file: str, content: bytes, message: str
) -> None:
    files = dict(zip(("images", "annotations"), pets(), strict=True))
    files[archive][file] = content
    with pytest.raises(InvalidInput, match=message):
        read_archives(*put(tmp_path, **{archive: tar_gz(files[archive])}), SIZE)


def test_sixteen_bit_gray_is_scaled_and_transparency_is_white() -> None:
    gray = np.array([[0, 257, 32_896, 65_535]], np.uint16)
    for content in (encoded(gray), encoded(gray.astype(np.int32), "TIFF")):
        assert np.asarray(rgb(opened(content, "gray"), "gray"))[0, :, 0].tolist() == [0, 1, 128, 255]
    clear = np.array([[[9, 9, 9, 0], [9, 9, 9, 255]]], np.uint8)
    assert np.asarray(rgb(opened(encoded(clear), "clear"), "clear")).tolist() == [[[255] * 3, [9] * 3]]


@pytest.mark.parametrize("top", ["oxford-iiit-pet/", "./", "a/b/"])
def test_archives_with_folders_on_top_and_unpacked_ones_read_the_same(tmp_path: Path, top: str) -> None:
    whole, (images, annotations) = fingerprints(*put(tmp_path)), pets()
    lists = {name: b"\xef\xbb\xbf" + content for name, content in annotations.items() if name.endswith(".txt")}
    on_top = [tar_gz({top + name: x for name, x in files.items()}) for files in (images, annotations | lists)]
    assert fingerprints(*put(tmp_path, *on_top)) == whole
    for name, content in (images | annotations | lists).items():
        (tmp_path / top / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / top / name).write_bytes(content)
    assert fingerprints(tmp_path / top / "images", tmp_path / top / "annotations") == whole


# files that are small and claim to be large


def peak() -> int:
    """The most memory that this process has used, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def sparse_member() -> bytes:
    """An archive with a file of 6 GB in half a kilobyte, in GNU's sparse format."""
    member = tarfile.TarInfo("images/b_1.jpg")
    member.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[386:398], header[398:410], header[483:495] = b"00000000000\0", b"00000000000\0", b"54000000000\0"
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    return gzip.compress(bytes(header) + bytes(1024))


def huge_metadata() -> bytes:
    """An archive whose first header claims 2 GB of metadata, which are there: zeros."""
    member = tarfile.TarInfo("././@PaxHeader")
    member.type, member.size = tarfile.XHDTYPE, 2**31
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as zipped:
        zipped.write(member.tobuf())
        for _ in range(64):
            zipped.write(bytes(2**20))
    return file.getvalue()


def huge_member() -> bytes:
    """An archive with a file that nobody asks for and that claims a terabyte: skipping it would take hours."""
    member = tarfile.TarInfo("images/notes.txt")
    member.size = 2**40
    return gzip.compress(member.tobuf(tarfile.GNU_FORMAT) + bytes(1024))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (sparse_member(), "claims [0-9,]+ bytes; 33,554,432 are allowed|damaged"),
        (huge_metadata(), "bytes of metadata"),
        (huge_member(), "claims a file of 1,099,511,627,776 bytes"),
    ],
    ids=["sparse", "metadata", "a file that is skipped"],
)
def test_an_archive_that_claims_gigabytes_is_refused_before_they_are_read(
    tmp_path: Path, content: bytes, message: str
) -> None:
    before = peak()
    with pytest.raises(InvalidInput, match=message):
        read_archives(*put(tmp_path, images=content), SIZE)
    assert peak() - before < 200e6


def npz_of_zeros(path: Path, name: str, shape: tuple[int, ...]) -> None:
    """An .npz file with one array of zeros, written without having it in memory."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": shape})
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as file,
    ):
        file.write(head.getvalue())
        for _ in range(int(np.prod(shape)) // 2**20):
            file.write(bytes(2**20))


def test_an_array_that_is_not_asked_for_is_not_read_and_one_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    npz_of_zeros(tmp_path / "large.npz", "zeros", (128, 2**20))
    before = peak()
    with open_npz(tmp_path / "large.npz") as file:
        assert file.declared["zeros"].shape == (128, 2**20)
        with pytest.raises(InvalidInput, match=r"zeros claims to hold 134,217,728 bytes in [0-9,]+ bytes"):
            file.read("zeros")
    assert peak() - before < 100e6


def test_data_of_ones_own_is_read_without_arrays_that_are_not_part_of_it(tmp_path: Path) -> None:
    npz_of_zeros(tmp_path / "own.npz", "something", (128, 2**20))
    with zipfile.ZipFile(tmp_path / "own.npz", "a") as archive:
        for name, x in (("images", np.stack([photograph(i)[:8, :8] for i in range(8)])), ("labels", np.arange(8) % 2)):
            content = io.BytesIO()
            np.save(content, x)
            archive.writestr(f"{name}.npy", content.getvalue())
    before = peak()
    assert found_at(str(tmp_path / "own.npz"), {}).settings["labels"] == 2
    assert peak() - before < 100e6


def test_an_idx_file_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    head = b"\0\0\x08\x03" + np.array([2**11, 2**10, 2**10], ">u4").tobytes()
    (tmp_path / "idx").write_bytes(gzip.compress(head + bytes(2**20)))
    before = peak()
    with pytest.raises(InvalidInput, match="claims to hold 2,147,483,648 bytes"):
        read_idx(tmp_path / "idx", 3)
    small = b"\0\0\x08\x01" + np.array([5], ">u4").tobytes()
    (tmp_path / "idx").write_bytes(gzip.compress(small + bytes(2**28), 1))
    with pytest.raises(InvalidInput, match="5 bytes are announced and more than 5 are there"):
        read_idx(tmp_path / "idx", 1)
    assert peak() - before < 500e6  # the test itself makes 256 MB of zeros


# pictures


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    side = int((MOST_PIXELS * 1.5) ** 0.5)
    content = encoded(np.zeros((side, side), np.uint8))
    before = peak()
    with pytest.raises(InvalidInput, match=f"large has {side}x{side} pixels; pictures may have 50,000,000"):
        opened(content, "large")
    assert peak() - before < 40e6


def test_postscript_under_another_name_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    monkeypatch.setattr(subprocess, "check_call", lambda *given, **options: pytest.fail("a program was started"))
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(InvalidInput, match=r"photo\.jpg is not a picture in one of the formats JPEG"):
        opened(postscript, "photo.jpg")


def test_a_later_page_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    pages_of = [Image.fromarray(photograph(i)) for i in range(2)]
    pages_of[0].save(tmp_path / "two.tif", save_all=True, append_images=pages_of[1:])
    content = bytearray((tmp_path / "two.tif").read_bytes())
    second = int.from_bytes(content[4:8], "little")
    second = int.from_bytes(content[second + 2 + 12 * content[second] :][:4], "little")  # the directory that follows
    for i in range(content[second]):
        entry = second + 2 + 12 * i
        if int.from_bytes(content[entry : entry + 2], "little") in (256, 257):  # width and height
            content[entry + 2 : entry + 12] = b"\x04\0" + b"\1\0\0\0" + (60_000).to_bytes(4, "little")
    (tmp_path / "two.tif").write_bytes(content)
    before = peak()
    with pytest.raises(InvalidInput, match=r"two\.tif has 60000x60000 pixels; pictures may have 50,000,000"):
        list(pages(tmp_path / "two.tif"))
    assert peak() - before < 40e6


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@QUICK
def test_a_turned_bit_in_a_png_is_noticed(place: float, bit: int) -> None:
    whole = encoded(photograph(2))
    content = bytearray(whole)
    content[int(place * len(content))] ^= 1 << bit
    picture = unless_refused(lambda: opened(bytes(content), "this"), "this")
    assert picture is None or np.array_equal(np.asarray(picture), photograph(2))


@pytest.mark.parametrize("kind", [*FORMATS, "DDS", "BLP", "TGA", "ICO", "SGI", "PCX"])
@given(data=st.data())
@QUICK
def test_a_damaged_picture_of_any_kind_is_decoded_or_refused(kind: str, data: st.DataObject) -> None:
    image = Image.fromarray(photograph(3))
    file = io.BytesIO()
    (image.quantize(16) if kind == "BLP" else image).save(file, kind)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    picture = unless_refused(lambda: rgb(opened(cut, "this"), "this"), "this")
    assert picture is None or np.asarray(picture).shape[2] == 3


# arrays


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@QUICK
def test_a_turned_bit_in_an_npz_file_is_noticed(tmp_path: Path, place: float, bit: int) -> None:
    path = tmp_path / "some.npz"
    arrays: dict[str, np.ndarray] = {"a": np.arange(40, dtype=np.float32).reshape(5, 8), "b": np.arange(3)}
    np.savez_compressed(path, allow_pickle=False, **arrays)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    path.write_bytes(content)

    def read() -> dict[str, bytes]:
        with open_npz(path) as file:
            return {name: file.read(name).tobytes() for name in file.declared.keys() & arrays.keys()}

    for name, content_read in (unless_refused(read, str(path)) or {}).items():
        assert content_read == arrays[name].tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"nothing",
        b"\x93NUMPY\x01\x00\x05\x00{'a':",
        b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 5000,
        b"\x93NUMPY\x09\x00\x05\x00{'a':",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(9000),
        b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (3,), }".ljust(64),
        b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-3,), }".ljust(64),
        b"\x93NUMPY\x01\x00\x50\x00" + b"{'descr': '<f4', 'fortran_order': 0, 'shape': (2**70,), }".ljust(80),
        b"\x93NUMPY\x01\x00\x50\x00"
        + b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }".ljust(80),
        b"\x93NUMPY\x01\x00\x40\x00" + b"{'descr': 'what', 'fortran_order': False, 'shape': (3,), }".ljust(64),
    ],
)
def test_a_member_that_is_no_array_is_refused(tmp_path: Path, content: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "some.npz", "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(InvalidInput, match=r"some\.npz"), open_npz(tmp_path / "some.npz") as file:
        file.read("a")


# messages


def test_a_message_is_one_short_line_whatever_is_in_it() -> None:
    name = "\x1b[31mred\nor \u202ereversed\udcff" + "x" * 200_000
    message = str(InvalidInput(f"{name} is not a setting; remedy"))
    assert message.isprintable()
    assert len(message) < LONGEST + 100
    assert message.startswith(r"\x1b[31mred\nor \u202ereversed\udcff")
    assert message.endswith("is not a setting; remedy")
    assert len(str(InvalidInput("\0" * 900))) <= LONGEST  # escapes are longer than what they stand for
