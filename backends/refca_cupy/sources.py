"""The programs that a compiler gets: NVRTC, nvcc, or the C++ compiler of a processor.

A program says what it is built for, declares what Python and the kernels share, and includes files of `cuda/`,
which include what they need.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from refca.definition.cell import Cell
from refca_cupy.adam import ADAM
from refca_cupy.layout import FIXED, declaration, settings

FOLDER = Path(__file__).parent / "cuda"
KERNELS = {"unroll": "kernels.cu", "initial": "initial.cu", "adam": "adam_step.cu"}  # by module
THREADS = 256  # of a block, at most; as two blocks are on a multiprocessor
SHARED = ("nothing", "weights", "states")  # what blocks keep in shared memory: what is named, and all before it
REALS = {"float32": "float", "float64": "double"}


@cache
def source(
    machine: str,
    module: str,
    dtype: str,
    cell: Cell | None = None,
    team: int = 1,
    whole: bool = True,
    tensor_cores: bool = True,
    shared: str = "nothing",
) -> str:
    """The program of a module for machine "gpu" or "emulator", in one dtype; with a cell's settings built in.

    The blocks of a team of more than one are a cluster. A launch makes all steps, or at most one if not `whole`.
    Products are on tensor cores if the machine has them, in float32: these have products of float64 too, but a
    program in float64 is for checking, and follows the plain sum. Blocks keep `shared`, one of SHARED, in their
    shared memory.
    """
    lines = [f"// Files: {digest()}", f"#define TEAM {team}", f"#define WHOLE {int(whole)}"]
    lines += [f"#define TENSOR_CORES {int(tensor_cores and dtype == 'float32')}"]
    lines += [f"#define {name.upper()}_AT_HAND {int(SHARED.index(shared) >= i)}" for i, name in enumerate(SHARED) if i]
    lines += [f"#define THREADS {threads(team, shared)}", f"typedef {REALS[dtype]} real;"]
    if cell is not None:
        built_in = settings(cell)
        lines += ["#define FIXED", *(f"#define FIXED_{name} {built_in[name]}" for name in FIXED)]
    declared = ADAM if module == "adam" else declaration()
    return "\n".join([*lines, f'#include "{machine}.h"', declared, f'#include "{KERNELS[module]}"', ""])


def threads(team: int, shared: str) -> int:
    """The threads of a block: twice as many where it has a multiprocessor and a whole sample to itself."""
    return 2 * THREADS if shared == "states" and team == 1 else THREADS


@cache
def files() -> dict[str, str]:
    """The files of `cuda/` by name."""
    return {path.name: path.read_text("utf-8") for path in sorted(FOLDER.iterdir())}


@cache
def digest() -> str:
    """A digest of all files, for caches of what was built from them."""
    return hashlib.sha256("\0".join(files().values()).encode()).hexdigest()[:16]
