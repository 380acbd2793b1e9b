"""python -m refca.robustness: measure trained weights on inputs unlike their training data.

Source: the article, "Robustness to out-of-distribution shapes"; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from refca.cli import Parser, add_common_flags, add_model, complete, run_program
from refca.definition.randomness import Streams
from refca.errors import InvalidInput
from refca.tasks import all_tasks, task_of
from refca.training.run_directory import default_out, evaluation_folder
from refca.weights.load import load_weights

EXAMPLES = """examples:
  python -m refca.robustness runs/digits-l2-noise-seed0 --data DIR    1,000 digits, a few minutes
  python -m refca.robustness model.json --data DIR --samples 10000    all test digits

The program writes robustness.json, perturbations.csv, chimeras.csv, erased.csv and pictures into the folder
robustness of the run directory; for weights without a run directory, of runs/NAME-evaluation.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), robustness, arguments)


def parser() -> ArgumentParser:
    p = Parser(
        "robustness",
        description="Measure how trained weights cope with inputs unlike their training data: other sizes, stroke "
        "widths and positions, digits from another source, erased halves, and chimeras of two digits.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_model(p)
    p.add_argument(
        "--dataset", metavar="NAME", help="a name, or the path of your own data; default: what was trained on, or mnist"
    )
    add_common_flags(p, "folder for the results; default: robustness in the folder that refca.evaluate writes into")
    p.add_argument(
        "--samples", metavar="N", type=int, help="number of test samples; default: 1,000, or all if there are fewer"
    )
    p.add_argument("--steps", metavar="N", type=int, help="steps from the initial state; default: 200")
    p.add_argument("--seed", metavar="N", type=int, default=0, help="seed of all random numbers; default: 0")
    for task in all_tasks():
        if task.robustness:
            task.robustness.add_flags(p.add_argument_group(f"for {task.samples}"))
    return p


def robustness(flags: Namespace) -> int:
    weights = load_weights(flags.model)
    tasks = all_tasks()
    task = task_of(weights.experiment)
    if not task.robustness:
        measured = ", ".join(other.samples for other in tasks if other.robustness)
        raise InvalidInput(
            f"{flags.model} holds weights for {task.samples}, but robustness is measured for {measured} only"
        )
    complete(flags, task.robustness, [other.robustness for other in tasks if other.robustness], task.samples)
    Streams(flags.seed)  # raises InvalidInput for an invalid seed
    task.robustness.run(
        flags, weights, evaluation_folder(flags.model, flags.out or str(default_out(flags.model) / "robustness"))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
