"""Full disks and folders that cannot be written: a sentence, no half files, and a run that can be resumed.

A small file system in memory is mounted, which needs root; where that is not allowed this part is left out.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from refca import evaluate, playground, predict
from refca.errors import InvalidInput
from refca.tasks import lookup
from refca.training.checkpoint import load_checkpoint
from refca.weights.load import load_weights
from torture.children import Outcome, run
from torture.kinds import encoded, pixels
from torture.runs import CHECKPOINT, Run, contents
from torture.tally import Deadline, Tally, shortened

PART = "disks"
LARGE = 64 * 2**20  # bytes
NOBODY = 65534


class NotMounted(Exception):
    """No file system can be mounted here."""


def torture(runs: list[Run], folder: Path, count: int, rng: random.Random, tally: Tally, deadline: Deadline) -> None:
    """Try disks of `count` sizes, and folders that cannot be written."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for _ in range(count):
            if deadline.left:
                full_disk(rng.choice(runs), folder / "disk", rng, tally)
        for program in programs(runs[0], folder):
            for size in (2**14, 2**17):
                if deadline.left:
                    full_for(program, size, folder / "disk", tally)
        read_only(runs[0], folder, tally)
    except NotMounted as error:
        print(f"full disks are not tried: {error}")


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A file system in memory. Raises NotMounted if the system does not allow it."""
    folder.mkdir(exist_ok=True)
    mount(f"mount -t tmpfs -o {options} tmpfs", folder)
    try:
        yield
    finally:
        mount("umount -l", folder)


def mount(command: str, folder: Path) -> None:
    if os.geteuid() or not shutil.which("mount"):
        raise NotMounted("mounting needs root and the program mount")
    done = subprocess.run([*command.split(), str(folder)], capture_output=True, text=True)
    if done.returncode:
        raise NotMounted(done.stderr.strip())


def full_disk(run_: Run, disk: Path, rng: random.Random, tally: Tally) -> None:
    """Train on a disk that is too small, then make it larger and go on."""
    needed = sum(-(-len(content) // 4096) * 4096 for content in run_.files.values())
    limit = f"size={rng.randrange(4096, int(2.5 * needed))}" if rng.random() < 0.8 else f"nr_inodes={rng.randint(2, 9)}"
    with mounted(disk, limit):
        out = disk / "run"
        outcome = run(lambda: run_.start(out))
        how = f"{run_.name} with {limit}"
        verdict(outcome, how, tally)
        half = half_files(out)
        if half:
            tally.fault(PART, "half a file", f"{how}: {half}")
        mount(f"mount -o remount,size={LARGE},nr_inodes=0", disk)
        if outcome.code:
            again = run(lambda: run_.go_on(out))
            if wrong := again.unfit([0]):
                tally.fault(PART, f"then {wrong}", f"{how}: {shortened(again.output)}")
        if differing := run_.differing(out):
            tally.fault(PART, "wrong result", f"{how}: {', '.join(differing)}")


def verdict(outcome: Outcome, how: str, tally: Tally) -> None:
    tally.peak(PART, outcome.peak)
    tally.count(PART, "tried")
    if wrong := outcome.unfit([0, 2]):
        tally.fault(PART, wrong, f"{how}: {shortened(outcome.output)}")
    else:
        tally.count(PART, "refused in a sentence" if outcome.code else "large enough")


def half_files(out: Path) -> str:
    """Return what is not whole in a folder: a checkpoint or weights that cannot be read, or files left over."""
    try:
        if (out / CHECKPOINT).exists():
            load_checkpoint(out / CHECKPOINT, lookup)
        if (out / "weights.safetensors").exists():
            load_weights(out / "weights.safetensors")
    except InvalidInput as error:
        return str(error)
    return ", ".join(name for name in contents(out) if name.startswith(".")) if out.exists() else ""


Program = tuple[str, Callable[[Path], int]]


def programs(run_: Run, folder: Path) -> list[Program]:
    """The other programs, each as a function of the folder that it writes into."""
    model, picture = folder / "model", folder / "photo.png"
    model.mkdir(exist_ok=True)
    (model / "weights.safetensors").write_bytes(run_.files["weights.safetensors"])
    picture.write_bytes(encoded(pixels(48), "PNG"))
    few = ["--samples", "8", "--steps", "2"]
    return [
        ("evaluate", lambda out: evaluate.main([str(model), *few, "--out", str(out)])),
        ("predict", lambda out: predict.main(["pets", str(picture), "--steps", "2", "--out", str(out)])),
        ("playground", lambda out: playground.main(["--export", str(out / "page.html")])),
    ]


def full_for(program: Program, size: int, disk: Path, tally: Tally) -> None:
    """Start a program that writes to a disk that is too small."""
    name, main = program
    with mounted(disk, f"size={size}"):
        outcome = run(lambda: main(disk / "out"))
        verdict(outcome, f"{name} on {size} bytes", tally)
        left = [str(path.relative_to(disk)) for path in disk.rglob(".*")]
        if left:
            tally.fault(PART, "files left over", f"{name} on {size} bytes: {left}")


def read_only(run_: Run, folder: Path, tally: Tally) -> None:
    """Start every program where nothing may be written: on a disk mounted so, and in a folder of somebody else."""
    disk = folder / "disk"
    with mounted(disk, f"size={LARGE}"):
        for name, content in run_.files.items():
            (disk / "run").mkdir(exist_ok=True)
            (disk / "run" / name).write_bytes(content)
        mount("mount -o remount,ro", disk)
        everywhere = [("train", lambda out: run_.start(out)), *programs(run_, folder)]
        for name, main in everywhere:
            verdict_refused(run(partial(main, disk / "out")), f"{name} on a disk to read", tally)
        verdict_refused(run(lambda: run_.go_on(disk / "run")), "resume on a disk to read", tally)
    theirs = folder / "theirs"
    theirs.mkdir(mode=0o755, exist_ok=True)
    for name, main in everywhere:

        def as_nobody(main: Callable[[Path], int] = main) -> int:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            return main(theirs / "out")

        open_path(folder)
        verdict_refused(run(as_nobody), f"{name} in a folder of somebody else", tally)


def open_path(folder: Path) -> None:
    """Let everybody pass through the folders above."""
    for path in (folder, *folder.parents):
        with suppress(OSError):
            if str(path).startswith(str(Path(os.environ.get("TMPDIR", "/tmp")))) and path != Path("/tmp"):
                path.chmod(0o755)


def verdict_refused(outcome: Outcome, how: str, tally: Tally) -> None:
    verdict(outcome, how, tally)
    if outcome.code == 0:
        tally.fault(PART, "nothing said", how)
