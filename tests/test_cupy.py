"""The cupy backend beyond the laws: its schedules, its sizes, broken kernels, and the compilers for GPUs.

The kernels run on a processor. There a missing barrier is seen, between threads of a block and between blocks
of a cluster. Not seen is what only a GPU does, `cuda/gpu.h`: it is built where nvcc or NVRTC is present, and
runs where a GPU is (`make gpu-test`).
"""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nvrtc import Nvrtc
from refca_cupy.emulated import Emulated
from refca_cupy.emulator import Emulator
from refca_cupy.layout import layout
from refca_cupy.schedule import Schedule, Shared
from refca_cupy.sources import FOLDER, files, source
from refca_spec.compare import assert_same

import refca
from refca.contract.reference import reference
from refca.definition.cell import NORMS, Cell
from refca.errors import Unavailable


def law(name: str, backend: Any, **arguments: Any) -> Callable[[], object]:
    """A law on a backend, in float64 where a dtype is asked for; or TEXTS on all cells of the two texts."""
    if name == TEXTS:
        return partial(all_as_the_reference, backend)
    if name == STATES:
        return partial(as_the_reference, CELLS["digits"], backend)
    if name == READOUT:
        return partial(as_the_reference, CELLS["photographs, none"], backend)
    chapter = name.removeprefix("test_").rpartition("_c")[0].partition("_c")[0]
    function = getattr(importlib.import_module(f"refca_spec.laws.test_{chapter}"), name)
    given = {"backend": backend, "dtype": "float64"} | arguments
    return lambda: function(**{n: given[n] for n in inspect.signature(function).parameters if n in given})


TEXTS = "the cells of the two texts, as the reference"
STEP = "test_step_c1_a_backend_steps_as_the_reference"
EVOLVE = "test_backends_c3_evolve_is_the_steps_of_the_reference"
STREAMS = "test_backends_c3_evolve_draws_from_streams"
GRADIENTS = "test_backends_c9_loss_gradients_and_state_are_the_reference_s"
DRAWN = "test_backends_c9_loss_and_grads_draws_from_streams"
IMAGE = "test_backends_c10_the_gradient_of_the_image_is_there_if_asked_for"
SINGLE = "gradients in float32"
READOUT = "the gradient of a linear readout, of many blocks"
STATES = "digits whose states are in shared memory"
LAWS: tuple[tuple[str, dict[str, Any]], ...] = (
    (STEP, {}),
    (GRADIENTS, {"loss": "l2", "kind": "labels"}),
    (GRADIENTS, {"loss": "ce", "kind": "map"}),
    (DRAWN, {"loss": "ce", "kind": "labels"}),
    (IMAGE, {}),
)
ALONE = "return {block.number, block.number + 1};"
SCHEDULES: dict[str, dict[str, Any]] = {
    "a launch for each phase": {"clusters": False},
    "fewer blocks than samples": {"resident": 1},
    "larger clusters": {"resident": 12},
    "weights in shared memory": {"resident": 32},
    "states in shared memory, in clusters": {"resident": 32, "shared_states": True},
    "states in shared memory, a block each": {"resident": 2, "shared_states": True},
    "slices of one sample": {"memory_budget": 1},
    "layers computed again": {"keeps_layers": False},
    "blocks of one thread": {"threads": 1},
    "blocks of 7 threads": {"threads": 7},
}
ON_TENSOR_CORES: dict[str, dict[str, Any]] = {
    "one warp": {},
    "two warps": {"threads": 64},
    "weights in shared memory": {"resident": 32},
    "states in shared memory, in clusters": {"resident": 32, "shared_states": True},
    "a launch for each phase": {"clusters": False},
    "layers computed again": {"keeps_layers": False},
}


@pytest.mark.parametrize("how", SCHEDULES)
@pytest.mark.parametrize(("name", "arguments"), LAWS, ids=[f"{n[5:30]}-{len(a)}" for n, a in LAWS])
def test_every_schedule_obeys_the_laws(how: str, name: str, arguments: dict[str, Any]) -> None:
    law(name, Emulated(**SCHEDULES[how]), **arguments)()


