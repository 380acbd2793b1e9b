"""The command line of programs that measure a kept run on digits, and the beginning of a measurement.

Source: `spec/programs.md`.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from kept import FOLDER

from refca.digits.report import begin
from refca.weights.load import load_weights


def parser(program: str, description: str, samples: int | None) -> ArgumentParser:
    """Return the parser of a program; `samples` is its default number of test digits, None for all."""
    p = ArgumentParser(f"python tools/results/{program}", description=description)
    default = "all" if samples is None else samples
    p.add_argument("name", help="name of a folder in results/ that has weights")
    p.add_argument("--data", metavar="DIR", help="folder of the data files; default: REFCA_DATA")
    p.add_argument(
        "--samples", metavar="N", type=int, default=samples, help=f"number of test digits; default: {default}"
    )
    p.add_argument("--backend", help="backend; default: cpu, or reference where numba is missing")
    p.add_argument("--into", metavar="DIR", type=Path, default=FOLDER, help="folder of results; default: results/")
    return p


def begin_measuring(flags: Namespace, steps: int, out: Path) -> tuple[Any, ...]:
    """Return the parameters of a kept run, and what `refca.digits.report.begin` returns for it."""
    weights = load_weights(flags.into / flags.name)
    asked = {"model": flags.name, "steps": steps, "seed": 0, "noise": None, "dataset": None, "device": None}
    return weights.params, *begin(Namespace(**(vars(flags) | asked)), weights, out)
