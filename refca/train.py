"""python -m refca.train: train the cells of one experiment, into a run directory.

Source: the article, experiment 1; `spec/programs.md`.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace, RawDescriptionHelpFormatter
from dataclasses import fields
from pathlib import Path
from typing import Any

from refca.checkpoint import (
    CHECKPOINT_FILE,
    WEIGHTS_FILE,
    Progress,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from refca.experiment import (
    KINDS,
    Experiment,
    Kind,
    describe_experiment,
    experiment_names,
    load_experiment,
)
from refca.files import write_text
from refca.metrics_file import EVERY, MetricsFile, read_metrics
from refca.persistence import Colony
from refca.programs import (
    add_common_flags,
    choose_backend,
    describe_backend,
    exit_code,
    memory_for,
    progress_bar,
    stoppable,
)
from refca.refused import Refused
from refca.training import Diverged, Losses, training_of

DEFAULT = "digits-l2-noise"
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
    p.add_argument("--experiment", metavar="NAME", help=f"its name, or a .toml file; default: {DEFAULT}")
    p.add_argument("--list", action="store_true", help="list all experiments, and stop")
    add_common_flags(p)
    p.add_argument("--resume", action="store_true", help="go on with the run in --out, with its settings")
    p.add_argument(
        "--checkpoint-every", metavar="N", type=int, default=1000, help="training steps; default: 1000"
    )
    shared = p.add_argument_group("settings of every run, to change some of the experiment's")
    own = {kind: p.add_argument_group(f"settings of runs on {kind.learned}") for kind in KINDS}
    for name, kinds in settings().items():
        add_setting(shared if len(kinds) > 1 else own[kinds[0]], name, kinds)
    return p


def settings() -> dict[str, list[Kind]]:
    """Each setting, and the kinds of experiment that have it."""
    names = dict.fromkeys(f.name for kind in KINDS for f in fields(kind))
    return {name: [kind for kind in KINDS if name in {f.name for f in fields(kind)}] for name in names}


def add_setting(group: Any, name: str, kinds: list[Kind]) -> None:
    """A flag for a setting; one that is on or off has a --no- flag too."""
    here = {kind: next(f for f in fields(kind) if f.name == name) for kind in kinds}
    setting = here[kinds[0]]
    choices = [str(choice) for f in here.values() for choice in f.metadata["choices"]]
    defaults = {kind.learned: shown(f.default) for kind, f in here.items()}
    if len(set(defaults.values())) == 1:
        default = defaults[kinds[0].learned]
    else:
        default = ", ".join(f"{learned} {value}" for learned, value in defaults.items())
    help = f"{setting.metadata['help']}{': ' if choices else ''}{', '.join(choices)} [{default}]"
    flag = f"--{name.replace('_', '-')}"
    if isinstance(setting.default, bool):
        group.add_argument(flag, action=BooleanOptionalAction, help=help)
    else:
        group.add_argument(flag, metavar="X", type=type(setting.default), help=help)


def shown(value: Any) -> str:
    """A setting as people read it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value) or "none"


def list_experiments() -> str:
    """Each experiment's name, and what its file says of it."""
    names = experiment_names()
    width = max(map(len, names))
    return "\n".join(f"{name:{width}}  {describe_experiment(name)}" for name in names)


