"""The cpu backend beyond the laws: threads and shards change nothing, and any size works."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import threadpoolctl
from refca_cpu import BACKEND as cpu
from refca_cpu import blas, gemm, layout, unroll
from refca_spec.compare import assert_same

import refca
from refca.contract.reference import reference
from refca.definition.cell import NORMS


def problem(B: int, seed: int = 0) -> tuple[Any, ...]:
    """A digits cell with weights that do something, and images of which a sixth lives."""
    rng = np.random.default_rng(seed)
    cell = refca.digits_cell()
    params = {
        name: (x + rng.normal(0, 0.02, x.shape)).astype(np.float32) for name, x in refca.init_params(cell, 0).items()
    }
    image = (rng.random((B, 12, 10, 1)) * (rng.random((B, 12, 10, 1)) < 1 / 6)).astype(np.float32)
    state = rng.normal(0, 1, (B, 12, 10, 19)).astype(np.float32)
    weights = np.zeros((25, B), np.float32)
    weights[[3, -1]] = 1 / B
    return cell, params, image, state, rng.integers(0, 10, B), weights


@pytest.mark.parametrize("B", [1, 3, 16, 33])
def test_the_number_of_threads_changes_no_bit(monkeypatch: pytest.MonkeyPatch, B: int) -> None:
    cell, params, image, state, label, weights = problem(B)
    results = []
    for threads in ("1", "2", "5"):
        monkeypatch.setenv("REFCA_THREADS", threads)
        evolved = cpu.evolve(cell, params, image, state, refca.Streams(1), 23)
        loss, grads, last = cpu.loss_and_grads(
            cell, "ce", params, image, state, label, weights, refca.Streams(1), image_grad=True
        )
        results.append((evolved, np.float64(loss), last, *grads.values()))
    for other in results[1:]:
        for got, expected in zip(other, results[0], strict=True):
            assert_same(got, expected, f"a result of {B} samples", "other threads")


def test_shards_and_spans_of_any_size_give_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, params, image, state, label, weights = problem(5)
    expected = reference.loss_and_grads(cell, "l2", params, image, state, label, weights, refca.Streams(1))
    for size, span in ((1, 1), (2, 7), (5, 30)):
        monkeypatch.setattr(unroll, "SHARD", size)
        monkeypatch.setattr(unroll, "TAPED_SHARD", size)
        monkeypatch.setattr(unroll, "SPAN", span)
        loss, grads, last = cpu.loss_and_grads(cell, "l2", params, image, state, label, weights, refca.Streams(1))
        assert loss == pytest.approx(expected[0], rel=1e-5)
        evolved = cpu.evolve(cell, params, image, state, refca.Streams(1), 25)
        np.testing.assert_allclose(last, expected[2], atol=2e-4)
        np.testing.assert_allclose(evolved, expected[2], atol=2e-4)
        for name, grad in grads.items():
            scale = abs(expected[1][name]).max()
            np.testing.assert_allclose(grad / scale, expected[1][name] / scale, atol=2e-4)


SETTINGS = [(norm, depthwise) for norm in NORMS for depthwise in (False, True)]


def photographs(norm: str, depthwise: bool) -> tuple[Any, ...]:
    """A segmentation cell in float64, on grids of more cells than two blocks of rows, in several shards."""
    rng = np.random.default_rng(0)
    cell = refca.segmentation_cell(5, 7, norm=norm, depthwise=depthwise)
    params = {name: rng.normal(0, 0.4, x.shape) for name, x in refca.init_params(cell, 0).items()}
    image, state = rng.uniform(-1, 1, (3, 34, 31, 3)), rng.normal(0, 1, (3, 34, 31, 5))
    return cell, params, image, state, rng.integers(0, 3, (3, 34, 31)), rng.random((4, 3))


@pytest.mark.parametrize(("norm", "depthwise"), SETTINGS)
def test_rows_in_many_blocks_give_the_reference(norm: str, depthwise: bool) -> None:
    cell, params, image, state, labels, weights = photographs(norm, depthwise)
    assert image[0, ..., 0].size > 2 * layout.BLOCK - 1
    arguments = (cell, "ce", params, image, state, labels, weights, refca.Streams(1))
    loss, grads, last = cpu.loss_and_grads(*arguments, image_grad=True)
    expected = reference.loss_and_grads(*arguments, image_grad=True)
    assert loss == pytest.approx(expected[0], rel=1e-9)
    np.testing.assert_allclose(last, expected[2], atol=1e-9)
    for name, grad in grads.items():
        np.testing.assert_allclose(grad, expected[1][name], atol=1e-8, err_msg=name)
    evolved = cpu.evolve(cell, params, image, state, refca.Streams(1), 4)
    np.testing.assert_allclose(evolved, expected[2], atol=1e-9)


@pytest.mark.parametrize(("norm", "depthwise"), SETTINGS)
def test_the_number_of_threads_changes_no_bit_on_photographs(
    monkeypatch: pytest.MonkeyPatch, norm: str, depthwise: bool
) -> None:
    cell, params, image, state, labels, weights = photographs(norm, depthwise)
    results = []
    for threads in ("1", "3"):
        monkeypatch.setenv("REFCA_THREADS", threads)
        loss, grads, last = cpu.loss_and_grads(cell, "ce", params, image, state, labels, weights, refca.Streams(1))
        results.append((np.float64(loss), last, *grads.values()))
    for got, expected in zip(*results, strict=True):
        assert_same(got, expected, f"a result with norm {norm}", "other threads")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("k", "m", "n"),
    [(300, 48, 48), (130, 35, 33), (5, 3, 7), (0, 4, 4), (70, 100, 97), (90, 32, 3), (90, 3, 32)],
)
def test_gradients_of_weights_of_any_shape_are_added(k: int, m: int, n: int, dtype: Any) -> None:
    """Add to a part of a wider matrix, from rows that are parts of wider rows, and touch nothing else."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(k, m + 3)).astype(dtype), rng.normal(size=(k, n + 1)).astype(dtype)
    out = rng.normal(size=(m, n + 2)).astype(dtype)
    want = out.copy()
    want[:, :n] += a[:, :m].T @ b[:, 1:]
    gemm.add_product(a[:, :m], b[:, 1:], out[:, :n])
    np.testing.assert_allclose(out, want, atol=1e-4)
    np.testing.assert_array_equal(out[:, n:], want[:, n:])


