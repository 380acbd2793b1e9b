"""python -m refca.train: train the cells of one experiment, into a run directory.

Source: the article, experiment 1; `spec/programs.md`.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import fields
from math import isfinite
from pathlib import Path
from typing import Any

from refca.checkpoint import Progress, load_checkpoint, save_checkpoint, save_weights
from refca.data import Split, load
from refca.experiment import Experiment, experiment_names, load_experiment
from refca.files import replacing
from refca.metrics import cell_accuracy, total_agreement
from refca.metrics_file import EVERY, MetricsFile, read_metrics
from refca.programs import (
    add_common_flags,
    choose_backend,
    describe_backend,
    exit_code,
    progress_bar,
    stoppable,
    warm_up,
)
from refca.refused import Refused
from refca.step import alive, readout
from refca.training import begin, train_step

DEFAULT = "digits-l2-noise"
EXAMPLES = """examples:
  python -m refca.train --experiment demo                     digits that come along, two minutes
  python -m refca.train --data DIR --steps 10000              MNIST, in DIR or DIR/mnist, a short run
  python -m refca.train --experiment digits-ce --seed 1       the article's CE model, as it was trained
  python -m refca.train --out runs/digits-ce-seed1 --resume   go on with a run that was stopped

A run directory holds settings.toml, metrics.csv, checkpoint.safetensors, and at the end
weights.safetensors and loss.png. Measure it with python -m refca.evaluate.
"""


def main(arguments: list[str] | None = None) -> int:
    return exit_code(lambda: train(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "python -m refca.train",
        description="Train self-classifying digits.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    p.add_argument(
        "--experiment",
        metavar="NAME",
        help=f"{', '.join(experiment_names())}, or a .toml file; default: {DEFAULT}",
    )
    add_common_flags(p)
    p.add_argument("--resume", action="store_true", help="go on with the run in --out, with its settings")
    p.add_argument(
        "--checkpoint-every", metavar="N", type=int, default=1000, help="training steps; default: 1000"
    )
    settings = p.add_argument_group(f"settings, to change some of the experiment's [those of {DEFAULT}]")
    for f in fields(Experiment):
        choices = f.metadata["choices"]
        shown = f": {', '.join(choices)}" if choices else ""
        settings.add_argument(
            f"--{f.name}",
            metavar="X",
            type=type(f.default),
            help=f"{f.metadata['help']}{shown} [{f.default}]",
        )
    return p


def train(flags: Namespace) -> int:
    if flags.checkpoint_every < 1:
        raise Refused(f"--checkpoint-every must be at least 1, got {flags.checkpoint_every}")
    given = {f.name: getattr(flags, f.name) for f in fields(Experiment)}
    changes = {name: value for name, value in given.items() if value is not None}
    name, backend = choose_backend(flags.backend)
    if flags.resume:
        out, experiment, progress = resume(flags, changes, backend)
        digits = load(experiment.dataset, flags.data).train
        if digits.fingerprint() != progress.data:
            raise Refused(
                f"the run in {out} learned from other digits than those of {experiment.dataset} here"
            )
    else:
        experiment = load_experiment(flags.experiment or DEFAULT).with_(**changes)
        out = new_run(flags, experiment)
        digits = load(experiment.dataset, flags.data).train
        progress = begin(experiment, backend, digits)
    weights = sum(x.size for x in progress.params.values())
    print(
        f"{describe_backend(name, backend)}; {experiment.dataset}, {len(digits):,} digits to learn from; "
        f"{weights:,} parameters; writing to {out}"
    )
    with replacing(out / "settings.toml") as temporary:
        temporary.write_text(experiment.toml())
    try:
        return run(experiment, backend, digits, progress, out, flags.checkpoint_every)
    except OSError as error:
        cause = f"{error.strerror or error}; once that is mended, go on with {again(out)}"
    except Diverged as error:
        cause = f"{error}: training diverged; {out} keeps the last checkpoint; try a lower --rate elsewhere"
    raise Refused(cause)


def again(out: Path) -> str:
    """The command that goes on with a run."""
    return f"python -m refca.train --out {out} --resume"


class Diverged(Refused):
    """Training left the finite numbers."""


def new_run(flags: Namespace, experiment: Experiment) -> Path:
    """The directory of a new run. Raises Refused if another run is in it."""
    source = Path(flags.experiment or DEFAULT).stem
    out = Path(flags.out or f"runs/{source}-seed{experiment.seed}")
    for file in ("checkpoint.safetensors", "weights.safetensors"):
        if (out / file).exists():
            raise Refused(f"{out} already holds a run; go on with it: {again(out)}; or give another --out")
    return out


def resume(flags: Namespace, changes: dict[str, Any], backend: Any) -> tuple[Path, Experiment, Progress]:
    """A run that was stopped: its directory, settings and progress. Raises Refused if it cannot go on."""
    if not flags.out:
        raise Refused("--resume needs --out, the directory of the run to go on with")
    out = Path(flags.out)
    checkpoint = out / "checkpoint.safetensors"
    if not checkpoint.exists():
        raise Refused(f"{out} holds no checkpoint to resume from; start the run without --resume")
    experiment, progress = load_checkpoint(checkpoint, backend.asarray)
    asked = (load_experiment(flags.experiment) if flags.experiment else experiment).with_(**changes)
    for f in fields(Experiment):
        mine, theirs = getattr(experiment, f.name), getattr(asked, f.name)
        if mine != theirs:
            raise Refused(
                f"the run in {out} has {f.name} {mine}, not {theirs}; a resumed run keeps its settings"
            )
    return out, experiment, progress


def run(
    experiment: Experiment, backend: Any, digits: Split, progress: Progress, out: Path, checkpoint_every: int
) -> int:
    """Train to the end, or until asked to stop; either way the checkpoint is that of the last step done."""
    cell = experiment.cell
    warm_up(backend, cell, gradients=True)
    with (
        MetricsFile(out / "metrics.csv", progress.done) as log,
        progress_bar(experiment.steps, progress.done) as bar,
        stoppable() as stop_asked,
    ):

        def save() -> None:
            log.sync()
            try:
                save_checkpoint(out / "checkpoint.safetensors", experiment, progress, backend.asnumpy)
            except Refused as error:
                raise Diverged(error) from error

        save()
        while progress.done < experiment.steps and not stop_asked():
            loss, image, label, state = train_step(experiment, backend, digits, progress)
            if not isfinite(loss):
                raise Diverged(f"the loss of training step {progress.done} is {loss}")
            if progress.done % EVERY == 0 or progress.done == experiment.steps:
                said, live = readout(cell, progress.params, state), alive(cell, image)
                accuracy, agreement = cell_accuracy(said, label, live), total_agreement(said, live)
                log.add(step=progress.done, loss=loss, accuracy=accuracy, agreement=agreement)
                bar.set_postfix_str(f"loss {loss:.3g}, accuracy {accuracy:.0%}", refresh=False)
            if progress.done % checkpoint_every == 0:
                save()
            bar.update()
        save()
    if progress.done < experiment.steps:
        steps = "step" if progress.done == 1 else "steps"
        print(f"stopped after {progress.done:,} {steps}; go on with {again(out)}", file=sys.stderr)
        return 130
    save_weights(
        out / "weights.safetensors",
        experiment,
        {name: backend.asnumpy(x) for name, x in progress.params.items()},
        progress.done,
    )
    draw_loss(out)
    print(f"done; see {out / 'loss.png'}, and measure it: python -m refca.evaluate {out}")
    return 0


def draw_loss(out: Path) -> None:
    from refca.figures import loss_curve

    loss_curve(read_metrics(out / "metrics.csv"), out / "loss.png")


if __name__ == "__main__":
    sys.exit(main())
