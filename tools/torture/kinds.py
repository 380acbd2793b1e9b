"""Every kind of file that refca reads: a whole one, what reads it, and a program that does."""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save

from refca import predict, train
from refca.contract.exec_backend import ExecBackend
from refca.data.inputs import is_film, open_film, pages
from refca.data.mnist import mnist
from refca.data.own import find, found_at
from refca.data.own.find import load_own
from refca.data.own.settings import OwnSettings
from refca.data.pets import pets
from refca.data.pets_pack import write_pack
from refca.data.photographs import Photographs
from refca.definition.params import init_params
from refca.definition.randomness import Streams
from refca.digits.cell import digits_cell
from refca.digits.curves_csv import read_line
from refca.digits.evaluation import CURVES
from refca.segmentation.curves_csv import read_curves
from refca.tasks import load_experiment, lookup
from refca.training.checkpoint import load_checkpoint
from refca.training.metrics_log import MetricsFile, marked_part
from refca.weights.load import load_weights
from torture import crafted
from torture.crafted import Craft, gzipped

Program = Callable[[list[str]], int]
RNG = np.random.default_rng(5)
FEW = ["--steps", "1", "--batch", "4", "--unroll", "2"]
DIGITS = [*FEW, "--pool", "8", "--state", "13", "--hidden", "8"]
PICTURES = [*FEW, "--horizon", "4", "--state", "6", "--hidden", "8"]
EVOLVED = (1, 28, 28, 19)  # the state in the answer of a program


@dataclass(frozen=True)
class Kind:
    """A kind of file. `make` writes a whole one, with what belongs to it, into a folder, and returns its path.

    `checked` says that the format has a checksum of its content, so that other content must not be loaded.
    `command` returns the program that reads such a file, and its arguments.
    """

    name: str
    make: Callable[[Path], Path]
    read: Callable[[Path], Any]
    checked: bool = False
    craft: Craft | None = None
    command: Callable[[Path, Path], tuple[Program, list[str]]] | None = None


def digest(value: Any) -> str:
    """A hash of any content: arrays, dataclasses, and what contains them."""
    content = blake2b(digest_size=16)

    def add(x: Any) -> None:
        if isinstance(x, np.ndarray):
            content.update(f"{x.dtype.str} {x.shape}".encode())
            content.update(np.ascontiguousarray(x).ravel().view(np.uint8).data)
        elif isinstance(x, Mapping):
            for name in sorted(x, key=str):
                content.update(repr(name).encode())
                add(x[name])
        elif is_dataclass(x):
            content.update(type(x).__name__.encode())
            for field in fields(x):
                add(getattr(x, field.name))
        elif isinstance(x, list | tuple):
            content.update(f"{len(x)} of".encode())
            for each in x:
                add(each)
        elif isinstance(x, bytes):
            content.update(x)
        else:
            content.update(repr(x).encode("utf-8", "backslashreplace"))

    add(value)
    return content.hexdigest()


# runs and weights


def copied(files: Mapping[str, bytes], name: str, folder: Path) -> Path:
    """Write the files of a run into a folder; return the path of one of them."""
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder / name


def read_checkpoint(path: Path) -> Any:
    return load_checkpoint(path, lookup)


def read_log(path: Path) -> bytes:
    """The part of a log that its checkpoint describes, as the program takes it up."""
    checkpoint = path.parent / "checkpoint.safetensors"
    experiment, state = load_checkpoint(checkpoint, lookup)
    columns = lookup({"task": experiment.task})[1].training.columns(experiment)
    with MetricsFile(path, state.done, columns, state.log):
        return path.read_bytes()


def read_validation_log(path: Path) -> bytes:
    _, state = load_checkpoint(path.parent / "checkpoint.safetensors", lookup)
    return marked_part(path, state.done, state.validation_log)


def resume(path: Path, out: Path) -> tuple[Program, list[str]]:
    return train.main, ["--out", str(path.parent), "--resume", "--checkpoint-every", "7"]


def begin(path: Path, out: Path) -> tuple[Program, list[str]]:
    return train.main, ["--experiment", str(path), *DIGITS, "--out", str(out)]


