"""python -m refca.evaluate: measure trained cells on test samples, and draw what they do.

Each task measures its weights in its own way: the digits as the article does, the segmentation as the paper.

Source: the article, experiment 1; the paper, section 5 and appendix; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from refca.cli import add_common_flags, add_model, complete, exit_code
from refca.data import NAMES
from refca.definition.randomness import Streams
from refca.tasks import get_task, task_names, task_of
from refca.training.run_directory import evaluation_folder
from refca.weights.load import load_weights

EXAMPLES = """examples:
  python -m refca.evaluate runs/demo                          a run: table, curves, pictures, into runs/demo
  python -m refca.evaluate model.json --data DIR              the article's published weights
  python -m refca.evaluate runs/demo --mutation both          digits: the true mutation, and a restart
  python -m refca.evaluate runs/pets --at 40,400              photographs: IoU after 400 steps too
  python -m refca.evaluate runs/pets --samples 200            photographs: the first 200 of the test set
  python -m refca.evaluate runs/pets --compare runs/full      curves of runs that have been measured, together

It writes evaluation.csv (a row a step), evaluation.json and pictures into the run directory, or for weights
alone into runs/NAME-evaluation.
"""


def main(arguments: list[str] | None = None) -> int:
    return exit_code(lambda: evaluate(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "python -m refca.evaluate",
        description="Measure trained automata on the test digits or the test photographs of a data set.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_model(p)
    p.add_argument("--dataset", choices=NAMES, help="default: the data set trained on, or mnist if unknown")
    add_common_flags(p)
    p.add_argument("--samples", metavar="N", type=int, help="number of test samples; default: all")
    p.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="digits: steps before a mutation, and after it; photographs: steps of the curves; default: 200, 400",
    )
    p.add_argument("--seed", metavar="N", type=int, default=0, help="seed of the randomness; default: 0")
    for name in task_names():
        get_task(name).report.add_flags(p.add_argument_group(f"for {get_task(name).samples}"))
    return p


def evaluate(flags: Namespace) -> int:
    weights = load_weights(flags.model)
    task = task_of(weights.experiment)
    complete(flags, task.report, [get_task(name).report for name in task_names()], task.samples)
    Streams(flags.seed)  # raises InvalidInput for an invalid seed
    task.report.run(flags, weights, evaluation_folder(flags.model, flags.out))
    return 0


if __name__ == "__main__":
    sys.exit(main())
