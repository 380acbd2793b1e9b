"""Mutants: wrong implementations, each with the law that has to catch it. They test the laws.

A mutant replaces functions by wrong ones while it is in force. For a fault of a backend that is only during
the calls of a backend, so that the law still compares with the right reference; for any other fault it is
during the whole law.

`tests/test_mutants.py` runs every law named here on its mutant, where it must fail, and on the unmutated
reference, where it must pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import autograd.numpy as np
import numpy

from refca.contract.adam import adam_step
from refca.contract.objective import losses_of
from refca.contract.parts import contiguous_parts
from refca.contract.reference import Reference, reference
from refca.data import Photographs
from refca.definition.cell import Array, Cell, Params
from refca.definition.generators import generator
from refca.definition.losses import reduce_cells
from refca.definition.metrics import cell_accuracy, iou, total_agreement
from refca.definition.params import encoders, init_params, param_shapes
from refca.definition.randomness import NOISE, Draw, Recorded, Streams
from refca.definition.state import grid, init_state
from refca.definition.step import (
    alive,
    bias,
    gate,
    hidden_layers,
    neighbourhood,
    normalise,
    perceive,
    propose,
    readout,
    relu,
    reset,
    sigmoid,
    step,
)
from refca.definition.strided import conv_stride2, conv_transpose_stride2
from refca.digits.pool import BatchPlan, Pool, sample
from refca.digits.unroll_length import last_steps, unroll_length
from refca.segmentation.evaluation import Snapshot, shifted, shown
from refca.segmentation.persistence import (
    PersistentBatch,
    Resample,
    counted,
    draw_resample,
    keep_probability,
    loss_weights,
    resample,
)
from refca.training.adam import learning_rate_at
from refca.training.ema import ema_step
from refca.training.muon import muon_step
from refca.training.train_state import TrainState

Fault = dict[str, Any]  # what is replaced, as "module:name", and by what


@dataclass(frozen=True)
class Mutant:
    """A fault; the name of the law that catches it; the arguments of that law besides backend and dtype."""

    law: str
    fault: Fault
    arguments: tuple[tuple[str, Any], ...] = ()

    @property
    def chapter(self) -> str:
        """The chapter of the law: `step` of `test_step_c3_…`."""
        return self.law.removeprefix("test_").rpartition("_c")[0].partition("_c")[0]


@contextmanager
def in_force(fault: Fault) -> Iterator[None]:
    """The fault, for the duration of a with block."""
    with ExitStack() as stack:
        for name, wrong in fault.items():
            module, _, path = name.partition(":")
            *owners, attribute = path.split(".")
            owner: Any = import_module(module)
            for part in owners:
                owner = getattr(owner, part)
            stack.enter_context(patch.object(owner, attribute, wrong))
        yield


class MutantBackend(Reference):
    """The reference backend with a fault in force during its calls. It is a backend like any other."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        for name in ("evolve", "loss_and_grads", "adam_step", "initial_state"):
            setattr(self, name, self.faulty(name))

    def faulty(self, name: str) -> Callable[..., Any]:
        """The reference's method with the fault in force, or what the fault puts in its place."""
        wrong = self.fault.get(f"backend:{name}", getattr(reference, name))

        def call(*args: Any, **kwargs: Any) -> Any:
            with in_force({target: f for target, f in self.fault.items() if not target.startswith("backend:")}):
                return wrong(*args, **kwargs)

        return call


evolve, loss_and_grads = reference.evolve, reference.loss_and_grads


# Faults of the step


def wrapping_neighbourhood(image: Array, state: Array) -> Array:
    """Neighbours across the border are those on the other side."""
    x = np.concatenate([image, state], axis=-1)
    turned = [np.roll(x, (1 - dy, 1 - dx), (1, 2)) for dy in range(3) for dx in range(3)]
    return np.stack(turned, axis=-2)


def edge_neighbourhood(image: Array, state: Array) -> Array:
    """Beyond the border the edge is repeated."""
    x = numpy.concatenate([image, state], axis=-1)
    x = numpy.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    H, W = image.shape[1:3]
    return numpy.stack([x[:, y : y + H, c : c + W] for y in range(3) for c in range(3)], axis=-2)


def flipped_neighbourhood(image: Array, state: Array) -> Array:
    """A convolution in the sense of mathematics: the neighbourhood read from its end."""
    return neighbourhood(image, state)[..., ::-1, :]


def tiled_neighbourhood(image: Array, state: Array) -> Array:
    """In tiles of 16×16 cells, each as if nothing were beside it."""
    x = np.concatenate([image, state], axis=-1)
    rows = []
    for y in range(0, x.shape[1], 16):
        tiles = [x[:, y : y + 16, c : c + 16] for c in range(0, x.shape[2], 16)]
        rows.append(np.concatenate([neighbourhood(tile, tile[..., :0]) for tile in tiles], axis=2))
    return np.concatenate(rows, axis=1)


def state_first_neighbourhood(image: Array, state: Array) -> Array:
    """State channels before image channels."""
    return neighbourhood(state, image)


def step_with(order: str) -> Callable[..., Array]:
    """A step with the noise, the masks or the batch in the wrong place."""

    def wrong(
        cell: Cell,
        params: dict,
        image: Array,
        state: Array,
        fire_mask: Array,
        noise: Array | None,
        reset_noise: Array | None,
    ) -> Array:
        quiet = replace(cell, noise=0.0)
        lives = alive(cell, image)
        if order == "noise after the fire mask":
            after = step(quiet, params, image, state, fire_mask, None, reset_noise)
            return after if noise is None else after + cell.noise * noise * lives[..., None]
        if order == "noise on dead cells":
            after = step(quiet, params, image, state, fire_mask, None, reset_noise)
            return after if noise is None else after + cell.noise * noise * fire_mask[..., None]
        if order == "one fire mask for the batch":
            return step(cell, params, image, state, fire_mask[:1] & np.ones_like(fire_mask), noise, reset_noise)
        if order == "fire masks ignored":
            return step(cell, params, image, state, np.ones_like(fire_mask), noise, reset_noise)
        if order == "noise in the first channel alone":
            first = None if noise is None else noise * (np.arange(noise.shape[-1]) == 0)
            return step(cell, params, image, state, fire_mask, first, reset_noise)
        if order == "samples leak":
            return step(cell, params, image, 0.01 * state[::-1] + state, fire_mask, noise, reset_noise)
        if order == "resets of every cell":
            after = step(cell, params, image, state, np.ones_like(fire_mask), noise, reset_noise)
            opened = (
                gate(params, hidden_layers(cell, params, neighbourhood(image, state))) > 0.5
                if cell.resettable
                else fire_mask
            )
            return np.where(fire_mask[..., None] | opened, after, state)
        if order == "norm after the residual":
            after = step(cell, params, image, state, fire_mask, noise, reset_noise)
            return np.where((fire_mask & lives)[..., None], normalise(cell, after), after)
        if order == "statistics of the firing cells":
            with in_force({"refca.definition.step:normalise": normalised_over(fire_mask & lives)}):
                return step(cell, params, image, state, fire_mask, noise, reset_noise)
        if order == "gate before the residual":
            after = step(replace(cell, residual=False), params, image, 0 * state, fire_mask, noise, reset_noise)
            return state * (cell.residual | ~(fire_mask & lives))[..., None] + after
        raise KeyError(order)

    return wrong


def normalised_over(counted: Array) -> Callable[[Cell, Array], Array]:
    """Statistics of the counted cells (B, H, W) alone."""

    def wrong(cell: Cell, sums: Array) -> Array:
        if cell.norm not in ("instance", "batch"):
            return normalise(cell, sums)
        axis = {"instance": (1, 2), "batch": (0, 1, 2)}[cell.norm]
        weights = counted[..., None] / np.maximum(np.sum(counted[..., None], axis=axis, keepdims=True), 1)
        centred = sums - np.sum(weights * sums, axis=axis, keepdims=True)
        return centred / np.sqrt(np.sum(weights * centred**2, axis=axis, keepdims=True) + 1e-5)

    return wrong


def batch_for_instance(cell: Cell, sums: Array) -> Array:
    """Statistics over the batch instead of the image."""
    return normalise(replace(cell, norm="batch") if cell.norm == "instance" else cell, sums)


def unbiased_normalise(cell: Cell, sums: Array) -> Array:
    """The variance of a sample instead of a population's."""
    groups = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}
    n = numpy.prod([sums.shape[axis] for axis in groups.get(cell.norm, ())])
    return normalise(cell, sums) * (1 if cell.norm == "none" else np.sqrt(np.maximum(n - 1, 1) / n))


def root_first_normalise(cell: Cell, sums: Array) -> Array:
    """ε is added to the root of the variance."""
    with in_force({"refca.definition.step:EPSILON": 0.0}), numpy.errstate(all="ignore"):
        right = np.nan_to_num(normalise(cell, sums))
    if cell.norm == "none":
        return right
    axis = {"instance": (1, 2), "batch": (0, 1, 2), "channel": (3,)}[cell.norm]
    spread = np.std(sums, axis=axis, keepdims=True)
    return right * spread / (spread + 1e-5)


def running_normalise() -> Callable[[Cell, Array], Array]:
    """A mean that runs from call to call."""
    means = [0.0]

    def wrong(cell: Cell, sums: Array) -> Array:
        right = normalise(cell, sums)
        values: Any = getattr(sums, "_value", sums)
        means[0] = 0.9 * means[0] + 0.1 * float(numpy.mean(values))
        return right if cell.norm == "none" else right - means[0]

    return wrong


def rectifying_first(cell: Cell, params: dict, seen: Array) -> Array:
    """Norm after relu."""
    hidden = normalise(cell, relu(perceive(cell, params, seen)))
    for i in range(cell.hidden_layers):
        sums = hidden @ params[f"hidden.{i}.weight"] + bias(cell, params, f"hidden.{i}.bias")
        hidden = normalise(cell, relu(sums))
    return hidden


