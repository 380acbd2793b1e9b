"""Benchmark of the cupy backend on a GPU, beside PyTorch and JAX doing the same work.

    make gpu-bench FLAGS="[--only digits|pets] [--small] [--minutes 8.5]"
    PYTHONPATH=.:backends:spec python3 benchmarks/gpu.py       what that runs; nothing has to be installed
    … --device cpu --backend cpu --small                       to try it where there is no GPU

Digits: forward, backward and all gradients of 20 steps at 28×28; the whole training step with normalised
gradients and Adam; 200 steps of 10,000 digits. Photographs: a mini-unroll of 10 steps with the cross-entropy
of every step, forward and backward. All draw their own randomness. In float32 without TF32; what the peers
reach with it is said below the table.

Loss, gradients and last state of each are first compared with the reference in float64, on a few samples and
recorded draws; refca's large batches also with their halves. A time is the median of many turns, one
contestant after the other; a turn is as many runs as fill a tenth of a second, with one wait for the device
at its end. A cell update is of a cell that is alive and fires: the peers compute all others too. The floor
is that of `gpu_problems.py`, with both ceilings measured here. Nothing else should run beside it.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter

from gpu_device import missing, no_gpu

SETTINGS = "depthwise-instance,full-instance"


def refused(flags: Namespace) -> str:
    """Return the reason why nothing can be timed here, or None."""
    return missing() or (no_gpu() if flags.device == "gpu" else "")


def arguments() -> Namespace:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("digits", "pets"))
    parser.add_argument("--settings", default=SETTINGS, help="of photographs, as in pets.py")
    parser.add_argument("--small", action="store_true", help="tiny problems, few rounds: to see that it works")
    parser.add_argument("--minutes", type=float, default=8.5, help="no problem is begun in the last of them")
    parser.add_argument("--budget", type=float, default=90, help="seconds for a contestant to be ready")
    parser.add_argument("--backend", default="cupy", help="refca's")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    return parser.parse_args()


def main() -> int:
    flags = arguments()
    if why := refused(flags):
        print(f"refca: {why}", file=sys.stderr)
        return 2
    from gpu_events import compare  # these need what may be missing

    from refca.cli import exit_code

    return exit_code(lambda: compare(flags))


if __name__ == "__main__":
    sys.exit(main())
