"""The command-line code that all programs share: errors, exit codes, common flags, backends, progress bars.

Exit codes: 0 success, 2 invalid input (one sentence on standard error says why), 130 stopped by Ctrl-C.
Source: `spec/programs.md`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
import time
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn

from refca import distributed, interrupt
from refca.contract.registry import backend_names, fastest, get_backend
from refca.definition.errors import one_line
from refca.distributed import check_same, current
from refca.errors import InvalidInput, ProgramFailed, did_you_mean
from refca.threads import thread_limit
from refca.version import __version__

STOPPED = interrupt.STOPPED
REPEATED = 3  # seconds in which a launcher may pass on the same signal again
COUNTS = ("steps", "chimeras", "every")  # flags of reports that take a number from 1 to MOST
MOST = 1_000_000
EXTRAS = {  # packages that reading and stepping an automaton does without, and the extra that installs them
    **dict.fromkeys(("PIL", "filelock", "matplotlib", "pooch", "safetensors", "sklearn", "tqdm"), "train"),
    **dict.fromkeys(("numba", "scipy", "threadpoolctl"), "cpu"),
    "av": "video",
    "tensorboardX": "tensorboard",
}


QUIET: ContextVar[bool] = ContextVar("QUIET", default=False)  # whether only results and errors are printed


class Parser(ArgumentParser):
    """An ArgumentParser with --version, whose errors are short and on one line, whatever was typed.

    `program` is the name of a program; its help calls it as it was called.
    """

    def __init__(self, program: str, **options: Any) -> None:
        super().__init__(command(program), **options)
        self.add_argument("--version", action="version", version=f"refca {__version__}")

    def error(self, message: str) -> NoReturn:
        unknown = re.fullmatch(r"unrecognized arguments: (--[\w-]+).*", message)
        meant = did_you_mean(unknown[1], self._option_string_actions) if unknown else ""
        super().error(one_line(message) + meant)


def command(program: str) -> str:
    """Return the command that starts a program of refca: its console script if one was used, else python -m."""
    if os.path.basename(sys.argv[0]).startswith("refca-"):
        return f"refca-{program}"
    return f"python -m refca.{program}" if program != "refca" else "python -m refca"


def run_program(
    parser: ArgumentParser, program: Callable[[Namespace], int], arguments: Sequence[str] | None = None
) -> int:
    """Parse the arguments, run the program as the flags of all programs ask for, and return its exit code."""

    def run() -> int:
        flags = parser.parse_args(arguments)
        if getattr(flags, "mpi", False):
            distributed.start(asked=True)
        before = QUIET.set(getattr(flags, "quiet", False))
        try:
            with thread_limit(getattr(flags, "threads", None)):
                return program(flags)
        finally:
            QUIET.reset(before)

    return exit_code(run)


def note(words: str) -> None:
    """Print words that are no result, unless --quiet was given."""
    if not QUIET.get():
        print(words)


def exit_code(program: Callable[[], int]) -> int:
    """Run a program and return its exit code; print invalid input and file errors as one sentence."""
    make_streams_usable()
    ours = interrupt.raise_again()
    try:
        return code_of(program)
    except (KeyboardInterrupt, ImportError) as error:
        if not interrupt.caused_by_ctrl_c(error):
            raise
        if ours:
            interrupt.stop_again()
        return end_with("stopped", STOPPED)
    finally:
        if ours:
            interrupt.stop_again()


def sentence_of(error: OSError) -> str:
    """Return what the file system says, with the name of the file."""
    where = f" ({error.filename})" if error.filename else ""
    return f"{error.strerror or error}{where}"


def code_of(program: Callable[[], int]) -> int:
    """Run a program and return its exit code as `exit_code` does, without handling Ctrl-C."""
    try:
        distributed.start()
        code = program()
        sys.stdout.flush()
        distributed.barrier()  # no rank ends before the others
        return code
    except (InvalidInput, ProgramFailed) as error:
        return end_with(str(error))
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return end_with(f"this needs {error.name}; install it with: pip install 'refca[{EXTRAS[error.name]}]'")
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            silence(sys.stdout)  # what could not be written there is not tried again at the end
        return end_with(sentence_of(error))
    except MemoryError as error:
        return end_with(f"out of memory ({error}); use smaller settings, for example --batch, or fewer --samples")
    except Exception as error:
        if current().size > 1:
            traceback.print_exc()
            distributed.fail(f"{type(error).__name__}: {error}", 1)
        raise


def warn(sentence: str) -> None:
    """Print a warning on standard error: the program goes on, and its result may not be what is wanted."""
    report(f"warning: {sentence}")


def end_with(sentence: str, code: int = 2) -> int:
    """Report why the program ends and return its exit code. Of several ranks, one that fails ends all."""
    report(sentence)
    distributed.fail(one_line(sentence), code)
    return code


def report(sentence: str) -> None:
    """Print a sentence on standard error, if that can be written to."""
    try:
        print(f"refca: {one_line(sentence)}", file=sys.stderr, flush=True)
    except OSError:
        silence(sys.stderr)


def make_streams_usable() -> None:
    """Have standard output and error exist, and show what their encoding lacks as escapes.

    A stream that was closed when Python started would otherwise be the next file that is opened.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def silence(stream: Any) -> None:
    """Send what is still to be written to a stream nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


SHARED = "share the work with the other processes of an MPI launcher"


def add_backend_flags(parser: ArgumentParser, mpi: str = SHARED) -> None:
    """Add the flags that choose what to compute on, and --quiet; `mpi` says what --mpi is for."""
    parser.add_argument(
        "--backend",
        help=f"where to compute: {', '.join(backend_names())}, or a Python module; default: cpu, or reference "
        "where numba is missing",
    )
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="device to compute on, for a backend that has several: a name, or a number counted from 0",
    )
    parser.add_argument(
        "--threads",
        metavar="N",
        type=int,
        help="number of processor threads to compute on; default: $REFCA_THREADS, or else all processors",
    )
    parser.add_argument(
        "--mpi",
        action="store_true",
        help=f"{mpi}; for launchers that refca does not detect",
    )
    parser.add_argument("--quiet", action="store_true", help="print results and errors only, and no progress")


def add_common_flags(parser: ArgumentParser, out: str) -> None:
    """Add the flags of programs that read data and write a folder; `out` says what --out is."""
    add_backend_flags(parser)
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="folder with the data files; default: $REFCA_DATA, or else a cache folder that is filled by downloads",
    )
    parser.add_argument("--out", metavar="DIR", help=out)


def add_model(parser: ArgumentParser) -> None:
    """Add the argument that names the weights to use."""
    parser.add_argument(
        "model",
        type=Path,
        help="trained weights: a run directory, a .safetensors or .npz file, the article's model.json, or the "
        "name of weights that come with refca, such as digits-drawn",
    )


def complete(flags: Namespace, report: Any, reports: Sequence[Any], samples: str) -> None:
    """Fill in the defaults of a report's own flags.

    Raises InvalidInput for a flag that only other tasks' reports have.
    """
    for other in reports:
        for name in other.DEFAULTS:
            if name not in report.DEFAULTS and getattr(flags, name) is not None:
                raise InvalidInput(
                    f"--{name.replace('_', '-')} does not apply to {flags.model}, which holds weights for {samples}"
                )
    for name, default in report.DEFAULTS.items():
        if getattr(flags, name) is None:
            setattr(flags, name, default)
    for name in COUNTS:
        value = getattr(flags, name, None)
        if value is not None and not 1 <= value <= MOST:
            raise InvalidInput(f"--{name.replace('_', '-')} must be from 1 to {MOST:,}, got {value}")


def choose_backend(name: str | None, device: str | None = None) -> tuple[str, Any]:
    """Return the name and the module of a backend (None: cpu, or reference without numba), set to use this device.

    Raises InvalidInput for a device that does not exist or a backend without devices.
    """
    name, backend = fastest() if name is None else (name, get_backend(name))
    if device is not None:
        if not backend.devices:
            raise InvalidInput(
                f"--device cannot be used with the backend {name}, which has no devices to choose from, got {device}"
            )
        backend.use_device(device)
    elif current().size > 1 and len(backend.devices) > 1:
        backend.use_device(backend.devices[current().local_rank % len(backend.devices)])
    check_same("the backend", name)
    return name, backend


def describe_backend(name: str, backend: Any) -> str:
    """Return the name of a backend, and the hardware it uses if the backend reports it."""
    return f"backend {name}" + (f" on {backend.description()}" if backend.description() else "")


@contextmanager
def memory_for(what: str, remedy: str) -> Iterator[None]:
    """Turn a MemoryError in this block into InvalidInput that names what did not fit, and the remedy."""
    try:
        yield
    except MemoryError as error:
        raise InvalidInput(f"{what} do not fit into memory; {remedy}") from error


def announce(backend: str, model: Path, done: int | None, steps: int) -> None:
    """Print the backend, the weights, and their number of training steps if it is known."""
    age = f", after {done:,} of {steps:,} training steps" if done is not None else ""
    note(f"{backend}; {model}{age}")


def progress_bar(total: int, done: int = 0, unit: str = "steps", shown: bool = True) -> Any:
    """Return a progress bar with rate and remaining time; in a file it writes a line every ten seconds."""
    from tqdm import tqdm

    interval = 0.1 if sys.stderr and sys.stderr.isatty() else 10  # seconds
    scale = total > 10**5
    hidden = not (sys.stderr and shown) or QUIET.get()
    return tqdm(total=total, initial=done, unit=f" {unit}", unit_scale=scale, mininterval=interval, disable=hidden)


def print_above_bar(line: str, file: Any = None) -> None:
    """Print a line on standard output, or on another file, without breaking a progress bar that is shown."""
    from tqdm import tqdm

    tqdm.write(line, file)


@contextmanager
def counting_bar(unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function (done, total) that shows a progress bar; its first call creates the bar."""
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
def stoppable(answer: str = "") -> Iterator[Callable[[], bool]]:
    """Within this block, let Ctrl-C and SIGTERM request a stop; the yielded function tells whether one did.

    The first request is answered by a line of text, if there is one. A second Ctrl-C stops at once, but not in the
    first seconds if there are other ranks: a launcher may pass on the signal that this process got too. Outside the
    main thread, which alone gets signals, nothing requests a stop.
    """
    requested = float("inf")  # the time of the first request
    grace = REPEATED if current().size > 1 else 0

    def request_stop(number: int, frame: Any) -> None:
        nonlocal requested
        if time.monotonic() > requested + grace:
            raise KeyboardInterrupt
        if answer and requested == float("inf"):
            os.write(2, f"{answer}\n".encode())  # printing is not safe in a handler
        requested = min(requested, time.monotonic())

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = {number: signal.signal(number, request_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: requested < float("inf")
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