def rectified_mix(cell: Cell, params: dict, seen: Array) -> Array:
    """A relu between the mix and the filters."""
    if not cell.depthwise:
        return perceive(cell, params, seen)
    plain = replace(cell, depthwise=False)
    P = cell.hidden_width
    filters = np.reshape(params["perceive.depthwise"], (3, 3, P, 1)) * np.eye(P)
    return perceive(plain, {**params, "perceive.weight": filters}, relu(seen @ params["perceive.mix"]))


def biased_gate(params: dict, hidden: Array) -> Array:
    return sigmoid(hidden @ params["gate.weight"] + 1)


def shared_reset(gate: Array, candidate: Array, reset_noise: Array) -> Array:
    """One number for all channels of a cell."""
    return reset(gate, candidate, reset_noise[..., :1] + 0 * reset_noise)


def inverted_reset(gate: Array, candidate: Array, reset_noise: Array) -> Array:
    return reset(1 - gate, candidate, reset_noise)


def first_readout(cell: Cell, params: dict, state: Array) -> Array:
    """The first channels instead of the last."""
    return readout(cell, params, state[..., ::-1] if cell.last_channels else state)


# Faults of strided layers


def early_halve(x: Array, weight: Array) -> Array:
    """The window begins a pixel earlier, as with PyTorch's padding=1."""
    return conv_stride2(np.pad(x, ((0, 0), (1, 0), (1, 0), (0, 0)), "constant")[:, :-1, :-1], weight)


def edge_halve(x: Array, weight: Array) -> Array:
    """Beyond the image its last pixels are repeated."""
    _, rows, columns, _ = x.shape
    x = np.concatenate([x, x[:, -1:]], axis=1)
    x = np.concatenate([x, x[:, :, -1:]], axis=2)
    taps = ((i, j) for i in range(3) for j in range(3))
    return sum(x[:, i : i + rows : 2, j : j + columns : 2] @ weight[i, j] for i, j in taps)


def rectified_halve(x: Array, weight: Array) -> Array:
    return relu(conv_stride2(x, weight))


def flipped_double(x: Array, weight: Array) -> Array:
    """The kernel read from its end: no adjoint."""
    return conv_transpose_stride2(x, weight[::-1, ::-1])


def late_double(x: Array, weight: Array) -> Array:
    """Every pixel a row and a column too late."""
    return np.pad(conv_transpose_stride2(x, weight), ((0, 0), (1, 0), (1, 0), (0, 0)), "constant")[:, :-1, :-1]


def last_layer_encode(cell: Cell, params: dict, image: Array) -> Array:
    """The layer of the last stride in place of each."""
    names = encoders(cell)
    for name in names:
        image = conv_stride2(image, params[names[-1] if name != names[0] else name])
    return image


def looking_twice(cell: Cell, params: dict, image: Array, state: Array, *draw: Array | None) -> Array:
    """Two steps for one: a cell sees two cells far."""
    return step(cell, params, image, step(cell, params, image, state, *draw), *draw)


def doubled_propose(cell: Cell, params: dict, hidden: Array, noise: Array | None) -> Array:
    return 2 * propose(cell, params, hidden, noise)


def clipped_propose(cell: Cell, params: dict, hidden: Array, noise: Array | None) -> Array:
    """A relu after the update layer too."""
    return relu(propose(cell, params, hidden, noise))


def noise_as_variance(cell: Cell, params: dict, hidden: Array, noise: Array | None) -> Array:
    """sigma squared instead of sigma."""
    return propose(replace(cell, noise=cell.noise**2), params, hidden, noise)


def dilated_alive(cell: Cell, image: Array) -> Array:
    """A cell lives if it or a neighbour is above the threshold."""
    live = numpy.pad(alive(cell, image), ((0, 0), (1, 1), (1, 1)))
    H, W = image.shape[1:3]
    return numpy.any([live[:, y : y + H, x : x + W] for y in range(3) for x in range(3)], axis=0)


def reaching_alive(cell: Cell, image: Array) -> Array:
    """≥ instead of >."""
    if cell.alive_above is None:
        return alive(cell, image)
    return image[..., 0] >= np.float32(cell.alive_above)


def double_alive(cell: Cell, image: Array) -> Array:
    """The threshold as the float64 number 0.1 instead of a float32 number, compared in float64."""
    if cell.alive_above is None:
        return alive(cell, image)
    return numpy.asarray(getattr(image, "_value", image), numpy.float64)[..., 0] > cell.alive_above


def leaky_relu(x: Array) -> Array:
    return np.where(x <= 0, 0.01 * x, x)


def relu_with_half_at_zero(x: Array) -> Array:
    """The derivative of abs at zero is zero, so this one has the derivative 1/2 there."""
    return (x + np.abs(x)) / 2


def cutting_recorded_at(self: Any, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
    """Steps to spare are left out."""
    noise, reset = (x[: len(self.fire)] if x is not None and x.ndim else x for x in (self.noise, self.reset))
    return recorded_at(replace(self, noise=noise, reset=reset), cell, t, B, H, W)


def waiting_recorded_at(self: Any, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
    """Steps that are missing are noticed when they are drawn."""
    shortest = min(len(x) for x in vars(self).values() if x is not None and x.ndim)
    if t < shortest:
        self = Recorded(*(x[:shortest] if x is not None and x.ndim else x for x in vars(self).values()))
    return recorded_at(self, cell, t, B, H, W)


def whole_recorded_at(self: Any, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
    """Integers are taken for real numbers."""
    given = (x if x is None or x.dtype.kind == "f" else x.astype(float) for x in (self.noise, self.reset))
    return recorded_at(Recorded(self.fire, *given), cell, t, B, H, W)


# Faults of a backend's two functions


def writing_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, first_step: int = 0
) -> Array:
    """The state that came in is overwritten."""
    state[...] = evolve(cell, params, image, state, draws, steps, first_step=first_step)
    return state


def aliasing_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, first_step: int = 0
) -> Array:
    """No steps: the very array that came in."""
    return evolve(cell, params, image, state, draws, steps, first_step=first_step) if steps else state


def evolve_from_step_0(*args: Any, first_step: int = 0) -> Array:
    return evolve(*args, first_step=0)


def plain_streams(draws: Any) -> Any:
    """Take every kind of streams for plain ones."""
    return Streams(draws.seed, draws.first_sample) if isinstance(draws, Streams) else draws


def plain_evolve(cell: Cell, params: dict, image: Array, state: Array, draws: Any, *args: Any, **named: Any) -> Array:
    return evolve(cell, params, image, state, plain_streams(draws), *args, **named)


def plain_loss_and_grads(*args: Any, **named: Any) -> Any:
    given = [*args[:-1], plain_streams(args[-1])]
    return loss_and_grads(*given, **named)


def masking_loss_and_grads(
    cell: Cell, loss: Any, params: dict, image: Array, state: Array, target: Array, *args: Any, **named: Any
) -> Any:
    """Labels in bytes are taken for a mask."""
    masks = np.asarray(target).dtype == np.uint8
    return loss_and_grads(
        cell, loss, params, image, state, (target > 0).astype(int) if masks else target, *args, **named
    )


def overwritten_loss_and_grads(*args: Any, calls: list[None] = [], **named: Any) -> Any:  # noqa: B006
    """A call within a call works in the memory of the outer one, and clears it."""
    calls.append(None)
    before = len(calls)
    value, grads, last = loss_and_grads(*args, **named)
    return value, grads, last if len(calls) == before else 0 * last


def unchecked_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, first_step: int = 0
) -> Array:
    """Negative steps are none."""
    return evolve(cell, params, image, state, draws, max(steps, 0), first_step=max(first_step, 0))


def casting_evolve(*args: Any, first_step: int = 0) -> Array:
    """Everything in float64, whatever came in."""
    return evolve(*args, first_step=first_step).astype(np.float64)


def boxed_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """The loss comes as an array of one number."""
    value, grads, last = loss_and_grads(*args, first_step=first_step, image_grad=image_grad)
    return numpy.full(1, value, last.dtype), grads, last


def absolute_loss_and_grads(*args: Any, **named: Any) -> Any:
    """Negative weights count as positive ones."""
    given: Any = (*args[:6], abs(args[6]), args[7])
    return loss_and_grads(*given, **named)


def short_loss_and_grads(*args: Any, **named: Any) -> Any:
    """Steps after the last that counts are not made."""
    counted = np.flatnonzero(np.asarray(args[6]).any(axis=1))
    steps = 1 + int(counted[-1]) if len(counted) else len(args[6])
    given: Any = (*args[:6], args[6][:steps], args[7])
    return loss_and_grads(*given, **named)


def fixed_threshold_evolve(cell: Cell, *args: Any, **named: Any) -> Any:
    """The article's threshold, whatever the cell's."""
    return evolve(cell if cell.alive_above is None else replace(cell, alive_above=0.1), *args, **named)


def spoiling_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, first_step: int = 0
) -> Array:
    """Recorded masks are used up."""
    last = evolve(cell, params, image, state, draws, steps, first_step=first_step)
    if isinstance(draws, Recorded):
        draws.fire[...] = False
    return last


def spoiling_loss_and_grads(*args: Any, **named: Any) -> Any:
    """The target is used up."""
    found = loss_and_grads(*args, **named)
    args[5][...] = 0
    return found


def double_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """The loss comes as an array in float64."""
    value, grads, last = loss_and_grads(*args, first_step=first_step, image_grad=image_grad)
    return numpy.array(value), grads, last


