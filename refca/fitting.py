"""Training a run from its settings to its weights: what `refca.train` and `refca.fit` do.

Source: the article, experiment 1; the paper, section 3; `spec/programs.md`.
"""

from __future__ import annotations

import shlex
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import Field, fields
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from refca.atomic import write_text
from refca.automaton import Automaton, load
from refca.cli import (
    QUIET,
    STOPPED,
    add_common_flags,
    choose_backend,
    command,
    counting_bar,
    describe_backend,
    memory_for,
    note,
    sentence_of,
)
from refca.data import full_path, is_path
from refca.data.own import OwnSettings, found_at, kind_at
from refca.distributed import check_same, current
from refca.errors import Diverged, InvalidInput, NotWritable, did_you_mean
from refca.tasks import (
    DEFAULT,
    all_tasks,
    change,
    get_task,
    load_experiment,
    lookup,
    task_of,
)
from refca.training.checkpoint import BEST_FILE, CHECKPOINT_FILE, WEIGHTS_FILE, load_checkpoint
from refca.training.events import event_files, no_events
from refca.training.experiment import Experiment, typed
from refca.training.flags import add_setting_flags, settings, shown
from refca.training.loop import fit as fit_until_stopped
from refca.training.metrics_log import LOG_FILE, last_mean, last_values, read_metrics
from refca.training.run_directory import locked
from refca.training.task import Training
from refca.training.train_state import TrainState
from refca.training.validation import VALIDATION_LOG, Row, Validator

CHECKPOINT_EVERY = 1000  # training steps
OWN_EXPERIMENTS = {"classification": "own-classification", "segmentation": "own-segmentation"}
SETTINGS_FILE = "settings.toml"

UNREAD_CHANNELS = 9  # state channels that are not read as labels: the article's cell has 19 channels and 10 labels


def add_train_flags(p: ArgumentParser) -> None:
    """Add the flags of `refca.train`."""
    default = get_task(DEFAULT).default_experiment
    p.add_argument(
        "--experiment",
        metavar="NAME",
        help=f"name of an experiment (see --list), or a .toml file; default: {default}, and for your own data "
        "own-classification or own-segmentation",
    )
    p.add_argument("--list", action="store_true", help="list all experiments and exit")
    add_common_flags(p, "the run directory, for everything that is written; default: runs/NAME-seedN")
    p.add_argument(
        "--drop-log",
        action="store_true",
        help="with --resume: begin metrics.csv anew if it is missing or was changed",
    )
    p.add_argument(
        "--seeds",
        metavar="N,N",
        help="train once for each of these seeds, into --out-seedN, and print a summary; with --resume, continue the "
        "runs that have begun and begin the others",
    )
    p.add_argument(
        "--resume",
        action="store_true",
        help="continue the stopped run in --out; at a constant learning rate a larger --steps continues a finished one",
    )
    p.add_argument(
        "--tensorboard",
        action="store_true",
        help="also write the rows of metrics.csv and validation.csv as TensorBoard event files into --out",
    )
    p.add_argument(
        "--checkpoint-every",
        metavar="N",
        type=int,
        default=CHECKPOINT_EVERY,
        help="training steps between checkpoints; default: 1000",
    )
    add_setting_flags(p, all_tasks())