@pytest.mark.parametrize("order", ["channels first", "repeated", "rows last"])
def test_arrays_in_any_order_give_the_same_bits(order: str) -> None:
    cell, params, image, state, labels, weights = photographs("instance", True)
    orders: dict[str, Callable[[Any], Any]] = {
        "channels first": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, -1, 1)), 1, -1),
        "repeated": lambda x: np.broadcast_to(x[:1], x.shape),
        "rows last": np.asfortranarray,
    }
    ordered = orders[order]

    def results(image: Any, state: Any) -> list[Any]:
        given = cell, "ce", params, image, state, labels, weights, refca.Streams(1)
        loss, grads, last = cpu.loss_and_grads(*given, image_grad=True)
        return [np.float64(loss), last, *grads.values(), cpu.evolve(cell, params, image, state, refca.Streams(1), 3)]

    got = results(ordered(image), ordered(state))
    want = results(*map(np.ascontiguousarray, (ordered(image), ordered(state))))
    for x, y in zip(got, want, strict=True):
        assert_same(x, y, f"a result of arrays with {order}", "contiguous arrays")


@pytest.mark.parametrize("target", ["labels", "map"])
def test_parameters_and_states_in_any_order_give_the_same_bits(target: str) -> None:
    cell, params, image, state, labels, weights = photographs("instance", True)
    labels = labels if target == "map" else labels[:, 0, 0]
    params = {name: x + np.float32(0.1) for name, x in params.items()}
    given = image, state, labels, weights, refca.Streams(1)
    results = []
    for order in ("C", "F"):
        ordered = {name: np.array(x, order=order) for name, x in params.items()}
        loss, grads, last = cpu.loss_and_grads(cell, "ce", ordered, *given)
        states = np.array(state[None], order=order)
        of_states = cpu.loss_of_states(cell, "ce", ordered, image, labels, weights[-1:], states)
        results.append([np.float64(loss), last, *grads.values(), np.float64(of_states[0]), *of_states[1:2]])
    for got, expected in zip(*results, strict=True):
        assert_same(got, expected, "a result of arrays in Fortran's order", target)


def test_randomness_may_give_plain_tuples() -> None:
    class Tuples:
        def at(self, *given: Any) -> tuple[Any, ...]:
            return tuple(refca.Streams(1).at(*given))

    cell, params, image, state, label, weights = problem(2)
    sources: list[Any] = [Tuples(), refca.Streams(1)]
    for source in sources:
        loss, _, last = cpu.loss_and_grads(cell, "l2", params, image, state, label, weights, source)
        expected = reference.loss_and_grads(cell, "l2", params, image, state, label, weights, source)
        assert loss == pytest.approx(expected[0], rel=1e-5)
        np.testing.assert_allclose(last, expected[2], atol=1e-4)


