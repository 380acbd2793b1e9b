"""Another process as a backend, `exec:PROGRAM`: safetensors messages over its standard input and output.

The program is started at the first request and answers one request after the other. Whatever goes wrong is one
sentence that names the program. After a death or a time-out it is not started again.

Source: `spec/exec.md`.
"""

from __future__ import annotations

import atexit
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict
from dataclasses import fields as dataclass_fields
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Literal
from weakref import WeakSet

import numpy as np

from refca.contract.checks import check_unroll
from refca.contract.protocol import BaseBackend
from refca.definition.cell import Array, Cell, Params
from refca.definition.errors import one_line
from refca.definition.randomness import Randomness, Recorded, Streams
from refca.definition.state import grid
from refca.errors import InvalidInput, ProgramFailed, Unavailable

SECONDS = 60.0  # that an answer may take
LONGEST = 2**40  # bytes of a message; the first letters of a text are a larger number
PIECE = 2**20  # bytes that are read at once
FIELDS: dict[str, type] = {
    "name": str,
    "operations": list,
    "dtypes": list,
    "randomness": list,
    "requires": dict,
}  # of a description
WORDS: dict[type, str] = {str: "a text", list: "a list of texts", dict: "an object"}
STARTED: WeakSet[ExecBackend] = WeakSet()  # backends whose program runs
INTERPRETERS = {".js": ["node"], ".mjs": ["node"], ".py": [sys.executable]}


def fits(value: Any, kind: type) -> bool:
    """Return whether a JSON value is of this kind; lists are of texts."""
    if kind is list:
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    return isinstance(value, kind)


