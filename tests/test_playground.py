"""The playground: server, exported file, and the page in a browser, used as a person would.

The tests in a browser need node, Debian's chromium, and `npm ci` in `tests/browser`; `.ci/run` installs them.
"""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from chromium import BROWSER_TESTS, browser, node_test
from exec_client import node
from PIL import Image, ImageDraw
from refca_spec.compare import assert_close, longest_sum

from refca import Streams, init_params, init_state, load_weights
from refca.contract.reference import reference
from refca.playground_page.catalogue import make_catalogue
from refca.playground_page.export import one_file
from refca.playground_page.server import serve
from refca.segmentation.settings import SegmentationExperiment
from refca.training.checkpoint import save_weights
from refca.weights.load import BEST, shipped_names


@pytest.fixture(scope="module")
def photo_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Untrained weights of a segmentation automaton: enough for the page to work."""
    experiment = SegmentationExperiment(depthwise=True)
    rng = np.random.default_rng(0)
    params = {
        name: x + 0.1 * rng.normal(size=x.shape).astype(np.float32)
        for name, x in init_params(experiment.cell, 0).items()
    }
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    save_weights(path, experiment, params, 0)
    return path


@pytest.fixture(scope="module")
def catalogue(photo_weights: Path) -> dict[str, bytes]:
    return make_catalogue([photo_weights])


@pytest.fixture(scope="module")
def address(catalogue: dict[str, bytes]) -> Iterator[str]:
    with serve(catalogue, 0) as (server, address):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield address
        server.shutdown()
        thread.join()


def test_one_shipped_model_of_each_task_is_shown_first() -> None:
    models = json.loads(make_catalogue()["catalogue.json"])["models"]
    first = [model["name"] for model in models if model["preferred"]]
    assert sorted(first) == sorted({"digits-drawn", BEST["pets"]})


def ask(address: str, path: str, host: str | None = None) -> http.client.HTTPResponse:
    server = address.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(server, timeout=10)
    connection.request("GET", path, headers={"Host": host or server})
    response = connection.getresponse()
    response.content = response.read()  # type: ignore[attr-defined]
    connection.close()
    return response


def test_serves_the_page_and_every_model_with_a_security_policy(address: str) -> None:
    page = ask(address, "/")
    assert page.status == 200
    policy = page.getheader("Content-Security-Policy") or ""
    assert "default-src 'none'" in policy
    assert "http" not in policy
    listed = json.loads(ask(address, "/catalogue.json").content)["models"]  # type: ignore[attr-defined]
    assert {model["name"] for model in listed} >= set(shipped_names())
    for model in listed:
        assert ask(address, "/" + model["file"]).status == 200
        assert model["summary"]


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/server.py", "/engine/exec.mjs", "//etc/passwd", "/none"])
def test_serves_nothing_else(address: str, path: str) -> None:
    assert ask(address, path).status == 404


def test_an_address_that_is_none_is_refused_and_a_page_that_is_left_is_no_error(
    address: str, capfd: pytest.CaptureFixture[str]
) -> None:
    host, _, port = address.removeprefix("http://").rstrip("/").partition(":")
    for request in (b"GET http://[ HTTP/1.0", *20 * [b"GET /samples/digits.json HTTP/1.0"]):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends with a reset
            connection.sendall(request + b"\r\nHost: 127.0.0.1\r\n\r\n")
            if b"[" in request:
                assert b" 400 " in connection.recv(100)
    assert ask(address, "/").status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_models_of_ones_own_have_names_without_folders(photo_weights: Path, tmp_path: Path) -> None:
    for folder in ("a/run", "b/run"):
        (tmp_path / folder).mkdir(parents=True)
        shutil.copy(photo_weights, tmp_path / folder / "weights.safetensors")
    page = make_catalogue([tmp_path / "a/run", tmp_path / "b/run/weights.safetensors", photo_weights])
    models = json.loads(page["catalogue.json"])["models"]
    assert [model["name"] for model in models[:3]] == ["run", "run-2", "untrained"]
    (tmp_path / "digits-drawn").mkdir()
    shutil.copy(photo_weights, tmp_path / "digits-drawn" / "weights.safetensors")
    models = json.loads(make_catalogue([tmp_path / "digits-drawn"])["catalogue.json"])["models"]
    names = [model["name"] for model in models]
    assert names[0] == "digits-drawn-2"
    assert "digits-drawn" in names, "the shipped one is still there"


def test_answers_to_no_other_host_name(address: str) -> None:
    assert ask(address, "/", host="evil.example:80").status == 403
    assert ask(address, "/", host="evil.example").status == 403
    assert ask(address, "/", host="127.0.0.1").status == 200, "browsers leave out the port 80"


def test_listens_on_the_loopback_address_alone(address: str) -> None:
    assert address.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--port", "70000"], "--port must be from 0 to 65535, got 70000"),
        (["--weights", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments: list[str], sentence: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "refca.playground", "--no-browser", *arguments], capture_output=True, text=True
    )
    assert run.returncode == 2
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_a_port_in_use_is_one_sentence(address: str) -> None:
    port = address.rstrip("/").rpartition(":")[2]
    command = [sys.executable, "-m", "refca.playground", "--no-browser", "--port", port]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert f"--port {port} cannot be used" in run.stderr


def test_every_model_is_in_the_exported_file_and_nothing_is_asked_for(catalogue: dict[str, bytes]) -> None:
    html = one_file(catalogue)
    assert "http-equiv" in html
    assert 'src="main.js"' not in html
    for name in shipped_names():
        assert name.encode() in catalogue["catalogue.json"]
    for file in ("weights/0.safetensors", "samples/digits.json", "catalogue.json"):
        assert f'"{file}"' in html


def photographed_digit(path: Path) -> None:
    """A thin, dark 3 on uneven yellow paper with a grid line at the edge, off centre."""
    side = 200
    y, x = np.mgrid[:side, :side]
    light = 235 - 0.35 * x - 0.15 * y
    picture = Image.fromarray(np.stack([light, light, 0.8 * light], -1).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.line((4, 0, 4, side), fill=(60, 60, 60), width=3)
    draw.line([(60, 60), (95, 45), (120, 60), (118, 85), (85, 100)], fill=(50, 50, 90), width=5, joint="curve")
    draw.line([(85, 100), (122, 110), (128, 140), (100, 160), (62, 150)], fill=(50, 50, 90), width=5, joint="curve")
    picture.save(path)


def test_parts_of_the_page_without_a_browser() -> None:
    site = files("refca.playground_page") / "site"
    run = subprocess.run(
        [node(), "--test", str(BROWSER_TESTS.parent / "page_parts.test.mjs")],
        env=os.environ | {"REFCA_SITE": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_digits_page_in_a_browser(address: str, tmp_path: Path) -> None:
    photographed_digit(tmp_path / "photographed_3.png")
    node_test("digits.test.mjs", REFCA_URL=address, REFCA_OUT=str(tmp_path))
    with Image.open(tmp_path / "cells.gif") as film:
        assert film.format == "GIF"
        assert film.n_frames > 5  # type: ignore[attr-defined]
        assert film.size == (336, 336)
        for frame in range(film.n_frames):  # type: ignore[attr-defined]
            film.seek(frame)
            film.load()
        colours = film.convert("RGB").getcolors()
        assert colours is not None
        assert len(colours) > 2
    with Image.open(tmp_path / "drawing.png") as drawing:
        assert drawing.size == (28, 28)


def test_the_photographs_page_in_a_browser(address: str, photo_weights: Path) -> None:
    node_test("photographs.test.mjs", REFCA_URL=address, REFCA_MODEL=str(photo_weights))


def test_the_exported_file_works_without_a_server(photo_weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "new folder" / "playground.html"
    command = [sys.executable, "-m", "refca.playground", "--weights", str(photo_weights), "--export", str(file)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    assert f"{file} written" in run.stdout
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    node_test("export.test.mjs", REFCA_FILE=file.as_uri())


def test_the_page_computes_the_states_of_the_reference(address: str, tmp_path: Path) -> None:
    browser()
    rng = np.random.default_rng(1)
    requests = []
    for name in shipped_names():
        weights = load_weights(name)
        if weights.experiment is None or weights.experiment.task != "digits":
            continue
        image = (rng.integers(0, 256, (28, 28)) * (rng.random((28, 28)) < 0.4)).astype(np.float32) / 255
        requests.append(
            {"model": name, "seed": str(2**40 + 7), "image": image.ravel().tolist(), "side": 28, "steps": 5}
        )
    (tmp_path / "requests.json").write_text(json.dumps(requests))
    command = [node(), str(BROWSER_TESTS / "states.mjs"), address]
    subprocess.run([*command, str(tmp_path / "requests.json"), str(tmp_path / "answers.json")], check=True, timeout=600)
    for request, answer in zip(requests, json.loads((tmp_path / "answers.json").read_text()), strict=True):
        weights = load_weights(str(request["model"]))
        assert weights.experiment is not None
        cell = weights.experiment.cell
        params = {key: x.astype(np.float64) for key, x in weights.params.items()}
        image = np.array(request["image"], np.float32).reshape(1, 28, 28, 1).astype(np.float64)
        state = init_state(cell, image)
        expected = reference.evolve(cell, params, image, state, Streams(2**40 + 7), 5)
        got = np.array(answer["state"], np.float32).reshape(expected.shape)
        assert_close(got, expected, longest_sum(cell), "state", request["model"], steps=5)
