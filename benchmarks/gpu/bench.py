"""Measure how fast the cupy backend is on this GPU, beside PyTorch and JAX doing the same work.

    make gpu-bench FLAGS="[--only digits|pets|large] [--all] [--small] [--minutes 8.5]"
    PYTHONPATH=.:backends:spec:benchmarks python3 -m gpu.bench     what that runs; nothing has to be installed
    ... --device cpu --backend cpu --small                         to try it where there is no GPU

Digits: forward, backward and all gradients of 20 steps at 28x28; the whole training step with normalised
gradients and Adam; 200 steps of 10,000 digits. Photographs: a mini-unroll of 10 steps with the cross-entropy
of every step, forward and backward. All draw their own randomness. In float32 without TF32; with --all the
times of the peers with TF32 stand below the table.

Loss, gradients and last state of each contestant are first compared with the reference in float64, on a few
samples and recorded draws; refca's large batches also with their halves. All contestants of all problems
prepare at the same time, each in a process of its own; then they take turns, one problem after the other. Only
a batch of 4,096 digits comes after that, contestant by contestant, because each needs the memory.

A time is the median of many turns. A turn is as many runs as fill a tenth of a second, with one wait for the
device at its end. A cell update is an update of a cell that is alive and fires: the peers compute all others
too. The floor is defined in `problems.py`, with both ceilings measured here. Nothing else should run beside it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from gpu.check import missing, no_gpu

SETTINGS = "depthwise-instance,full-instance"


def reason(flags: Namespace) -> str:
    """The reason why nothing can be timed here, or an empty string."""
    return missing() or (no_gpu() if flags.device == "gpu" else "")


def arguments() -> Namespace:
    """Parse the command line."""
    parser = ArgumentParser(prog="gpu.bench", description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("digits", "pets", "large"), help="large: the batch of 4,096 digits")
    parser.add_argument("--settings", default=SETTINGS, help="of photographs, as in pets.py")
    parser.add_argument("--all", action="store_true", help="also slower ways of PyTorch, TF32, and 96x96")
    parser.add_argument("--small", action="store_true", help="tiny problems, few rounds: to see that it works")
    parser.add_argument("--minutes", type=float, default=8.5, help="the time for all of it")
    parser.add_argument("--budget", type=float, default=180, help="seconds in which contestants have to be ready")
    parser.add_argument("--go", metavar="FILE", help="time nothing until this file exists")
    parser.add_argument("--out", metavar="FILE", help="write all times to this JSON file too")
    parser.add_argument("--backend", default="cupy", help="the backend of refca")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    return parser.parse_args()


def main() -> int:
    flags = arguments()
    if why := reason(flags):
        print(f"refca: {why}", file=sys.stderr)
        return 2
    from gpu.events import compare  # these need what may be missing
    from refca.cli import exit_code

    return exit_code(lambda: compare(flags))


if __name__ == "__main__":
    sys.exit(main())