def fit(
    experiment: str | Path | None = None,
    *,
    out: Path | str,
    backend: str | None = None,
    data: Path | str | None = None,
    resume: bool = False,
    drop_log: bool = False,
    tensorboard: bool = False,
    quiet: bool = False,
    **changes: Any,
) -> Automaton:
    """Train as the program does, and return the trained automaton.

    `experiment` is the name of an experiment or a .toml file, and `changes` change its settings: for example
    fit("demo", out="runs/mine", steps=200), or fit(out="runs/nuclei", dataset="nuclei"). With `quiet` only the result
    is printed.
    Raises InvalidInput for settings that are unknown or invalid, for data that is missing, and if training was stopped.
    """
    flags = Namespace(experiment=None if experiment is None else str(experiment), out=str(out), backend=backend)
    flags.data, flags.device, flags.resume = None if data is None else str(data), None, resume
    flags.seeds, flags.checkpoint_every, flags.drop_log, flags.tensorboard = (
        None,
        CHECKPOINT_EVERY,
        drop_log,
        tensorboard,
    )
    vars(flags).update(dict.fromkeys(names_of_settings := settings(all_tasks())))
    for name, value in changes.items():
        if name not in names_of_settings:
            meant = did_you_mean(name, names_of_settings)
            raise InvalidInput(f'"{name}" is not a setting of an experiment{meant}')
        setattr(flags, name, given(name, value, names_of_settings[name]))
    before = QUIET.set(quiet or QUIET.get())
    try:
        stopped = train(flags)
    finally:
        QUIET.reset(before)
    if stopped:
        raise InvalidInput(f"training was stopped; resume it with fit(out={str(out)!r}, resume=True)")
    return load(out, backend)


def given(name: str, value: Any, fields_of: Mapping[str, Field[Any]]) -> Any:
    """Return the value of a setting as a flag would give it.

    Raises InvalidInput for a value of another kind, and for None where it means nothing.
    """
    field = next(iter(fields_of.values()))
    if value is None and not field.metadata["optional"]:
        raise InvalidInput(f"{name} must not be None; leave it out for the experiment's own value")
    value = typed(field, str(value) if isinstance(value, Path) else value)
    return "none" if value is None else value


