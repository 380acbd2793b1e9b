"""Invalid input: one sentence with cause and remedy, exit code 2, and no data lost."""

from __future__ import annotations

import errno
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from refusals import Capture, sentence

import refca
from refca import cli as programs
from refca import evaluate, predict, train
from refca.atomic import make_folder, permission, write_text
from refca.digits.pool import Pool
from refca.digits.settings import DigitsExperiment
from refca.errors import InvalidInput
from refca.segmentation.settings import SegmentationExperiment
from refca.tasks import lookup
from refca.training import loop
from refca.training.adam import Adam
from refca.training.checkpoint import load_checkpoint, save_checkpoint
from refca.weights.load import load_weights

SHORT = ["--experiment", "demo", "--steps", "12", "--batch", "4", "--pool", "8", "--unroll", "2"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    out = tmp_path / "run"
    assert train.main([*SHORT, "--out", str(out)]) == 0
    return out


@pytest.fixture
def params() -> dict[str, np.ndarray]:
    return refca.init_params(refca.digits_cell(), 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--backend", "warp"], 'unknown backend "warp"; known are cpu, cupy'),
        (["--backend", "json"], '"json" is not a backend: it has neither evolve nor step'),
        (["--experiment", "nonsense"], 'unknown experiment "nonsense"; --list shows all'),
        (["--dataset", "cifar"], "dataset must be one of mnist, optdigits"),
        (["--loss", "hinge"], 'loss must be one of l2, ce, got "hinge"'),
        (["--regime", "chaotic"], 'regime must be one of naive, persistent, mutating, got "chaotic"'),
        (["--batch", "9", "--pool", "8"], "batch must be at most pool, 8, got 9"),
        (["--batch", "0"], "batch must be at least 1, got 0"),
        (["--batch", "3"], "batch * fresh_fraction must be at least 1 in the regime mutating, got 3 * 0.25"),
        (
            ["--batch", "7", "--fresh-fraction", "0.125"],
            "batch * fresh_fraction must be at least 1 in the regime mutating, got 7 * 0.125",
        ),
        (
            ["--fresh-fraction", "0.6"],
            "fresh_fraction must be from 0 to 0.5, got 0.6",
        ),
        (["--backend", ""], 'unknown backend ""'),
        (
            ["--backend", "cpu", "--device", "1"],
            "--device cannot be used with the backend cpu, which has no devices to choose from, got 1",
        ),
        (["--backend", ".dots"], 'unknown backend ".dots"'),
        (["--learning-rate", "nan"], "learning_rate must be finite and above 0, got nan"),
        (["--noise", "-1"], "noise must be finite and at least 0, got -1.0"),
        (["--seed", "-1"], "seed must be from 0 to 2**64 - 1, got -1"),
        (["--unroll-max", "1"], "unroll_max must be 0 or at least unroll, 2, got 1"),
        (["--unroll-max", "-1"], "unroll_max must be 0 or at least unroll, 2, got -1"),
        (["--loss-steps", "0"], "loss_steps must be at least 1, got 0"),
        (["--loss-steps", "3"], "loss_steps must be at most unroll, 2, got 3"),
        (["--schedule", "linear"], 'schedule must be one of article, constant, cosine, got "linear"'),
        (["--init-from", "nowhere"], "nowhere does not exist; name a run directory, or weights"),
        (["--checkpoint-every", "0"], "--checkpoint-every must be at least 1, got 0"),
        (
            ["--dataset", "mnist", "--data", "nowhere"],
            "are neither in nowhere nor in its folders mnist, MNIST",
        ),
        (["--resume"], "holds no checkpoint to resume from; start the run without --resume"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_training_refuses(tmp_path: Path, capsys: Capture, flags: list[str], words: str) -> None:
    message = sentence(capsys, lambda: train.main([*SHORT, "--out", str(tmp_path / "run"), *flags]))
    assert words in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--unroll", "41"], "unroll must be at most horizon, 40, got 41"),
        (["--no-persistence"], "unroll must equal horizon, 40, without persistence, got 10"),
        (["--keep-image", "0"], "keep_image must be above 0 and at most 1, got 0.0"),
        (["--keep-state", "1.5"], "keep_state must be above 0 and at most 1, got 1.5"),
        (["--keep-state", "nan"], "keep_state must be above 0 and at most 1, got nan"),
        (["--stride", "3"], 'stride must be one of 1, 2, 4, 8, got "3"'),
        (["--stride", "4", "--size", "50"], "size must be a multiple of stride, 4, got 50"),
        (["--norm", "layer"], 'norm must be one of none, instance, batch, channel, got "layer"'),
        (["--state", "0"], "state must be at least 1, got 0"),
        (["--regime", "naive"], "regime is a setting of digits experiments, not of segmentation"),
        (["--dataset", "mnist"], "mnist needs a digits experiment, not segmentation: --experiment NAME; --list"),
        (
            ["--experiment", "demo", "--keep-image", "1"],
            "keep_image is a setting of segmentation experiments, not of digits",
        ),
        (["--experiment", "demo", "--dataset", "pets"], "pets needs a segmentation experiment, not digits"),
        (["--experiment", "pets-48-smal"], "did you mean pets-48-small or "),
        (["--data", "nowhere"], "nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_training_on_photographs_refuses(tmp_path: Path, capsys: Capture, flags: list[str], words: str) -> None:
    out = tmp_path / "run"
    pets = ["--experiment", "pets-48-small", "--out", str(out)]
    assert words in sentence(capsys, lambda: train.main([*pets, *flags]))
    assert not out.exists()


def test_a_flag_that_does_not_exist_or_is_no_number_exits_with_2(capsys: Capture) -> None:
    for flags, words in (
        (["--stpes", "3"], "unrecognized arguments: --stpes 3; did you mean --steps"),
        (["--steps", "many"], "invalid int value: 'many'"),
    ):
        with pytest.raises(SystemExit) as exit:
            train.main(flags)
        assert exit.value.code == 2
        assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("steps = ", "settings.toml is damaged: "),
        ("stpes = 3", '"stpes" is not a setting of digits experiments; did you mean steps'),
        ("qqq = 3", '"qqq" is not a setting of digits experiments, which have dataset'),
        ('steps = "many"', "steps must be int, got 'many'"),
        ("steps = true", "steps must be int, got True"),
    ],
)
def test_an_experiment_file_is_refused_by_name(tmp_path: Path, capsys: Capture, text: str, words: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    flags = ["--experiment", str(tmp_path / "settings.toml"), "--out", str(tmp_path / "run")]
    assert words in sentence(capsys, lambda: train.main(flags))


def test_a_directory_with_another_run_is_left_alone(out: Path, capsys: Capture) -> None:
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    message = sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    assert (
        f"--out {out} already holds a run; resume it with python -m refca.train --out {out} --resume, or choose"
        in message
    )
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


@pytest.mark.parametrize("below", ["", "run", "runs/run"])
def test_a_run_directory_that_is_a_file_or_would_be_in_one_is_refused(
    tmp_path: Path, capsys: Capture, below: str
) -> None:
    (tmp_path / "notes").write_text("mine")
    out = tmp_path / "notes" / below
    message = sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    assert f"{out} cannot be created: {tmp_path / 'notes'} is a file; name another folder" in message
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_place_that_may_not_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", "a temporary name")

    words = " cannot be written: Permission denied; name another place, or change the permissions"
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(InvalidInput, match=re.escape(f"{tmp_path / 'a.txt'}{words}")):
        write_text(tmp_path / "a.txt", "text")
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(InvalidInput, match=re.escape(f"{tmp_path / 'run'}{words}")):
        make_folder(tmp_path / "run")


def test_a_directory_with_weights_alone_is_left_alone(out: Path, capsys: Capture) -> None:
    (out / "checkpoint.safetensors").unlink()
    weights = (out / "weights.safetensors").read_bytes()
    message = sentence(capsys, lambda: train.main([*SHORT, "--out", str(out)]))
    assert message == f"refca: --out {out} already holds weights, which would be overwritten; choose another --out"
    assert (out / "weights.safetensors").read_bytes() == weights


def test_a_disk_that_refuses_the_first_file_is_no_run_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def full(*given: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(loop, "MetricsFile", full)
        message = sentence(capsys, lambda: train.main([*SHORT, "--out", str(tmp_path / "run")]))
    assert "No space left on device; after fixing that, start it again" in message
    assert train.main([*SHORT, "--out", str(tmp_path / "run")]) == 0


def test_a_disk_that_may_no_longer_be_written_leaves_a_run_to_go_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def once(path: Path, *given: Any) -> None:
        if path.exists():
            with permission(path):
                raise PermissionError(errno.EROFS, os.strerror(errno.EROFS))
        save_checkpoint(path, *given)

    out = tmp_path / "run"
    with monkeypatch.context() as patched:
        patched.setattr(loop, "save_checkpoint", once)
        message = sentence(capsys, lambda: train.main([*SHORT, "--checkpoint-every", "4", "--out", str(out)]))
    assert "cannot be written: Read-only file system" in message
    assert "after fixing that, resume with " in message
    assert f" --out {out} --resume" in message
    assert train.main(["--out", str(out), "--resume"]) == 0


def test_a_resumed_run_keeps_its_settings(out: Path, capsys: Capture) -> None:
    message = sentence(capsys, lambda: train.main(["--out", str(out), "--resume", "--steps", "99"]))
    assert "a resumed run keeps its settings: steps is 12 in" in message
    assert "--resume needs --out" in sentence(capsys, lambda: train.main(["--resume"]))


def test_a_checkpoint_cut_short_is_refused_wherever_it_is_cut(out: Path, capsys: Capture) -> None:
    checkpoint = out / "checkpoint.safetensors"
    content = checkpoint.read_bytes()
    for length in (0, 5, 100, len(content) // 2, len(content) - 1):
        checkpoint.write_bytes(content[:length])
        for program in (
            lambda: train.main(["--out", str(out), "--resume"]),
            lambda: evaluate.main([str(out)]),
        ):
            assert f"{checkpoint} is damaged: " in sentence(capsys, program)
        assert checkpoint.read_bytes() == content[:length]


def test_weights_of_another_cell_or_with_a_nan_are_refused(
    tmp_path: Path, capsys: Capture, params: dict[str, np.ndarray]
) -> None:
    path = tmp_path / "weights.npz"
    wrong: list[tuple[dict[str, np.ndarray], str]] = [
        (
            {**params, "update.weight": params["update.weight"][:, :18]},
            "update.weight must have shape (80, 19) for this cell, got (80, 18)",
        ),
        (
            {k: v for k, v in params.items() if k != "update.bias"},
            "params must have update.bias (19,), which is missing",
        ),
        ({**params, "gate.weight": np.zeros((80, 1), np.float32)}, "gate.weight is not a parameter"),
        ({k: v.astype(np.int64) for k, v in params.items()}, "must be float32 or float64, got int64"),
        (
            {**params, "update.bias": np.full(19, np.nan, np.float32)},
            "update.bias holds NaN or infinity",
        ),
    ]
    for arrays, words in wrong:
        np.savez(path, allow_pickle=False, **arrays)
        message = sentence(capsys, lambda: evaluate.main([str(path), "--dataset", "optdigits"]))
        assert f"refca: {path}: " in message
        assert words in message
    path.write_bytes(path.read_bytes()[:1000])
    assert "an .npz file was expected" in sentence(capsys, lambda: evaluate.main([str(path)]))
    missing = tmp_path / "none.npz"
    assert f"{missing} does not exist" in sentence(capsys, lambda: evaluate.main([str(missing)]))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--samples", "0"], "--samples must be from 1 to 297, the test digits of optdigits, got 0"),
        (["--samples", "298"], "--samples must be from 1 to 297"),
        (["--steps", "0"], "--steps must be from 1 to 1,000,000, got 0"),
        (["--noise", "nan"], "noise must be finite and at least 0, got nan"),
        (["--seed", "-1"], "seed must be from 0 to 2**64 - 1, got -1"),
        (["--backend", "warp"], 'unknown backend "warp"'),
    ],
)
def test_evaluation_refuses(out: Path, capsys: Capture, tmp_path: Path, flags: list[str], words: str) -> None:
    target = tmp_path / "evaluation"
    assert words in sentence(capsys, lambda: evaluate.main([str(out), "--out", str(target), *flags]))
    assert not target.exists()


def test_a_full_disk_leaves_the_checkpoint_of_before(
    out: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    real, calls = os.fsync, 0

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls > 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(other))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        flags = [*SHORT, "--out", str(other), "--checkpoint-every", "1"]
        assert "No space left on device" in sentence(capsys, lambda: train.main(flags))
    assert train.main(["--out", str(other), "--resume"]) == 0
    mine, theirs = load_weights(other).params, load_weights(out).params
    for name in theirs:
        np.testing.assert_array_equal(mine[name], theirs[name])


@pytest.mark.parametrize("rate", ["1e3", "1e5", "1e10", "1e30"])
@pytest.mark.parametrize("steps", ["2", "3", "12"])
def test_training_that_diverges_keeps_a_checkpoint_that_is_finite(
    tmp_path: Path, capsys: Capture, rate: str, steps: str
) -> None:
    out = tmp_path / "run"
    flags = [*SHORT, "--out", str(out), "--learning-rate", rate, "--steps", steps, "--checkpoint-every", "1"]
    with np.errstate(all="ignore"):
        code = train.main(flags)
    if code:  # it may survive a few steps
        assert code == 2
        message = capsys.readouterr().err
        assert f"training diverged; {out} keeps the last checkpoint; try a lower --learning-rate" in message
        assert not (out / "weights.safetensors").exists()
    load_weights(out)  # finite, or it would be refused


def test_a_rate_that_is_far_too_high_diverges(tmp_path: Path, capsys: Capture) -> None:
    flags = [*SHORT, "--out", str(tmp_path / "run"), "--learning-rate", "1e30"]
    with np.errstate(all="ignore"):
        assert "training diverged" in sentence(capsys, lambda: train.main(flags))


def test_a_checkpoint_that_does_not_fit_its_settings_is_refused(out: Path, capsys: Capture) -> None:
    experiment, train_state = load_checkpoint(out / "checkpoint.safetensors", lookup)
    resumed = ["--out", str(out), "--resume"]
    short = Pool(*(x[:5] for x in vars(train_state.buffer).values()))
    for wrong, words in (
        (replace(train_state, adam=Adam()), "the optimiser's moments do not have the shapes of the parameters"),
        (replace(train_state, buffer=short), "its pool does not hold 8 digits and their states"),
        (replace(train_state, done=13), "updates <= done <= steps must hold, got"),
        (replace(train_state, updates=13), "got 13 updates, 12 of 12 steps"),
        (replace(train_state, data="others"), "was trained on other digits than --dataset optdigits has here"),
    ):
        save_checkpoint(out / "checkpoint.safetensors", experiment, wrong)
        assert words in sentence(capsys, lambda: train.main(resumed))
    (out / "weights.safetensors").replace(out / "checkpoint.safetensors")
    assert "a checkpoint of a training run was expected" in sentence(capsys, lambda: train.main(resumed))


def test_a_log_of_something_else_is_refused(out: Path, capsys: Capture) -> None:
    (out / "metrics.csv").write_text("step,loss\n10\n")
    message = sentence(capsys, lambda: train.main(["--out", str(out), "--resume"]))
    assert f"{out / 'metrics.csv'} is cut short since the checkpoint" in message


def test_a_thread_setting_that_is_no_number_is_refused(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    flags = [*SHORT, "--backend", "cpu", "--out", str(tmp_path / "run")]
    for setting in ("many", "0", "-1", ""):
        monkeypatch.setenv("REFCA_THREADS", setting)
        assert "REFCA_THREADS must be a number of threads, at least 1" in sentence(capsys, lambda: train.main(flags))


def test_ctrl_c_is_said_in_a_word_and_exits_with_130(capsys: Capture) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    def interrupted_in_an_import() -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt as error:
            raise ImportError("initialization failed") from error

    for program in (interrupted, interrupted_in_an_import):
        assert programs.exit_code(program) == 130
        assert capsys.readouterr().err == "refca: stopped\n"


def test_an_import_that_fails_by_itself_is_not_taken_for_ctrl_c() -> None:
    def broken() -> int:
        raise ImportError("initialization failed")

    with pytest.raises(ImportError, match="initialization failed"):
        programs.exit_code(broken)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--labels", "5"], "labels must be at least 10, as many as optdigits has, got 5"),
        (["--channels", "3"], "channels must be 1, as many as the pictures of optdigits have, got 3"),
    ],
)
def test_data_that_the_cells_are_not_for_is_refused_before_a_run_begins(
    tmp_path: Path, capsys: Capture, flags: list[str], words: str
) -> None:
    given = ["--dataset", "optdigits", "--steps", "2", *flags, "--backend", "reference", "--out", str(tmp_path / "run")]
    assert words in sentence(capsys, lambda: train.main(given))
    assert not (tmp_path / "run/checkpoint.safetensors").exists()


def test_weights_for_fewer_labels_than_the_data_has_are_refused(tmp_path: Path, capsys: Capture) -> None:
    cell = refca.Cell(1, 6, 4, 2, alive_above=0.1)
    refca.save_weights(tmp_path / "two.safetensors", cell, refca.init_params(cell, 0))
    model = str(tmp_path / "two.safetensors")
    given = [model, "--dataset", "optdigits", "--out", str(tmp_path / "out"), "--backend", "reference"]
    assert "labels must be at least 10, as many as optdigits has" in sentence(capsys, lambda: evaluate.main(given))
    assert "labels must be at least 10, as many as optdigits has" in sentence(capsys, lambda: predict.main(given))


def test_numpy_numbers_are_settings() -> None:
    given: Any = {"steps": np.int64(3), "learning_rate": np.float64(0.5), "biases": np.bool_(False)}
    settings = DigitsExperiment(**given)
    assert [type(x) for x in (settings.steps, settings.learning_rate, settings.biases)] == [int, float, bool]


def test_a_seed_may_be_zero() -> None:
    with pytest.raises(InvalidInput, match="seed must be at least 0, got -1"):
        refca.compare("reference", refca.digits_cell(), seed=-1)


def test_tiles_of_batch_norm_are_predicted_alone() -> None:
    cell = refca.Cell(3, 4, 4, 2, norm="batch", linear_readout=True)
    experiment = SegmentationExperiment(state=4, hidden=4, labels=2, norm="batch", resettable=False)
    rng, reference = np.random.default_rng(0), refca.get_backend("reference")
    params = {name: rng.normal(size=x.shape).astype(np.float32) for name, x in refca.init_params(cell, 0).items()}
    automaton = refca.Automaton("batch", cell, params, experiment, reference)
    pixels = rng.random((8, 24, 3)).astype(np.float32)
    whole, alone = (automaton.predict(each, tile=8, steps=3).labels for each in (pixels, pixels[:, :8]))
    np.testing.assert_array_equal(whole[:, :6], alone[:, :6])
