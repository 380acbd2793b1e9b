"""python -m refca.train: train the cells of one experiment, into a run directory.

Source: the article, experiment 1; the paper, section 3; `spec/programs.md`.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from dataclasses import fields
from pathlib import Path
from typing import Any

from refca.atomic import write_text
from refca.cli import STOPPED, add_common_flags, choose_backend, describe_backend, exit_code, memory_for
from refca.errors import Diverged, InvalidInput
from refca.tasks import (
    DEFAULT,
    describe_experiment,
    experiment_names,
    get_task,
    load_experiment,
    lookup,
    task_names,
    task_of,
)
from refca.training.checkpoint import CHECKPOINT_FILE, WEIGHTS_FILE, load_checkpoint
from refca.training.experiment import Experiment
from refca.training.flags import add_setting_flags, settings, shown
from refca.training.loop import fit
from refca.training.metrics_log import read_metrics
from refca.training.train_state import TrainState

EXAMPLES = """examples:
  python -m refca.train --experiment demo                     digits that come along, two minutes
  python -m refca.train --data DIR --steps 10000              MNIST, in DIR or DIR/mnist, a short run
  python -m refca.train --experiment digits-ce --seed 1       the article's CE model, as it was trained
  python -m refca.train --experiment pets-48-small            photographs of pets, sized for a CPU
  python -m refca.train --out runs/digits-ce-seed1 --resume   go on with a run that was stopped