def train_seeds(flags: Namespace) -> int:
    """Train once for each seed; print what was measured in the last batches, its mean and its spread.

    With --resume the runs that have begun continue, and the others begin.
    """
    try:
        seeds = [int(seed) for seed in flags.seeds.split(",")]
    except ValueError:
        raise InvalidInput(f"--seeds must be numbers such as 0,1,2, got {flags.seeds!r}") from None
    check_seeds(seeds)
    if flags.seed is not None:
        raise InvalidInput("--seeds cannot be combined with --seed")
    rows = []
    source = source_of(flags.experiment, full_path(flags.dataset or ""))
    for seed in seeds:
        out = f"{flags.out or f'runs/{source}'}-seed{seed}"
        begun = flags.resume and (Path(out) / CHECKPOINT_FILE).exists()
        code = train(Namespace(**{**vars(flags), "seeds": None, "seed": seed, "out": out, "resume": begun}))
        if code == STOPPED:
            print("to continue with all seeds, repeat the command with --resume", file=sys.stderr)
        if code:
            return code
        rows.append(last_values(Path(out) / LOG_FILE))
    if not all(rows):
        note("a log is empty, so there is no summary")
        return 0
    print(f"{'last batches':>14}" + "".join(f"{f'seed {seed}':>12}" for seed in seeds) + f"{'mean':>12}{'spread':>12}")
    for name in rows[0]:
        if name != "step":
            values = np.array([row[name] for row in rows])
            numbers = (*values, values.mean(), values.std(ddof=1) if len(values) > 1 else 0.0)
            print(f"{name:>14}" + "".join(f"{value:>12.4g}" for value in numbers))
    return 0


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise InvalidInput unless seeds differ and each is one that a run can have."""
    for number, seed in enumerate(seeds):
        if not 0 <= seed < 2**64:
            raise InvalidInput(f"seeds must be from 0 to 2**64 - 1, got {seed}")
        if seed in seeds[:number]:
            raise InvalidInput(f"seeds must differ, got {seed} twice")


def train(flags: Namespace) -> int:
    """Train as flags ask for; return the exit code."""
    if flags.checkpoint_every < 1:
        raise InvalidInput(f"--checkpoint-every must be at least 1, got {flags.checkpoint_every}")
    if flags.seeds is not None:
        return train_seeds(flags)
    with ExitStack() as stack:
        return train_in(flags, stack)


class PreparedRun(NamedTuple):
    """A run that is ready to train, and on the rank that writes a check that nobody has replaced its directory."""

    out: Path
    backend: Any
    experiment: Experiment
    training: Training
    samples: Any
    train_state: TrainState
    check_in_place: Callable[[], None] | None


def train_in(flags: Namespace, stack: ExitStack) -> int:
    """Train in a run directory that is locked until the stack is closed."""
    changes = {name: getattr(flags, name) for name in settings(all_tasks()) if getattr(flags, name) is not None}
    if "dataset" in changes:
        changes["dataset"] = full_path(changes["dataset"])
    name, backend = choose_backend(flags.backend, flags.device)
    if not (backend.offers("loss_and_grads") or backend.offers("unroll_grads")):
        raise InvalidInput(
            f"{name} cannot train: it has neither loss_and_grads nor unroll_grads; choose another backend"
        )
    run = (resumed_run if flags.resume else begun_run)(flags, changes, backend, stack)
    out, experiment, train_state, first = run.out, run.experiment, run.train_state, current().rank == 0
    check_same(f"--dataset {experiment.dataset}", run.samples.fingerprint())  # until here no rank has written
    events = stack.enter_context(event_files(out, train_state.done)) if flags.tensorboard and first else no_events
    validator = validator_of(experiment, backend, run.samples, train_state, out, flags, events)
    weights = sum(prod(x.shape) for x in train_state.params.values())
    initial = f", initial weights {experiment.init_from}" if experiment.init_from else ""
    note(
        f"{describe_backend(name, backend)}; {experiment.dataset}, {len(run.samples):,} training "
        f"{experiment.samples}; {weights:,} parameters{initial}; writing to {out}"
    )
    if first:
        write_text(out / SETTINGS_FILE, experiment.toml())
    finished = fit_run(run, flags, validator, partial(events, "training"))
    if run.check_in_place:
        run.check_in_place()
    if not finished:
        steps = "step" if train_state.done == 1 else "steps"
        print(f"stopped after {train_state.done:,} {steps}; resume with {again(out, flags)}", file=sys.stderr)
        return STOPPED
    if first:
        report_run(run, flags)
    return 0


def resumed_run(flags: Namespace, changes: dict[str, Any], backend: Any, stack: ExitStack) -> PreparedRun:
    """Return a run that goes on from its checkpoint. Raises InvalidInput if its data have changed."""
    out = run_to_resume(flags)
    check_in_place = stack.enter_context(locked(out)) if current().rank == 0 else None
    experiment, train_state = resume(flags, out, changes, backend)
    training = task_of(experiment).training
    samples = training.load_samples(experiment, flags.data)
    if samples.fingerprint() != train_state.data:
        raise InvalidInput(
            f"the run in {out} was trained on other {experiment.samples} than --dataset {experiment.dataset} has here"
        )
    training.check_samples(out / CHECKPOINT_FILE, experiment, train_state.buffer, samples)
    return PreparedRun(out, backend, experiment, training, samples, train_state, check_in_place)


def begun_run(flags: Namespace, changes: dict[str, Any], backend: Any, stack: ExitStack) -> PreparedRun:
    """Return a run from its first step on."""
    experiment = new_experiment(flags, changes)
    out = new_run(flags, experiment)
    training = task_of(experiment).training
    samples = training.load_samples(experiment, flags.data)
    with enough_memory(training, experiment, samples):
        train_state = training.begin(experiment, backend, samples)
    check_in_place = None
    if current().rank == 0:
        check_in_place = stack.enter_context(locked(out))
        new_run(flags, experiment)  # another run may have begun there meanwhile
    return PreparedRun(out, backend, experiment, training, samples, train_state, check_in_place)


def fit_run(run: PreparedRun, flags: Namespace, validator: Validator | None, on_row: Callable[[Row], None]) -> bool:
    """Train to the end, or until stopped; return whether it came to the end. Raises InvalidInput with a remedy."""
    out, training, experiment, samples = run.out, run.training, run.experiment, run.samples
    try:
        with enough_memory(training, experiment, samples):
            return fit_until_stopped(
                training,
                experiment,
                run.backend,
                samples,
                run.train_state,
                out,
                flags.checkpoint_every,
                flags.drop_log,
                validator,
                on_row,
            )
    except (OSError, NotWritable) as error:
        then = f"resume with {again(out, flags)}" if (out / CHECKPOINT_FILE).exists() else "start it again"
        why = sentence_of(error) if isinstance(error, OSError) else error
        raise InvalidInput(f"{why}; after fixing that, {then}") from error
    except Diverged as error:
        raise InvalidInput(
            f"{error}: training diverged; {out} keeps the last checkpoint; try a lower --learning-rate in another --out"
        ) from error


def report_run(run: PreparedRun, flags: Namespace) -> None:
    """Draw the loss of a run that has ended, and say how far it came and how to measure it."""
    out, experiment = run.out, run.experiment
    rows = read_metrics(out / LOG_FILE)
    see = f"see {out / 'loss.png'}, and " if draw_loss(rows, out) else ""
    if run.check_in_place:
        run.check_in_place()
    print(f"done: {reached(rows, experiment, run.training, run.train_state.done)}")
    if best := run.train_state.best:
        note(f"the best weights on held-out {experiment.samples} come from step {best.step:,}: {out / BEST_FILE}")
    if has_test(experiment, flags):
        note(f"{see}measure it: {command('evaluate')} {shlex.quote(str(out))}{same(flags)}")
    else:
        note(f"{see}no {experiment.samples} were held out to measure it on")


def has_test(experiment: Experiment, flags: Namespace) -> bool:
    """Return whether refca.evaluate has samples to measure a run on; data with a name always has."""
    if not is_path(experiment.dataset):
        return True
    try:
        return not isinstance(experiment.load_data(flags.data, ("test",)).held_out, str)
    except InvalidInput:  # files that were moved meanwhile may be back
        return True


def validator_of(
    experiment: Experiment,
    backend: Any,
    samples: Any,
    train_state: TrainState,
    out: Path,
    flags: Namespace,
    events: Callable[[str, Row], None],
) -> Validator | None:
    """Return what measures held-out samples while the run trains; None without --validate-every.

    Raises InvalidInput for a task that offers no validation.
    """
    if not experiment.validate_every:
        return None
    module = task_of(experiment).validation
    if module is None:
        raise InvalidInput(f"validate_every must be 0, because {experiment.task} runs have no validation")
    held_out, on_row = module.load_samples(experiment, flags.data), partial(events, "validation")
    return Validator(module, experiment, backend, held_out, samples, train_state, out, flags.drop_log, on_row)


def new_experiment(flags: Namespace, changes: dict[str, Any]) -> Experiment:
    """Return the experiment that flags ask for; for data of the user's own with what was found there, announced."""
    named = flags.experiment
    experiment = load_experiment(named or get_task(DEFAULT).default_experiment)
    path = changes.get("dataset") or full_path(experiment.dataset)
    if not is_path(path) or ("dataset" not in changes and experiment.classes):  # settings of an earlier run, complete
        experiment = change(experiment, changes)
        if not is_path(path):
            check_named(experiment)
        return experiment
    kind = kind_at(path, experiment.kind if named else None)
    base = load_experiment(named or OWN_EXPERIMENTS[kind])
    if base.kind != kind:
        what = {"classification": "picture", "segmentation": "pixel"}[kind]
        raise InvalidInput(f"{path} has a label for each {what}, which {named} is not for; leave --experiment out")
    changes = (stated_for_data(base) if named else {}) | changes
    if changes.get("size") == 0:  # as the data has it
        del changes["size"]
    # before pictures are decoded: all settings but those that depend on the number of labels, which is not known yet
    few: dict[str, Any] = {"classes": (), "colours": (), "mask_values": ()}
    change(base, {"labels": 2} | changes | few)
    with counting_bar("pictures") as show:
        found = found_at(path, changes, show, kind)
    note(f"{path}: {'; '.join(found.description)}; experiment {named or OWN_EXPERIMENTS[kind]}")
    for warning in found.warnings:
        print(f"refca: warning: {warning}", file=sys.stderr)
    settings = found.settings | changes
    usual = named in (None, OWN_EXPERIMENTS[kind])  # refca.sweep names it
    if wider := enough_channels(base, settings) if usual and "state" not in changes else {}:
        note(f"{wider['state']} state channels, because there are {settings['labels']} classes")
    return change(base, settings | wider)


