"""What the programs share: one way to refuse, to stop, to choose a backend and to say it.

Exit codes: 0 done, 2 input that cannot be used (one sentence says why), 130 stopped by Ctrl-C.
Source: `spec/programs.md`.
"""

from __future__ import annotations

import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refca.contract.registry import backend_names, fastest, get_backend
from refca.errors import InvalidInput

STOPPED = 130


def exit_code(program: Callable[[], int]) -> int:
    """Run a program; say in one sentence, on standard error, what input or disk it could not work with."""
    try:
        return program()
    except InvalidInput as error:
        print(f"refca: {error}", file=sys.stderr)
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        print(f"refca: {error.strerror or error}{where}", file=sys.stderr)
    except MemoryError:
        print("refca: the memory is used up; try a smaller --batch, or fewer --samples", file=sys.stderr)
    except KeyboardInterrupt:
        print("refca: stopped", file=sys.stderr)
        return STOPPED
    return 2


def add_common_flags(parser: ArgumentParser) -> None:
    """The flags that every program has."""
    parser.add_argument(
        "--backend", help=f"{', '.join(backend_names())} or a module; default: the fastest that works here"
    )
    parser.add_argument(
        "--device",
        metavar="N",
        type=int,
        help="which device, counted from 0, for a backend that has several; default: its first",
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of the data files; default: REFCA_DATA, else your cache folder"
    )
    parser.add_argument("--out", metavar="DIR", help="run directory: what is written goes here")


def add_model(parser: ArgumentParser) -> None:
    """What a program measures."""
    parser.add_argument(
        "model",
        type=Path,
        help="a run directory or another folder with a weights.safetensors, weights as .safetensors, .npz or "
        "the article's model.json, or the name of weights that come with refca",
    )


def complete(flags: Namespace, report: Any, reports: Sequence[Any], samples: str) -> None:
    """Fill in a report's own flags with its defaults where they were not given.

    Raises InvalidInput for a flag that only other reports have.
    """
    for other in reports:
        for name in other.DEFAULTS:
            if name not in report.DEFAULTS and getattr(flags, name) is not None:
                raise InvalidInput(f"--{name.replace('_', '-')} is not for {samples}, as {flags.model} are")
    for name, default in report.DEFAULTS.items():
        if getattr(flags, name) is None:
            setattr(flags, name, default)
    if flags.steps < 1:
        raise InvalidInput(f"--steps must be at least 1, got {flags.steps}")


def choose_backend(name: str | None, device: int | None = None) -> tuple[str, Any]:
    """The name and the module of the backend asked for, or of the fastest that works here, on this device.

    Raises InvalidInput for a device that does not exist, and for any on a backend without devices.
    """
    name, backend = fastest() if name is None else (name, get_backend(name))
    if device is not None:
        if not hasattr(backend, "use_device"):
            raise InvalidInput(f"the backend {name} has no devices to choose from; leave --device {device} out")
        backend.use_device(device)
    return name, backend


def describe_backend(name: str, backend: Any) -> str:
    """The backend in a few words: its name, and what it works on where it says so."""
    return f"backend {name} on {backend.description()}" if hasattr(backend, "description") else f"backend {name}"


@contextmanager
def memory_for(what: str, instead: str) -> Iterator[None]:
    """Within this block what does not fit into memory is refused; `instead` is the remedy."""
    try:
        yield
    except MemoryError as error:
        raise InvalidInput(f"{what} do not fit into memory; {instead}") from error


def announce(backend: str, model: Path, done: int | None, steps: int) -> None:
    """Say which weights are measured, after how many training steps where that is known, and on what."""
    age = f", after {done:,} of {steps:,} training steps" if done is not None else ""
    print(f"{backend}; {model}{age}")


def progress_bar(total: int, done: int = 0, unit: str = "steps") -> Any:
    """A bar with the rate and the time left; into a file, a line now and then."""
    from tqdm import tqdm

    seldom = 0.1 if sys.stderr.isatty() else 10  # seconds
    return tqdm(total=total, initial=done, unit=f" {unit}", unit_scale=total > 10**5, mininterval=seldom)


@contextmanager
def counting_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function to call with what is done and what there is in all; its first call draws a bar."""
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        bar = progress_bar(total, unit=unit) if bar is None else bar
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Within this block Ctrl-C and SIGTERM ask to stop, and the yielded function says whether one came.

    A second Ctrl-C stops at once.
    """
    asked = False

    def ask(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
