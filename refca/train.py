"""python -m refca.train: train one experiment and write a run directory.

Source: the article, experiment 1; the paper, section 3; `spec/programs.md`.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import AbstractContextManager, ExitStack
from dataclasses import fields
from pathlib import Path
from typing import Any

from refca.atomic import write_text
from refca.cli import (
    STOPPED,
    Parser,
    add_common_flags,
    choose_backend,
    counting_bar,
    describe_backend,
    exit_code,
    memory_for,
)
from refca.data import full_path, is_path
from refca.data.own import found_at
from refca.errors import Diverged, InvalidInput
from refca.tasks import (
    DEFAULT,
    change,
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
from refca.training.metrics_log import LOG_FILE, read_metrics
from refca.training.run_directory import locked
from refca.training.task import Training
from refca.training.train_state import TrainState

OWN_EXPERIMENTS = {"classification": "own-classification", "segmentation": "own-segmentation"}
SETTINGS_FILE = "settings.toml"
LAST_ROWS = 20  # of the log, of which the mean tells what a run reached

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
    return exit_code(lambda: train(parser().parse_args(arguments)))


def parser() -> ArgumentParser:
    p = Parser(
        "python -m refca.train",
        usage="%(prog)s [--experiment NAME] [--out DIR [--resume]] [flags]",
        description="Train a neural cellular automaton to classify digits or to segment photographs. "
        "A named experiment gives the settings; the flags below change its settings.",
        epilog=EXAMPLES,
        formatter_class=RawDescriptionHelpFormatter,
    )
    default = get_task(DEFAULT).default_experiment
    p.add_argument(
        "--experiment", metavar="NAME", help=f"name of an experiment (see --list), or a .toml file; default: {default}"
    )
    p.add_argument("--list", action="store_true", help="list all experiments and exit")
    add_common_flags(p)
    p.add_argument(
        "--drop-log",
        action="store_true",
        help="with --resume: begin metrics.csv anew if it is missing or was changed",
    )
    p.add_argument("--resume", action="store_true", help="continue the stopped run in --out")
    p.add_argument(
        "--checkpoint-every",
        metavar="N",
        type=int,
        default=1000,
        help="training steps between checkpoints; default: 1000",
    )
    add_setting_flags(p, tasks())
    return p


def tasks() -> list[Any]:
    return [get_task(name) for name in task_names()]


def list_experiments() -> str:
    """Return a table of all experiments: name and description."""
    names = experiment_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {describe_experiment(name)}" for name in names)


def train(flags: Namespace) -> int:
    if flags.checkpoint_every < 1:
        raise InvalidInput(f"--checkpoint-every must be at least 1, got {flags.checkpoint_every}")
    if flags.list:
        print(list_experiments())
        return 0
    with ExitStack() as stack:
        return train_in(flags, stack)


def train_in(flags: Namespace, stack: ExitStack) -> int:
    """Train in a run directory that is locked until the stack is closed."""
    changes = {name: getattr(flags, name) for name in settings(tasks()) if getattr(flags, name) is not None}
    name, backend = choose_backend(flags.backend, flags.device)
    if flags.resume:
        out = run_to_resume(flags)
        stack.enter_context(locked(out))
        experiment, train_state = resume(flags, out, changes, backend)
        training = task_of(experiment).training
        samples = training.load_samples(experiment, flags.data)
        if samples.fingerprint() != train_state.data:
            raise InvalidInput(
                f"the run in {out} was trained on other {experiment.samples} than --dataset "
                f"{experiment.dataset} has here"
            )
        training.check_samples(out / CHECKPOINT_FILE, experiment, train_state.buffer, samples)
    else:
        experiment = new_experiment(flags, changes)
        out = new_run(flags, experiment)
        training = task_of(experiment).training
        samples = training.load_samples(experiment, flags.data)
        with enough_memory(training, experiment, samples):
            train_state = training.begin(experiment, backend, samples)
        stack.enter_context(locked(out))
        new_run(flags, experiment)  # another run may have begun there meanwhile
    weights = sum(x.size for x in train_state.params.values())
    initial = f", initial weights {experiment.init_from}" if experiment.init_from else ""
    print(
        f"{describe_backend(name, backend)}; {experiment.dataset}, {len(samples):,} training "
        f"{experiment.samples}; {weights:,} parameters{initial}; writing to {out}"
    )
    write_text(out / SETTINGS_FILE, experiment.toml())
    try:
        with enough_memory(training, experiment, samples):
            finished = fit(
                training, experiment, backend, samples, train_state, out, flags.checkpoint_every, flags.drop_log
            )
    except OSError as error:
        then = f"resume with {again(out, flags)}" if (out / CHECKPOINT_FILE).exists() else "start it again"
        raise InvalidInput(f"{error.strerror or error}; after fixing that, {then}") from error
    except Diverged as error:
        raise InvalidInput(
            f"{error}: training diverged; {out} keeps the last checkpoint; try a lower --learning-rate in another --out"
        ) from error
    if not finished:
        steps = "step" if train_state.done == 1 else "steps"
        print(f"stopped after {train_state.done:,} {steps}; resume with {again(out, flags)}", file=sys.stderr)
        return STOPPED
    rows = read_metrics(out / LOG_FILE)
    see = f"see {out / 'loss.png'}, and " if draw_loss(rows, out) else ""
    print(f"done: {reached(rows, experiment, training)}")
    print(f"{see}measure it: python -m refca.evaluate {shlex.quote(str(out))}{same(flags)}")
    return 0


def new_experiment(flags: Namespace, changes: dict[str, Any]) -> Experiment:
    """Return the experiment that flags ask for; for data of the user's own with what was found there, announced."""
    named = flags.experiment
    if "dataset" in changes:
        changes["dataset"] = full_path(changes["dataset"])
    if "dataset" not in changes or not is_path(changes["dataset"]):
        return change(load_experiment(named or get_task(DEFAULT).default_experiment), changes)
    path = changes["dataset"]
    with counting_bar("pictures") as show:
        found = found_at(path, changes, show)
    base = load_experiment(named or OWN_EXPERIMENTS[found.kind])
    if base.kind != found.kind:
        what = {"classification": "picture", "segmentation": "pixel"}[found.kind]
        raise InvalidInput(f"{path} has a label for each {what}, which {named} is not for; leave --experiment out")
    print(f"{path}: {'; '.join(found.said)}")
    for warning in found.warnings:
        print(f"refca: warning: {warning}", file=sys.stderr)
    return change(base, found.settings | changes)


