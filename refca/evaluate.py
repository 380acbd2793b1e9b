"""python -m refca.evaluate: measure trained weights on test samples, and draw figures.

Each task has its own report: digits are measured as in the article, segmentation as in the paper.

Source: the article, experiment 1; the paper, section 5 and appendix; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from refca.atomic import make_folder
from refca.cli import Parser, add_common_flags, add_model, complete, note, run_program
from refca.definition.randomness import Streams
from refca.distributed import current
from refca.errors import InvalidInput
from refca.tasks import all_tasks, task_of
from refca.training.checkpoint import BEST_FILE
from refca.training.run_directory import evaluation_folder, measured_in
from refca.weights.load import load_weights

EXAMPLES = """examples:
  python -m refca.evaluate runs/demo                          a run: table, curves and pictures in runs/demo
  python -m refca.evaluate model.json --data DIR              the article's published weights
  python -m refca.evaluate runs/demo --mutation both          digits: after a mutation and after a restart
  python -m refca.evaluate runs/pets --at 40,400              photographs: IoU after 40 and 400 steps
  python -m refca.evaluate runs/pets --samples 200            photographs: the first 200 of the test set
  python -m refca.evaluate runs/pets --compare runs/full      draw the curves of several measured runs together

The program writes evaluation.csv (one row for each step), evaluation.json and pictures into the run directory;
for weights without a run directory, into runs/NAME-evaluation.
"""


def main(arguments: list[str] | None = None) -> int:
    return run_program(parser(), evaluate, arguments)


def parser() -> ArgumentParser:
    p = Parser(
        "evaluate",
        description="Measure trained weights on the test digits or test photographs of a data set.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_model(p)
    p.add_argument(
        "--dataset", metavar="NAME", help="a name, or the path of your own data; default: what was trained on, or mnist"
    )
    add_common_flags(p, "folder for the results; default: the run directory, or runs/NAME-evaluation for other weights")
    p.add_argument("--samples", metavar="N", type=int, help="number of test samples; default: all")
    p.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="steps of the automaton; digits: before the mutation and again after it; photographs: length of the "
        "curves; default: 200 for digits, 400 for photographs",
    )
    p.add_argument("--seed", metavar="N", type=int, default=0, help="seed of all random numbers; default: 0")
    p.add_argument(
        "--compare",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="measure nothing; draw the curves of this run and these runs together, all measured before",
    )
    for task in all_tasks():
        task.report.add_flags(p.add_argument_group(f"for {task.samples}"))
    return p


def evaluate(flags: Namespace) -> int:
    weights = load_weights(flags.model)
    task = task_of(weights.experiment)
    complete(flags, task.report, [each.report for each in all_tasks()], task.samples)
    Streams(flags.seed)  # raises InvalidInput for an invalid seed
    out = evaluation_folder(flags.model, flags.out)
    if flags.compare:
        compare(task.report, task.samples, [flags.model, *flags.compare], out)
    else:
        task.report.run(flags, weights, out)
    return 0


def name_of(folder: Path) -> str:
    """Return the label of an evaluation in a comparison: the name of its folder, or RUN/best for the best weights."""
    folder = folder.resolve()
    return f"{folder.parent.name}/best" if folder.name == Path(BEST_FILE).stem else folder.name


def compare(report: Any, samples: str, models: list[Path], out: Path) -> None:
    """Draw the curves of models that have been measured. Raises InvalidInput for names that are not different."""
    if current().rank:
        return
    if not hasattr(report, "compare"):
        raise InvalidInput(f"--compare cannot be used with weights for {samples}, whose report draws no comparison")
    runs = {name_of(folder): (model, folder) for model in models for folder in [measured_in(model)]}
    if len(runs) < len(models):
        raise InvalidInput("--compare needs directories with different names, which label the curves")
    make_folder(out)
    note(f"see in {out}: {', '.join(report.compare(runs, out))}")


if __name__ == "__main__":
    sys.exit(main())
