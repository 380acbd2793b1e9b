"""Data sets of digits: contents, search paths, and messages for missing files."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from folders import everything, md5s, write
from server import Server, serving

from refca.data import Dataset, Split, load
from refca.data.idx import read_idx
from refca.data.mnist import MD5, mnist
from refca.data.optdigits import enlarged, with_optdigits
from refca.errors import InvalidInput

NAMES = tuple(MD5)
real = pytest.mark.skipif(
    "REFCA_DATA" not in os.environ, reason="the original MNIST is looked for only if REFCA_DATA is set"
)


def idx(array: np.ndarray) -> bytes:
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, 8, array.ndim]) + sizes + array.astype(np.uint8).tobytes()


def small_files() -> dict[str, bytes]:
    """Five training and three test digits of 4×4, in four files named as MNIST's."""
    rng = np.random.default_rng(0)
    return {
        name: gzip.compress(idx(rng.integers(0, 256, (n, 4, 4)) if "images" in name else np.arange(n)), mtime=0)
        for name, n in zip(NAMES, (5, 5, 3, 3), strict=True)
    }


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(small_files()) as server:
        yield server


# what a split gives


def test_images_are_pixels_over_white_in_float32() -> None:
    pixels = np.array([[[0, 16]], [[4, 8]]], np.uint8)
    images = Split(pixels, np.array([3, 5]), 16).images([1, 0, 1])
    assert images.dtype == np.float32
    assert images.shape == (3, 1, 2, 1)
    assert images[..., 0].tolist() == [[[0.25, 0.5]], [[0, 1]], [[0.25, 0.5]]]


def test_images_takes_slices_none_at_all_and_refuses_beyond_the_end() -> None:
    split = Split(np.zeros((4, 2, 3), np.uint8), np.zeros(4, np.int64), 255)
    assert len(split) == 4
    assert split.images(slice(1, 3)).shape == (2, 2, 3, 1)
    assert split.images([]).shape == (0, 2, 3, 1)
    with pytest.raises(IndexError):
        split.images([4])


def test_a_pixel_of_26_is_alive_and_one_of_25_is_not() -> None:
    images = Split(np.array([[[25, 26]]], np.uint8), np.array([0]), 255).images([0])
    assert (images[0, 0, :, 0] > np.float32(0.1)).tolist() == [False, True]


def test_an_unknown_name_is_refused_with_those_known() -> None:
    with pytest.raises(InvalidInput, match='unknown dataset "minst"; known are mnist, optdigits, optdigits-28'):
        load("minst")


# optdigits


def test_optdigits_are_in_their_order_with_the_last_297_held_out() -> None:
    from sklearn.datasets import load_digits

    digits = load("optdigits")
    assert (digits.name, digits.train.white, len(digits.train), len(digits.test)) == (
        "optdigits",
        16,
        1500,
        297,
    )
    together = np.concatenate([digits.train.pixels, digits.test.pixels])
    assert together.dtype == np.uint8
    np.testing.assert_array_equal(together, load_digits().images)
    np.testing.assert_array_equal(np.concatenate([digits.train.labels, digits.test.labels]), load_digits().target)
    assert digits.test.labels.dtype == np.int64
    assert digits.train.images([0]).max() <= 1


def test_enlarged_optdigits_fill_mnists_box_and_are_centred() -> None:
    test = load("optdigits-28").test
    assert test.pixels.dtype == np.uint8
    assert (test.pixels.shape, test.white) == ((297, 28, 28), 255)
    np.testing.assert_array_equal(test.labels, load("optdigits").test.labels)
    ink = test.pixels.astype(float)
    for axis in (1, 2):
        line = ink.sum(axis=3 - axis)  # (297, 28)
        centre = (line * np.arange(28)).sum(axis=1) / line.sum(axis=1)
        assert np.abs(centre - 13.5).max() <= 0.5 + 1e-9
        extent = [np.ptp(np.flatnonzero(row)) + 1 for row in line]
        assert max(extent) <= 20
    assert 0.15 < (test.pixels >= 26).mean() < 0.25  # 0.174 in MNIST