def enough_channels(experiment: Experiment, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return more state channels where the last ones are read as labels and there are too few of them, else {}."""
    labels, mapped = settings["labels"], settings.get("linear_readout", experiment.linear_readout)
    return {} if mapped or labels <= experiment.state else {"state": labels + UNREAD_CHANNELS}


def own_experiment(path: str) -> str:
    """Return the name of the experiment for data of one's own. Raises InvalidInput if there is none at the path."""
    return OWN_EXPERIMENTS[kind_at(path)]


def stated_for_data(experiment: Experiment) -> dict[str, Any]:
    """Return the settings for data of one's own that an experiment changes: they are not found out anew."""
    kind: Any = type(experiment)
    usual = kind()  # the defaults
    names = names_for_data(experiment)
    return {name: value for name in names if (value := getattr(experiment, name)) != getattr(usual, name)}


def names_for_data(experiment: Experiment) -> list[str]:
    """Return the names of the settings that are found out from data of one's own."""
    names = (*OwnSettings.__dataclass_fields__, "alive_above", "labels", "validation")
    return [name for name in names if hasattr(experiment, name)]


def check_named(experiment: Experiment) -> None:
    """Raise InvalidInput, naming it, for a setting that a data set with a name would ignore."""
    kind: Any = type(experiment)
    for name in ("split", "invert", "stretch", "tiles", "mask_values", "ignore", "size"):
        changed = getattr(experiment, name) != getattr(kind(), name)
        if changed and (name != "size" or experiment.kind == "classification"):
            raise InvalidInput(
                f"the setting {name} is for data of your own, and --dataset {experiment.dataset} is not; leave it out"
            )


def reached(rows: list[dict[str, float]], experiment: Experiment, training: Training, done: int) -> str:
    """Return a sentence on what a finished run reached and, if that is little, on what a useful run needs."""
    shown_name, (enough, advice) = training.shown(experiment), training.useful(experiment)
    value, name = last_mean(rows, shown_name), shown_name.replace("_", " ")
    steps = f"{done:,} training step{'s' if done > 1 else ''}"
    if done < experiment.steps:
        steps += f" (of {experiment.steps:,}: {experiment.patience} measurements without a better one)"
    if value != value:
        return f"{steps}, too few to measure anything; {advice}"
    sentence = f"{name} {value:.0%} in the last batches of {steps}"
    return sentence if value >= enough else f"{sentence}, which is too little to be useful; {advice}"


def enough_memory(training: Training, experiment: Experiment, samples: Any) -> AbstractContextManager[None]:
    """Within this block, what does not fit into memory is invalid input; the remedy is the setting that needs most."""
    needed = training.memory(experiment, samples)
    setting = max(needed, key=lambda name: needed[name])
    half = max(1, getattr(experiment, setting) // 2)
    what = f"{len(samples):,} {experiment.samples} and the {needed[setting] / 1e6:,.0f} MB that --{setting} needs"
    return memory_for(what, f"begin another run with --{setting} {half}, which needs about half as much")


def again(out: Path, flags: Namespace) -> str:
    """Return the command that resumes a run."""
    more = " --tensorboard" if flags.tensorboard else ""
    if flags.checkpoint_every != CHECKPOINT_EVERY:
        more += f" --checkpoint-every {flags.checkpoint_every}"
    return f"{command('train')} --out {shlex.quote(str(out))} --resume{same(flags)}{more}"


def same(flags: Namespace) -> str:
    """Return the flags to repeat in a following command: --data, --backend and --device, if they were given."""
    given = {name: getattr(flags, name) for name in ("data", "backend", "device")}
    return "".join(f" --{name} {shlex.quote(str(x))}" for name, x in given.items() if x is not None)


def new_run(flags: Namespace, experiment: Experiment) -> Path:
    """Return the directory for a new run. Raises InvalidInput if it holds another run."""
    out = Path(flags.out or f"runs/{source_of(flags.experiment, experiment.dataset)}-seed{experiment.seed}")
    if (out / CHECKPOINT_FILE).exists():
        raise InvalidInput(
            f"--out {out} already holds a run; resume it with {again(out, flags)}, or choose another --out"
        )
    if any((out / file).exists() for file in (WEIGHTS_FILE, BEST_FILE)):
        raise InvalidInput(f"--out {out} already holds weights, which would be overwritten; choose another --out")
    return out


def source_of(experiment: str | None, dataset: str) -> str:
    """Return the name of a run that is given no --out: of its experiment, or else of its data, or else the default."""
    if experiment:
        return Path(experiment).stem
    return Path(dataset.partition("::")[0]).stem if is_path(dataset) else get_task(DEFAULT).default_experiment


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
    requested = load_experiment(flags.experiment) if flags.experiment else experiment
    if requested.task != experiment.task:
        raise InvalidInput(
            f"the run in {out} is a {experiment.task} run, but --experiment {flags.experiment} is for {requested.task}"
        )
    if is_path(changes.get("dataset") or requested.dataset):  # what was found there stays, unless it is stated
        found = {name: getattr(experiment, name) for name in names_for_data(experiment)}
        changes = found | stated_for_data(requested) | changes
    requested = change(requested, changes)
    for f in fields(experiment):
        saved, other = getattr(experiment, f.name), getattr(requested, f.name)
        if saved != other and not (f.name == "steps" and goes_on(experiment, train_state.done, other)):
            sentence = f"a resumed run keeps its settings: {f.name} is {shown(saved)} in {out}, got {shown(other)}"
            raise InvalidInput(f"{sentence}; {remedy(out, experiment, train_state.done, f.name, other)}")
    return experiment.with_(steps=requested.steps), train_state


def goes_on(experiment: Experiment, done: int, steps: int) -> bool:
    """Return whether a run may end at another step: at a constant learning rate nothing before depends on the end."""
    return getattr(experiment, "schedule", "") == "constant" and steps >= done


def remedy(out: Path, experiment: Experiment, done: int, name: str, value: Any) -> str:
    """Return what to do instead of resuming a run with another value of a setting, after `done` training steps."""
    if name != "steps":
        return "leave it out, or begin another run in another --out"
    if value < done:
        return f"{done:,} steps are done; leave --steps out"
    return (
        "the learning rate depends on steps unless --schedule is constant; to train further, begin another run with "
        f"these weights: {command('train')} --experiment "
        f"{shlex.quote(str(out / SETTINGS_FILE))} --init-from {shlex.quote(str(out))} --steps {value} "
        f"--out {shlex.quote(f'{out}-further')}"
    )


def draw_loss(rows: list[dict[str, float]], out: Path) -> bool:
    """Draw loss.png and return true, unless no row has a positive loss."""
    from refca.drawing.plots import loss_curve

    if not any(row["loss"] > 0 for row in rows):
        return False
    held_out = out / VALIDATION_LOG
    loss_curve(rows, out / "loss.png", read_metrics(held_out) if held_out.exists() else ())
    return True