def predict_with(path: Path, out: Path) -> tuple[Program, list[str]]:
    picture = path.parent / "seven.png"
    Image.fromarray(pixels(28)[..., 0]).save(picture)
    return predict.main, [str(path), str(picture), "--json", "--no-pictures", "--steps", "2", "--out", str(out)]


def article() -> dict[str, np.ndarray]:
    return init_params(digits_cell(), 3)


def make_npz_weights(folder: Path) -> Path:
    np.savez(folder / "weights.npz", allow_pickle=False, **article())
    return folder / "weights.npz"


def make_published(folder: Path) -> Path:
    """Weights as the article published them."""
    layers = {"perceive": "conv2d", "hidden.0": "conv2d_1", "update": "conv2d_2"}
    kinds = {"weight": "Conv2D", "bias": "BiasAdd"}
    nodes = []
    for name, x in article().items():
        layer, kind = name.rsplit(".", 1)
        shape = (1, 1, *x.shape) if kind == "weight" and x.ndim == 2 else x.shape
        tensor = {
            "dtype": "DT_FLOAT",
            "tensorShape": {"dim": [{"size": str(size)} for size in shape]},
            "tensorContent": base64.b64encode(x.astype("<f4").tobytes()).decode(),
        }
        nodes.append(
            {
                "name": f"sequential_1/{layers[layer]}/{kinds[kind]}/ReadVariableOp/resource",
                "op": "Const",
                "attr": {"value": {"tensor": tensor}},
            }
        )
    (folder / "model.json").write_text(json.dumps({"modelTopology": {"node": nodes}}))
    return folder / "model.json"


def read_weights(path: Path) -> Any:
    weights = load_weights(path)
    return weights.params, weights.experiment, weights.done


# data sets


