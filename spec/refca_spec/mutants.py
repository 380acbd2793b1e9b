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
from typing import Any
from unittest.mock import patch

import autograd.numpy as np
import numpy

from refca import reference
from refca.adam import learning_rate
from refca.cell import Array, Cell
from refca.loss import over_cells
from refca.metrics import cell_accuracy, total_agreement
from refca.pool import Choices, choose
from refca.randomness import Streams
from refca.reference import evolve, loss_and_grads
from refca.step import alive, look, propose, relu, step

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


class MutantBackend:
    """The reference backend with a fault in force during its calls. It is a backend like any other."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.xp = reference.xp
        self.asarray, self.asnumpy = reference.asarray, reference.asnumpy
        self.evolve = self.faulty("evolve")
        self.loss_and_grads = self.faulty("loss_and_grads")

    def faulty(self, name: str) -> Callable[..., Any]:
        """The reference's function with the fault in force, or what the fault puts in its place."""
        right = getattr(reference, name)
        wrong = self.fault.get(f"refca.reference:{name}", right)

        def call(*args: Any, **kwargs: Any) -> Any:
            inner = {target: f for target, f in self.fault.items() if target != f"refca.reference:{name}"}
            with in_force(inner):
                return wrong(*args, **kwargs)

        return call


# Faults of the step


def wrapping_look(image: Array, state: Array) -> Array:
    """Neighbours across the border are those on the other side."""
    x = np.concatenate([image, state], axis=-1)
    turned = [np.roll(x, (1 - dy, 1 - dx), (1, 2)) for dy in range(3) for dx in range(3)]
    return np.concatenate(turned, axis=-1)


def edge_look(image: Array, state: Array) -> Array:
    """Beyond the border the edge is repeated."""
    x = numpy.concatenate([image, state], axis=-1)
    x = numpy.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    H, W = image.shape[1:3]
    return numpy.concatenate([x[:, y : y + H, c : c + W] for y in range(3) for c in range(3)], axis=-1)


def flipped_look(image: Array, state: Array) -> Array:
    """A convolution in the sense of mathematics: the neighbourhood read from its end."""
    seen = look(image, state)
    return np.reshape(np.reshape(seen, (*image.shape[:3], 9, -1))[..., ::-1, :], seen.shape)


def state_first_look(image: Array, state: Array) -> Array:
    """State channels before image channels."""
    return look(state, image)


def step_with(order: str) -> Callable[..., Array]:
    """A step with the noise, the masks or the batch in the wrong place."""

    def wrong(
        cell: Cell, params: dict, image: Array, state: Array, fires: Array, noise: Array | None, z: None
    ) -> Array:
        quiet = replace(cell, noise=0.0)
        lives = alive(cell, image)
        if order == "noise after the fire mask":
            after = step(quiet, params, image, state, fires, None, z)
            return after if noise is None else after + cell.noise * noise * lives[..., None]
        if order == "noise on dead cells":
            after = step(quiet, params, image, state, fires, None, z)
            return after if noise is None else after + cell.noise * noise * fires[..., None]
        if order == "one fire mask for the batch":
            return step(cell, params, image, state, fires[:1] & np.ones_like(fires), noise, z)
        if order == "fire masks ignored":
            return step(cell, params, image, state, np.ones_like(fires), noise, z)
        if order == "noise in the first channel alone":
            first = None if noise is None else noise * (np.arange(noise.shape[-1]) == 0)
            return step(cell, params, image, state, fires, first, z)
        if order == "samples leak":
            return step(cell, params, image, 0.01 * state[::-1] + state, fires, noise, z)
        raise KeyError(order)

    return wrong


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


# Faults of a backend's two functions


def writing_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, start: int = 0
) -> Array:
    """The state that came in is overwritten."""
    state[...] = evolve(cell, params, image, state, draws, steps, start=start)
    return state


def aliasing_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, start: int = 0
) -> Array:
    """No steps: the very array that came in."""
    return evolve(cell, params, image, state, draws, steps, start=start) if steps else state


