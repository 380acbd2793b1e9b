"""The ranks of MPI.COMM_WORLD. Importing this module starts MPI; `refca.distributed` does so under a launcher."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn

import mpi4py
import numpy as np

mpi4py.rc.thread_level = "funneled"

from mpi4py import MPI  # noqa: E402  starts MPI

from refca.liveness import Place, has_died  # noqa: E402

LOOK_EVERY = 0.5  # seconds between looks at ranks that one waits for
PASS_ON = 0.3  # seconds that the launcher has to pass on what was printed, before it ends all
SPINS = 200  # tests of a request before the processor is left to others
LONGEST_SLEEP = 1e-3  # seconds


class MpiRanks:
    """The processes of MPI.COMM_WORLD.

    Waiting is a loop over tests, not a blocking call of MPI: signals are noticed, ranks that died are too, and
    more ranks than processors do not keep each other from working.
    """

    def __init__(self) -> None:
        self.comm = MPI.COMM_WORLD
        self.rank, self.size = self.comm.rank, self.comm.size
        self.library = MPI.Get_library_version().split("\n")[0].split(",")[0].strip("\0 ")
        self.messages = self.sent = 0
        self.leaving: list[tuple[Any, np.ndarray]] = []  # requests, and the arrays that they send
        self.places: list[Place] = self.comm.allgather(Place.here())
        hosts = [place.host for place in self.places]
        self.local_size = hosts.count(hosts[self.rank])
        self.local_rank = hosts[: self.rank].count(hosts[self.rank])

    def send(self, content: np.ndarray, to: int) -> None:
        """Send the bytes of an array, which must not change until the next `flush`."""
        content = np.ascontiguousarray(content)
        self.leaving.append((self.comm.Isend([content.reshape(-1).view(np.uint8), MPI.BYTE], to), content))
        self.messages += 1
        self.sent += content.nbytes

    def receive(self, shape: tuple[int, ...], dtype: Any, source: int) -> np.ndarray:
        """Return the next array that a rank sends to this one."""
        content = np.empty(shape, dtype)
        self.wait(self.comm.Irecv([content.reshape(-1).view(np.uint8), MPI.BYTE], source), source)
        return content

    def flush(self) -> None:
        """Wait until everything sent has left."""
        for request, _ in self.leaving:
            self.wait(request)
        self.leaving.clear()

    def wait(self, request: Any, source: int | None = None) -> None:
        """Wait for a request. If a rank of this machine has died, say so and end all."""
        for _ in range(SPINS):
            if request.Test():
                return
        pause, looked = 2e-5, time.monotonic()
        while not request.Test():
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_SLEEP)
            if time.monotonic() - looked > LOOK_EVERY:
                looked = time.monotonic()
                self.check_alive(range(self.size) if source is None else [source, *range(self.size)])

    def check_alive(self, ranks: Any) -> None:
        """Look at ranks; when one has died, say so and end all."""
        for rank in ranks:
            place = self.places[rank]
            if has_died(place):
                ended = f"the process {place.pid} on {place.host} ended before the run did"
                self.say(rank, f"{ended}; the last checkpoint stays")
                self.abort(1)

    def say(self, rank: int, sentence: str) -> None:
        """Print a sentence about a rank, from whatever rank this is."""
        with suppress(OSError):
            os.write(2, f"refca: rank {rank}: {sentence}\n".encode())

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        time.sleep(PASS_ON)
        self.comm.Abort(code)
        os._exit(code)
