"""python -m refca: list the programs of refca."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from refca.cli import Parser, run_program

PROGRAMS = {  # name: what it does, and an example
    "train": ("train an automaton on digits, on photographs, or on your own data", "--experiment demo --out runs/demo"),
    "evaluate": ("measure trained weights: table, curves and pictures", "runs/demo"),
    "robustness": ("measure how a digits automaton copes with inputs unlike its training data", "runs/demo"),
    "predict": ("apply trained weights to pictures, folders and films", "digits seven.png"),
    "sweep": ("train a table of experiments and seeds, here or as a Slurm job array", "TABLE.toml"),
    "playground": ("draw on the cells in a browser", "--no-browser"),
}
LAWS = "pytest --pyargs refca_spec --refca-backend mypkg.mymodule"


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), show, arguments)


def show(flags: Namespace) -> int:
    print(overview())
    return 0


def parser() -> ArgumentParser:
    return Parser(
        "refca",
        description="List the programs of refca: neural cellular automata, specified, trained and measured.",
        formatter_class=RawDescriptionHelpFormatter,
        epilog=overview(),
    )


def overview() -> str:
    """Return the programs, each with what it does and an example."""
    lines = ["programs, each also installed as refca-NAME; --help explains their flags:", ""]
    for name, (words, example) in PROGRAMS.items():
        lines += [f"  {name:12}{words}", f"  {'':12}    python -m refca.{name} {example}"]
    return "\n".join([*lines, "", "laws, which check an implementation of your own:", "", f"  {LAWS}"])


if __name__ == "__main__":
    sys.exit(main())