def test_digits_of_two_sources_are_the_optdigits_each_eight_times_and_then_mnists() -> None:
    ours = Split(np.arange(5 * 28 * 28).reshape(5, 28, 28).astype(np.uint8), np.array([7, 8, 9, 0, 1]), 255)
    test = Split(ours.pixels[:2], ours.labels[:2], 255)
    both, theirs = with_optdigits(Dataset("mnist", ours, test)), load("optdigits-28").train
    assert (both.name, len(both.train), both.train.white) == ("mnist-optdigits", 8 * 1500 + 5, 255)
    assert both.train.pixels.dtype == np.uint8
    for n in (0, 1, 1499, 1500, 11_999):
        np.testing.assert_array_equal(both.train.pixels[n], theirs.pixels[n % 1500])
        assert both.train.labels[n] == theirs.labels[n % 1500]
    np.testing.assert_array_equal(both.train.pixels[12_000:], ours.pixels)
    np.testing.assert_array_equal(both.train.labels[12_000:], ours.labels)
    assert both.test is test


def test_enlarging_keeps_blank_paper_blank_and_solid_ink_solid() -> None:
    pixels = np.stack([np.zeros((8, 8), np.uint8), np.full((8, 8), 16, np.uint8)])
    blank, solid = enlarged(Split(pixels, np.array([0, 1]), 16)).pixels
    assert not blank.any()
    assert (solid == 255).sum() == 400
    assert (solid[4:24, 4:24] == 255).all()


# IDX files


def test_idx_files_are_read_gzipped_or_not(tmp_path: Path) -> None:
    array = np.arange(24).reshape(2, 3, 4)
    for name, content in (("plain", idx(array)), ("zipped", gzip.compress(idx(array), mtime=0))):
        (tmp_path / name).write_bytes(content)
        read = read_idx(tmp_path / name, 3)
        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, array)


GOOD = idx(np.zeros((2, 3, 4)))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file"),
        (b"\0\0", "not an IDX file"),
        (b"<html>not found</html>", "not an IDX file"),
        (b"\0\0\x0d\x03" + GOOD[4:], "IDX type 0x0d"),
        (idx(np.zeros(5)), "has 1 dimensions; needed are 3"),
        (GOOD[:9], "is damaged: it ends within its header"),
        (GOOD[:-1], "is damaged: 2x3x4 bytes are announced and 23 are there"),
        (GOOD + b"!", "is damaged: 2x3x4 bytes are announced and more than 24 are there"),
        (gzip.compress(GOOD, mtime=0)[:-9], "is damaged: it cannot be unzipped"),
        (gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "is damaged: it cannot be unzipped"),
        (b"\x1f\x8bgarbage and more garbage", "is damaged: it cannot be unzipped"),
        (gzip.compress(GOOD, mtime=0)[:12] + b"\xff" * 40, "is damaged: it cannot be unzipped|is not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "some-file"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message) as refusal:
        read_idx(path, 3)
    assert str(refusal.value).startswith(str(path))


def test_every_way_to_cut_an_idx_file_short_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for whole in (GOOD, gzip.compress(GOOD, mtime=0)):
        for length in range(len(whole)):
            path.write_bytes(whole[:length])
            with pytest.raises(InvalidInput):
                read_idx(path, 3)


def test_an_idx_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_idx(tmp_path, 3)


# MNIST from a folder


@pytest.mark.parametrize("below", ["", "mnist"])
def test_mnist_is_found_in_the_folder_or_its_mnist(tmp_path: Path, below: str) -> None:
    write(tmp_path / below, small_files())
    digits = load("mnist", tmp_path)
    assert (digits.name, digits.train.white) == ("mnist", 255)
    assert digits.train.pixels.shape == (5, 4, 4)
    assert digits.test.labels.tolist() == [0, 1, 2]
    assert digits.test.labels.dtype == np.int64


def test_mnist_is_found_unzipped_and_through_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name.removesuffix(".gz"): gzip.decompress(zipped) for name, zipped in small_files().items()}
    monkeypatch.setenv("REFCA_DATA", str(write(tmp_path, files)))
    assert len(load("mnist").train) == 5


