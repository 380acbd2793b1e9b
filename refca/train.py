"""python -m refca.train: train one experiment and write a run directory.

Source: the article, experiment 1; the paper, section 3; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from refca.cli import Parser, run_program
from refca.fitting import add_train_flags, train
from refca.tasks import describe_experiment, experiment_names

EXAMPLES = """examples:
  python -m refca.train --experiment demo                     small digits, no download, two minutes
  python -m refca.train --data DIR --steps 10000              a short run on MNIST, in DIR or DIR/mnist
  python -m refca.train --experiment digits-ce --seed 1       the article's model with cross-entropy loss
  python -m refca.train --experiment pets-48-small            photographs of pets, small enough for a CPU
  python -m refca.train --dataset nuclei                      pictures of your own: see docs/own-data.md
  python -m refca.train --out runs/digits-ce-seed1 --resume   continue a stopped run

The run directory holds settings.toml, metrics.csv and checkpoint.safetensors, and at the end
weights.safetensors and loss.png. To measure it: python -m refca.evaluate DIR.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), run, arguments)


def parser() -> ArgumentParser:
    p = Parser(
        "train",
        usage="%(prog)s [--experiment NAME] [--out DIR [--resume]] [flags]",
        description="Train a neural cellular automaton to classify digits or to segment photographs. "
        "A named experiment gives the settings; the flags below change its settings.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_train_flags(p)
    return p


def list_experiments() -> str:
    """Return a table of all experiments: name and description."""
    names = experiment_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {describe_experiment(name)}" for name in names)


def run(flags: Namespace) -> int:
    """List the experiments, or train."""
    if flags.list:
        print(list_experiments())
        return 0
    return train(flags)


if __name__ == "__main__":
    sys.exit(main())
