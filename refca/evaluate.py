"""python -m refca.evaluate: measure trained cells on what they have not seen, and draw what they do.

Weights of digits are measured as the article does it (`evaluate_digits.py`), those of photographs as the
paper does it (`evaluate_pets.py`).

Source: the article, experiment 1; the paper, section 5 and appendix; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from pathlib import Path
from typing import Any

from refca import evaluate_digits, evaluate_pets
from refca.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, load_weights
from refca.data import CLASSES, NAMES
from refca.evaluation import MUTATIONS
from refca.experiment import PetsExperiment
from refca.palette import PALETTES
from refca.programs import add_common_flags, add_model, exit_code
from refca.randomness import Streams
from refca.refused import Refused

FOR_DIGITS: dict[str, Any] = {"mutation": "carry", "noise": None, "palette": "article"}
FOR_PETS: dict[str, Any] = {
    "size": None,
    "at": "40",
    "curve_samples": None,
    "every": 40,
    "shift": 4,
    "adversarial": None,
    "compare": None,
}
STEPS = {"digits": 200, "photographs": 400}
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
    return exit_code(lambda: run(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "python -m refca.evaluate",
        description="Measure trained automata on the test digits or the test photographs of a dataset.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add_model(p)
    p.add_argument("--dataset", choices=NAMES, help="default: the one trained on; mnist if not known")
    add_common_flags(p)
    p.add_argument("--samples", metavar="N", type=int, help="test digits or photographs; default: all")
    p.add_argument(
        "--steps",
        metavar="N",
        type=int,
        help="digits: before a mutation, and after it; photographs: of the curves; default: 200, 400",
    )
    p.add_argument("--seed", metavar="N", type=int, default=0, help="of the randomness; default: 0")
    digits = p.add_argument_group("for digits")
    digits.add_argument(
        "--mutation",
        choices=MUTATIONS,
        help="what happens after --steps: states are carried over to another digit, start from zero on it, "
        "both in turn, or nothing; default: carry",
    )
    digits.add_argument(
        "--noise", metavar="X", type=float, help="residual noise; default: as trained, 0.02 if not known"
    )
    digits.add_argument("--palette", choices=tuple(PALETTES), help="default: article")
    pets = p.add_argument_group("for photographs")
    pets.add_argument("--size", metavar="N", type=int, help="pixels of a side; default: the one trained on")
    pets.add_argument(
        "--at", metavar="N,N", help="steps after which all --samples are measured, as 40,400; default: 40"
    )
    pets.add_argument(
        "--curve-samples", metavar="N", type=int, help="photographs of the curves; default: 64, or --samples"
    )
    pets.add_argument(
        "--every",
        metavar="N",
        type=int,
        help="steps after which photographs change in the curves; default: 40",
    )
    pets.add_argument("--shift", metavar="N", type=int, help="pixels by which they shift; default: 4")
    pets.add_argument(
        "--adversarial",
        nargs="?",
        const=CLASSES[0],
        choices=CLASSES,
        help="change a corner of a few photographs until cells say this label, background if none is named",
    )
    pets.add_argument(
        "--compare",
        nargs="+",
        metavar="RUN",
        type=Path,
        help="measure nothing: draw the curves of this run and of these, all measured before",
    )
    return p


def run(flags: Namespace) -> int:
    weights = load_weights(flags.model)
    pets = isinstance(weights.experiment, PetsExperiment)
    complete(flags, "photographs" if pets else "digits")
    out = Path(flags.out or default_out(flags.model))
    taken = any((out / file).exists() for file in (CHECKPOINT_FILE, WEIGHTS_FILE))
    if taken and out.resolve() != folder_of(flags.model).resolve():
        raise Refused(f"{out} holds another run, whose evaluation would be lost; give another --out")
    Streams(flags.seed)  # refuses a seed that is none
    if flags.compare:
        evaluate_pets.compare([(model, measured(model)) for model in (flags.model, *flags.compare)], out)
        return 0
    program = evaluate_pets if pets else evaluate_digits
    program.run(flags, weights, out)
    return 0


def complete(flags: Namespace, kind: str) -> None:
    """Give flags of this kind their defaults. Raises Refused for flags of the other kind."""
    mine, others = (FOR_DIGITS, FOR_PETS) if kind == "digits" else (FOR_PETS, FOR_DIGITS)
    for name in others:
        if getattr(flags, name) is not None:
            raise Refused(f"--{name.replace('_', '-')} is not for weights of {kind}, as {flags.model} are")
    for name, default in {**mine, "steps": STEPS[kind]}.items():
        if getattr(flags, name) is None:
            setattr(flags, name, default)
    if flags.steps < 1:
        raise Refused(f"--steps must be at least 1, got {flags.steps}")


def default_out(model: Path) -> Path:
    """The run that a model belongs to, known by its checkpoint, or a directory named after the model.

    A file that is called weights.safetensors goes by the name of its folder.
    """
    folder = folder_of(model)
    if model.exists() and (folder / CHECKPOINT_FILE).exists():
        return folder
    by_folder = model.is_dir() or model.name == WEIGHTS_FILE
    return Path("runs") / f"{folder.resolve().name if by_folder else model.stem}-evaluation"


def measured(model: Path) -> Path:
    """Where a model's evaluation is: in its own folder, or where it is written by default."""
    return model if (model / "evaluation.csv").exists() else default_out(model)


def folder_of(model: Path) -> Path:
    return model if model.is_dir() else model.parent


if __name__ == "__main__":
    sys.exit(main())