A run directory holds settings.toml, metrics.csv, checkpoint.safetensors, and at the end
weights.safetensors and loss.png. Measure it with python -m refca.evaluate.
"""


def main(arguments: list[str] | None = None) -> int:
    return exit_code(lambda: train(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = ArgumentParser(
        "python -m refca.train",
        usage="%(prog)s [--experiment NAME] [--out DIR [--resume]] [flags]",
        description="Train self-classifying digits, or the segmentation of photographs.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    default = get_task(DEFAULT).default_experiment
    p.add_argument("--experiment", metavar="NAME", help=f"an experiment by name, or a .toml file; default: {default}")
    p.add_argument("--list", action="store_true", help="list all experiments and exit")
    add_common_flags(p)
    p.add_argument("--resume", action="store_true", help="continue the run in --out, with its settings")
    p.add_argument("--checkpoint-every", metavar="N", type=int, default=1000, help="training steps; default: 1000")
    add_setting_flags(p, tasks())
    return p


def tasks() -> list[Any]:
    return [get_task(name) for name in task_names()]


def list_experiments() -> str:
    """A table of all experiments: name, and the sentence in its file."""
    names = experiment_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {describe_experiment(name)}" for name in names)


def train(flags: Namespace) -> int:
    if flags.checkpoint_every < 1:
        raise InvalidInput(f"--checkpoint-every must be at least 1, got {flags.checkpoint_every}")
    if flags.list:
        print(list_experiments())
        return 0
    changes = {name: getattr(flags, name) for name in settings(tasks()) if getattr(flags, name) is not None}
    name, backend = choose_backend(flags.backend, flags.device)
    if flags.resume:
        out, experiment, train_state = resume(flags, changes, backend)
        training = task_of(experiment).training
        samples = training.load_samples(experiment, flags.data)
        if samples.fingerprint() != train_state.data:
            raise InvalidInput(
                f"the run in {out} was trained on other {experiment.samples} than those of {experiment.dataset} here"
            )
        training.check_samples(out / CHECKPOINT_FILE, experiment, train_state.buffer, samples)
    else:
        experiment = load_experiment(flags.experiment or get_task(DEFAULT).default_experiment)
        experiment = experiment.with_(**changes)
        out = new_run(flags, experiment)
        training = task_of(experiment).training
        samples = training.load_samples(experiment, flags.data)
        train_state = training.begin(experiment, backend, samples)
    weights = sum(x.size for x in train_state.params.values())
    initial = f", initial weights {experiment.init_from}" if experiment.init_from else ""
    print(
        f"{describe_backend(name, backend)}; {experiment.dataset}, {len(samples):,} training "
        f"{experiment.samples}; {weights:,} parameters{initial}; writing to {out}"
    )
    write_text(out / "settings.toml", experiment.toml())
    what = f"{len(samples):,} {experiment.samples} and an unrolled batch of {experiment.batch}"
    try:
        half = max(1, experiment.batch // 2)
        with memory_for(what, f"begin another run with --batch {half}, which needs about half as much"):
            finished = fit(training, experiment, backend, samples, train_state, out, flags.checkpoint_every)
    except OSError as error:
        then = f"resume with {again(out, flags)}" if (out / CHECKPOINT_FILE).exists() else "start it again"
        raise InvalidInput(f"{error.strerror or error}; once that is mended, {then}") from error
    except Diverged as error:
        raise InvalidInput(
            f"{error}: training diverged; {out} keeps the last checkpoint; try a lower --learning-rate in another --out"
        ) from error
    if not finished:
        steps = "step" if train_state.done == 1 else "steps"
        print(f"stopped after {train_state.done:,} {steps}; resume with {again(out, flags)}", file=sys.stderr)
        return STOPPED
    see = f"see {out / 'loss.png'}, and " if draw_loss(out) else ""
    print(f"done; {see}measure it: python -m refca.evaluate {shlex.quote(str(out))}{same(flags)}")
    return 0


def again(out: Path, flags: Namespace) -> str:
    """The command that resumes a run."""
    return f"python -m refca.train --out {shlex.quote(str(out))} --resume{same(flags)}"


def same(flags: Namespace) -> str:
    """The flags that a following command needs again: where the data is, and what to compute on."""
    given = {name: getattr(flags, name) for name in ("data", "backend", "device")}
    return "".join(f" --{name} {shlex.quote(str(x))}" for name, x in given.items() if x is not None)


def new_run(flags: Namespace, experiment: Experiment) -> Path:
    """The directory of a new run. Raises InvalidInput if it holds another run."""
    source = Path(flags.experiment or get_task(DEFAULT).default_experiment).stem
    out = Path(flags.out or f"runs/{source}-seed{experiment.seed}")
    if (out / CHECKPOINT_FILE).exists():
        raise InvalidInput(f"{out} already holds a run; resume it with {again(out, flags)}; or give another --out")
    if (out / WEIGHTS_FILE).exists():
        raise InvalidInput(f"{out} holds weights, which would be lost; give another --out")
    return out


def resume(flags: Namespace, changes: dict[str, Any], backend: Any) -> tuple[Path, Experiment, TrainState]:
    """The directory, settings and state of a run that was stopped. Raises InvalidInput if it cannot go on."""
    if not flags.out:
        raise InvalidInput("--resume needs --out, the directory of the run to resume")
    out = Path(flags.out)
    checkpoint = out / CHECKPOINT_FILE
    if not checkpoint.exists():
        raise InvalidInput(f"{out} holds no checkpoint to resume from; start the run without --resume")
    experiment, train_state = load_checkpoint(checkpoint, lookup, backend.asarray)
    asked = (load_experiment(flags.experiment) if flags.experiment else experiment).with_(**changes)
    if asked.task != experiment.task:
        raise InvalidInput(f"the run in {out} is a {experiment.task} run; {flags.experiment} is for {asked.task}")
    for f in fields(experiment):
        mine, theirs = getattr(experiment, f.name), getattr(asked, f.name)
        if mine != theirs:
            raise InvalidInput(
                f"the run in {out} has {f.name} {shown(mine)}, not {shown(theirs)}; a resumed run keeps its settings"
            )
    return out, experiment, train_state


def draw_loss(out: Path) -> bool:
    """Draw loss.png; return whether there was a loss to draw."""
    from refca.drawing.plots import loss_curve

    rows = read_metrics(out / "metrics.csv")
    if not any(row["loss"] > 0 for row in rows):
        return False
    loss_curve(rows, out / "loss.png")
    return True


if __name__ == "__main__":
    sys.exit(main())