def train(flags: Namespace) -> int:
    if flags.checkpoint_every < 1:
        raise Refused(f"--checkpoint-every must be at least 1, got {flags.checkpoint_every}")
    if flags.list:
        print(list_experiments())
        return 0
    changes = {name: getattr(flags, name) for name in settings() if getattr(flags, name) is not None}
    name, backend = choose_backend(flags.backend, flags.device)
    if flags.resume:
        out, experiment, progress = resume(flags, changes, backend)
        training = training_of(experiment)
        samples = training.load_samples(experiment, flags.data)
        if samples.fingerprint() != progress.data:
            raise Refused(
                f"the run in {out} learned from other {experiment.learned} than those of "
                f"{experiment.dataset} here"
            )
        if isinstance(progress.kept, Colony) and progress.kept.photo.max() >= len(samples):
            raise Refused(
                f"{out / CHECKPOINT_FILE}: its colony has photograph {progress.kept.photo.max()}, "
                f"and there are {len(samples)}, counted from 0"
            )
    else:
        experiment = load_experiment(flags.experiment or DEFAULT).with_(**changes)
        out = new_run(flags, experiment)
        training = training_of(experiment)
        samples = training.load_samples(experiment, flags.data)
        progress = training.begin(experiment, backend, samples)
    weights = sum(x.size for x in progress.params.values())
    begun = f", begun with {experiment.start}" if experiment.start else ""
    print(
        f"{describe_backend(name, backend)}; {experiment.dataset}, {len(samples):,} {experiment.learned} to "
        f"learn from; {weights:,} parameters{begun}; writing to {out}"
    )
    write_text(out / "settings.toml", experiment.toml())
    what = f"{len(samples):,} {experiment.learned} and an unrolled batch of {experiment.batch}"
    try:
        half = max(1, experiment.batch // 2)
        with memory_for(what, f"begin another run with --batch {half}, which needs about half as much"):
            return run(experiment, backend, samples, progress, out, flags)
    except OSError as error:
        then = f"go on with {again(out, flags)}" if (out / CHECKPOINT_FILE).exists() else "start it again"
        cause = f"{error.strerror or error}; once that is mended, {then}"
    except Diverged as error:
        cause = f"{error}: training diverged; {out} keeps the last checkpoint; try a lower --rate elsewhere"
    raise Refused(cause)


def again(out: Path, flags: Namespace) -> str:
    """The command that goes on with a run."""
    return f"python -m refca.train --out {shlex.quote(str(out))} --resume{same(flags)}"


def same(flags: Namespace) -> str:
    """The flags of before that a command to follow needs: where the data is, and on what to compute."""
    given = {name: getattr(flags, name) for name in ("data", "backend", "device")}
    return "".join(f" --{name} {shlex.quote(str(x))}" for name, x in given.items() if x is not None)


def new_run(flags: Namespace, experiment: Experiment) -> Path:
    """The directory of a new run. Raises Refused if another run is in it."""
    source = Path(flags.experiment or DEFAULT).stem
    out = Path(flags.out or f"runs/{source}-seed{experiment.seed}")
    if (out / CHECKPOINT_FILE).exists():
        raise Refused(f"{out} already holds a run; go on with it: {again(out, flags)}; or give another --out")
    if (out / WEIGHTS_FILE).exists():
        raise Refused(f"{out} holds weights, which would be lost; give another --out")
    return out


def resume(flags: Namespace, changes: dict[str, Any], backend: Any) -> tuple[Path, Experiment, Progress]:
    """A run that was stopped: its directory, settings and progress. Raises Refused if it cannot go on."""
    if not flags.out:
        raise Refused("--resume needs --out, the directory of the run to go on with")
    out = Path(flags.out)
    checkpoint = out / CHECKPOINT_FILE
    if not checkpoint.exists():
        raise Refused(f"{out} holds no checkpoint to resume from; start the run without --resume")
    experiment, progress = load_checkpoint(checkpoint, backend.asarray)
    asked = (load_experiment(flags.experiment) if flags.experiment else experiment).with_(**changes)
    for f in fields(experiment):  # the dataset, first of all, tells the kinds apart
        mine, theirs = getattr(experiment, f.name), getattr(asked, f.name)
        if mine != theirs:
            raise Refused(
                f"the run in {out} has {f.name} {shown(mine)}, not {shown(theirs)}; a resumed run keeps its "
                "settings"
            )
    return out, experiment, progress


def run(
    experiment: Experiment,
    backend: Any,
    samples: Any,
    progress: Progress,
    out: Path,
    flags: Namespace,
) -> int:
    """Train to the end, or until asked to stop; either way the checkpoint is that of the last step done."""
    training, samples, losses = training_of(experiment), samples.on(backend), Losses()
    training.prepare(experiment, backend, samples)
    with (
        MetricsFile(out / "metrics.csv", progress.done, training.COLUMNS) as log,
        progress_bar(experiment.steps, progress.done) as bar,
        stoppable() as stop_asked,
    ):

        def save() -> None:
            losses.read()
            log.sync()
            try:
                save_checkpoint(out / CHECKPOINT_FILE, experiment, progress, backend.asnumpy)
            except Refused as error:
                raise Diverged(error) from error

        save()
        while progress.done < experiment.steps and not stop_asked():
            trained = training.train_step(experiment, backend, samples, progress)
            losses.add(progress.done, trained.loss)
            if progress.done % EVERY == 0 or progress.done == experiment.steps:
                losses.read()
                loss = float("nan") if trained.loss is None else float(trained.loss)
                measured = training.measure(experiment, backend, progress, trained)
                log.add(step=progress.done, loss=loss, **measured)
                name = training.SHOWN
                bar.set_postfix_str(f"loss {loss:.3g}, {name} {measured[name]:.0%}", refresh=False)
            if progress.done % flags.checkpoint_every == 0:
                save()
            bar.update()
        save()
    if progress.done < experiment.steps:
        steps = "step" if progress.done == 1 else "steps"
        print(f"stopped after {progress.done:,} {steps}; go on with {again(out, flags)}", file=sys.stderr)
        return 130
    save_weights(
        out / WEIGHTS_FILE,
        experiment,
        {name: backend.asnumpy(x) for name, x in progress.params.items()},
        progress.done,
    )
    see = f"see {out / 'loss.png'}, and " if draw_loss(out) else ""
    print(f"done; {see}measure it: python -m refca.evaluate {shlex.quote(str(out))}{same(flags)}")
    return 0


def draw_loss(out: Path) -> bool:
    """loss.png, if there is a loss to draw."""
    from refca.figures import loss_curve

    rows = read_metrics(out / "metrics.csv")
    if not any(row["loss"] > 0 for row in rows):
        return False
    loss_curve(rows, out / "loss.png")
    return True


if __name__ == "__main__":
    sys.exit(main())
