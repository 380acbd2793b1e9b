"""The processes of a run: one alone, or the ranks that an MPI launcher started.

Without MPI nothing is imported and nothing changes. Under mpirun or srun, `start` makes the ranks of
MPI.COMM_WORLD the current ones. All collective operations are here, over `send` and `receive` alone; every rank
calls them in the same order.

Source: `docs/cluster.md`.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, Protocol, TypeVar, cast

import numpy as np

from refca.errors import InvalidInput
from refca.interrupt import STOPPED, die_of, launched_size

Item = TypeVar("Item")
Node = TypeVar("Node")
Result = TypeVar("Result")

PATIENCE = 1.5  # seconds that a failing rank gives rank 0 to report the same


class Ranks(Protocol):
    """The processes of a run. This one is `rank` of `size`, and `local_rank` among the processes of its machine."""

    rank: int
    size: int
    local_rank: int
    messages: int  # sent so far
    sent: int  # bytes sent so far

    def send(self, content: np.ndarray, to: int) -> None:
        """Send the bytes of an array, which must not change until the next `flush`."""

    def receive(self, shape: tuple[int, ...], dtype: Any, source: int) -> np.ndarray:
        """Return the next array that a rank sends to this one."""

    def flush(self) -> None:
        """Wait until everything sent has left."""

    def say(self, rank: int, sentence: str) -> None:
        """Print a sentence about a rank, from whatever rank this is."""

    def abort(self, code: int) -> NoReturn:
        """End all ranks at once."""


class Alone:
    """One process, without anybody to talk to."""

    rank, size, local_rank = 0, 1, 0
    messages = sent = 0

    def send(self, content: np.ndarray, to: int) -> None:
        raise AssertionError("there is no other rank")

    def receive(self, shape: tuple[int, ...], dtype: Any, source: int) -> np.ndarray:
        raise AssertionError("there is no other rank")

    def flush(self) -> None:
        pass

    def say(self, rank: int, sentence: str) -> None:
        print(f"refca: rank {rank}: {sentence}", file=sys.stderr)

    def abort(self, code: int) -> NoReturn:
        sys.exit(code)


ALONE = Alone()
CURRENT: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)


def current() -> Ranks:
    """Return the ranks of this run."""
    return CURRENT.get()


@contextmanager
def using(ranks: Ranks) -> Iterator[None]:
    """Make these the current ranks within this block."""
    token = CURRENT.set(ranks)
    try:
        yield
    finally:
        CURRENT.reset(token)


def start(asked: bool = False) -> None:
    """Make the ranks of MPI.COMM_WORLD the current ones, if a launcher started several or `asked`.

    Raises InvalidInput if mpi4py or its MPI library is missing, or is not the launcher's.
    """
    size = launched_size()
    if current().size > 1 or (size == 1 and not asked):
        return
    started = f"{size} processes were started by an MPI launcher" if size > 1 else "--mpi was given"
    try:
        from refca.mpi_ranks import MpiRanks
    except ModuleNotFoundError:
        raise InvalidInput(
            f"{started}, which needs mpi4py; install it with: pip install 'refca[mpi]'; it also needs an MPI "
            "library, for instance: pip install mpich"
        ) from None
    except (ImportError, RuntimeError) as error:
        raise InvalidInput(f"{started}, but mpi4py has no MPI library ({error})") from None
    ranks = MpiRanks()
    if ranks.size < size:
        raise InvalidInput(
            f"{started}, but mpi4py sees {ranks.size}: its MPI library ({ranks.library}) is not the launcher's; "
            "use the mpirun of that library"
        )
    CURRENT.set(ranks)
    share_processors(ranks)
    if ranks.rank:  # rank 0 speaks for all
        silent = open(os.devnull, "w")  # noqa: SIM115
        sys.stdout = sys.stderr = silent


def share_processors(ranks: Any) -> None:
    """Give each rank of a machine its part of the processors, unless the launcher or REFCA_THREADS did."""
    count = os.cpu_count() or 1
    bound = hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < count
    if not bound:
        os.environ.setdefault("REFCA_THREADS", str(max(1, count // ranks.local_size)))


def fail(sentence: str, code: int) -> None:
    """After a failure of this rank, end all. The sentence is printed unless rank 0 fails too and prints its own."""
    ranks = current()
    if ranks.size == 1:
        if code == STOPPED and launched_size() > 1:
            die_of(signal.SIGINT)
        return
    if ranks.rank:
        time.sleep(PATIENCE)
        ranks.say(ranks.rank, sentence)
    ranks.abort(code)


# Collective operations


def broadcast(content: np.ndarray | None, shape: tuple[int, ...], dtype: Any, root: int = 0) -> np.ndarray:
    """Return on every rank the array that `root` has. Messages go down a binary tree."""
    ranks = current()
    me, size = (ranks.rank - root) % ranks.size, ranks.size
    step = 1
    while step < size:
        step *= 2
    while step > 1:
        step //= 2
        if me % (2 * step) == 0 and me + step < size:
            assert content is not None
            ranks.send(content, (me + step + root) % size)
        elif me % (2 * step) == step:
            content = ranks.receive(shape, dtype, (me - step + root) % size)
    ranks.flush()
    assert content is not None
    return content


def broadcast_object(found: Result) -> Result:
    """Return on every rank what rank 0 has, anything that can be pickled."""
    if current().size == 1:
        return found
    content = np.frombuffer(pickle.dumps(found), np.uint8)
    length = int(broadcast(np.array([len(content)], np.int64), (1,), np.int64)[0])
    return cast(Result, pickle.loads(broadcast(content, (length,), np.uint8).tobytes()))


def reduced(value: np.ndarray, combine: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return on every rank the combination of the ranks' arrays of one shape and dtype, over a binary tree."""
    ranks, step = current(), 1
    while step < ranks.size:
        if ranks.rank % (2 * step) == step:
            ranks.send(value, ranks.rank - step)
            break
        if ranks.rank + step < ranks.size:
            value = combine(value, ranks.receive(value.shape, value.dtype, ranks.rank + step))
        step *= 2
    return broadcast(value, value.shape, value.dtype)