class ExecBackend(BaseBackend):
    """The program of a command line: a path, or a path and arguments."""

    def __init__(self, command: str, seconds: float = SECONDS) -> None:
        self.command, self.seconds = command, seconds
        self.talking = threading.Lock()
        self.failure: ProgramFailed | None = None

    @cached_property
    def process(self) -> subprocess.Popen[bytes]:
        """The program, started. Raises Unavailable if it cannot be."""
        words = shlex.split(self.command)
        if not words:
            raise InvalidInput("exec: needs a program, as in exec:./program")
        first = words[0] if "/" not in words[0] or Path(words[0]).is_absolute() else str(Path(words[0]).resolve())
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            process = subprocess.Popen(
                [*INTERPRETERS.get(Path(first).suffix, []), first, *words[1:]],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.errors,
                start_new_session=True,  # Ctrl-C is for refca, which ends the program
            )
        except OSError as error:
            self.errors.close()
            raise Unavailable(f"the program {self.command} cannot be started: {error.strerror or error}") from error
        atexit.register(self.close)
        STARTED.add(self)
        return process

    def close(self) -> None:
        """End the program, if it runs."""
        if process := self.__dict__.get("process"):
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, self.errors):
                with suppress(OSError):
                    stream.close()

    @cached_property
    def described(self) -> dict[str, Any]:
        """The program's description of itself."""
        _, described = self.ask({"operation": "describe"}, {})
        for field in ("name", "operations", "dtypes"):
            if field not in described:
                raise self.failed(f'answers "describe" without the field {field}')
        for field, kind in FIELDS.items():
            if field in described and not fits(described[field], kind):
                raise self.failed(f'answers "describe" with {field} that is not {WORDS[kind]}')
        settings = {setting.name for setting in dataclass_fields(Cell)}
        if unknown := set(described.get("requires", {})) - settings:
            names = ", ".join(sorted(unknown))
            raise self.failed(f'answers "describe" with "requires" that names what is no setting: {names}')
        return described

    @property
    def dtypes(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(self.described["dtypes"])

    def offers(self, operation: str) -> bool:
        return operation in self.described["operations"]

    def overrides(self, name: str) -> bool:
        """Return whether the program says something itself; of cells, if it requires settings of them."""
        return "requires" in self.described if name == "supports" else self.offers(name)

    def supports(self, cell: Cell) -> Literal[True] | str:
        for name, values in self.described.get("requires", {}).items():
            allowed = values if isinstance(values, list) else [values]
            if getattr(cell, name) not in allowed:
                return f"{name} must be {' or '.join(map(str, allowed))}, got {getattr(cell, name)}"
        return True

    def description(self) -> str:
        return f"the program {self.described['name']}"

    def evolve(
        self,
        cell: Cell,
        params: Params,
        image: Array,
        state: Array,
        randomness: Randomness,
        steps: int,
        *,
        first_step: int = 0,
    ) -> Array:
        """Check the arguments, and ask the program for the state after the steps."""
        check_unroll(cell, params, image, state, steps, first_step, randomness)
        request = {"operation": "evolve", "cell": asdict(cell), "steps": int(steps), "first_step": int(first_step)}
        arrays = {f"params/{name}": x for name, x in params.items()} | {"image": image, "state": state}
        if type(randomness) is Streams and "streams" in self.described.get("randomness", ["streams"]):
            request |= {"seed": str(randomness.seed), "first_sample": randomness.first_sample}
        else:
            draws = [randomness.at(cell, first_step + i, *grid(cell, image)) for i in range(steps)]
            if type(randomness) is not Recorded:  # whatever else: as recorded, from step 0 on
                request["first_step"] = 0
                randomness = recorded(draws, cell, state)
            named = {"fire": randomness.fire, "noise": randomness.noise, "reset": randomness.reset}
            used = {"fire": True, "noise": bool(cell.noise), "reset": cell.resettable}
            arrays |= {f"randomness/{name}": x for name, x in named.items() if x is not None and used[name]}
        found, _ = self.ask(request, arrays)
        if set(found) != {"state"}:
            raise self.failed(f'answers "evolve" with the arrays {", ".join(found) or "none"}, expected state alone')
        got = found["state"]
        if (got.shape, got.dtype) != (state.shape, state.dtype):
            expected = f"{state.dtype} {state.shape}"
            raise self.failed(f'answers "evolve" with a state that is {got.dtype} {got.shape}, expected {expected}')
        return got

    def ask(self, request: dict[str, Any], arrays: Params) -> tuple[Params, dict[str, Any]]:
        """Return the arrays and the fields of the answer to a request. Raises InvalidInput if it is refused."""
        from safetensors.numpy import load, save

        if self.failure:
            raise self.failure
        try:
            metadata = {"refca": json.dumps(request, allow_nan=False)}
        except ValueError:
            raise InvalidInput("the cell must have finite numbers, because JSON has no others") from None
        message = save({name: np.ascontiguousarray(x) for name, x in arrays.items()}, metadata)
        answer = self.exchange(message, str(request["operation"]))
        try:
            tensors = load(answer)
            header = json.loads(answer[8 : 8 + int.from_bytes(answer[:8], "little")])
            fields = json.loads(header.get("__metadata__", {}).get("refca", "{}"))
        except Exception as error:  # what a program writes can fail in many ways
            cause = one_line(str(error), 200) or type(error).__name__
            raise self.failed(f"answers {len(answer)} bytes that are no safetensors file ({cause})") from error
        if not fits(fields, dict) or not fits(fields.get("error", {}), dict):
            raise self.failed("answers with metadata, or an error in it, that is not an object")
        if error_ := fields.get("error"):
            if error_.get("kind") == "InvalidInput":
                raise InvalidInput(str(error_.get("message")))
            raise ProgramFailed(f"the program {self.command} reports {error_.get('kind')}: {error_.get('message')}")
        return tensors, fields

    def exchange(self, message: bytes, operation: str) -> bytes:
        """Send a message and return the answer, to one thread at a time. Raises ProgramFailed without one in time."""
        with self.talking:
            if self.failure:  # of another thread's message
                raise self.failure
            return self.answer_to(message, operation)

    def answer_to(self, message: bytes, operation: str) -> bytes:
        """Send a message and return the answer. Raises ProgramFailed if none comes in time."""
        found: list[bytes] = []
        failures: list[str] = []

        def talk() -> None:
            try:
                assert process.stdin is not None
                with suppress(OSError):  # it may have ended; what it wrote before says more
                    process.stdin.write(len(message).to_bytes(8, "little") + message)
                    process.stdin.flush()
                first = self.read(8)
                length = int.from_bytes(first, "little")
                if length > LONGEST:
                    failures.append(
                        f"writes {first!r} to standard output, where a message begins with its length in 8 bytes; "
                        "what it prints must go to standard error"
                    )
                else:
                    found.append(self.read(length))
            except (OSError, EOFError, ValueError):
                failures.append("")  # it has died
            except MemoryError:
                failures.append("writes an answer that does not fit into memory")

        process = self.process
        thread = threading.Thread(target=talk, daemon=True)
        thread.start()
        try:
            thread.join(self.seconds)
        except KeyboardInterrupt:  # the answer is still to come, and nobody will read it
            self.close()
            del self.process
            raise
        if thread.is_alive():
            process.kill()
            raise self.failed(f'gave no answer to "{operation}" within {self.seconds:g} seconds', for_good=True)
        if failures and failures[0]:
            process.kill()
            raise self.failed(failures[0], for_good=True)
        if failures:
            code = process.wait()
            raise self.failed(f'ended with exit code {code} before it answered "{operation}"', for_good=True)
        return found[0]

    def read(self, count: int) -> bytes:
        """Return this many bytes of the program's output. Raises EOFError at its end."""
        assert self.process.stdout is not None
        content = bytearray()
        while len(content) < count:  # in pieces: a wrong length is no reason to take that much memory
            more = self.process.stdout.read(min(PIECE, count - len(content)))
            if not more:
                raise EOFError
            content += more
        return bytes(content)

    def failed(self, what: str, for_good: bool = False) -> ProgramFailed:
        """Return the error for a program that did this, with the last line that it wrote to standard error."""
        self.errors.seek(0)
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        telling = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")
        last = f"; its standard error says: {telling.strip()}" if telling else ""
        failure = ProgramFailed(f"the program {self.command} {what}{last}")
        if for_good:
            self.failure = failure
        return failure


def forget_programs() -> None:
    """Forget the programs in a forked child: they answer its parent."""
    for backend in list(STARTED):
        backend.__dict__.pop("process", None)
        backend.talking = threading.Lock()
    STARTED.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=forget_programs)


def recorded(draws: list[Any], cell: Cell, state: Array) -> Recorded:
    """Return draws of some steps as recorded arrays, real numbers in the dtype of the state."""
    shape = (len(draws), *state.shape)
    fire = np.array([draw[0] for draw in draws], bool).reshape(shape[:-1])
    normal = [
        np.array([draw[k] for draw in draws], state.dtype).reshape(shape) if used else None
        for k, used in ((1, cell.noise), (2, cell.resettable))
    ]
    return Recorded(fire, *normal)