def startless_evolve(*args: Any, start: int = 0) -> Array:
    return evolve(*args, start=0)


def unchecked_evolve(
    cell: Cell, params: dict, image: Array, state: Array, draws: Any, steps: int, *, start: int = 0
) -> Array:
    """Negative steps are none."""
    return evolve(cell, params, image, state, draws, max(steps, 0), start=max(start, 0))


def casting_evolve(*args: Any, start: int = 0) -> Array:
    """Everything in float64, whatever came in."""
    return evolve(*args, start=start).astype(np.float64)


def startless_loss_and_grads(*args: Any, start: int = 0, image_grad: bool = False) -> Any:
    return loss_and_grads(*args, start=0, image_grad=image_grad)


def forgetful_loss_and_grads(*args: Any, start: int = 0, image_grad: bool = False) -> Any:
    """One tensor's gradient is left at zero."""
    value, grads, last = loss_and_grads(*args, start=start, image_grad=image_grad)
    return value, grads | {"perceive.bias": 0 * grads["perceive.bias"]}, last


def eager_loss_and_grads(*args: Any, start: int = 0, image_grad: bool = False) -> Any:
    """The gradient of the image comes unasked."""
    return loss_and_grads(*args, start=start, image_grad=True)


def last_step_loss_and_grads(*args: Any, start: int = 0, image_grad: bool = False) -> Any:
    """Only the last step's weights count."""
    weights = numpy.array(args[6])
    weights[:-1] = 0
    args = (*args[:6], weights, args[7])
    return loss_and_grads(*args, start=start, image_grad=image_grad)


def averaged_over_cells(each: Array, target: Array, live: Array) -> Array:
    """The mean over live cells instead of the sum."""
    if target.ndim == 3:
        return over_cells(each, target, live)
    return np.sum(each * live, axis=(1, 2)) / np.maximum(np.sum(live, axis=(1, 2)), 1)


def summed_over_every_cell(each: Array, target: Array, live: Array) -> Array:
    """Dead cells count."""
    return over_cells(each, target, np.ones_like(live))


def masked_map(each: Array, target: Array, live: Array) -> Array:
    """A label map's loss leaves dead cells out."""
    return over_cells(each * live if target.ndim == 3 else each, target, live)


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


def keeping_mutate(cell: Cell, state: Array, image: Array) -> Array:
    """Nothing is zeroed."""
    return state.copy()


def writing_mutate(cell: Cell, state: Array, image: Array) -> Array:
    state[~alive(cell, image)] = 0
    return state


def replacing_choose(regime: str, batch: int, pool_: int, digits: int, seed: int, i: int) -> Choices:
    """Slots drawn with replacement."""
    choices = choose(regime, batch, pool_, digits, seed, i)
    return replace(choices, slots=numpy.random.default_rng((seed, i)).integers(0, pool_, batch))


def fixed_choose(regime: str, batch: int, pool_: int, digits: int, seed: int, i: int) -> Choices:
    """The same choices at every training step."""
    return choose(regime, batch, pool_, digits, seed, 0)


def jointly_normalised(grads: dict) -> dict:
    """One norm over all tensors."""
    norm = sum((grad**2).sum() for grad in grads.values()) ** 0.5
    return {name: grad / (norm + 1e-8) for name, grad in grads.items()}


def late_learning_rate(rate: float, i: int, steps: int) -> float:
    """Every drop comes one training step late."""
    return learning_rate(rate, i - 1, steps)


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


words = Streams.words

LAWS = "refca_spec.laws."
ORDER = {"loss": "l2", "kind": "labels"}
L2 = tuple(ORDER.items())
MAP = tuple((ORDER | {"kind": "map"}).items())