def any_rank(flag: bool) -> bool:
    """Return whether the flag of any rank is set."""
    return bool(reduced(np.array([flag], np.uint8), np.maximum)[0]) if current().size > 1 else flag


def total(counts: np.ndarray) -> np.ndarray:
    """Return the sum of the ranks' integers, which are exact in any order."""
    return reduced(counts, np.add) if current().size > 1 else counts


def barrier() -> None:
    """Wait until every rank is here."""
    any_rank(False)


@contextmanager
def first_of_machine() -> Iterator[None]:
    """Run this block on the first rank of each machine, and then on the others."""
    ranks = current()
    if ranks.size == 1:
        yield
        return
    if ranks.local_rank:
        barrier()
    yield
    if not ranks.local_rank:
        barrier()
    barrier()


def check_same(what: str, text: str) -> None:
    """Raise InvalidInput unless every rank has the same text."""
    if current().size == 1:
        return
    own = np.zeros(256, np.uint8)
    encoded = text.encode()[:256]
    own[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    first = broadcast(own, own.shape, own.dtype)
    if any_rank(not np.array_equal(own, first)):
        raise InvalidInput(f"{what} must be the same on all ranks; got {text} on rank {current().rank}")


def sum_over_tree(
    own: dict[int, Node],
    owners: Sequence[int],
    add: Callable[[Node, Node], Node],
    pack: Callable[[Node], np.ndarray],
    unpack: Callable[[np.ndarray], Node],
    shape: tuple[int, ...],
    dtype: Any,
) -> Node:
    """Return on every rank the sum of all terms, added as `refca.contract.parts.tree_sum` adds them.

    Term i is on rank owners[i]; `own` has the terms of this rank. A sum is made where its left term is, so that
    only sums of whole subtrees travel, as arrays of this shape and dtype that `pack` makes and `unpack` reads.
    """
    ranks = current()
    me, nodes, where = ranks.rank, dict(own), list(owners)
    while len(where) > 1:
        above: dict[int, Node] = {}
        for i in range(0, len(where) - 1, 2):
            left, right = where[i], where[i + 1]
            if right == me != left:
                ranks.send(pack(nodes[i + 1]), left)
            elif left == me:
                other = nodes[i + 1] if right == me else unpack(ranks.receive(shape, dtype, right))
                above[i // 2] = add(nodes[i], other)
        if len(where) % 2 and where[-1] == me:
            above[len(where) // 2] = nodes[len(where) - 1]
        nodes, where = above, where[::2]
    root = where[0]
    if ranks.size == 1:
        return nodes[0]
    found = broadcast(pack(nodes[0]) if me == root else None, shape, dtype, root)
    return unpack(found)


def shared_map(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield work(item) for each item, in order: on rank 0 all of them, while each rank works on every size-th item.

    Other ranks work on their items and yield nothing. All ranks iterate to the end.
    """
    ranks = current()
    for i, item in enumerate(items):
        owner = i % ranks.size
        if owner == ranks.rank == 0:
            yield work(item)
        elif owner == ranks.rank:
            content = np.frombuffer(pickle.dumps(work(item)), np.uint8)
            ranks.send(np.array([len(content)], np.int64), 0)
            ranks.send(content, 0)
        elif ranks.rank == 0:
            length = int(ranks.receive((1,), np.int64, owner)[0])
            yield pickle.loads(ranks.receive((length,), np.uint8, owner).tobytes())
    ranks.flush()


def gathered(
    rows: dict[int, np.ndarray], owners: Sequence[int] | np.ndarray, shape: tuple[int, ...], dtype: Any
) -> np.ndarray | None:
    """Return on rank 0 the array of all rows, of which row i, of this shape, is on rank owners[i]; None elsewhere."""
    ranks, owners = current(), np.asarray(owners)
    mine = [int(i) for i in np.flatnonzero(owners == ranks.rank)]
    if ranks.rank:
        if len(mine):
            ranks.send(np.stack([np.asarray(rows[i], dtype) for i in mine]), 0)
        ranks.flush()
        return None
    whole = np.empty((len(owners), *shape), dtype)
    for i in mine:
        whole[i] = rows[i]
    for rank in range(1, ranks.size):
        theirs = np.flatnonzero(owners == rank)
        if len(theirs):
            whole[theirs] = ranks.receive((len(theirs), *shape), dtype, rank)
    return whole