def as_idx3(name: str) -> str:
    return name.replace("-idx", ".idx").removesuffix(".gz")


LAYOUTS: dict[str, Callable[[str, bytes], tuple[str, bytes]]] = {
    "dots in the names": lambda name, zipped: (as_idx3(name), gzip.decompress(zipped)),
    "dots, gzipped": lambda name, zipped: (f"{as_idx3(name)}.gz", zipped),
    "torchvision's folders": lambda name, zipped: (f"MNIST/raw/{name.removesuffix('.gz')}", gzip.decompress(zipped)),
    "a folder of the file's name": lambda name, zipped: (f"{as_idx3(name)}/{as_idx3(name)}", gzip.decompress(zipped)),
    "zipped twice": lambda name, zipped: (name, gzip.compress(zipped)),
    "zipped twice, and called so": lambda name, zipped: (f"{name}.gz", gzip.compress(zipped)),
    "zipped without the suffix": lambda name, zipped: (name.removesuffix(".gz"), zipped),
    "unzipped with the suffix": lambda name, zipped: (name, gzip.decompress(zipped)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_mnist_is_found_as_other_programs_and_people_have_it(layout: str, tmp_path: Path) -> None:
    expected = mnist(write(tmp_path / "plain", small_files()))
    files = dict(LAYOUTS[layout](name, zipped) for name, zipped in small_files().items())
    for name, content in files.items():
        (tmp_path / "theirs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "theirs" / name).write_bytes(content)
    found = mnist(tmp_path / "theirs")
    assert found.train.fingerprint() == expected.train.fingerprint()
    assert found.test.fingerprint() == expected.test.fingerprint()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "it is a web page that was saved under this name"),
        (b"\xef\xbb\xbf\r\n <html>", "it is a web page"),
        (b"PK\x03\x04" + bytes(40), "it is a zip archive; unpack it"),
        (gzip.compress(gzip.compress(gzip.compress(b"\0\0\x08\x03"))), "it is gzipped more than twice; unpack it"),
        (b"", r"it begins with the bytes \(none\)"),
    ],
    ids=["web page", "web page with a mark", "zip", "gzipped three times", "empty"],
)
def test_a_file_that_is_no_mnist_is_named_for_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    write(tmp_path, small_files() | {NAMES[0]: content})
    with pytest.raises(InvalidInput, match=f"{NAMES[0]} is not an IDX file: {words}"):
        mnist(tmp_path)


def test_a_zip_archive_in_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "archive.zip").write_bytes(b"PK")
    with pytest.raises(InvalidInput, match=r"unpack archive\.zip there"):
        mnist(tmp_path)


def test_an_absent_file_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    write(tmp_path, small_files())
    (tmp_path / NAMES[2]).unlink()
    with pytest.raises(InvalidInput) as refusal:
        load("mnist", tmp_path)
    message = str(refusal.value)
    assert NAMES[2] in message
    assert NAMES[0] not in message
    assert f"neither in {tmp_path} nor in its folders mnist, MNIST, MNIST/raw" in message


def test_a_named_folder_is_never_filled_by_a_download(tmp_path: Path, server: Server) -> None:
    with pytest.raises(InvalidInput, match="neither in"):
        mnist(tmp_path / "absent", base_url=server.url, md5=md5s(server.files))
    assert server.asked == []
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (NAMES[1], np.zeros(4), "5 images and .* 4 labels"),
        (NAMES[1], np.full(5, 10), "the label 10"),
        (NAMES[2], np.zeros((3, 5, 4)), "not of one dataset"),
        (NAMES[2], np.zeros((3, 4)), "has 2 dimensions"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, name: str, array: np.ndarray, message: str) -> None:
    write(tmp_path, small_files() | {name: gzip.compress(idx(array), mtime=0)})
    with pytest.raises(InvalidInput, match=message) as refusal:
        load("mnist", tmp_path)
    assert name in str(refusal.value)


