"""MPI launchers for the tests: those whose command is on the path or in REFCA_MPIRUN, `:` between several."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

ONE_THREAD = {"REFCA_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@cache
def launchers() -> list[str]:
    """Return the paths of the mpirun commands whose MPI library mpi4py can use."""
    named = [path for path in os.environ.get("REFCA_MPIRUN", "").split(":") if path]
    found = named or [path for path in [shutil.which("mpirun")] if path]
    return [path for path in found if works(path)]


def works(path: str) -> bool:
    code = "from mpi4py import MPI; raise SystemExit(MPI.COMM_WORLD.size != 2)"
    return subprocess.run(command(path, 2, "-c", code), env=environment(path), capture_output=True).returncode == 0


def command(path: str, ranks: int, *arguments: str) -> list[str]:
    """Return the command that starts Python on some ranks, also if they are more than the processors."""
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    more = ["--allow-run-as-root", "--oversubscribe"] if "Open MPI" in said else []
    return [path, *more, "-n", str(ranks), sys.executable, *arguments]


def environment(path: str) -> dict[str, str]:
    """Return the environment for a launcher: its library is found beside it."""
    libraries = str(Path(path).parents[1] / "lib")
    others = [x for x in [os.environ.get("LD_LIBRARY_PATH")] if x]
    return os.environ | ONE_THREAD | {"LD_LIBRARY_PATH": os.pathsep.join([libraries, *others])}


def pid_of(rank: int, out: Path) -> int | None:
    """Return the process of a rank that trains in a folder, if it is there."""
    wanted = {f"{name}={rank}".encode() for name in ("PMI_RANK", "OMPI_COMM_WORLD_RANK")}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        launcher = any(word.endswith((b"mpirun", b"prterun")) for word in words[:1])
        if os.fsencode(out) in words and not launcher and wanted & set(variables):
            return int(folder.name)
    return None