BACKENDS: dict[str, Mutant] = {
    "wrap-around border": Mutant(
        "test_step_c2_outside_the_grid_everything_is_zero", {"refca.step:look": wrapping_look}
    ),
    "repeated border": Mutant(
        "test_step_c2_outside_the_grid_everything_is_zero", {"refca.step:look": edge_look}
    ),
    "flipped kernel": Mutant(
        "test_step_c4_neighbours_are_read_row_by_row", {"refca.step:look": flipped_look}
    ),
    "state before image": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference", {"refca.step:look": state_first_look}
    ),
    "two steps for one": Mutant(
        "test_step_c3_a_cell_sees_no_further_than_one_cell", {"refca.reference:step": looking_twice}
    ),
    "noise after the fire mask": Mutant(
        "test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit",
        {"refca.reference:step": step_with("noise after the fire mask")},
    ),
    "noise on dead cells": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.reference:step": step_with("noise on dead cells")},
    ),
    "noise in the first channel alone": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.reference:step": step_with("noise in the first channel alone")},
    ),
    "sigma squared": Mutant(
        "test_step_c7_noise_enters_before_the_mask_in_every_channel",
        {"refca.step:propose": noise_as_variance},
    ),
    "one fire mask for the batch": Mutant(
        "test_step_c8_the_channels_of_a_cell_fire_together",
        {"refca.reference:step": step_with("one fire mask for the batch")},
    ),
    "fire masks ignored": Mutant(
        "test_step_c5_a_cell_not_alive_or_not_firing_keeps_every_bit",
        {"refca.reference:step": step_with("fire masks ignored")},
    ),
    "samples leak": Mutant(
        "test_step_c9_samples_do_not_see_each_other",
        {"refca.reference:step": step_with("samples leak")},
    ),
    "live set dilated": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold", {"refca.step:alive": dilated_alive}
    ),
    "threshold reached": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold", {"refca.step:alive": reaching_alive}
    ),
    "threshold in float64": Mutant(
        "test_step_c6_alive_is_an_image_above_the_float32_threshold", {"refca.step:alive": double_alive}
    ),
    "updates doubled": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference", {"refca.step:propose": doubled_propose}
    ),
    "relu after the update": Mutant(
        "test_step_c1_a_backend_steps_as_the_reference", {"refca.step:propose": clipped_propose}
    ),
    "leaky relu": Mutant("test_step_c1_a_backend_steps_as_the_reference", {"refca.step:relu": leaky_relu}),
    "relu with derivative 1/2 at zero": Mutant(
        "test_backends_c12_the_derivative_of_relu_at_zero_is_zero",
        {"refca.step:relu": relu_with_half_at_zero},
    ),
    "input written in place": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written", {"refca.reference:evolve": writing_evolve}
    ),
    "input returned": Mutant(
        "test_backends_c6_arrays_that_come_in_are_not_written", {"refca.reference:evolve": aliasing_evolve}
    ),
    "start ignored by evolve": Mutant(
        "test_backends_c4_an_evolution_may_be_cut_in_two", {"refca.reference:evolve": startless_evolve}
    ),
    "start ignored by loss_and_grads": Mutant(
        "test_backends_c9_loss_and_grads_draws_from_streams",
        {"refca.reference:loss_and_grads": startless_loss_and_grads},
        L2,
    ),
    "start ignored by loss_and_grads alone": Mutant(
        "test_backends_c8_the_last_state_is_that_of_evolve",
        {"refca.reference:loss_and_grads": startless_loss_and_grads},
    ),
    "always float64": Mutant(
        "test_backends_c7_the_dtype_of_the_arguments_is_the_dtype_of_the_results",
        {"refca.reference:evolve": casting_evolve},
    ),
    "negative steps accepted": Mutant(
        "test_backends_c15_negative_steps_are_refused",
        {"refca.reference:evolve": unchecked_evolve},
        (("change", {"steps": -1}),),
    ),
    "gradient of one tensor missing": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.reference:loss_and_grads": forgetful_loss_and_grads},
        L2,
    ),
    "only the last step counted": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.reference:loss_and_grads": last_step_loss_and_grads},
        L2,
    ),
    "image gradient unasked": Mutant(
        "test_backends_c10_the_gradient_of_the_image_is_there_if_asked_for",
        {"refca.reference:loss_and_grads": eager_loss_and_grads},
    ),
    "loss averaged over live cells": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.loss:over_cells": averaged_over_cells},
        L2,
    ),
    "loss over dead cells": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.loss:over_cells": summed_over_every_cell},
        L2,
    ),
    "label map masked": Mutant(
        "test_backends_c9_loss_gradients_and_state_are_the_reference_s",
        {"refca.loss:over_cells": masked_map},
        MAP,
    ),
    "first sample forgotten": Mutant(
        "test_streams_c6_a_backend_fires_exactly_these_cells",
        {"refca.randomness:Streams.words": uncounted_words},
    ),
    "noise of other cells": Mutant(
        "test_streams_c7_a_backend_adds_exactly_this_noise",
        {"refca.randomness:Streams.words": transposed_words},
    ),
}

