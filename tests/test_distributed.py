"""Ranks that share a batch: the bits of one process, for any number of ranks and any assignment of the parts.

The ranks are threads here; `test_mpi.py` has processes.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cluster_model
import numpy as np
import pytest
from cluster_model import Network
from refca_spec.compare import assert_same
from refca_spec.simulated_ranks import simulate

import refca
from refca import distributed, interrupt
from refca.contract.parts import ChosenStreams, contiguous_parts, streams_of, tree_sum
from refca.contract.reference import Reference, reference
from refca.data import Photographs
from refca.digits import validation as digits_validation
from refca.digits.evaluation import evaluate
from refca.digits.robustness import erase_and_redraw, make_runner, row
from refca.distributed import current, sum_over_tree
from refca.errors import InvalidInput
from refca.liveness import Place, has_died
from refca.segmentation.evaluation import confusion_at, curves
from refca.tasks import change, load_experiment, lookup, task_of
from refca.training import parts
from refca.training.checkpoint import load_checkpoint
from refca.training.loop import fit
from refca.training.muon import OPTIMISERS
from refca.training.parts import Division, divide
from refca.training.shared_states import SharedStates, share, whole_buffer

DIGITS: dict[str, Any] = {"steps": 11, "unroll": 3, "state": 12, "hidden": 8, "pool": 24, "batch": 14}
FILES = ("weights.safetensors", "checkpoint.safetensors", "metrics.csv")


def train_digits(out: Path, ranks: int, stop: int | None = None, resume: bool = False, **settings: Any) -> None:
    """Train on small digits on some ranks (0: none, one process), perhaps stop after a step, or resume there."""
    experiment = change(load_experiment("demo"), DIGITS | settings)
    training, backend = task_of(experiment).training, refca.get_backend("cpu")
    samples = training.load_samples(experiment, None)

    def program(ranks: Any) -> bool:
        if resume:
            _, state = load_checkpoint(out / "checkpoint.safetensors", lookup, backend.asarray)
        else:
            state = training.begin(experiment, backend, samples)
        whole = replace(experiment, steps=stop) if stop else experiment
        return fit(training, whole, backend, samples, state, out, 4)

    if ranks:
        simulate(ranks, program)
    else:
        program(None)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train_digits(out, 0)
    return out


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_digits_end_in_the_same_bytes_on_any_number_of_ranks(tmp_path: Path, alone: Path, ranks: int) -> None:
    train_digits(tmp_path, ranks)
    for file in FILES:
        assert (tmp_path / file).read_bytes() == (alone / file).read_bytes(), file


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_logical_workers_give_the_same_bytes_on_any_number_of_ranks(tmp_path: Path, optimiser: str) -> None:
    for ranks in (0, 3):
        train_digits(tmp_path / str(ranks), ranks, logical_workers=5, steps=5, optimiser=optimiser, ema_decay=0.9)
    for file in FILES:
        assert (tmp_path / "0" / file).read_bytes() == (tmp_path / "3" / file).read_bytes(), file


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_a_tree_over_ranks_is_the_tree_of_one_process_for_any_assignment(count: int) -> None:
    rng = np.random.default_rng(count)
    terms = [rng.normal(0, 1, 7).astype(np.float32) for _ in range(count)]
    expected = tree_sum(terms, np.add)
    for size in (1, 2, 3, 6):
        owners = rng.integers(0, size, count)

        def program(ranks: Any, owners: np.ndarray = owners) -> np.ndarray:
            own = {int(i): terms[i] for i in np.flatnonzero(owners == ranks.rank)}
            return sum_over_tree(own, list(owners), np.add, lambda x: x, lambda x: x, (7,), np.float32)

        for got in simulate(size, program):
            assert_same(got, expected, f"the sum of {count} terms", f"{size} ranks")


def test_64_ranks_add_and_share_as_one_process() -> None:
    terms = [np.float32(x) for x in np.random.default_rng(0).normal(0, 1, 100)]
    for size in (2, 4, 8, 16, 32, 64):
        owners = np.arange(100) * size // 100

        def program(ranks: Any, owners: np.ndarray = owners) -> tuple[Any, list[int]]:
            own = {int(i): terms[i].reshape(1) for i in np.flatnonzero(owners == ranks.rank)}
            summed = sum_over_tree(own, list(owners), np.add, lambda x: x, lambda x: x, (1,), np.float32)
            return summed, list(distributed.shared_map(lambda i: i**2, range(150)))

        found = simulate(size, program)
        assert {float(summed[0]) for summed, _ in found} == {float(tree_sum(terms, np.add))}
        assert [squares for _, squares in found] == [[i**2 for i in range(150)]] + [[]] * (size - 1)


def test_the_model_counts_the_messages_of_a_training_step() -> None:
    experiment = change(load_experiment("demo"), DIGITS | {"batch": 16, "logical_workers": 8, "regime": "naive"})
    training, backend = task_of(experiment).training, refca.get_backend("reference")
    samples = training.load_samples(experiment, None)
    gradient = 4 * sum(x.size for x in refca.init_params(experiment.cell, 0).values())

    def program(ranks: Any) -> tuple[int, int]:
        state = training.begin(experiment, backend, samples)
        state.buffer = share(state.buffer, backend)
        training.train_step(experiment, backend, samples, state)
        return ranks.messages, ranks.sent

    counted = simulate(8, program)
    assert max(messages for messages, _ in counted) <= 2 * 3  # up and down three levels
    assert sum(sent for _, sent in counted) == 2 * 7 * (gradient + 16)
    assert cluster_model.reduction(8, gradient, Network("", 1, 1e99)) == pytest.approx(2 * 3)


def test_more_ranks_are_never_more_efficient_in_the_model() -> None:
    for kind, work in cluster_model.WORKLOADS.values():
        for batch in cluster_model.BATCHES:
            values = [cluster_model.efficiency(work, cluster_model.NETWORKS[kind], batch, n) for n in (1, 4, 64, 1024)]
            assert values[0] == 1
            assert values == sorted(values, reverse=True)


def test_the_sum_of_many_terms_depends_on_their_order_which_the_law_above_needs() -> None:
    terms = [np.float32(x) for x in (1e8, 1, -1e8, 1, 1, 1)]
    assert tree_sum(terms, np.add) != sum(terms)


def test_a_rank_sends_only_the_roots_of_its_subtrees() -> None:
    """With powers of two rank 0 receives log2(ranks) sums and passes on as many; another sends its one."""
    owners = np.arange(64) // 8

    def program(ranks: Any) -> tuple[int, int]:
        own = {int(i): np.ones(25) for i in np.flatnonzero(owners == ranks.rank)}
        sum_over_tree(own, list(owners), np.add, lambda x: x, lambda x: x, (25,), float)
        return ranks.messages, ranks.sent

    counted = simulate(8, program)
    assert [messages for messages, _ in counted] == [3, 1, 2, 1, 3, 1, 2, 1]
    assert sum(sent for _, sent in counted) == 14 * 200  # seven sums up, seven down


@pytest.mark.parametrize("norm", ["instance", "channel", "none"])
def test_gradients_of_photographs_are_the_same_for_any_assignment(norm: str) -> None:
    rng = np.random.default_rng(0)
    cell, backend = refca.segmentation_cell(5, 7, norm=norm, stride=2), refca.get_backend("cpu")
    params = {name: rng.normal(0, 0.3, x.shape).astype(np.float32) for name, x in refca.init_params(cell, 0).items()}
    image = rng.uniform(-1, 1, (6, 12, 8, 3)).astype(np.float32)
    state, target = rng.normal(0, 1, (6, 6, 4, 5)).astype(np.float32), rng.integers(0, 3, (6, 12, 8))
    weights = (rng.random((4, 6)) * (rng.random(6) < 0.7)).astype(np.float32)  # some samples count nowhere

    def gradients(division: Division) -> tuple[Any, ...]:
        rows, streams = division.rows, refca.Streams(5)
        loss, grads, last = parts.loss_and_grads(
            backend, division, cell, "ce", params, image, state[rows], target, weights, streams
        )
        evolved = parts.evolve(backend, division, cell, params, image, state[rows], streams, 3)
        return np.float64(loss), *grads.values(), last, evolved

    alone = divide(backend, cell, image, 0)
    expected = gradients(alone)
    whole = backend.loss_and_grads(cell, "ce", params, image, state, target, weights, refca.Streams(5))
    assert expected[0] == pytest.approx(whole[0], rel=1e-5)
    for name, got in zip(params, expected[1:-2], strict=True):
        np.testing.assert_allclose(got, whole[1][name], atol=1e-4, err_msg=name)
    owners = rng.integers(0, 3, len(alone.parts))

    def program(ranks: Any) -> tuple[Any, ...]:
        division = Division(alone.parts, owners)
        *summed, last, evolved = gradients(division)
        return (*summed, division.rows, last, evolved)

    for *summed, rows, last, evolved in simulate(3, program):
        for got, term in zip(
            [*summed, last, evolved], [*expected[:-2], *(x[rows] for x in expected[-2:])], strict=True
        ):
            assert_same(got, term, f"a result with norm {norm}", "three ranks")


def test_the_parts_of_a_batch_are_those_of_the_backend_whoever_computes_them() -> None:
    image = np.random.default_rng(0).random((9, 8, 8, 1)).astype(np.float32)
    cell, cpu = refca.digits_cell(), refca.get_backend("cpu")
    found = simulate(4, lambda ranks: divide(cpu, cell, image, 0).parts)
    for others in found:
        for got, expected in zip(others, divide(cpu, cell, image, 0).parts, strict=True):
            assert_same(got, expected, "a part", "four ranks")
    assert sorted(np.concatenate(found[0])) == list(range(9))


def test_a_batch_that_is_one_whole_is_not_shared() -> None:
    image = np.zeros((4, 8, 8, 1), np.float32)

    def refused(ranks: Any) -> str:
        with pytest.raises(InvalidInput) as whole:
            divide(reference, refca.digits_cell(), image, 0)
        with pytest.raises(InvalidInput, match='norm "batch"'):
            divide(reference, replace(refca.digits_cell(), norm="batch"), image, 2)
        return str(whole.value)

    assert "--logical-workers 2" in simulate(2, refused)[0]
    assert len(divide(reference, refca.digits_cell(), image, 0).parts) == 1


def test_a_backend_may_not_cut_a_batch_under_batch_norm() -> None:
    class Cutting(Reference):
        def batch_parts(self, cell: refca.Cell, image: Any) -> list[np.ndarray]:
            return contiguous_parts(len(image), 2)

    image = np.zeros((4, 8, 8, 1), np.float32)
    assert len(divide(Cutting(), refca.digits_cell(), image, 0).parts) == 2
    with pytest.raises(InvalidInput, match='must return one part under the norm "batch", got 2'):
        divide(Cutting(), replace(refca.digits_cell(), norm="batch"), image, 0)


def test_streams_of_chosen_samples_are_rows_of_those_of_the_batch() -> None:
    cell, streams = replace(refca.digits_cell(), resettable=True), refca.Streams(3, first_sample=2**32 - 3)
    whole = streams.at(cell, 4, 6, 5, 4)
    for samples in ([1, 2, 3], [5, 0, 4]):
        chosen = streams_of(streams, np.array(samples))
        assert isinstance(chosen, ChosenStreams) == (samples == [5, 0, 4])
        for got, expected in zip(chosen.at(cell, 4, 3, 5, 4), whole, strict=True):
            assert_same(got, expected[samples], "draws", "chosen samples")


def test_contiguous_parts_cover_a_batch_once() -> None:
    assert [list(part) for part in contiguous_parts(5, 3)] == [[0, 1], [2, 3], [4]]
    assert len(contiguous_parts(2, 7)) == 2


def test_states_move_to_the_ranks_that_need_them_and_each_is_on_one() -> None:
    states = np.arange(10.0).reshape(10, 1, 1, 1) * np.ones((1, 2, 2, 1))
    rng = np.random.default_rng(0)
    turns = [(rng.permutation(10)[:6], rng.integers(0, 3, 6)) for _ in range(5)]

    def program(ranks: Any) -> tuple[np.ndarray | None, list[int]]:
        shared = SharedStates(states, reference)
        for rows, to in turns:
            shared.fetch(rows, to)
            own = rows[to == ranks.rank]
            shared.store(rows, to, shared.take(own) + 1)
        return shared.whole(), sorted(shared.rows)

    (whole, _), *others = found = simulate(3, program)
    expected = np.array([n + sum(n in rows for rows, _ in turns) for n in range(10)])
    assert whole is not None
    np.testing.assert_array_equal(whole[:, 0, 0, 0], expected)
    assert all(rest is None for rest, _ in others)
    assert sorted(i for _, rows in found for i in rows) == list(range(10)), "each state is on one rank"


def test_a_buffer_is_shared_and_put_together_again() -> None:
    experiment = change(load_experiment("demo"), DIGITS)
    training = task_of(experiment).training
    samples = training.load_samples(experiment, None)
    buffer = training.begin(experiment, reference, samples).buffer

    def program(ranks: Any) -> tuple[int, Any]:
        shared = share(buffer, reference)
        return len(shared.state.rows), whole_buffer(shared)

    (first, whole), *others = simulate(5, program)
    assert first + sum(count for count, _ in others) == 24
    assert max(first, *(count for count, _ in others)) <= 5
    for name, x in vars(buffer).items():
        assert_same(getattr(whole, name), x, name, "the buffer")


def test_a_simulated_rank_that_fails_ends_the_others() -> None:
    def program(ranks: Any) -> None:
        if ranks.rank == 1:
            raise ZeroDivisionError
        ranks.receive((1,), float, 1)

    with pytest.raises(ZeroDivisionError):
        simulate(3, program)


def test_measurements_of_digits_are_those_of_one_process() -> None:
    experiment: Any = change(load_experiment("demo"), {**DIGITS, "noise": 0.02})
    cell, backend = experiment.cell, refca.get_backend("cpu")
    digits, params = experiment.load_data(None).test, refca.init_params(cell, 0)
    params["update.weight"] = np.random.default_rng(0).normal(0, 0.1, (8, 12)).astype(np.float32)

    def measured(ranks: Any = None) -> list[Any]:
        votes: list[Any] = []
        curves = evaluate(
            cell, params, backend, digits, samples=290, steps=2, mutation="both", on_votes=lambda *x: votes.append(x)
        )
        runner = make_runner(cell, params, backend, 0, lambda count: None)
        images, labels = digits.images(slice(260)), digits.labels[:260]
        rows = row(runner, "size", "1", images, labels, 2), erase_and_redraw(runner, images, labels, 2)
        held_out = digits_validation.measure(experiment, backend, digits.part(0, 290), params, digits)
        return [curves, votes, rows, list(held_out.values())]

    compare_nested(simulate(3, measured)[0], measured())


def test_measurements_of_photographs_are_those_of_one_process() -> None:
    rng = np.random.default_rng(0)
    trimaps = rng.integers(0, 3, (70, 6, 6)).astype(np.uint8)
    colours = (80 * trimaps[..., None] + rng.integers(0, 80, (70, 6, 6, 3))).astype(np.uint8)
    photographs = Photographs(colours, trimaps, tuple(map(str, range(70))))
    cell, backend = refca.segmentation_cell(5, 6), refca.get_backend("cpu")
    params = {name: rng.normal(0, 0.3, x.shape).astype(np.float32) for name, x in refca.init_params(cell, 0).items()}
    given = cell, params, backend, photographs

    def measured(ranks: Any = None) -> list[Any]:
        return [confusion_at(*given, samples=70, at=[0, 3]), curves(*given, samples=66, steps=3, every=2, shift=1)]

    compare_nested(simulate(3, measured)[0], measured())


def compare_nested(got: Any, expected: Any) -> None:
    """Compare lists, tuples and dicts of arrays and numbers, bit for bit."""
    assert type(got) is type(expected)
    if isinstance(got, dict):
        assert got.keys() == expected.keys()
        got, expected = list(got.values()), list(expected.values())
    if isinstance(got, list | tuple):
        for x, y in zip(got, expected, strict=True):
            compare_nested(x, y)
    elif isinstance(got, str):
        assert got == expected
    else:
        assert_same(np.asarray(got), np.asarray(expected), "a measurement", "three ranks")


def test_any_rank_can_ask_for_a_stop_and_differences_are_noticed() -> None:
    assert simulate(5, lambda ranks: distributed.any_rank(ranks.rank == 3)) == [True] * 5
    assert simulate(5, lambda ranks: distributed.any_rank(False)) == [False] * 5
    assert [int(x[0]) for x in simulate(6, lambda ranks: distributed.total(np.array([ranks.rank])))] == [15] * 6

    def different(ranks: Any) -> None:
        with pytest.raises(InvalidInput, match="must be the same on all ranks"):
            distributed.check_same("the backend", f"backend {ranks.rank == 2}")

    simulate(3, different)


def test_without_a_launcher_there_is_one_process_and_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in interrupt.SIZES:
        monkeypatch.delenv(name, raising=False)
    distributed.start()
    assert current().size == 1
    assert "mpi4py" not in sys.modules


def test_a_launcher_without_mpi4py_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "4")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    monkeypatch.delitem(sys.modules, "refca.mpi_ranks", raising=False)
    with pytest.raises(InvalidInput, match=r"4 processes .* needs mpi4py; .*refca\[mpi\]"):
        distributed.start()


def test_a_process_is_called_dead_only_when_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Place.here()
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        until = time.monotonic() + 60
        while Path("/proc").exists() and not has_died(
            here._replace(pid=child.pid)
        ):  # a zombie until this process waits for it
            assert time.monotonic() < until
            time.sleep(0.01)
    gone = here._replace(pid=child.pid)
    assert has_died(gone)
    assert not has_died(gone._replace(host="elsewhere"))
    assert not has_died(gone._replace(namespace="of another container"))
    assert not has_died(here)

    def missing(*given: Any, **named: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr("builtins.open", missing)  # as on macOS, which has no /proc
    assert not has_died(here)
    assert has_died(gone)