def loss_and_grads_from_step_0(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    return loss_and_grads(*args, first_step=0, image_grad=image_grad)


def unchecked_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """Steps that have no number are given one."""
    last = 2**32 - len(args[6])
    return loss_and_grads(*args, first_step=min(max(first_step, 0), last), image_grad=image_grad)


def forgetful_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """One tensor's gradient is left at zero."""
    value, grads, last = loss_and_grads(*args, first_step=first_step, image_grad=image_grad)
    return value, grads | {"perceive.bias": 0 * grads["perceive.bias"]}, last


def flipped_loss_and_grads(
    cell: Cell, loss: Any, params: dict, *args: Any, first_step: int = 0, image_grad: bool = False
) -> Any:
    """A depthwise layer's gradient is gathered from the neighbours on the other side."""
    value, grads, last = loss_and_grads(cell, loss, params, *args, first_step=first_step, image_grad=image_grad)
    if not cell.depthwise:
        return value, grads, last
    flipped = params | {"perceive.depthwise": params["perceive.depthwise"][::-1, ::-1]}
    wrong = loss_and_grads(cell, loss, flipped, *args, first_step=first_step, image_grad=image_grad)[1]
    return value, grads | {"perceive.mix": wrong["perceive.mix"]}, last


def narrow_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """The weights into the hidden units after the 64th get no gradient."""
    value, grads, last = loss_and_grads(*args, first_step=first_step, image_grad=image_grad)
    name = "perceive.mix" if "perceive.mix" in grads else "perceive.weight"
    return value, grads | {name: grads[name] * (np.arange(grads[name].shape[-1]) < 64)}, last


def eager_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """The gradient of the image comes unasked."""
    return loss_and_grads(*args, first_step=first_step, image_grad=True)


def last_step_loss_and_grads(*args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """Only the last step's weights count."""
    weights = numpy.array(args[6])
    weights[:-1] = 0
    args = (*args[:6], weights, args[7])
    return loss_and_grads(*args, first_step=first_step, image_grad=image_grad)


def learning_loss_and_grads(cell: Cell, *args: Any, first_step: int = 0, image_grad: bool = False) -> Any:
    """The gradient of frozen filters is passed on."""
    return loss_and_grads(replace(cell, frozen_filters=False), *args, first_step=first_step, image_grad=image_grad)


def cut_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, first_step: int = 0
) -> Array:
    """A batch is evolved sample by sample, at the same draws."""
    if len(image) < 2:
        return evolve(cell, params, image, state, draws, steps, first_step=first_step)
    each = []
    for b in range(len(image)):
        part = Recorded(*(None if x is None else x[:, b : b + 1] for x in vars(draws).values()))
        each.append(evolve(cell, params, image[b : b + 1], state[b : b + 1], part, steps, first_step=first_step))
    return numpy.concatenate(each)


def averaged_over_cells(each: Array, target: Array, live: Array) -> Array:
    """The mean over live cells instead of the sum."""
    if target.ndim == 3:
        return reduce_cells(each, target, live)
    return np.sum(each * live, axis=(1, 2)) / np.maximum(np.sum(live, axis=(1, 2)), 1)


def summed_over_every_cell(each: Array, target: Array, live: Array) -> Array:
    """Dead cells count."""
    return reduce_cells(each, target, np.ones_like(live))


def masked_map(each: Array, target: Array, live: Array) -> Array:
    """A label map's loss leaves dead cells out."""
    return reduce_cells(each * live if target.ndim == 3 else each, target, live)


def unmasked_cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    return cell_accuracy(readout, labels, numpy.ones_like(live))


def macro_cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """The mean over samples of each one's accuracy."""
    each = [cell_accuracy(readout[b : b + 1], labels[b : b + 1], live[b : b + 1]) for b in range(len(live))]
    return float(numpy.nanmean(each)) if live.any() else float("nan")


def high_tie_cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    return cell_accuracy(readout[..., ::-1], readout.shape[-1] - 1 - labels, live)


def abstaining_total_agreement(readout: Array, live: Array) -> float:
    """A cell whose outputs are all negative does not vote."""
    return total_agreement(readout, live & (readout.max(-1) >= 0))


def counting_total_agreement(readout: Array, live: Array) -> float:
    """A digit without live cells counts as agreeing."""
    digits = live.any((1, 2))
    return (total_agreement(readout, live) * digits.sum() + (~digits).sum()) / len(live)


# Faults of what surrounds the cell


def keeping_mutate(cell: Cell, state: Array, image: Array, *xp: Any) -> Array:
    """Nothing is zeroed."""
    return state.copy()


def writing_mutate(cell: Cell, state: Array, image: Array, *xp: Any) -> Array:
    state[~alive(cell, image)] = 0
    return state


def quarter_sample(regime: str, fresh_fraction: float, *of: Any) -> BatchPlan:
    """The article's fractions, whatever is asked for."""
    return sample(regime, 0.25, *of)


def short_sample(
    regime: str, fresh_fraction: float, batch: int, pool_: int, digits: int, seed: int, i: int
) -> BatchPlan:
    """The last digit never occurs, as in the article's notebook."""
    return sample(regime, fresh_fraction, batch, pool_, max(1, digits - 1), seed, i)


def short_generator(purpose: int, seed: int) -> Any:
    """A generator whose last number never occurs."""
    rng = generator(purpose, seed)
    return SimpleNamespace(integers=lambda low, high, size: rng.integers(low, high - 1, size))


def truncated_fractions(regime: str, fresh_fraction: float, batch: int) -> tuple[int, int]:
    """The product in floating point, rounded down."""
    part = int(batch * fresh_fraction)
    return {"naive": (batch, 0), "persistent": (2 * part, 0), "mutating": (part, part)}[regime]


def replacing_sample(
    regime: str, fresh_fraction: float, batch: int, pool_: int, digits: int, seed: int, i: int
) -> BatchPlan:
    """Slots drawn with replacement."""
    choices = sample(regime, fresh_fraction, batch, pool_, digits, seed, i)
    return replace(choices, slots=numpy.random.default_rng((seed, i)).integers(0, pool_, batch))


def distinct_sample(
    regime: str, fresh_fraction: float, batch: int, pool_: int, digits: int, seed: int, i: int
) -> BatchPlan:
    """Digits drawn without replacement, where there are enough."""
    choices = sample(regime, fresh_fraction, batch, pool_, digits, seed, i)
    return replace(choices, digits=numpy.random.default_rng((seed, i)).permutation(digits)[:batch])


def fixed_sample(
    regime: str, fresh_fraction: float, batch: int, pool_: int, digits: int, seed: int, i: int
) -> BatchPlan:
    """The same choices at every training step."""
    return sample(regime, fresh_fraction, batch, pool_, digits, seed, 0)


def jointly_normalised(grads: dict) -> dict:
    """One norm over all tensors."""
    norm = sum((grad**2).sum() for grad in grads.values()) ** 0.5
    return {name: grad / (norm + 1e-8) for name, grad in grads.items()}


def restless_adam_step(*args: Any) -> dict:
    """Gradients are never normalised."""
    params, grads, first, second, i, rate, _ = args
    return adam_step(params, grads, first, second, i, rate, False)


def biased_adam_step(params: dict, grads: dict, first: dict, second: dict, i: int, *rest: Any) -> dict:
    """The moments' bias is always that of the first update."""
    return adam_step(params, grads, first, second, 0, *rest)


def forgetful_adam_step(params: dict, grads: dict, first: dict, second: dict, *rest: Any) -> dict:
    """The second moments are not kept."""
    return adam_step(params, grads, first, dict(second), *rest)


def writing_adam_step(params: dict, *rest: Any) -> dict:
    """Parameters are moved where they are."""
    for name, moved in adam_step(params, *rest).items():
        params[name][...] = moved
    return params


def noisy_initial(cell: Cell, image: Array, streams: Streams) -> Array:
    """The start is the residual noise of step 0."""
    return streams.normals(NOISE, 0, *grid(cell, image), cell.state_channels).astype(numpy.float32)


def numbered_initial(cell: Cell, image: Array, streams: Streams) -> Array:
    """A backend's own start forgets the number of the first sample."""
    return reference.initial_state(cell, image, replace(streams, first_sample=0))


def doubled_losses(*args: Any) -> tuple[Array, Array]:
    """The gradient of a loss is twice what it is."""
    losses, grad = losses_of(*args)
    return losses, 2 * grad


def swapped_losses(backend: Any, loss: Any, readout: Array, *rest: Array) -> tuple[Array, Array]:
    """A loss that is a function is taken for L2."""
    return losses_of(backend, "l2", readout, *rest)


def fixed_unroll_length(least: int, most: int, seed: int, i: int) -> int:
    """Every training step has the length of the first one."""
    return unroll_length(least, most, seed, 0)


def low_unroll_length(least: int, most: int, seed: int, i: int) -> int:
    """The smaller of two draws."""
    return min(unroll_length(least, most, seed, i), unroll_length(least, most, seed, i + 10**6))


def heavy_last_steps(steps: int, batch: int, last: int) -> Array:
    """Each of the last steps weighs as much as one alone would."""
    return last_steps(steps, batch, last) * last


def cold_learning_rate(rate: float, i: int, steps: int, schedule: str, warmup_steps: int = 0) -> float:
    """The rate does not rise: training starts at the schedule's rate."""
    return learning_rate_at(rate, i, steps, schedule)


def rate_of_updates() -> Callable[..., float]:
    """The rate of the number of updates, which is the number of rates asked for before."""
    updates = count()

    def wrong(rate: float, i: int, *schedule: Any) -> float:
        return learning_rate_at(rate, next(updates), *schedule)

    return wrong


def late_learning_rate(rate: float, i: int, steps: int) -> float:
    """Every drop comes one training step late."""
    return learning_rate_at(rate, i - 1, steps)


def reset_probability(p: float, K: int, T: int) -> float:
    """p^(K/T) read as the probability to reset, as the paper calls it."""
    return 1 - keep_probability(p, K, T)


def linear_keep_probability(p: float, K: int, T: int) -> float:
    """1 − (1 − p)·K/T instead of a power."""
    return 1 - (1 - p) * K / T


def joint_decide(batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int) -> Resample:
    """A sample's state is renewed with its photo."""
    renewal = draw_resample(batch, photos, keep_photo, keep_state, seed, i)
    return replace(renewal, new_state=renewal.new_photo)


def shifting_draw_resample(
    batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int, flips: bool = False
) -> Resample:
    """Asking for flips uses up other draws than it should: photographs differ with and without."""
    drawn = draw_resample(batch, photos, keep_photo, keep_state, seed, i, flips)
    return replace(drawn, photo=drawn.photo + flips)


def halving_draw_resample(
    batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int, flips: bool = False
) -> Resample:
    """Only the first half of the photographs is drawn."""
    return draw_resample(batch, (photos + 1) // 2, keep_photo, keep_state, seed, i, flips)


def writing_resample(
    cell: Cell, batch: PersistentBatch, resampling: Resample, streams: Streams, backend: Any
) -> PersistentBatch:
    """New photographs are written into the batch that was given."""
    right = resample(cell, batch, resampling, streams, backend)
    batch.photo[...] = right.photo
    return right


def turning_resample(
    cell: Cell, batch: PersistentBatch, resampling: Resample, streams: Streams, backend: Any
) -> PersistentBatch:
    """Every sample is mirrored as drawn, whether its photograph is new or not."""
    return replace(resample(cell, batch, resampling, streams, backend), flipped=resampling.flipped)


def constant_decide(batch: int, photos: int, keep_photo: float, keep_state: float, seed: int, i: int) -> Resample:
    """The same decisions at every training step but the first."""
    return draw_resample(batch, photos, keep_photo, keep_state, seed, min(i, 1))


def ageing_renew(cell: Cell, colony: PersistentBatch, renewal: Resample, *rest: Any) -> PersistentBatch:
    """A new photo leaves the age as it is."""
    right = resample(cell, colony, renewal, *rest)
    return replace(right, age=numpy.where(renewal.new_state, 0, colony.age))


def zeroing_renew(cell: Cell, colony: PersistentBatch, renewal: Resample, *rest: Any) -> PersistentBatch:
    """New states are zero."""
    right = resample(cell, colony, renewal, *rest)
    return replace(right, state=right.state * ~renewal.new_state[:, None, None, None])


def early_counted(age: Array, K: int, T: int) -> Array:
    """A step at a third of the target counts."""
    return 3 * (age + numpy.arange(1, K + 1)[:, None]) >= T


def ageless_counted(age: Array, K: int, T: int) -> Array:
    """The steps of the unroll alone."""
    return counted(0 * age, K, T)


def summed_loss_weights(age: Array, K: int, T: int) -> Array:
    """The loss of each step is a mean over samples, and their sum is not divided."""
    return counted(age, K, T).astype(numpy.float32) / max(1, len(age))


def averaged_iou(predicted: Array, target: Array, labels: int) -> Array:
    """The mean of the samples' own."""
    if predicted.ndim < 2:
        return iou(predicted, target, labels)
    return numpy.mean([iou(p, t, labels) for p, t in zip(predicted, target, strict=True)], axis=0)


def zero_iou(predicted: Array, target: Array, labels: int) -> Array:
    """An absent class has 0."""
    return numpy.nan_to_num(iou(predicted, target, labels))


def zero_init_state(cell: Cell, image: Array, streams: Streams | None = None) -> Array:
    return init_state(replace(cell, normal_start=False), image)


def replayed_at(self: Any, cell: Cell, t: int, B: int, H: int, W: int) -> Draw:
    """The residual noise serves for resets too."""
    draw = at(self, cell, t, B, H, W)
    reset_noise = self.normals(NOISE, t, B, H, W, cell.state_channels) if cell.resettable else None
    return draw._replace(reset_noise=reset_noise)


def first_initial(self: Any, B: int, H: int, W: int, D: int) -> Array:
    """The state begins with the residual noise of step 0."""
    return self.normals(NOISE, 0, B, H, W, D)


def frozen_mix(cell: Cell) -> tuple[str, ...]:
    """All of the first layer is frozen."""
    if not cell.frozen_filters:
        return ()
    return ("perceive.mix", "perceive.depthwise") if cell.depthwise else ("perceive.weight",)


def biased_shapes(cell: Cell) -> dict[str, tuple[int, ...]]:
    """Every cell has biases."""
    return param_shapes(replace(cell, biases=True))


def uncounted_words(self: Any, purpose: int, block: int, t: int, B: int, H: int, W: int) -> Any:
    """The number of the first sample is forgotten."""
    return words(replace(self, first_sample=0), purpose, block, t, B, H, W)


def transposed_words(self: Any, purpose: int, block: int, t: int, B: int, H: int, W: int) -> Any:
    """Cells numbered column by column."""
    return tuple(w.swapaxes(1, 2) for w in words(self, purpose, block, t, B, W, H))


def reaching_fires(self: Any, rate: float, t: int, B: int, H: int, W: int) -> Array:
    """A float32 comparison of uniform numbers instead of an integer comparison of words."""
    word, _, _, _ = self.words(0, 0, t, B, H, W)
    return (word / numpy.float32(2**32)).astype(numpy.float32) <= numpy.float32(rate)


words, at, fold, recorded_at, labels = Streams.words, Streams.at, Streams.fold, Recorded.at, Photographs.labels
update = TrainState.update

LAWS = "refca_spec.laws."
ORDER = {"loss": "l2", "kind": "labels"}
L2 = tuple(ORDER.items())
INSTANCE = (("norm", "instance"),)
DECODED = (("kind", "decoded"),)
STRIDE_8 = (("change", {"stride": 8, "linear_readout": False}),)
MAP = tuple((ORDER | {"kind": "map"}).items())


# Faults of the training step and of the evaluation


def small_weights(*layers: str) -> Callable[..., Params]:
    """Initial weights of these layers a third of what they should be."""

    def wrong(cell: Cell, seed: int) -> Params:
        params = init_params(cell, seed)
        return {name: x / 3 if name.startswith(layers) else x for name, x in params.items()}

    return wrong


def writing_muon_step(params: dict, *rest: Any) -> dict:
    """Parameters are moved where they are."""
    for name, moved in muon_step(params, *rest).items():
        params[name][...] = moved
    return params


def exact_orthogonal(u: Array) -> Array:
    """Every singular value becomes 1, even one that was zero."""
    left, _, right = numpy.linalg.svd(u, full_matrices=False)
    return left @ right


def uncounted_update(
    self: Any, experiment: Any, grads: Params, learning_rate: float, *, normalise: bool, backend: Any
) -> None:
    """Every update is Adam's, and has the number 0."""
    self.params = backend.adam_step(self.params, grads, self.adam.m, self.adam.v, 0, learning_rate, normalise)


def uncorrected_ema_step(ema: Params, params: Params, i: int, decay: float) -> Params:
    """The average starts at the first parameters, which then weigh too much."""
    return {name: ema[name] + (1 - decay) * (x - ema[name]) if i else 1 * x for name, x in params.items()}


def writing_ema_step(ema: Params, params: Params, i: int, decay: float) -> Params:
    """The average is moved where it is."""
    for name, moved in ema_step(ema, params, i, decay).items():
        ema[name] = moved if i else params[name]
    return ema


def ema_from_zero(ema: Params, params: Params, i: int, decay: float) -> Params:
    """The average starts from zero, without a correction."""
    return {name: decay * ema.get(name, 0 * x) + (1 - decay) * x for name, x in params.items()}


def training_on_the_average(
    self: Any, experiment: Any, grads: Params, learning_rate: float, *, normalise: bool, backend: Any
) -> None:
    """The next step is taken from the average."""
    update(self, experiment, grads, learning_rate, normalise=normalise, backend=backend)
    self.params = self.evaluated


def plain_labels(self: Photographs, numbers: Any, flipped: Array | None = None) -> Array:
    """Label maps as they are, also under a mirrored photograph."""
    return labels(self, numbers)


def early_snapshots(
    cell: Cell, params: dict, backend: Any, photographs: Photographs, chosen: Array, condition: str, **named: Any
) -> Iterator[Snapshot]:
    """Photographs change one step early."""
    streams, every = Streams(0, first_sample=int(chosen[0])), named["every"]
    image, target = shown(photographs, chosen, condition, 0, named["shift"])
    state = backend.initial_state(cell, image, streams)
    yield Snapshot(None, state, readout(cell, params, state), image, target)
    for t in range(named["steps"]):
        changes = (t + 1) // every if condition != "kept" else 0
        image, target = shown(photographs, chosen, condition, changes, named["shift"])
        state = backend.evolve(cell, params, image, state, streams, 1, first_step=t)
        yield Snapshot(None, state, readout(cell, params, state), image, target)


def unscaled_last_steps(steps: int, batch: int, loss_steps: int) -> Array:
    """Weights of 1, not of 1 / (batch * loss_steps), in the first sample alone."""
    weights = numpy.zeros((steps, batch), numpy.float32)
    weights[-loss_steps:, 0] = 1
    return weights


class UnfoldedStreams(Streams):
    """The same randomness in every training step."""

    def fold(self, i: int) -> Streams:
        return self


def all_steps_count(age: Array, K: int, T: int) -> Array:
    return numpy.full((K, len(age)), 1 / (K * len(age)), numpy.float32)


def pooled_ratio(above: Array, below: Array) -> Array:
    """One ratio over all samples, not the mean over batches."""
    return above.sum(axis=0) / below.sum(axis=0)


def positive_weights(cell: Cell, seed: int) -> Params:
    """Weights whose signs are lost."""
    return {name: abs(param) for name, param in init_params(cell, seed).items()}


gather = Pool.gather


def first_plan(regime: str, fraction: float, batch: int, pool: int, digits: int, seed: int, i: int) -> BatchPlan:
    """The plan of training step 0, whatever the step."""
    return sample(regime, fraction, batch, pool, digits, seed, 0)


def forgetful_gather(
    self: Pool, cell: Cell, plan: BatchPlan, image: Array, label: Array, xp: Any = numpy, initial: Any = None
) -> Any:
    """Initial states are not used."""
    return gather(self, cell, plan, image, label, xp)


def zero_for_nothing(above: Array, below: Array) -> Array:
    """The mean over batches, a ratio to zero being zero."""
    return (above / numpy.maximum(below, 1)).mean(axis=0)


def smoothed_ratio(part: Array, whole: Array) -> Array:
    """Ratios smoothed by one, as some libraries have them."""
    return numpy.where(numpy.asarray(whole) > 0, (part + 1) / numpy.maximum(whole + 1, 1), numpy.nan)


def zero_mutate(cell: Cell, state: Array, image: Array, *xp: Any) -> Array:
    """A mutation that restarts, as the article's released code measured it."""
    return numpy.zeros_like(state)


def kept_start(cell: Cell, image: Array, *rest: Any) -> Array:
    """A restart that leaves something behind."""
    return init_state(cell, image, *rest) + numpy.float32(0.5)


def right_and_down(pixels: Array, down: int, right: int, beyond: int) -> Array:
    """Pixels moved down by as much as they should move to the right."""
    return shifted(pixels, right, down, beyond)


BACKENDS: dict[str, Mutant] = {
    "wrap-around border": Mutant(
        "test_step_c2_outside_the_grid_everything_is_zero",
        {"refca.definition.step:neighbourhood": wrapping_neighbourhood},
    ),
    "repeated border": Mutant(
        "test_step_c2_outside_the_grid_everything_is_zero", {"refca.definition.step:neighbourhood": edge_neighbourhood}
    ),
    "flipped kernel": Mutant(
        "test_step_c4_neighbours_are_read_row_by_row", {"refca.definition.step:neighbourhood": flipped_neighbourhood}
    ),
    "state before image": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference",
        {"refca.definition.step:neighbourhood": state_first_neighbourhood},
    ),
    "two steps for one": Mutant(
        "test_step_c3_a_cell_sees_no_further_than_one_cell", {"refca.contract.reference:step": looking_twice}
    ),
    "noise after the fire mask": Mutant(
        "test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit",
        {"refca.contract.reference:step": step_with("noise after the fire mask")},
    ),
    "noise on dead cells": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.contract.reference:step": step_with("noise on dead cells")},
    ),
    "noise in the first channel alone": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.contract.reference:step": step_with("noise in the first channel alone")},
    ),
    "sigma squared": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.definition.step:propose": noise_as_variance},
    ),
    "one fire mask for the batch": Mutant(
        "test_step_c8_the_channels_of_a_cell_fire_together",
        {"refca.contract.reference:step": step_with("one fire mask for the batch")},
    ),
    "fire masks ignored": Mutant(
        "test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit",
        {"refca.contract.reference:step": step_with("fire masks ignored")},
    ),
    "samples leak": Mutant(
        "test_step_c9_samples_do_not_see_each_other",
        {"refca.contract.reference:step": step_with("samples leak")},
    ),
    "live set dilated": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold",
        {"refca.definition.step:alive": dilated_alive},
    ),
    "threshold reached": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold",
        {"refca.definition.step:alive": reaching_alive},
    ),
    "threshold in float64": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold",
        {"refca.definition.step:alive": double_alive},
    ),
    "updates doubled": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference", {"refca.definition.step:propose": doubled_propose}
    ),
    "relu after the update": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference", {"refca.definition.step:propose": clipped_propose}
    ),
    "leaky relu": Mutant("test_step_c1_a_backend_steps_as_the_reference", {"refca.definition.step:relu": leaky_relu}),
    "relu with derivative 1/2 at zero": Mutant(
        "test_backends_c12_the_derivative_of_relu_at_zero_is_zero",
        {"refca.definition.step:relu": relu_with_half_at_zero},
    ),
    "input written in place": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written",
        {"backend:evolve": writing_evolve},
    ),
    "recorded masks written in place": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written",
        {"backend:evolve": spoiling_evolve},
    ),
    "a target written in place": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written",
        {"backend:loss_and_grads": spoiling_loss_and_grads},
    ),
    "the article's threshold for every cell": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold",
        {"backend:evolve": fixed_threshold_evolve},
    ),
    "weights without their sign": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"backend:loss_and_grads": absolute_loss_and_grads},
        L2,
    ),
    "steps after the last that counts are not made": Mutant(
        "test_backends_c8_the_last_state_is_that_of_evolve",
        {"backend:loss_and_grads": short_loss_and_grads},
    ),
    "input returned": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written",
        {"backend:evolve": aliasing_evolve},
    ),
    "start ignored by evolve": Mutant(
        "test_backends_c4_an_evolution_may_be_cut_in_two",
        {"backend:evolve": evolve_from_step_0},
    ),
    "start ignored by loss_and_grads": Mutant(
        "test_backends_c9_loss_and_grads_draws_from_streams",
        {"backend:loss_and_grads": loss_and_grads_from_step_0},
        L2,
    ),
    "start ignored by loss_and_grads alone": Mutant(
        "test_backends_c8_the_last_state_is_that_of_evolve",
        {"backend:loss_and_grads": loss_and_grads_from_step_0},
    ),
    "always float64": Mutant(
        "test_backends_c7_the_dtype_of_the_arguments_is_the_dtype_of_the_results",
        {"backend:evolve": casting_evolve},
    ),
    "loss in an array of one": Mutant(
        "test_backends_c7_the_dtype_of_the_arguments_is_the_dtype_of_the_results",
        {"backend:loss_and_grads": boxed_loss_and_grads},
    ),
    "loss in another dtype": Mutant(
        "test_backends_c7_the_dtype_of_the_arguments_is_the_dtype_of_the_results",
        {"backend:loss_and_grads": double_loss_and_grads},
    ),
    "own descent never normalises": Mutant(
        "test_adam_c8_a_backend_s_own_update_is_that_of_the_formulas",
        {"backend:adam_step": restless_adam_step},
        (("normalise", True),),
    ),
    "own descent with the first bias": Mutant(
        "test_adam_c8_a_backend_s_own_update_is_that_of_the_formulas",
        {"backend:adam_step": biased_adam_step},
        (("normalise", False),),
    ),
    "own descent keeps no second moments": Mutant(
        "test_adam_c8_a_backend_s_own_update_is_that_of_the_formulas",
        {"backend:adam_step": forgetful_adam_step},
        (("normalise", False),),
    ),
    "own descent in place": Mutant(
        "test_adam_c8_a_backend_s_own_update_is_that_of_the_formulas",
        {"backend:adam_step": writing_adam_step},
        (("normalise", True),),
    ),
    "a kind of streams taken for plain ones by evolve": Mutant(
        "test_backends_c3_evolve_draws_from_any_source",
        {"backend:evolve": plain_evolve},
        (("source", "streams with numbers of their own"),),
    ),
    "chosen samples taken for the first ones by loss_and_grads": Mutant(
        "test_backends_c9_loss_and_grads_draws_from_any_source",
        {"backend:loss_and_grads": plain_loss_and_grads},
        (("source", "streams of chosen samples"),),
    ),
    "labels in bytes taken for a mask": Mutant(
        "test_backends_c20_a_target_has_any_integers",
        {"backend:loss_and_grads": masking_loss_and_grads},
        (("kind", "labels"), ("integers", "uint8")),
    ),
    "a call within a call clears the outer one's memory": Mutant(
        "test_backends_c21_a_loss_may_call_the_backend",
        {"backend:loss_and_grads": overwritten_loss_and_grads},
    ),
    "the gradient of a loss of one's own is doubled": Mutant(
        "test_backends_c21_a_loss_may_be_a_function",
        {"refca.contract.objective:losses_of": doubled_losses},
        (("kind", "labels"),),
    ),
    "a loss of one's own is taken for L2": Mutant(
        "test_backends_c21_a_loss_may_be_a_function",
        {"refca.contract.objective:losses_of": swapped_losses},
        (("kind", "map"),),
    ),
    "own start from the residual noise": Mutant(
        "test_init_state_c6_a_backend_s_own_numbers_are_those_of_the_streams",
        {"backend:initial_state": noisy_initial},
    ),
    "own start without sample numbers": Mutant(
        "test_init_state_c6_a_backend_s_own_numbers_are_those_of_the_streams",
        {"backend:initial_state": numbered_initial},
    ),
    "negative steps accepted": Mutant(
        "test_backends_c15_negative_steps_are_refused",
        {"backend:evolve": unchecked_evolve},
        (("change", {"steps": -1}),),
    ),
    "negative steps accepted by loss_and_grads": Mutant(
        "test_backends_c15_negative_steps_are_refused",
        {"backend:loss_and_grads": unchecked_loss_and_grads},
        (("change", {"first_step": -1}),),
    ),
    "steps beyond the last number accepted by loss_and_grads": Mutant(
        "test_backends_c15_steps_are_numbered_below_2_to_the_32",
        {"backend:loss_and_grads": unchecked_loss_and_grads},
    ),
    "noise of more steps accepted": Mutant(
        "test_recorded_c4_noise_that_does_not_fit_is_refused",
        {"refca.definition.randomness:Recorded.at": cutting_recorded_at},
    ),
    "missing resets noticed late": Mutant(
        "test_recorded_c5_resets_that_do_not_fit_are_refused",
        {"refca.definition.randomness:Recorded.at": waiting_recorded_at},
    ),
    "integers taken for noise": Mutant(
        "test_recorded_c4_noise_that_does_not_fit_is_refused",
        {"refca.definition.randomness:Recorded.at": whole_recorded_at},
    ),
    "gradient of one tensor missing": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"backend:loss_and_grads": forgetful_loss_and_grads},
        L2,
    ),
    "a depthwise gradient from the wrong side": Mutant(
        "test_backends_c9_both_kinds_of_first_layer_are_tried_where_cells_fire",
        {"backend:loss_and_grads": flipped_loss_and_grads},
        (("depthwise", True),),
    ),
    "tiles that see nothing beside them": Mutant(
        "test_backends_c3_wide_cells_evolve_on_large_grids",
        {"refca.definition.step:neighbourhood": tiled_neighbourhood},
    ),
    "no gradients for the last of many hidden units": Mutant(
        "test_backends_c9_wide_cells_have_gradients_on_large_grids",
        {"backend:loss_and_grads": narrow_loss_and_grads},
    ),
    "only the last step counted": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"backend:loss_and_grads": last_step_loss_and_grads},
        L2,
    ),
    "image gradient unasked": Mutant(
        "test_backends_c10_the_gradient_of_the_image_is_there_if_asked_for",
        {"backend:loss_and_grads": eager_loss_and_grads},
    ),
    "loss averaged over live cells": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.definition.losses:reduce_cells": averaged_over_cells},
        L2,
    ),
    "loss over dead cells": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.definition.losses:reduce_cells": summed_over_every_cell},
        L2,
    ),
    "label map masked": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.definition.losses:reduce_cells": masked_map},
        MAP,
    ),
    "resets of cells at rest": Mutant(
        "test_step_c16_an_open_gate_puts_z_in_every_channel_of_a_cell_that_updates",
        {"refca.contract.reference:step": step_with("resets of every cell")},
    ),
    "z shared by the channels": Mutant(
        "test_step_c16_an_open_gate_puts_z_in_every_channel_of_a_cell_that_updates",
        {"refca.definition.step:reset": shared_reset},
    ),
    "an open gate keeps": Mutant(
        "test_step_c17_a_closed_gate_changes_nothing", {"refca.definition.step:reset": inverted_reset}
    ),
    "a bias in the gate": Mutant(
        "test_step_c18_a_cell_without_hidden_values_opens_its_gate_by_half",
        {"refca.definition.step:gate": biased_gate},
    ),
    "gate before the residual": Mutant(
        "test_step_c18_a_cell_without_hidden_values_opens_its_gate_by_half",
        {"refca.contract.reference:step": step_with("gate before the residual")},
    ),
    "statistics over the batch": Mutant(
        "test_step_c9_samples_do_not_see_each_other", {"refca.definition.step:normalise": batch_for_instance}
    ),
    "statistics over the firing cells": Mutant(
        "test_step_c13_statistics_are_over_cells_at_rest_too",
        {"refca.contract.reference:step": step_with("statistics of the firing cells")},
    ),
    "norm after the residual": Mutant(
        "test_step_c12_proposals_and_states_are_not_normalised",
        {"refca.contract.reference:step": step_with("norm after the residual")},
        INSTANCE,
    ),
    "norm after relu": Mutant(
        "test_step_c11_sums_are_normalised_before_relu",
        {"refca.definition.step:hidden_layers": rectifying_first},
        INSTANCE,
    ),
    "unbiased variance": Mutant(
        "test_step_c11_sums_are_normalised_before_relu",
        {"refca.definition.step:normalise": unbiased_normalise},
        INSTANCE,
    ),
    "epsilon outside the root": Mutant(
        "test_step_c11_sums_are_normalised_before_relu",
        {"refca.definition.step:normalise": root_first_normalise},
        (("norm", "channel"),),
    ),
    "epsilon of 1e-3": Mutant(
        "test_step_c11_sums_are_normalised_before_relu",
        {"refca.definition.step:EPSILON": 1e-3},
        (("norm", "batch"),),
    ),
    "running statistics": Mutant(
        "test_backends_c19_a_call_leaves_nothing_behind",
        {"refca.definition.step:normalise": running_normalise()},
    ),
    "relu between mix and filters": Mutant(
        "test_step_c14_the_depthwise_layer_is_a_full_one_of_products",
        {"refca.definition.step:perceive": rectified_mix},
    ),
    "residual always": Mutant(
        "test_step_c15_without_a_residual_the_proposal_is_the_state",
        {"refca.contract.reference:step": lambda cell, *args: step(replace(cell, residual=True), *args)},
    ),
    "batch cut under batch norm": Mutant(
        "test_backends_c5_under_batch_norm_the_samples_are_one",
        {"backend:evolve": cut_evolve},
    ),
    "frozen gradient passed on": Mutant(
        "test_backends_c18_the_gradient_of_a_frozen_parameter_is_zero",
        {"backend:loss_and_grads": learning_loss_and_grads},
    ),
    "the first channels read": Mutant(
        "test_readout_c5_a_backend_measures_its_loss_on_the_readout",
        {"refca.contract.reference:readout": first_readout},
        (("kind", "last channels"),),
    ),
    "stride window a pixel early": Mutant(
        "test_encode_c1_a_backend_shows_its_cells_this_environment",
        {"refca.definition.strided:conv_stride2": early_halve},
    ),
    "image repeated beyond its edge": Mutant(
        "test_encode_c1_a_backend_shows_its_cells_this_environment",
        {"refca.definition.strided:conv_stride2": edge_halve},
    ),
    "decoder's kernel flipped": Mutant(
        "test_readout_c5_a_backend_measures_its_loss_on_the_readout",
        {"refca.definition.strided:conv_transpose_stride2": flipped_double},
        DECODED,
    ),
    "decoder a pixel late": Mutant(
        "test_readout_c5_a_backend_measures_its_loss_on_the_readout",
        {"refca.definition.strided:conv_transpose_stride2": late_double},
        DECODED,
    ),
    "first sample forgotten": Mutant(
        "test_streams_c6_a_backend_fires_exactly_these_cells",
        {"refca.definition.randomness:Streams.words": uncounted_words},
    ),
    "noise of other cells": Mutant(
        "test_streams_c7_a_backend_adds_exactly_this_noise",
        {"refca.definition.randomness:Streams.words": transposed_words},
    ),
}