def test_a_loss_may_call_the_backend_from_another_thread_and_keep_its_readout() -> None:
    cell, params, image, state, label, weights = problem(3)
    kept = []

    def loss(readout: Any, target: Any, live: Any, xp: Any) -> Any:
        other = threading.Thread(target=cpu.evolve, args=(cell, params, image, state, refca.Streams(1), 1))
        other.start()
        other.join(60)
        assert not other.is_alive(), "the other thread waits for this one"
        kept.append((readout, readout.copy()))
        return (readout**2).sum((1, 2, 3)), 2 * readout

    cpu.loss_and_grads(cell, loss, params, image, state, label, weights, refca.Streams(1))
    for readout, before in kept:
        np.testing.assert_array_equal(readout, before)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc overwrites memory that was given back")
def test_products_read_no_memory_that_was_given_back() -> None:
    code = (
        "import numpy as np\n"
        "from refca_cpu import gemm\n"
        "for real in (np.float32, np.float64):\n"
        "    ones, out, wide = np.ones((4, 4), real), np.empty((4, 4), real), np.zeros((100, 100), real)\n"
        "    gemm.multiply(ones, ones, out, 0)\n"
        "    gemm.multiply_back(ones, ones, out, 1)\n"
        "    gemm.add_product(np.ones((300, 100), real), np.ones((300, 100), real), wide)\n"
        "    print(set(out.flat) == {8}, set(wide.flat) == {300})\n"
    )
    tunables = {"GLIBC_TUNABLES": "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | tunables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout == "True True\n" * 2, done.stderr


def test_it_can_be_called_from_several_threads_at_once() -> None:
    cell, params, image, state, _, _ = problem(6)
    expected = cpu.evolve(cell, params, image, state, refca.Streams(1), 9)
    results: list[Any] = [None] * 4

    def work(i: int) -> None:
        results[i] = cpu.evolve(cell, params, image, state, refca.Streams(1), 9)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for got in results:
        assert_same(got, expected, "the state", "four calls at once")


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Matrix products on three threads, as set by the main thread."""
    blas.libraries()  # loaded, so that they are set
    with threadpoolctl.threadpool_limits(3):
        yield


def blas_threads() -> list[int | None]:
    return [library.get_num_threads() for library in blas.libraries()]


@pytest.mark.usefixtures("three_threads")
def test_a_product_has_one_thread_whichever_thread_asks_for_it() -> None:
    def within() -> list[int | None]:
        with blas.single_threaded():
            return blas_threads()

    with ThreadPoolExecutor(1) as another:
        for asked in (within, lambda: another.submit(within).result()) * 2:
            assert set(asked()) == {1}
            assert set(blas_threads()) == {3}


@pytest.mark.usefixtures("three_threads")
def test_what_other_threads_set_holds_after_a_call_and_not_within_it() -> None:
    with ThreadPoolExecutor(1) as another, blas.single_threaded():

        def within() -> list[int | None]:
            with threadpoolctl.threadpool_limits(2):
                return blas_threads()

        assert set(another.submit(within).result()) == {1}
    assert set(blas_threads()) == {3}


@pytest.mark.usefixtures("three_threads")
def test_the_call_after_an_interrupted_one_restores_the_number_of_threads() -> None:
    caller = blas.Caller()
    blas.CALLERS.enter(caller)
    del caller  # an interrupt kept it from leaving
    assert set(blas_threads()) == {1}
    with blas.single_threaded():
        pass
    assert set(blas_threads()) == {3}


@pytest.mark.usefixtures("three_threads")
def test_the_library_of_matrix_products_keeps_its_own_number_of_threads() -> None:
    cell, params, image, state, _, _ = problem(2)
    cpu.evolve(cell, params, image, state, refca.Streams(1), 2)
    assert set(blas_threads()) == {3}
    with threadpoolctl.threadpool_limits(2):  # others can still set it
        assert set(blas_threads()) == {2}


def test_nothing_but_the_backend_brings_the_compiler_in() -> None:
    code = "import sys, refca.train, refca.evaluate; sys.exit(bool({'numba', 'cupy'} & sys.modules.keys()))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_a_large_picture_evolves_in_the_memory_of_one_layer(
    monkeypatch: pytest.MonkeyPatch, norm: str, depthwise: bool
) -> None:
    monkeypatch.setattr(unroll, "DRAWN", 1)  # as for a large picture, one step at a time
    rng, cell = np.random.default_rng(0), refca.segmentation_cell(32, 48, norm=norm, depthwise=depthwise)
    image = rng.random((1, 96, 96, 3), dtype=np.float32)
    state = rng.standard_normal((1, 96, 96, 32), dtype=np.float32)
    params = refca.init_params(cell, 0)
    cpu.evolve(cell, params, image, state, refca.Streams(0), 1)  # compiles
    tracemalloc.start()
    try:
        cpu.evolve(cell, params, image, state, refca.Streams(0), 4)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    needed = 760 * 96 * 96  # bytes; a picture of 2,048 x 2,048 then takes 3.2 GB, and 0.6 before it evolves
    assert most < needed, f"{most / 96**2:.0f} bytes a cell"