def test_empty_files_are_refused(tmp_path: Path) -> None:
    empty = {name: idx(np.zeros((0, 4, 4) if "images" in name else 0)) for name in NAMES}
    with pytest.raises(InvalidInput, match="holds no images"):
        load("mnist", write(tmp_path, empty))


# MNIST from a server


def test_a_download_fills_the_cache_once(tmp_path: Path, server: Server) -> None:
    for _ in range(2):
        digits = mnist(None, base_url=server.url, md5=md5s(server.files), cache=tmp_path)
        assert len(digits.train) == 5
    assert server.asked == list(NAMES)
    assert everything(tmp_path) == sorted(NAMES)


def test_several_at_once_download_once(tmp_path: Path, server: Server) -> None:
    def load_it(_: int) -> int:
        return len(mnist(None, base_url=server.url, md5=md5s(server.files), cache=tmp_path).train)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(load_it, range(4))) == [5] * 4
    assert sorted(server.asked) == sorted(NAMES)


def test_only_what_is_missing_is_downloaded(tmp_path: Path, server: Server) -> None:
    write(tmp_path / "mnist", {name: server.files[name] for name in NAMES[:3]})
    mnist(None, base_url=server.url, md5=md5s(server.files), cache=tmp_path)
    assert server.asked == [NAMES[3]]


def test_content_with_another_hash_is_refused_and_not_kept(tmp_path: Path, server: Server) -> None:
    expected = md5s(server.files)
    server.files[NAMES[1]] += b"!"
    with pytest.raises(InvalidInput, match="its content is not the original file's") as refusal:
        mnist(None, base_url=server.url, md5=expected, cache=tmp_path)
    assert server.url + NAMES[1] in str(refusal.value)
    assert "--data or REFCA_DATA" in str(refusal.value)
    assert everything(tmp_path) == [NAMES[0]]


def test_a_file_that_the_server_lacks_is_refused(tmp_path: Path, server: Server) -> None:
    expected = md5s(server.files)
    del server.files[NAMES[0]]
    with pytest.raises(InvalidInput, match="could not be downloaded: 404"):
        mnist(None, base_url=server.url, md5=expected, cache=tmp_path)
    assert everything(tmp_path) == []


def test_a_connection_that_breaks_off_leaves_nothing_and_the_next_try_works(tmp_path: Path, server: Server) -> None:
    server.cut.add(NAMES[2])
    with pytest.raises(InvalidInput, match="could not be downloaded") as refusal:
        mnist(None, base_url=server.url, md5=md5s(server.files), cache=tmp_path)
    assert "\n" not in str(refusal.value)
    assert everything(tmp_path) == sorted(NAMES[:2])
    server.cut.clear()
    assert len(mnist(None, base_url=server.url, md5=md5s(server.files), cache=tmp_path).test) == 3


def test_no_server_at_all_is_refused(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as http:
        port = http.server_port  # free again once closed
    with pytest.raises(InvalidInput, match=r"could not be downloaded: .*refused"):
        mnist(None, base_url=f"http://127.0.0.1:{port}/", cache=tmp_path)
    assert everything(tmp_path) == []


# the original files


@real
def test_the_original_files_have_their_known_content(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = load("mnist")
    assert digits.train.pixels.shape == (60000, 28, 28)
    assert digits.test.pixels.shape == (10000, 28, 28)
    assert digits.train.labels[:8].tolist() == [5, 0, 4, 1, 9, 2, 1, 3]
    assert digits.test.labels[:8].tolist() == [7, 2, 1, 0, 4, 1, 4, 9]
    assert round((digits.train.pixels >= 26).mean(), 3) == 0.174
    md5 = hashlib.md5(idx(digits.test.pixels)).hexdigest()
    assert md5 == "2646ac647ad5339dbf082846283269ea"