def reached(rows: list[dict[str, float]], experiment: Experiment, training: Training) -> str:
    """What a finished run reached in its last batches and, if that is little, what a useful run needs."""
    shown_name, (enough, advice) = training.shown(experiment), training.useful(experiment)
    values = [row[shown_name] for row in rows[-LAST_ROWS:] if row[shown_name] == row[shown_name]]
    steps = f"{experiment.steps:,} training step{'s' if experiment.steps > 1 else ''}"
    if not values:
        return f"{steps}, too few to measure anything; {advice}"
    value, name = sum(values) / len(values), shown_name.replace("_", " ")
    sentence = f"{name} {value:.0%} in the last batches of {steps}"
    return sentence if value >= enough else f"{sentence}, which is too little to be useful; {advice}"


def enough_memory(training: Training, experiment: Experiment, samples: Any) -> AbstractContextManager[None]:
    """Within this block, what does not fit into memory is invalid input; the remedy is the setting that needs most."""
    needed = training.memory(experiment, samples)
    setting = max(needed, key=lambda name: needed[name])
    half = max(1, getattr(experiment, setting) // 2)
    what = f"{len(samples):,} {experiment.samples} and the {needed[setting] / 1e9:.1f} GB that --{setting} needs"
    return memory_for(what, f"begin another run with --{setting} {half}, which needs about half as much")


def again(out: Path, flags: Namespace) -> str:
    """Return the command that resumes a run."""
    return f"python -m refca.train --out {shlex.quote(str(out))} --resume{same(flags)}"


def same(flags: Namespace) -> str:
    """Return the flags to repeat in a following command: --data, --backend and --device, if they were given."""
    given = {name: getattr(flags, name) for name in ("data", "backend", "device")}
    return "".join(f" --{name} {shlex.quote(str(x))}" for name, x in given.items() if x is not None)


def new_run(flags: Namespace, experiment: Experiment) -> Path:
    """Return the directory for a new run. Raises InvalidInput if it holds another run."""
    own = Path(experiment.dataset.partition("::")[0]).stem if is_path(experiment.dataset) else None
    source = Path(flags.experiment).stem if flags.experiment else own or get_task(DEFAULT).default_experiment
    out = Path(flags.out or f"runs/{source}-seed{experiment.seed}")
    if (out / CHECKPOINT_FILE).exists():
        raise InvalidInput(
            f"--out {out} already holds a run; resume it with {again(out, flags)}, or choose another --out"
        )
    if (out / WEIGHTS_FILE).exists():
        raise InvalidInput(f"--out {out} already holds weights, which would be overwritten; choose another --out")
    return out


def run_to_resume(flags: Namespace) -> Path:
    """Return the directory of the run to resume. Raises InvalidInput if it has no checkpoint."""
    if not flags.out:
        raise InvalidInput("--resume needs --out DIR, the directory of the run to resume")
    out = Path(flags.out)
    if not (out / CHECKPOINT_FILE).exists():
        raise InvalidInput(f"{out} holds no checkpoint to resume from; start the run without --resume")
    return out


def resume(flags: Namespace, out: Path, changes: dict[str, Any], backend: Any) -> tuple[Experiment, TrainState]:
    """Return experiment and train state of a stopped run. Raises InvalidInput if it cannot be resumed."""
    experiment, train_state = load_checkpoint(out / CHECKPOINT_FILE, lookup, backend.asarray)
    requested = change(load_experiment(flags.experiment) if flags.experiment else experiment, changes)
    if requested.task != experiment.task:
        raise InvalidInput(
            f"the run in {out} is a {experiment.task} run, but --experiment {flags.experiment} is for {requested.task}"
        )
    for f in fields(experiment):
        saved, other = getattr(experiment, f.name), getattr(requested, f.name)
        if saved != other:
            sentence = f"a resumed run keeps its settings: {f.name} is {shown(saved)} in {out}, got {shown(other)}"
            raise InvalidInput(f"{sentence}{remedy(out, experiment, f.name, other)}")
    return experiment, train_state


def remedy(out: Path, experiment: Experiment, name: str, value: Any) -> str:
    """How to train on with another number of steps, which the learning rate of a run depends on."""
    if name != "steps":
        return ""
    return (
        "; to train further, begin another run with these weights: python -m refca.train --experiment "
        f"{shlex.quote(str(out / SETTINGS_FILE))} --init-from {shlex.quote(str(out))} --steps {value} "
        f"--out {shlex.quote(f'{out}-further')}"
    )


def draw_loss(rows: list[dict[str, float]], out: Path) -> bool:
    """Draw loss.png and return true, unless no row has a positive loss."""
    from refca.drawing.plots import loss_curve

    if not any(row["loss"] > 0 for row in rows):
        return False
    loss_curve(rows, out / "loss.png")
    return True


if __name__ == "__main__":
    sys.exit(main())
