"""python -m refca.train: train one experiment and write a run directory.

Source: the article, experiment 1; the paper, section 3; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from refca.cli import Parser, add_common_flags, run_program
from refca.fitting import CHECKPOINT_EVERY, train
from refca.tasks import DEFAULT, all_tasks, describe_experiment, experiment_names, get_task
from refca.training.flags import add_setting_flags

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
    default = get_task(DEFAULT).default_experiment
    p.add_argument(
        "--experiment",
        metavar="NAME",
        help=f"name of an experiment (see --list), or a .toml file; default: {default}, and for your own data "
        "own-classification or own-segmentation",
    )
    p.add_argument("--list", action="store_true", help="list all experiments and exit")
    add_common_flags(p, "the run directory, for everything that is written; default: runs/NAME-seedN")
    p.add_argument(
        "--drop-log",
        action="store_true",
        help="with --resume: begin metrics.csv anew if it is missing or was changed",
    )
    p.add_argument(
        "--seeds",
        metavar="N,N",
        help="train once for each of these seeds, into --out-seedN, and print a summary; with --resume, continue the "
        "runs that have begun and begin the others",
    )
    p.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in --out; at a constant learning rate a larger --steps continues a finished one",
    )
    p.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write the rows of metrics.csv and validation.csv as TensorBoard event files into --out",
    )
    p.add_argument(
        "--checkpoint-every",
        metavar="N",
        type=int,
        default=CHECKPOINT_EVERY,
        help="training steps between checkpoints; default: 1000",
    )
    add_setting_flags(p, all_tasks())
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
