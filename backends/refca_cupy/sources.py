"""The kernels' source, put together for a compiler: NVRTC, nvcc, or that of the processor."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from refca.definition.cell import Cell
from refca_cupy.descent import DESCENT
from refca_cupy.layout import FIXED, declaration, settings

FILES = {  # of a module
    "unroll": (
        "unroll.h",
        "products.h",
        "draws.h",
        "rows.h",
        "norms.h",
        "step.h",
        "step_grad.h",
        "kernels.cu",
    ),
    "initial": ("unroll.h", "products.h", "draws.h", "initial.cu"),
    "descend": ("descend.cu",),
}
THREADS = 256  # of a block, at most
NUMBERS = {"float32": "float", "float64": "double"}


@cache
def source(machine: str, module: str, dtype: str, cell: Cell | None = None, team: int = 1, whole: bool = True) -> str:
    """The source of a module for machine "cuda" or "emulator", in one dtype; with a cell's settings built in.

    Blocks of a team of more than one are a cluster. A launch makes all steps, or if not `whole` at most one.
    """
    parts = [f"#define TEAM {team}", f"#define WHOLE {int(whole)}", f"#define THREADS {THREADS}"]
    parts += [f"typedef {NUMBERS[dtype]} real;"]
    if cell is not None:
        built_in = settings(cell)
        parts += ["#define FIXED", *(f"#define FIXED_{name} {built_in[name]}" for name in FIXED)]
    return "\n".join([*parts, text(f"{machine}.h"), declaration(), DESCENT, *map(text, FILES[module])])


@cache
def text(name: str) -> str:
    """A file, with its name for the compiler's messages."""
    return f'#line 1 "{name}"\n{(files("refca_cupy") / "cuda" / name).read_text("utf-8")}'