@pytest.mark.parametrize("how", ON_TENSOR_CORES)
@pytest.mark.parametrize(("name", "arguments"), LAWS, ids=[f"{n[5:30]}-{len(a)}" for n, a in LAWS])
def test_products_on_tensor_cores_obey_the_laws(how: str, name: str, arguments: dict[str, Any]) -> None:
    law(name, Emulated(**ON_TENSOR_CORES[how]), **arguments, dtype="float32")()


ON_GPU: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "clusters": {"least_cells": 1},
    "a launch for each phase": {"least_cells": 1, "clusters": False},
}
LESS_ON_GPU = {"without tensor cores": {"tensor_cores": False}, "no shared states": {"shared_states": False}}


def on_gpu(**how: Any) -> Any:
    """The backend on a GPU, with another schedule than small grids have."""
    try:
        from refca_cupy import gpu
    except Unavailable as error:
        pytest.skip(f"not tried on a GPU: {error}")
    return gpu.Cupy(**how)


@pytest.mark.parametrize("how", ON_GPU | LESS_ON_GPU)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "arguments"), LAWS, ids=[f"{n[5:30]}-{len(a)}" for n, a in LAWS])
def test_every_schedule_on_a_gpu_obeys_the_laws(how: str, dtype: str, name: str, arguments: dict[str, Any]) -> None:
    law(name, on_gpu(**(ON_GPU | LESS_ON_GPU)[how]), **arguments, dtype=dtype)()


@pytest.mark.parametrize("how", ON_GPU)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cells_of_the_two_texts_on_a_gpu_give_the_reference(how: str, dtype: str) -> None:
    all_as_the_reference(on_gpu(**ON_GPU[how]), dtype)