def pixels(side: int, seed: int = 0) -> np.ndarray:
    """A picture with something in it: a disc on a gradient, (side, side, 3) uint8."""
    y, x = np.mgrid[:side, :side] / side
    disc = (x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.05 + 0.02 * (seed % 5)
    found = np.stack([200 * disc + 40 * x, 255 * disc, 90 + 60 * y * (seed % 3)], axis=-1)
    return found.astype(np.uint8)


def make_idx(folder: Path, damaged: str, end: str = "") -> Path:
    """MNIST's four files with few small digits."""
    for part, count in (("train", 12), ("t10k", 6)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = np.stack([pixels(8, int(label))[..., 1] for label in labels])
        for name, x in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = bytes([0, 0, 8, x.ndim]) + np.array(x.shape, ">u4").tobytes() + x.tobytes()
            (folder / f"{name}{end}").write_bytes(gzip.compress(content, mtime=0) if end else content)
    return folder / f"{damaged}{end}"


def train_on_digits(path: Path, out: Path) -> tuple[Program, list[str]]:
    return train.main, ["--dataset", "mnist", "--data", str(path.parent), *DIGITS, "--out", str(out)]


def encoded(image: np.ndarray, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()


def make_archives(folder: Path, damaged: str) -> Path:
    """The two archives of the pets, with four small photographs."""
    lists = {"trainval": ("a_1", "a_2", "b_1"), "test": ("c_1",)}
    names = [name for split in lists.values() for name in split]
    images = {f"images/{name}.jpg": encoded(pixels(20, i), "JPEG") for i, name in enumerate(names)}
    trimap = np.where(pixels(20)[..., 1] > 0, 1, 2).astype(np.uint8)
    notes = {f"annotations/trimaps/{name}.png": encoded(trimap, "PNG") for name in names}
    for split, listed in lists.items():
        notes[f"annotations/{split}.txt"] = "".join(f"{name} 1 1 1\n" for name in listed).encode()
    for archive, files in (("images.tar.gz", images), ("annotations.tar.gz", notes)):
        with gzip.GzipFile(folder / archive, "wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return folder / damaged


def read_pets(path: Path) -> Any:
    found = pets(path.parent, 48, cache=path.parent / "cache")
    return found.train, found.test


def train_on_pets(path: Path, out: Path) -> tuple[Program, list[str]]:
    flags = ["--experiment", "pets-48-small", "--data", str(path.parent), "--size", "24"]
    return train.main, [*flags, *PICTURES, "--out", str(out)]


def photographs(count: int, first: int) -> Photographs:
    images = np.stack([pixels(96, first + i) for i in range(count)])
    trimaps = (images[..., 1] > 0).astype(np.uint8)
    return Photographs(images, trimaps, tuple(f"cat_{first + i}" for i in range(count)))


def make_pack(folder: Path) -> Path:
    write_pack(folder / "pets_96.npz", {"train": photographs(3, 0), "test": photographs(2, 3)})
    return folder / "pets_96.npz"


def make_cached_pack(folder: Path) -> Path:
    path = folder / "pets" / "pets_96.npz"
    write_pack(path, {"train": photographs(3, 0), "test": photographs(2, 3)}, ("0" * 32, "1" * 32))
    return path


def read_cached_pack(path: Path) -> Any:
    md5 = {"images.tar.gz": "0" * 32, "annotations.tar.gz": "1" * 32}
    found = pets(None, 48, base_url="http://127.0.0.1:9/", md5=md5, cache=path.parent.parent)
    return found.train, found.test


def make_own(folder: Path, masks: bool) -> Path:
    """Arrays of the user's own, with a label for each picture or each pixel."""
    images = np.stack([pixels(8, i) for i in range(12)])
    second = {"masks": (images[..., 1] > 0).astype(np.uint8)} if masks else {"labels": np.arange(12) % 2}
    np.savez_compressed(folder / "own.npz", allow_pickle=False, images=images, **second)
    return folder / "own.npz"


def make_masked(folder: Path, damaged: str) -> Path:
    """Two folders, of pictures and masks, and a list of pairs."""
    rows = ["image,mask,split"]
    for name in ("images", "masks"):
        (folder / name).mkdir(exist_ok=True)
    for i in range(6):
        image = pixels(8, i)
        (folder / f"images/{i}.png").write_bytes(encoded(image, "PNG"))
        (folder / f"masks/{i}.png").write_bytes(encoded((image[..., 1] > 0).astype(np.uint8), "PNG"))
        rows.append(f"images/{i}.png,masks/{i}.png,{'test' if i > 3 else 'train'}")
    if damaged.endswith(".csv"):
        (folder / damaged).write_text("\n".join(rows) + "\n")
    return folder / damaged


def make_labelled(folder: Path) -> Path:
    """Pictures and a list of their labels."""
    rows = ["file,label"]
    for i in range(6):
        (folder / f"{i}.png").write_bytes(encoded(pixels(8, i), "PNG"))
        rows.append(f"{i}.png,{'odd' if i % 2 else 'even'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder / "labels.csv"


def read_own(path: Path) -> Any:
    find.LAST.clear()
    found = found_at(str(path), {})
    own = OwnSettings(**{name: found.settings[name] for name in OwnSettings.__dataclass_fields__})
    data = load_own(str(path), own, found.kind)
    return found.kind, {**found.settings, "dataset": ""}, data.train, data.held_out


def read_own_folder(path: Path) -> Any:
    return read_own(path.parent.parent)


def train_on(path: Path, out: Path) -> tuple[Program, list[str]]:
    return train.main, ["--dataset", str(path), *FEW, "--state", "6", "--hidden", "8", "--out", str(out)]


def train_on_folder(path: Path, out: Path) -> tuple[Program, list[str]]:
    return train.main, ["--dataset", str(path.parent.parent), *PICTURES, "--out", str(out)]


# pictures and films


def make_picture(folder: Path, kind: str) -> Path:
    path = folder / f"picture.{kind.lower()}"
    options: dict[str, Any] = {}
    if kind in ("GIF", "WEBP", "TIFF"):
        options = {"save_all": True, "append_images": [Image.fromarray(pixels(24, 2))]}
    image = Image.fromarray(pixels(24))
    (image.quantize(16) if kind == "BLP" else image).save(path, kind, **options)
    return path


def read_picture(path: Path) -> Any:
    """Return the content that a prediction takes of a picture: its pages, and the frames of an animation."""
    if is_film(path):
        film = open_film(path)
        return film.rate, list(film.frames)
    return list(pages(path))


def make_video(folder: Path, name: str, codec: str) -> Path:
    import av

    path = folder / name
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for i in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels(32, i), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def read_video(path: Path) -> Any:
    film = open_film(path)
    return film.rate, list(film.frames)


def predict_on(path: Path, out: Path) -> tuple[Program, list[str]]:
    return predict.main, ["pets", str(path), "--steps", "2", "--size", "16", "--out", str(out)]


# messages and tables


def make_answers(folder: Path) -> Path:
    """Write the answers of a program of `exec:`: its description of itself, and a state."""
    described = {"name": "a program", "operations": ["evolve"], "dtypes": ["float32"]}
    state = np.linspace(-1, 1, np.prod(EVOLVED), dtype=np.float32).reshape(EVOLVED)
    messages = [save({}, {"refca": json.dumps(described)}), save({"state": state}, {"refca": "{}"})]
    (folder / "answers").write_bytes(b"".join(len(m).to_bytes(8, "little") + m for m in messages))
    return folder / "answers"


def read_answers(path: Path) -> Any:
    backend = ExecBackend(f"cat {path}", seconds=10)
    try:
        described = backend.described
        cell = digits_cell()
        image, state = np.ones((*EVOLVED[:3], 1), np.float32), np.zeros(EVOLVED, np.float32)
        support = backend.supports(cell)
        return described, support, backend.dtypes, backend.evolve(cell, article(), image, state, Streams(0), 1)
    finally:
        backend.close()


def predict_by(path: Path, out: Path) -> tuple[Program, list[str]]:
    picture = path.parent / "seven.png"
    Image.fromarray(pixels(28)[..., 0]).save(picture)
    flags = ["--no-pictures", "--steps", "1", "--out", str(out)]
    return predict.main, ["digits", str(picture), "--backend", f"exec:cat {path}", *flags]


def odd_answers(content: bytes, rng: Any) -> bytes:
    """Messages of which one is odd, with its length before it."""
    messages, begin = [], 0
    while begin < len(content):
        end = begin + 8 + int.from_bytes(content[begin : begin + 8], "little")
        messages.append(content[begin + 8 : end])
        begin = end
    number = rng.randrange(len(messages))
    messages[number] = crafted.odd_safetensors(messages[number], rng)
    return b"".join(len(m).to_bytes(8, "little") + m for m in messages)


def make_curves(folder: Path) -> Path:
    rows = ["photographs,step,changes,iou_background,iou_object,iou_boundary,state,logits,gate,state_change"]
    for condition in ("kept", "replaced", "shifted"):
        rows += [f"{condition},{step},0.5,0.9,0.8,,1.5,2.5,0.5,0.1" for step in range(1, 9)]
    (folder / "evaluation.csv").write_text("\n".join(rows) + "\n")
    return folder / "evaluation.csv"


def make_evaluation(folder: Path, damaged: str) -> Path:
    """The curves of digits, and the settings that they were measured with."""
    names = [*CURVES]
    rows = [",".join(["step", *names])]
    rows += [",".join([str(step), *(f"{0.1 * step:.3}" for _ in names)]) for step in range(1, 9)]
    (folder / "evaluation.csv").write_text("\n".join(rows) + "\n")
    (folder / "evaluation.json").write_text(json.dumps({"mutation": "carry", "steps": 4, "accuracy_at_4": 0.5}))
    return folder / damaged


def kinds(stopped: Mapping[str, bytes], ended: Mapping[str, bytes], validated: Mapping[str, bytes]) -> list[Kind]:
    """All kinds. `stopped` and `ended` are the files of a run that was stopped, and of the same when it has ended;
    `validated` are those of a run with validation that was stopped."""
    settings = {"settings.toml": ended["settings.toml"]}
    found = [
        Kind(
            "checkpoint",
            partial(copied, stopped, "checkpoint.safetensors"),
            read_checkpoint,
            True,
            crafted.odd_safetensors,
            resume,
        ),
        Kind("log", partial(copied, stopped, "metrics.csv"), read_log, True, crafted.odd_csv, resume),
        Kind(
            "validation log",
            partial(copied, validated, "validation.csv"),
            read_validation_log,
            True,
            crafted.odd_csv,
            resume,
        ),
        Kind(
            "weights",
            partial(copied, ended, "weights.safetensors"),
            read_weights,
            True,
            crafted.odd_safetensors,
            predict_with,
        ),
        Kind("settings", partial(copied, settings, "settings.toml"), load_experiment, False, crafted.odd_toml, begin),
        Kind("npz weights", make_npz_weights, read_weights, True, crafted.odd_zip, predict_with),
        Kind("published weights", make_published, read_weights, False, crafted.odd_json, predict_with),
        Kind(
            "IDX",
            partial(make_idx, damaged="train-images-idx3-ubyte"),
            lambda path: mnist(path.parent),
            False,
            crafted.odd_idx,
            train_on_digits,
        ),
        Kind(
            "IDX labels",
            partial(make_idx, damaged="t10k-labels-idx1-ubyte"),
            lambda path: mnist(path.parent),
            False,
            crafted.odd_idx,
            train_on_digits,
        ),
        Kind(
            "IDX.gz",
            partial(make_idx, damaged="train-images-idx3-ubyte", end=".gz"),
            lambda path: mnist(path.parent),
            True,
            gzipped(crafted.odd_idx),
            train_on_digits,
        ),
        Kind(
            "pets images",
            partial(make_archives, damaged="images.tar.gz"),
            read_pets,
            True,
            gzipped(crafted.odd_tar),
            train_on_pets,
        ),
        Kind(
            "pets annotations",
            partial(make_archives, damaged="annotations.tar.gz"),
            read_pets,
            True,
            gzipped(crafted.odd_tar),
            train_on_pets,
        ),
        Kind("pets pack", make_pack, read_pets, True, crafted.odd_zip, train_on_pets),
        Kind("pets pack in the cache", make_cached_pack, read_cached_pack, True, crafted.odd_zip),
        Kind("own npz of labels", partial(make_own, masks=False), read_own, True, crafted.odd_zip, train_on),
        Kind("own npz of masks", partial(make_own, masks=True), read_own, True, crafted.odd_zip, train_on),
        Kind(
            "own masks",
            partial(make_masked, damaged="masks/1.png"),
            read_own_folder,
            True,
            crafted.odd_png,
            train_on_folder,
        ),
        Kind(
            "own pictures",
            partial(make_masked, damaged="images/1.png"),
            read_own_folder,
            True,
            crafted.odd_png,
            train_on_folder,
        ),
        Kind("CSV of pairs", partial(make_masked, damaged="pairs.csv"), read_own, False, crafted.odd_csv, train_on),
        Kind("CSV of labels", make_labelled, read_own, False, crafted.odd_csv, train_on),
        Kind("curves", make_curves, lambda path: read_curves(path, path.parent), False, crafted.odd_csv),
        Kind(
            "curves of digits",
            partial(make_evaluation, damaged="evaluation.csv"),
            lambda path: read_line(path.parent, path.parent),
            False,
            crafted.odd_csv,
        ),
        Kind(
            "settings of an evaluation",
            partial(make_evaluation, damaged="evaluation.json"),
            lambda path: read_line(path.parent, path.parent),
            False,
            crafted.odd_json,
        ),
        Kind("answers of a program", make_answers, read_answers, False, odd_answers, predict_by),
        Kind("PNG", partial(make_picture, kind="PNG"), read_picture, True, crafted.odd_png, predict_on),
    ]
    for kind in ("JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "AVIF"):
        found.append(Kind(kind, partial(make_picture, kind=kind), read_picture, False, None, predict_on))
    for name, codec in (
        ("film.mp4", "libx264"),
        ("film.mkv", "mpeg4"),
        ("film.avi", "mpeg4"),
        ("film.mpg", "mpeg1video"),
    ):
        make = partial(make_video, name=name, codec=codec)
        found.append(Kind(name, make, read_video, False, None, predict_on))
    return found


def foreign(folder: Path) -> list[bytes]:
    """Files of kinds that are not read, to be found under the name of one that is."""
    found = [encoded(pixels(16), kind) for kind in ("DDS", "TGA", "ICO", "SGI", "PCX")]
    found.append(make_picture(folder, "BLP").read_bytes())
    found += [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", b"%PDF-1.4\n"]
    found += [
        b"<!DOCTYPE html><html></html>",
        b"PK\x03\x04",
        b"\x80\x04cos\nsystem\n(S'touch ran'\ntR.",
        b"#!/bin/sh\n",
    ]
    return [*found, os.urandom(0) + b"\x7fELF" + bytes(60), b"Rar!\x1a\x07\x00", b"\x89HDF\r\n\x1a\n" + bytes(64)]