DEFINITION: dict[str, Mutant] = {
    "wrap-around border in the definition": Mutant(
        "test_step_c1_the_array_code_is_the_index_formula", {"refca.step:look": wrapping_look}
    ),
    "start ignored by the reference": Mutant(
        "test_backends_c8_the_loss_is_the_weighted_sum_over_steps_and_samples",
        {"refca.reference:loss_and_grads": startless_loss_and_grads},
        L2,
    ),
    "cells numbered by columns": Mutant(
        "test_streams_c1_the_counter_is_cell_sample_step_and_purpose",
        {"refca.randomness:Streams.words": transposed_words},
    ),
    "first sample forgotten in the definition": Mutant(
        "test_streams_c4_a_slice_of_a_batch_draws_what_the_batch_draws",
        {"refca.randomness:Streams.words": uncounted_words},
    ),
    "a float comparison of words": Mutant(
        "test_streams_c2_at_rate_0_none_fires_and_at_rate_1_all",
        {"refca.randomness:Streams.fires": lambda *args: ~reaching_fires(*args)},
        (("rate", 1.0),),
    ),
    "nine rounds": Mutant(
        "test_philox_c2_the_array_code_is_ten_rounds_in_integers", {"refca.philox:ROUNDS": 9}
    ),
    "l2 averaged over cells": Mutant(
        "test_l2_c1_the_array_code_is_the_index_formula",
        {"refca.loss:over_cells": averaged_over_cells},
        (("kind", "labels"),),
    ),
    "l2 over dead cells": Mutant(
        "test_l2_c2_for_labels_dead_cells_do_not_count", {"refca.loss:over_cells": summed_over_every_cell}
    ),
    "cross-entropy map masked": Mutant(
        "test_cross_entropy_c3_for_a_map_every_pixel_counts", {"refca.loss:over_cells": masked_map}
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
        "test_pool_c4_a_batch_is_fresh_then_continued_then_mutated", {"refca.pool:mutate": keeping_mutate}
    ),
    "slots drawn with replacement": Mutant(
        "test_pool_c1_slots_are_taken_once_and_digits_exist",
        {LAWS + "test_pool:choose": replacing_choose},
        (("regime", "mutating"),),
    ),
    "the same choices at every step": Mutant(
        "test_pool_c2_choices_depend_on_the_seed_and_the_training_step_alone",
        {LAWS + "test_pool:choose": fixed_choose},
    ),
    "one norm for all gradients": Mutant(
        "test_adam_c4_each_gradient_is_divided_by_its_own_norm",
        {LAWS + "test_adam:normalised": jointly_normalised},
    ),
    "epsilon of PyTorch": Mutant(
        "test_adam_c1_each_number_moves_by_the_index_formula", {"refca.adam:EPSILON": 1e-8}
    ),
    "the rate falls late": Mutant(
        "test_adam_c5_the_rate_falls_twice",
        {LAWS + "test_adam:learning_rate": late_learning_rate},
        (("i", 30_000), ("expected", 1e-4)),
    ),
}