def problem(cell: Cell, B: int, side: int, T: int, dtype: str = "float32") -> tuple[Any, ...]:
    """Arguments for `loss_and_grads`, with a blank margin, as digits have it."""
    rng = np.random.default_rng(0)
    params = {name: rng.normal(0, 0.1, x.shape).astype(dtype) for name, x in refca.init_params(cell, 0).items()}
    image = rng.random((B, side, side, cell.image_channels)).astype(dtype)
    image[:, : side // 4] = 0
    state = rng.normal(0, 0.5, (B, side, side, cell.state_channels)).astype(dtype)
    target = rng.integers(0, cell.labels, (B, side, side) if cell.linear_readout else B)
    return cell, "ce", params, image, state, target, np.ones((T, B), dtype) / B, refca.Streams(1)


CELLS = {"digits": refca.digits_cell()} | {
    f"photographs, {norm}{', depthwise' if depthwise else ''}": refca.segmentation_cell(
        17, 22, norm=norm, depthwise=depthwise
    )
    for norm in NORMS
    for depthwise in (False, True)
}


def as_the_reference(cell: Cell, backend: Any, dtype: str = "float64") -> None:
    """Raise AssertionError unless a backend equals the reference, on more rows and columns than a tile."""
    expected = reference.loss_and_grads(*problem(cell, 3, 12, 4, "float64"), image_grad=True)
    _, loss, params, image, state, target, weights, streams = problem(cell, 3, 12, 4, dtype)
    params = {name: backend.asarray(x) for name, x in params.items()}
    arguments = (params, backend.asarray(image), backend.asarray(state), target, weights, streams)
    value, grads, last = backend.loss_and_grads(cell, loss, *arguments, image_grad=True)
    near = {"float32": 2e-4, "float64": 1e-9}[dtype]
    assert float(value) == pytest.approx(expected[0], rel=near)
    np.testing.assert_allclose(backend.asnumpy(last), expected[2], atol=near)
    for key, grad in grads.items():
        size = max(1, np.abs(expected[1][key]).max())
        got = backend.asnumpy(grad) / size
        np.testing.assert_allclose(got, expected[1][key] / size, atol=near, err_msg=key)


def all_as_the_reference(backend: Any, dtype: str = "float64") -> None:
    for cell in CELLS.values():
        as_the_reference(cell, backend, dtype)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("fixed", [False, True], ids=["any cell", "built for the cell"])
def test_cells_of_the_two_texts_give_the_reference(name: str, fixed: bool) -> None:
    """Run both kinds of module, with slots that fill up and slots of several samples that are kept."""
    as_the_reference(CELLS[name], Emulated(fixed=fixed, resident=3 - fixed, keeps_layers=fixed))


@pytest.mark.parametrize("threads", [(32, 64, 96), (16, 3, 31)], ids=["tensor cores", "plain"])
@pytest.mark.parametrize("norm", ["none", "channel"])
def test_neither_threads_nor_clusters_nor_slices_change_a_bit_of_the_states(
    norm: str, threads: tuple[int, ...]
) -> None:
    """The sizes need several terms of a sum, which warps share where rows are few."""
    cell = refca.segmentation_cell(9, 30, norm=norm)
    arguments = problem(cell, 4, 10, 3)
    ways: list[dict[str, Any]] = [{"threads": n} for n in threads]
    ways += [{"threads": threads[0]} | how for how in ({"resident": 1}, {"resident": 16}, {"memory_budget": 1})]
    ways += [{"threads": threads[0], "keeps_layers": False}]
    states = [Emulated(**how).loss_and_grads(*arguments)[2] for how in ways]
    for how, state in zip(ways, states, strict=True):
        assert_same(state, states[0], "the last state", how)


LITTLE = {1: {"float32": 146 << 10, "float64": 292 << 10}, 4: {"float32": 156 << 10, "float64": 280 << 10}}


def in_shared_memory(cluster: int, shared_memory: int, states: bool = True, **how: Any) -> Emulated:
    """A backend whose blocks have a multiprocessor each, and this much shared memory."""
    how |= {"resident": 32, "largest_cluster": cluster}
    return Emulated(shared_states=states, shared_memory=shared_memory, **how)


@pytest.mark.parametrize("cluster", LITTLE, ids=["a block each", "clusters"])
@pytest.mark.parametrize(
    ("name", "dtype"), [("digits", "float32"), ("digits", "float64"), ("photographs, channel", "float64")]
)
def test_states_in_shared_memory_change_no_bit(name: str, dtype: str, cluster: int) -> None:
    """Shared memory has the rows of a step of digits in parts: 16 of up to 108."""
    memory = LITTLE[cluster][dtype] if name == "digits" else 1 << 20
    arguments, last, results = problem(CELLS[name], 2, 12, 3, dtype), [], []
    for states in (False, True):
        backend = in_shared_memory(cluster, memory, states)
        results.append(backend.loss_and_grads(*arguments, image_grad=True))
        [plan] = backend.plans.values()
        assert (plan.shared.what == "states") == states
        assert plan.shared.part == 16 * states or name != "digits"
        cell, _, params, image, state, *_ = arguments
        last.append(backend.evolve(cell, params, image, state, refca.Streams(1), 5))
    assert_same(last[1], last[0], "the state after 5 steps", name)
    for got, expected in zip(results[1][::2], results[0][::2], strict=True):
        assert_same(got, expected, "the loss, or the last state", name)
    for key, grad in results[0][1].items():
        assert_same(results[1][1][key], grad, key, name)


@pytest.mark.parametrize("name", CELLS)
def test_the_same_call_gives_the_same_bits(name: str) -> None:
    arguments, backend = problem(CELLS[name], 2, 9, 3), Emulated()
    once, again = backend.loss_and_grads(*arguments), backend.loss_and_grads(*arguments)
    assert_same(again[0], once[0], "the loss", name)
    for key, grad in once[1].items():
        assert_same(again[1][key], grad, key, name)


class Counted(Emulator):
    """An emulator that counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.launches, self.allocations = list[str](), 0

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        self.allocations += 1
        return super().empty(shape, dtype)

    def module(self, *how: Any) -> Any:
        module, launches = super().module(*how), self.launches

        class Launching:
            write = module.write

            def launch(self, name: str, *arguments: int, **how: int) -> None:
                launches.append(name)
                module.launch(name, *arguments, **how)

        return Launching()


@pytest.mark.parametrize("name", ["digits", "photographs, instance"])
def test_a_training_step_is_eight_launches_and_keeps_its_memory(name: str) -> None:
    device, backend = Counted(), Emulated()
    backend.use(device)
    cell, loss, params, *arguments = problem(CELLS[name], 2, 9, 3)
    m, v = dict[str, Any](), dict[str, Any]()
    for i in range(2):
        device.launches.clear()
        device.allocations = 0
        _, grads, _ = backend.loss_and_grads(cell, loss, params, *arguments)
        params = backend.adam_step(params, grads, m, v, i, 1e-3, True)
    assert device.launches == [
        *("prepare", "forward", "unpad", "loss_and_grad", "backward", "sum_gradients"),
        *("add_squares", "adam_step"),
    ]
    assert device.allocations == 4  # last states, gradients, parameters, and sums of squares


def test_threads_that_share_the_backend_get_their_own_results() -> None:
    backend, cell, rng = Emulated(), CELLS["digits"], np.random.default_rng(0)
    params = refca.init_params(cell, 0)
    params |= {"update.weight": rng.normal(0, 0.1, params["update.weight"].shape).astype(np.float32)}
    given = [
        (rng.random((2, 6, 6, 1), np.float32), rng.random((2, 6, 6, 19), np.float32), refca.Streams(i))
        for i in range(2)
    ]

    def evolve(i: int) -> bytes:
        image, state, streams = given[i]
        return bytes(backend.evolve(cell, params, image, state, streams, 2).tobytes())

    def waits_for_a_thread(states: Any, target: Any, live: Any, xp: Any) -> Any:
        with ThreadPoolExecutor(1) as another:
            assert another.submit(evolve, 0).result() == expected[0]
        return (states**2).sum((1, 2, 3))

    expected = [evolve(0), evolve(1)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(evolve, [0, 1] * 20)) == expected * 20
    image, state, streams = given[1]
    weights = np.ones((1, 2), np.float32)
    backend.loss_and_grads(cell, waits_for_a_thread, params, image, state, np.zeros(2, int), weights, streams)


def test_results_stay_when_memory_is_used_again() -> None:
    backend, kept = Emulated(), []
    for seed in range(2):
        cell, _, params, image, state, *aim, _ = problem(CELLS["photographs, none"], 2, 9, 3)
        arguments = cell, "ce", params, image, state, *aim, refca.Streams(seed)
        loss, grads, last = backend.loss_and_grads(*arguments, image_grad=True)
        evolved = backend.evolve(cell, params, image, state, refca.Streams(seed), 3)
        results = [np.asarray(loss), last, evolved, *grads.values()]
        kept.append((results, [x.copy() for x in results]))
    for results, copies in kept:
        for got, copy in zip(results, copies, strict=True):
            assert_same(got, copy, "a result", "after other calls")


def test_schedules_of_a_large_gpu() -> None:
    class Hopper:
        resident, clusters, least_cells, largest_cluster, shared_memory = 264, True, 16, 8, 227 << 10
        shared_states = True

    class Ampere(Hopper):
        resident, clusters, shared_memory = 216, False, 163 << 10

    digits, photographs = refca.digits_cell(), refca.segmentation_cell(norm="batch")
    assert Schedule.of(Hopper(), digits, 16, 784) == (True, 8, 16, 98)
    assert Schedule.of(Hopper(), digits, 4096, 784) == (True, 1, 264, 784)
    assert Schedule.of(Hopper(), photographs, 32, 2304) == (False, 8, 32, 288)
    assert Schedule.of(Ampere(), digits, 16, 784) == (False, 13, 16, 61)
    assert Schedule.of(Ampere(), digits, 4096, 784) == (True, 1, 216, 784)
    assert Schedule.of(Hopper(), digits, 4096, 784).alone(Hopper()).teams == 132
    assert Schedule.of(Hopper(), digits, 16, 784).alone(Hopper()).teams == 16

    def shared(device: Any, cell: Cell, B: int, side: int = 28, itemsize: int = 4, kept: bool = True) -> Shared:
        return Shared.of(device, Schedule.of(device, cell, B, side * side), cell, side, side, itemsize, kept)

    class Without(Hopper):
        shared_states = False

    matrices = layout(digits).weights * 4
    none = refca.segmentation_cell(32, 48, norm="none")
    assert shared(Hopper(), digits, 16) == ("states", 198_008, 137_536, 32)
    assert shared(Hopper(), digits, 4096) == ("states", 201_424, 160_704, 48)
    assert shared(Hopper(), digits, 16, kept=False) == ("weights", matrices, matrices, 0)
    assert shared(Without(), digits, 16) == ("weights", matrices, matrices, 0)
    assert shared(Hopper(), digits, 16, itemsize=8).what == "nothing"  # they do not fit
    assert shared(Hopper(), digits, 32).what == "nothing"  # two blocks share the memory
    assert shared(Hopper(), none, 4096, side=48).what == "nothing"
    assert shared(Hopper(), none, 4096, side=12).what == "states"
    assert shared(Hopper(), refca.segmentation_cell(32, 48), 4096, side=12).what == "nothing"  # its norm is over cells
    assert shared(Ampere(), digits, 16).what == shared(Ampere(), digits, 4096).what == "nothing"


THREADS = 64  # of a block: two warps
BROKEN: dict[str, tuple[str, str, str]] = {  # the law, what the source says, and what is wrong instead
    "a neighbourhood one column off": (STEP, "+ tap % 3; }", "+ (tap + 1) % 3; }"),
    "a border that is not zero": (STEP, "real value = 0;", "real value = inside ? 0 : 1;"),
    "a cell at rest whose state is lost": (EVOLVE, "if (moves && inside && !updates)", "if (false)"),
    "no relu before the update": (
        TEXTS,
        "Four x = loaded<rectify>(from[i] + k);",
        "Four x = load(from[i] + k);",
    ),
    "no relu on tensor cores": (
        SINGLE,
        "Two x = load_two<rectify>(one), y = load_two<rectify>(other);",
        "Two x = load_two<false>(one), y = load_two<false>(other);",
    ),
    "TF32 alone": (SINGLE, "return {high, x - high};", "return {high, 0};"),
    "a product of three left out": (
        SINGLE,
        "for (int j = 0; j < 3; ++j) sums[i]",
        "for (int j = 1; j < 3; ++j) sums[i]",
    ),
    "two columns that change places": (SINGLE, "{{even[0], odd[0]", "{{odd[0], even[0]"),
    "four numbers of a sum left out": (SINGLE, "if (left) {  // four more", "if (false) {"),
    "terms read too soon": (
        SINGLE,
        "if (!split_up) return;\n  SYNC();",
        "if (!split_up) return;",
    ),
    "weights that are not at hand": (TEXTS, "copy(u.packed, u.weights, weights_at_hand());", ";"),
    "transposes that are not at hand": (
        TEXTS,
        "copy(u.packed_back, u.weights_back, transposes_at_hand());",
        ";",
    ),
    "a round of Philox too few": (STREAMS, "round < 10", "round < 9"),
    "statistics of the block alone": (STEP, "if (NORM == BATCH) return {0, u.blocks};", ALONE),
    "a step's rows taken for another's": (TEXTS, "*start(block, i) = used;", "*start(block, i) = 0;"),
    "a gather from the wrong side": (GRADIENTS, "u.w - (tap % 3 - 1)", "u.w + (tap % 3 - 1)"),
    "a last row left out": (
        GRADIENTS,
        "r < rows; ++r) sum += grad(r)[c]",
        "r < rows - 1; ++r) sum += grad(r)[c]",
    ),
    "weights of one block alone": (
        GRADIENTS,
        "for (int l = 0; l < 8; ++l) sum += some[l];",
        "sum += some[0];",
    ),
    "sums of weights that nothing cleared": (GRADIENTS, "u.weight_grad[n] = 0;", ";"),
    "a readout's weight of one block alone": (READOUT, "weight_grad[k] = 0;", "weight_grad[k] = blockIdx.x;"),
    "a gate that no gradient passes": (TEXTS, "gate_grad *= open * (1 - open);", "gate_grad = 0;"),
    "a mean that is not differentiated": (GRADIENTS, "(grad[k].x[l] - flat.x[l] - x", "(grad[k].x[l] - x"),
    "a layer read too soon": (
        TEXTS,
        "plus(sums, u.bias + c)); });\n  }\n  SYNC();",
        "plus(sums, u.bias + c)); }); }",
    ),
    "places that others still count": (TEXTS, "SYNC();  // all have read the counts", ""),
    "moments combined too soon": (TEXTS, "P4 + p] = squares;\n  }\n  SYNC();", "P4 + p] = squares;\n  }"),
    "a step too soon": (TEXTS, "      send_states(block);\n      TEAM_SYNC();", "SYNC();"),
    "a gather too soon": (TEXTS, "      step_grad(block, i);\n      TEAM_SYNC();", "step_grad(block, i); SYNC();"),
    "statistics too soon": (
        TEXTS,
        "TEAM_ARRIVE();\n      if (norm_over_cells()) TEAM_SYNC();",
        "TEAM_ARRIVE();",
    ),
    "states of the step before": (STATES, "fetch_states(block, i + 1);", ""),
    "states fetched too soon": (STATES, "TEAM_SYNC();\n      fetch_states", "fetch_states"),
    "states sent too soon": (STATES, "TEAM_WAIT();  // all have seen the states before", ""),
    "states sent before all see those before": (
        STATES,
        "layer(block, i, j);\n      if (SEND && last && j == 0) TEAM_ARRIVE();",
        "if (SEND && last && j == 0) TEAM_ARRIVE(); layer(block, i, j);",
    ),
    "states sent to no other block": (STATES, "rank = item / D / rows;", "rank = block.rank;"),
    "a step before states are sent": (STATES, "send_states(block);\n      TEAM_SYNC();", "send_states(block);"),
    "a part too soon": (STATES, "SYNC();  // all are done with the part before", ""),
    "layers that are not kept": (STATES, "if (u.kept) keep_layers(block);", ""),
    "gradients of weights that are not kept": (STATES, "keep_grads(block);\n  });", "});"),
    "each part at the first one's place": (
        STATES,
        "int first = slot_of(used) - u.used[block.number];",
        "int first = 0;",
    ),
}


def edited(right: str, wrong: str) -> Callable[[str], str]:
    """An edit of one place in the kernels. It is checked here, as a failed check must not pass for a caught error."""
    places = sum(text.count(right) for text in files().values())
    assert places == 1, f"{places} places have {right!r}"
    return lambda text: text.replace(right, wrong)


@pytest.mark.parametrize("name", BROKEN)
def test_a_law_catches_the_broken_kernel(name: str) -> None:
    which, right, wrong = BROKEN[name]
    edit, arguments = edited(right, wrong), {"loss": "ce", "kind": "map"}
    how: dict[str, Any] = {"threads": THREADS}
    cluster = 4 if "sent" in name else 1
    how |= SCHEDULES["weights in shared memory"] if "at hand" in name else {}
    if which == SINGLE:
        which, arguments = GRADIENTS, arguments | {"dtype": "float32"}
    backend = partial(in_shared_memory, cluster, LITTLE[cluster]["float64"]) if which == STATES else Emulated
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        law(which, backend(edit=edit, **how), **arguments)()
    law(which, backend(**how), **arguments)()


@pytest.mark.parametrize(("threads", "dtype", "on"), [(64, "float32", 1), (64, "float64", 0), (48, "float32", 0)])
def test_tensor_cores_are_for_whole_warps_in_float32(threads: int, dtype: str, on: int) -> None:
    device = Emulator(threads=threads)
    text = source("emulator", "unroll", dtype, tensor_cores=device.tensor_cores)
    assert f"#define TENSOR_CORES {on}\n" in text


ARCHITECTURES = (80, 86, 89, 90, 100, 120)  # Ampere, Ada, Hopper, Blackwell
WITH_CLUSTERS = 90  # the first architecture whose blocks can wait for each other
BUILT: dict[str, tuple[Any, ...]] = {
    "any cell, float32": ("unroll", "float32"),
    "any cell, float64": ("unroll", "float64"),
    "digits": ("unroll", "float32", refca.digits_cell()),
    "digits, clusters": ("unroll", "float32", refca.digits_cell(), 8, True, True, "states"),
    "digits, a block each": ("unroll", "float32", refca.digits_cell(), 1, True, True, "states"),
    "photographs": ("unroll", "float32", refca.segmentation_cell(32, 48)),
    "photographs, depthwise, phases": ("unroll", "float32", refca.segmentation_cell(32, 48, depthwise=True), 1, False),
    "the start of states": ("initial", "float32"),
    "Adam": ("adam", "float32"),
}
EVERYWHERE = (
    "digits",
    "digits, clusters",
    "photographs",
    "the start of states",
    "Adam",
)  # others: first and last alone


def built_by_nvcc(text: str, architectures: list[int], folder: Path) -> list[int]:
    """Compile a program once, and assemble it for each architecture. Return those that this nvcc does not know."""

    def nvcc(*arguments: str) -> str:
        command = ["nvcc", *arguments]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert not done.returncode, f"{' '.join(command)}\n{done.stderr}"
        return done.stdout

    known = nvcc("--list-gpu-code").split()
    (folder / "program.cu").write_text(text, "utf-8")
    first = f"-arch=compute_{architectures[0]}"
    nvcc("-std=c++17", first, "-ptx", f"-I{FOLDER}", "-Werror", "all-warnings", "program.cu")
    for architecture in (x for x in architectures if f"sm_{x}" in known):
        nvcc("-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-O0", "program.ptx")
    return [x for x in architectures if f"sm_{x}" not in known]


def nvrtc(version: int) -> Nvrtc:
    try:
        return Nvrtc(version)
    except Unavailable as error:
        pytest.skip(f"the kernels were not built for GPUs: {error}")


def built_by_nvrtc(text: str, architectures: list[int], version: int = 13) -> list[int]:
    """Compile a program as CuPy does. Return the architectures that this NVRTC does not know."""
    compiler = nvrtc(version)
    known = compiler.architectures()
    for architecture in (x for x in architectures if x in known):
        options = ("-std=c++17", f"-I{FOLDER}", "-ftz=true", f"-arch=sm_{architecture}")
        compiler.compile(text, *options, "--device-as-default-execution-space")
    return [x for x in architectures if x not in known]


@pytest.mark.parametrize("what", BUILT)
def test_the_compilers_for_gpus_take_the_kernels(what: str, tmp_path: Path) -> None:
    text = source("gpu", *BUILT[what])
    architectures = [x for x in ARCHITECTURES if x >= WITH_CLUSTERS or "clusters" not in what]
    if what not in EVERYWHERE:
        architectures = [architectures[0], architectures[-1]]
    unknown = built_by_nvcc(text, architectures, tmp_path) if shutil.which("nvcc") else None
    if unknown is None:
        unknown = built_by_nvrtc(text, architectures)
    if unknown:
        pytest.skip(f"this compiler knows no sm_{', sm_'.join(map(str, unknown))}; the others were built")


CUDA_12 = {"digits, clusters": 90, "photographs": 80, "Adam": 120}


@pytest.mark.parametrize("what", CUDA_12)
def test_the_compiler_of_cuda_12_takes_the_kernels(what: str) -> None:
    """NVIDIA's package nvidia-cuda-nvrtc-cu12 has it."""
    assert not built_by_nvrtc(source("gpu", *BUILT[what]), [CUDA_12[what]], version=12)


def unavailable(*folders: str) -> str:
    """The sentence that says why the backend cannot be loaded, with these folders before others on the path."""
    code = (
        "from refca.contract.registry import get_backend\nfrom refca.errors import Unavailable\n"
        "try: get_backend('cupy')\nexcept Unavailable as e: print(e)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([*folders, *sys.path]), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout


def test_without_a_gpu_one_sentence_says_what_is_missing() -> None:
    """The backend loads on a machine with a GPU."""
    assert "--backend cpu" in unavailable()


CUPY = """
class runtime:
    class CUDARuntimeError(RuntimeError): pass
    @staticmethod
    def getDeviceCount(): {devices}
class nvrtc:
    @staticmethod
    def getVersion(): {nvrtc}
class cuda: pass
cuda.runtime, cuda.nvrtc = runtime, nvrtc
"""
NOTHING, NO_LIBRARY = "return 0", "raise RuntimeError('CuPy failed to load\\nlibcudart.so.13')"
MACHINES = {  # without a GPU that can be used: what CuPy does there, and what the sentence says
    "CuPy is broken": ("raise AttributeError('numpy has no attribute core')", "needs CuPy (numpy has no attribute"),
    "no library": (CUPY.format(devices=NO_LIBRARY, nvrtc=NOTHING), "driver (CuPy failed to load libcudart.so.13)"),
    "no device": (CUPY.format(devices=NOTHING, nvrtc=NOTHING), "the driver finds none"),
    "no compiler": (CUPY.format(devices="return 1", nvrtc=NO_LIBRARY), "needs CUDA's compiler NVRTC (CuPy failed"),
}


@pytest.mark.parametrize("machine", MACHINES)
def test_a_gpu_that_cannot_be_used_is_unavailable(machine: str, tmp_path: Path) -> None:
    text, words = MACHINES[machine]
    (tmp_path / "cupy.py").write_text(text, "utf-8")
    assert words in unavailable(str(tmp_path))