DEFINITION: dict[str, Mutant] = {
    "wrap-around border in the definition": Mutant(
        "test_step_c1_the_array_code_is_the_index_formula",
        {"refca.definition.step:neighbourhood": wrapping_neighbourhood},
    ),
    "start ignored by the reference": Mutant(
        "test_backends_c8_the_loss_is_the_weighted_sum_over_steps_and_samples",
        {
            "refca.contract.reference:Reference.loss_and_grads": lambda _, *args, **named: loss_and_grads_from_step_0(
                *args, **named
            )
        },
        L2,
    ),
    "cells numbered by columns": Mutant(
        "test_streams_c1_the_counter_is_cell_sample_step_and_purpose",
        {"refca.definition.randomness:Streams.words": transposed_words},
    ),
    "first sample forgotten in the definition": Mutant(
        "test_streams_c4_a_slice_of_a_batch_draws_what_the_batch_draws",
        {"refca.definition.randomness:Streams.words": uncounted_words},
    ),
    "a float comparison of words": Mutant(
        "test_streams_c2_at_rate_0_none_fires_and_at_rate_1_all",
        {"refca.definition.randomness:Streams.fire_mask": lambda *args: ~reaching_fires(*args)},
        (("rate", 1.0),),
    ),
    "a window a pixel early in the definition": Mutant(
        "test_encode_c2_the_window_of_a_cell_begins_at_its_first_pixel",
        {"refca.definition.strided:conv_stride2": early_halve},
    ),
    "an edge repeated in the definition": Mutant(
        "test_encode_c3_beyond_the_image_everything_is_zero", {"refca.definition.strided:conv_stride2": edge_halve}
    ),
    "an encoder with relu": Mutant(
        "test_encode_c4_it_is_linear", {"refca.definition.strided:conv_stride2": rectified_halve}
    ),
    "the last encoder repeated": Mutant(
        "test_encode_c5_deeper_strides_repeat_the_layer", {LAWS + "test_encode:encode": last_layer_encode}
    ),
    "no adjoint": Mutant(
        "test_decode_c2_each_layer_is_the_adjoint_of_an_encoder_s",
        {LAWS + "test_decode:conv_transpose_stride2": flipped_double},
    ),
    "a decoder a pixel late": Mutant(
        "test_decode_c3_a_cell_speaks_to_nine_pixels_from_its_own_on",
        {"refca.definition.strided:conv_transpose_stride2": late_double},
    ),
    "the first channels read in the definition": Mutant(
        "test_readout_c2_without_a_layer_it_is_the_last_channels",
        {LAWS + "test_readout:readout": first_readout},
    ),
    "a step after the last starts again": Mutant(
        "test_streams_c9_other_steps_are_refused",
        {
            "refca.definition.randomness:Streams.at": lambda self, cell, t, *sizes: at(
                self, cell, int(t) % 2**32, *sizes
            )
        },
        (("t", 2**32),),
    ),
    "a part of a training step is a whole one": Mutant(
        "test_streams_c9_other_training_steps_are_refused",
        {"refca.definition.randomness:Streams.fold": lambda self, i: fold(self, int(i))},
        (("i", 1.5),),
    ),
    "a batch split under batch norm": Mutant(
        "test_backends_c23_under_batch_norm_there_is_one_part",
        {"refca.contract.protocol:BaseBackend.batch_parts": lambda self, cell, image: contiguous_parts(len(image), 2)},
    ),
    "residual noise for resets": Mutant(
        "test_streams_c10_resets_are_normal_numbers_of_their_own_purpose",
        {"refca.definition.randomness:Streams.at": replayed_at},
    ),
    "residual noise for a start": Mutant(
        "test_streams_c11_initial_states_are_normal_numbers_of_step_0",
        {"refca.definition.randomness:Streams.initial": first_initial},
    ),
    "zeros for a normal start": Mutant(
        "test_init_state_c2_or_the_initial_numbers_of_the_streams",
        {LAWS + "test_init_state:init_state": zero_init_state},
    ),
    "biases in every cell": Mutant(
        "test_cell_c3_the_paper_s_cells_have_the_parameters_of_its_table_1",
        {LAWS + "test_cell:param_shapes": biased_shapes},
        INSTANCE,
    ),
    "a small first layer": Mutant(
        "test_cell_c6_weights_fill_the_range_of_their_fans",
        {LAWS + "test_cell:init_params": small_weights("perceive.weight")},
        (("change", {}),),
    ),
    "small hidden layers": Mutant(
        "test_cell_c6_weights_fill_the_range_of_their_fans",
        {LAWS + "test_cell:init_params": small_weights("hidden")},
        (("change", {"depthwise": True}),),
    ),
    "a small encoder": Mutant(
        "test_cell_c6_weights_fill_the_range_of_their_fans",
        {LAWS + "test_cell:init_params": small_weights("encode")},
        STRIDE_8,
    ),
    "a small decoder": Mutant(
        "test_cell_c6_weights_fill_the_range_of_their_fans",
        {LAWS + "test_cell:init_params": small_weights("decode.2")},
        STRIDE_8,
    ),
    "positive weights": Mutant(
        "test_cell_c6_weights_fill_the_range_of_their_fans",
        {LAWS + "test_cell:init_params": positive_weights},
        (("change", {}),),
    ),
    "the same weights for every seed": Mutant(
        "test_cell_c6_weights_begin_glorot_uniform",
        {LAWS + "test_cell:init_params": lambda cell, seed: init_params(cell, 0)},
    ),
    "the mix frozen with its filters": Mutant(
        "test_cell_c5_the_3x3_weights_of_the_first_layer_can_be_frozen",
        {LAWS + "test_cell:frozen": frozen_mix},
    ),
    "a probability to keep read as one to reset": Mutant(
        "test_persistence_c1_it_is_the_probability_to_keep",
        {LAWS + "test_persistence:keep_probability": reset_probability},
    ),
    "shares of a probability": Mutant(
        "test_persistence_c1_it_is_the_probability_to_keep",
        {LAWS + "test_persistence:keep_probability": linear_keep_probability},
    ),
    "photo and state renewed together": Mutant(
        "test_persistence_c2_photo_and_state_of_each_sample_are_decided_independently",
        {LAWS + "test_persistence:draw_resample": joint_decide},
        (("i", 1),),
    ),
    "the same renewals at every step": Mutant(
        "test_persistence_c3_decisions_are_a_function_of_seed_and_training_step",
        {LAWS + "test_persistence:draw_resample": constant_decide},
    ),
    "half of the photographs are never drawn": Mutant(
        "test_persistence_c4_every_photograph_is_drawn_equally_often",
        {LAWS + "test_persistence:draw_resample": halving_draw_resample},
        (("i", 17),),
    ),
    "photographs are written into the old batch": Mutant(
        "test_persistence_c5_nothing_that_is_given_is_modified",
        {LAWS + "test_persistence:resample": writing_resample},
    ),
    "flips change the photographs": Mutant(
        "test_persistence_c10_flips_change_no_other_draw",
        {LAWS + "test_persistence:draw_resample": shifting_draw_resample},
    ),
    "photographs turn while they are kept": Mutant(
        "test_persistence_c10_a_photograph_stays_mirrored_as_long_as_it_is_kept",
        {LAWS + "test_persistence:resample": turning_resample},
    ),
    "new states are zero": Mutant(
        "test_persistence_c5_what_is_renewed_is_new_and_the_rest_stays",
        {LAWS + "test_persistence:resample": zeroing_renew},
    ),
    "age goes on under a new photo": Mutant(
        "test_persistence_c6_age_begins_anew_with_photo_or_state",
        {LAWS + "test_persistence:resample": ageing_renew},
    ),
    "loss at a third": Mutant(
        "test_persistence_c7_steps_later_than_a_third_of_the_target_count",
        {LAWS + "test_persistence:counted": early_counted},
    ),
    "age forgotten by the loss": Mutant(
        "test_persistence_c7_steps_later_than_a_third_of_the_target_count",
        {LAWS + "test_persistence:counted": ageless_counted},
    ),
    "losses of steps summed": Mutant(
        "test_persistence_c8_the_loss_is_a_mean_over_what_counts",
        {LAWS + "test_persistence:loss_weights": summed_loss_weights},
    ),
    "IoU averaged over samples": Mutant(
        "test_iou_c2_it_is_accumulated_over_everything_given", {LAWS + "test_iou:iou": averaged_iou}
    ),
    "IoU of an absent class 0": Mutant(
        "test_iou_c3_a_class_neither_predicted_nor_there_has_none", {LAWS + "test_iou:iou": zero_iou}
    ),
    "nine rounds": Mutant(
        "test_philox_c2_the_array_code_is_ten_rounds_in_integers", {"refca.definition.philox:ROUNDS": 9}
    ),
    "l2 averaged over cells": Mutant(
        "test_l2_c1_the_array_code_is_the_index_formula",
        {"refca.definition.losses:reduce_cells": averaged_over_cells},
        (("kind", "labels"),),
    ),
    "l2 over dead cells": Mutant(
        "test_l2_c2_for_labels_dead_cells_do_not_count",
        {"refca.definition.losses:reduce_cells": summed_over_every_cell},
    ),
    "cross-entropy map masked": Mutant(
        "test_cross_entropy_c3_for_a_map_every_pixel_counts",
        {"refca.definition.losses:reduce_cells": masked_map},
    ),
    "accuracy of dead cells": Mutant(
        "test_cell_accuracy_c1_the_array_code_is_the_index_formula",
        {LAWS + "test_cell_accuracy:cell_accuracy": unmasked_cell_accuracy},
    ),
    "ties to the highest label": Mutant(
        "test_cell_accuracy_c2_ties_go_to_the_lowest_label",
        {LAWS + "test_cell_accuracy:cell_accuracy": high_tie_cell_accuracy},
    ),
    "accuracy averaged over digits": Mutant(
        "test_cell_accuracy_c1_the_array_code_is_the_index_formula",
        {LAWS + "test_cell_accuracy:cell_accuracy": macro_cell_accuracy},
    ),
    "negative cells abstain": Mutant(
        "test_total_agreement_c4_a_negative_vote_against_the_others_breaks_agreement",
        {LAWS + "test_total_agreement:total_agreement": abstaining_total_agreement},
    ),
    "dead digits agree": Mutant(
        "test_total_agreement_c3_a_digit_without_live_cells_is_left_out",
        {LAWS + "test_total_agreement:total_agreement": counting_total_agreement},
    ),
    "mutation keeps everything": Mutant(
        "test_mutate_c1_the_array_code_is_the_index_formula",
        {LAWS + "test_mutate:mutate": keeping_mutate},
    ),
    "mutation writes its input": Mutant(
        "test_mutate_c3_the_result_is_a_new_array", {LAWS + "test_mutate:mutate": writing_mutate}
    ),
    "the pool keeps everything": Mutant(
        "test_pool_c4_a_batch_is_fresh_then_continued_then_mutated",
        {"refca.digits.pool:mutate": keeping_mutate},
    ),
    "fresh samples that begin at zero whatever the initial state": Mutant(
        "test_pool_c4_a_batch_is_fresh_then_continued_then_mutated",
        {"refca.digits.pool:Pool.gather": forgetful_gather},
    ),
    "a quarter whatever the fraction": Mutant(
        "test_pool_c3_each_regime_has_its_shares",
        {LAWS + "test_pool:sample": quarter_sample},
        (("batch", 16), ("fresh_fraction", 0.125)),
    ),
    "a product in floating point rounded down": Mutant(
        "test_pool_c3_a_fraction_between_two_floats_is_not_rounded_down",
        {LAWS + "test_pool:fractions": truncated_fractions},
        (("batch", 100), ("fresh_fraction", 0.29), ("part", 29)),
    ),
    "the last digit never occurs": Mutant(
        "test_pool_c1_every_slot_and_every_digit_is_drawn_equally_often",
        {LAWS + "test_pool:sample": short_sample},
        (("digits", 5),),
    ),
    "the last digit is never in the first pool": Mutant(
        "test_pool_c8_the_first_pool_has_digits_drawn_uniformly_in_their_initial_states",
        {"refca.digits.training:generator": short_generator},
    ),
    "slots drawn with replacement": Mutant(
        "test_pool_c1_slots_are_taken_once_and_digits_exist",
        {LAWS + "test_pool:sample": replacing_sample},
        (("regime", "mutating"),),
    ),
    "digits drawn without replacement": Mutant(
        "test_pool_c1_a_digit_may_be_drawn_twice", {LAWS + "test_pool:sample": distinct_sample}
    ),
    "the same choices at every step": Mutant(
        "test_pool_c2_choices_depend_on_the_seed_and_the_training_step_alone",
        {LAWS + "test_pool:sample": fixed_sample},
    ),
    "one norm for all gradients": Mutant(
        "test_adam_c4_each_gradient_is_divided_by_its_own_norm",
        {LAWS + "test_adam:normalised": jointly_normalised},
    ),
    "epsilon of PyTorch": Mutant(
        "test_adam_c1_each_number_moves_by_the_index_formula", {"refca.contract.adam:EPSILON": 1e-8}
    ),
    "the rate falls late": Mutant(
        "test_adam_c5_the_rate_falls_twice",
        {LAWS + "test_adam:learning_rate_at": late_learning_rate},
        (("i", 30_000), ("expected", 1e-4)),
    ),
    "training starts at the whole rate": Mutant(
        "test_adam_c10_the_rate_rises_in_equal_parts_to_the_schedules",
        {LAWS + "test_adam:learning_rate_at": cold_learning_rate},
        (("schedule", "cosine"),),
    ),
    "unrolls have one length": Mutant(
        "test_unroll_c1_every_length_between_least_and_most_comes",
        {LAWS + "test_unroll:unroll_length": fixed_unroll_length},
    ),
    "unrolls are short": Mutant(
        "test_unroll_c1_every_length_occurs_equally_often",
        {LAWS + "test_unroll:unroll_length": low_unroll_length},
        (("shortest", 1),),
    ),
    "each of the last steps weighs one": Mutant(
        "test_unroll_c4_the_last_steps_and_the_samples_share_one",
        {LAWS + "test_unroll:last_steps": heavy_last_steps},
    ),
    "the loss of one sample": Mutant(
        "test_training_step_c1_the_gradient_of_a_batch_of_the_pool_is_normalised",
        {"refca.digits.training:last_steps": unscaled_last_steps},
        (("regime", "mutating"), ("loss", "l2")),
    ),
    "gradients of digits as they are": Mutant(
        "test_training_step_c1_the_gradient_of_a_batch_of_the_pool_is_normalised",
        {"refca.contract.adam:normalised": lambda grads: grads},
        (("regime", "naive"), ("loss", "ce")),
    ),
    "the first plan in every training step": Mutant(
        "test_training_step_c1_the_gradient_of_a_batch_of_the_pool_is_normalised",
        {"refca.digits.training:sample": first_plan},
        (("regime", "mutating"), ("loss", "l2")),
    ),
    "the first length in every training step": Mutant(
        "test_training_step_c1_the_gradient_of_a_batch_of_the_pool_is_normalised",
        {"refca.digits.training:unroll_length": lambda least, most, seed, i: unroll_length(least, most, seed, 0)},
        (("regime", "mutating"), ("loss", "l2")),
    ),
    "the same fire masks on digits for every seed": Mutant(
        "test_training_step_c2_the_batch_goes_back_into_its_slots",
        {"refca.digits.training:Streams": lambda seed: Streams(0)},
    ),
    "ages that the loss does not see": Mutant(
        "test_training_step_c3_the_gradient_of_a_mini_unroll_is_that_of_its_counted_steps",
        {"refca.segmentation.training:loss_weights": lambda age, K, T: loss_weights(0 * age, K, T)},
    ),
    "the same fire masks on photographs for every seed": Mutant(
        "test_training_step_c3_the_gradient_of_a_mini_unroll_is_that_of_its_counted_steps",
        {"refca.segmentation.training:Streams": lambda seed: Streams(0)},
    ),
    "a batch that is not written back": Mutant(
        "test_training_step_c2_the_batch_goes_back_into_its_slots",
        {"refca.digits.pool:Pool.commit": lambda *_: None},
    ),
    "every step of a mini-unroll counts": Mutant(
        "test_training_step_c3_the_gradient_of_a_mini_unroll_is_that_of_its_counted_steps",
        {"refca.segmentation.training:loss_weights": all_steps_count},
    ),
    "the same draws in every training step": Mutant(
        "test_training_step_c3_the_gradient_of_a_mini_unroll_is_that_of_its_counted_steps",
        {"refca.segmentation.training:Streams": UnfoldedStreams},
    ),
    "an unroll that always counts": Mutant(
        "test_training_step_c4_an_unroll_that_does_not_count_only_moves_states",
        {"refca.segmentation.training:loss_weights": all_steps_count},
    ),
    "a learning rate of zero on digits": Mutant(
        "test_training_step_c7_parameters_move_at_the_rate_of_the_training_step",
        {"refca.digits.training:learning_rate_at": lambda *_: 0.0},
        (("task", "digits"),),
    ),
    "a learning rate of zero on photographs": Mutant(
        "test_training_step_c7_parameters_move_at_the_rate_of_the_training_step",
        {"refca.segmentation.training:learning_rate_at": lambda *_: 0.0},
        (("task", "segmentation"),),
    ),
    "the learning rate of the number of updates": Mutant(
        "test_training_step_c7_parameters_move_at_the_rate_of_the_training_step",
        {"refca.segmentation.training:learning_rate_at": rate_of_updates()},
        (("task", "segmentation"),),
    ),
    "updates that are not counted": Mutant(
        "test_training_step_c7_parameters_move_at_the_rate_of_the_training_step",
        {"refca.training.train_state:TrainState.update": uncounted_update},
        (("task", "digits"),),
    ),
    "Adam, whatever the optimiser": Mutant(
        "test_training_step_c9_with_muon_matrices_move_by_their_orthogonal_momentum",
        {"refca.training.train_state:TrainState.update": uncounted_update},
        (("task", "segmentation"),),
    ),
    "Muon with less momentum": Mutant(
        "test_muon_c1_matrices_move_by_their_orthogonal_momentum",
        {"refca.training.muon:MOMENTUM": 0.9},
        (("normalise", False), ("dtype", "float64")),
    ),
    "Muon writes the parameters": Mutant(
        "test_muon_c2_parameters_and_gradients_are_not_written", {LAWS + "test_muon:muon_step": writing_muon_step}
    ),
    "Muon moves along directions without a gradient": Mutant(
        "test_muon_c3_a_gradient_of_zero_moves_nothing", {"refca.training.muon:orthogonal": exact_orthogonal}
    ),
    "four iterations of Muon's polynomial": Mutant(
        "test_muon_c4_singular_values_follow_the_polynomial_and_vectors_stay", {"refca.training.muon:ITERATIONS": 4}
    ),
    "Muon's norm has a large epsilon": Mutant(
        "test_muon_c5_the_size_of_the_matrix_does_not_matter", {"refca.training.muon:NORM_EPSILON": 0.01}
    ),
    "Muon takes every array for a matrix": Mutant(
        "test_muon_c6_parameters_that_are_not_matrices_move_as_under_adam",
        {"refca.training.muon:is_matrix": lambda shape: len(shape) > 0},
    ),
    "Muon takes a row for a matrix": Mutant(
        "test_muon_c6_parameters_that_are_not_matrices_move_as_under_adam",
        {"refca.training.muon:is_matrix": lambda shape: len(shape) > 1 and shape[-1] > 1},
    ),
    "an average in which the first parameters weigh too much": Mutant(
        "test_ema_c1_later_parameters_weigh_more_by_the_decay",
        {LAWS + "test_ema:ema_step": uncorrected_ema_step},
    ),
    "an average that is moved where it is": Mutant(
        "test_ema_c2_parameters_and_averages_are_not_written", {LAWS + "test_ema:ema_step": writing_ema_step}
    ),
    "an average that starts from zero": Mutant(
        "test_ema_c3_parameters_that_stay_are_their_average", {LAWS + "test_ema:ema_step": ema_from_zero}
    ),
    "training on the average": Mutant(
        "test_training_step_c10_an_average_follows_the_parameters_and_changes_nothing_else",
        {"refca.training.train_state:TrainState.update": training_on_the_average},
        (("task", "digits"), ("optimiser", "adam")),
    ),
    "an average without the updates' numbers": Mutant(
        "test_training_step_c10_an_average_follows_the_parameters_and_changes_nothing_else",
        {"refca.training.train_state:ema_step": lambda ema, params, i, decay: ema_step(ema, params, 0, decay)},
        (("task", "segmentation"), ("optimiser", "muon")),
    ),
    "label maps that are never mirrored": Mutant(
        "test_training_step_c8_photographs_and_label_maps_are_mirrored_together",
        {"refca.data.photographs:Photographs.labels": plain_labels},
    ),
    "one accuracy over all digits": Mutant(
        "test_evaluation_c1_accuracy_is_the_mean_over_batches_of_1000",
        {"refca.digits.evaluation:mean_ratio": pooled_ratio},
        (("slice_size", 1000),),
    ),
    "batches without a live cell counted as zero": Mutant(
        "test_evaluation_c1_a_batch_without_a_live_cell_is_left_out",
        {"refca.digits.evaluation:mean_ratio": zero_for_nothing},
    ),
    "as many digits at a time as the backend likes": Mutant(
        "test_evaluation_c8_digits_share_the_means_of_batch_norm_in_slices_of_125",
        {"refca.digits.evaluation:slice_size": lambda cell, backend: backend.sample_slice},
        (("slice_size", 7),),
    ),
    "seven photographs at a time": Mutant(
        "test_evaluation_c8_photographs_share_the_means_of_batch_norm_in_slices_of_32",
        {"refca.segmentation.evaluation:SLICE": 7},
    ),
    "a mutation that restarts": Mutant(
        "test_evaluation_c2_a_mutation_carries_states_over_and_counts_on",
        {"refca.digits.evaluation:mutate": zero_mutate},
    ),
    "a restart that remembers": Mutant(
        "test_evaluation_c3_a_restart_begins_at_zero_and_counts_on",
        {"refca.contract.protocol:init_state": kept_start},
    ),
    "a ratio that is not of sums": Mutant(
        "test_evaluation_c4_iou_is_a_ratio_of_sums_over_all_photographs",
        {"refca.confusion:ratio": smoothed_ratio},
    ),
    "a replacement that is the next photograph": Mutant(
        "test_evaluation_c5_a_replaced_photograph_is_1009_further_on",
        {"refca.segmentation.evaluation:LEAP": 1},
        (("changes", 1),),
    ),
    "a square walked the other way": Mutant(
        "test_evaluation_c6_a_shifted_photograph_goes_round_a_square",
        {"refca.segmentation.evaluation:shifted": right_and_down},
        (("changes", 1), ("down", 0), ("right", 1)),
    ),
    "photographs change one step early": Mutant(
        "test_evaluation_c7_photographs_change_after_every_so_many_steps",
        {"refca.segmentation.evaluation:take_snapshots": early_snapshots},
        (("condition", "replaced"),),
    ),
}
