# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lesson 2: agreement
#
# In lesson 1 you wrote one step. In this lesson steps are repeated, and you watch what a crowd of cells does: how fast
# news travels, what happens if cells lose their memory, and what happens if the digit changes under them. Then you
# measure agreement, and find out why one way of training gives cells that flicker, and another gives cells that settle.
#
# It takes about 40 minutes. A minute of it is training.

# %%
from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import refca
import refca.data
from refca.lessons import check, show, solution

digits = refca.sample_digits()
automaton = refca.load("digits")
cell = automaton.cell


def history(automaton, image, steps, state=None, first_step=0):
    """Return the states after 0, 1, ... steps, (steps + 1, B, H, W, D)."""
    states = [automaton.evolve(image, 0, state, first_step=first_step)]
    for t in range(steps):
        states.append(automaton.evolve(image, 1, states[-1], first_step=first_step + t))
    return np.array(states)


# %% [markdown]
# ## How fast does news travel?
#
# Take a digit that has settled. Poke one cell: change its state. Run it again next to the same digit without the poke,
# with the same coins and the same noise. Wherever the two differ, the news of the poke has arrived.

# %%
image = digits.images([18])  # an 8
settled = automaton.evolve(image, 60)
live = refca.alive(cell, image)  # (1, 28, 28)
ys, xs = np.nonzero(live[0])
poked_cell = ys[0], xs[0]  # the topmost live cell

poked = settled.copy()
poked[0, *poked_cell] += 1
one = history(automaton, image, 30, settled, first_step=60)
other = history(automaton, image, 30, poked, first_step=60)

size = np.abs(one - other).max(axis=-1)[:, 0]  # (31, 28, 28): how much each cell differs after each step
times = [0, 1, 2, 4, 8, 12, 20, 30]
show([np.log10(size[t] + 1e-9) for t in times], [f"{t} steps later" for t in times], cmap="magma", vmin=-9, vmax=0)

# %% [markdown]
# The news spreads like a drop of ink, one cell per step at most, and only along the strokes. It gets fainter on its
# way. (The scale is logarithmic: from the darkest shade to the brightest it is a factor of a billion.)
#
# ### Exercise 2.1: when does the news arrive?
#
# `one` and `other` are two histories, (T, H, W, D). Return for each cell the first step at which they differ in any
# channel, (H, W), and -1 where they never differ.


# %%
def arrival(one, other): ...  # return an array of integers, (H, W)


check("2.1", arrival)

# %% [markdown]
# Nothing in an automaton of this kind is faster than one cell per step. Here is the check of that speed limit: for each
# live cell the step at which news arrived, and below it the distance to the poke, counted in moves of a chess king.

# %%
differs = (one != other).any(axis=-1)[:, 0]  # the same idea, one line
first = np.where(differs.any(axis=0), differs.argmax(axis=0), -1)
distance = np.maximum(*np.abs(np.indices(first.shape) - np.reshape(poked_cell, (2, 1, 1))))
reached = first > 0
plt.figure(figsize=(4.5, 3.5))
plt.scatter(distance[reached], first[reached], s=12, alpha=0.5)
plt.plot([0, 20], [0, 20], color="black", linewidth=1)
plt.xlabel("distance to the poke, in cells")
plt.ylabel("step at which news arrived")
plt.title("no news arrives below the line")
plt.show()

# %% [markdown]
# Most points are above the line. Cells wait for their coins (half of them fire in each step), and news has to follow
# the bends of a stroke.
#
# ## Wounds and mutations
#
# Now do worse than a poke. First a *wound*: the cells in the lower half lose all of their memory, so their state is
# zero. Then a *mutation*: the digit itself changes to another one. Cells that are alive in both digits keep their
# state; so they start out believing in the old digit.

# %%
wounded = settled.copy()
wounded[:, 14:] = 0
other_digit = digits.images([14])  # a 4
mutated = refca.mutate(cell, settled, other_digit)

times = [0, 2, 5, 10, 20, 40, 80]
healing = history(automaton, image, 80, wounded, first_step=60)[times]
changing = history(automaton, other_digit, 80, mutated, first_step=60)[times]
pictures = [automaton.paint(image, state)[0] for state in healing]
pictures += [automaton.paint(other_digit, state)[0] for state in changing]
show(pictures, [f"{t} steps" for t in times], columns=len(times))

# %% [markdown]
# Upper row: the wound heals. Lower row: the cells believe in 8 at first and then find out that they are a 4 now. No one
# tells them that the digit changed. They notice because what they see does not fit what they believe.
#
# ## Two measures
#
# How well do the cells do? Two questions, and they are different:
#
# - **accuracy**: what share of the live cells believes in the right label?
# - **agreement**: do *all* live cells of a digit believe in the same label, right or wrong? Over many digits this is
#   the share of digits of which it is true.
#
# ### Exercise 2.2: measure one digit
#
# `predicted` (H, W) are the labels that cells believe in, `label` is the right one, `live` (H, W) says which cells
# live. Return the pair: accuracy (a number from 0 to 1), agreement (true or false).


# %%
def measure(predicted, label, live): ...  # return accuracy, agreement


check("2.2", measure)

# %% [markdown]
# Both over time, for all 100 sample digits, with a mutation to another digit after 150 steps:


# %%
def curves(automaton, image, labels, steps, state=None, first_step=0):
    """Return accuracy, agreement, the mean size of the outputs, and the share of cells that switch label, per step."""
    live, rows, before = refca.alive(automaton.cell, image), [], None
    for t in range(steps):
        state = automaton.evolve(image, 1, state, first_step=first_step + t)
        outputs = automaton.readout(state)  # (B, H, W, 10)
        now = outputs.argmax(axis=-1)
        switched = np.nan if before is None else (now != before)[live].mean()
        accuracy = refca.cell_accuracy(outputs, labels, live)
        agreement = refca.total_agreement(outputs, live)
        rows.append([accuracy, agreement, np.abs(outputs[live]).mean(), switched])
        before = now
    return np.array(rows), state


image, labels = digits.images(slice(None)), digits.labels
before, state = curves(automaton, image, labels, 150)
turn = np.roll(np.arange(100), 37)  # every digit becomes another one
new_image, new_labels = image[turn], labels[turn]
after, _ = curves(automaton, new_image, new_labels, 150, refca.mutate(cell, state, new_image), first_step=150)

both = np.concatenate([before, after])
plt.figure(figsize=(7, 3))
plt.plot(both[:, 0], label="accuracy: cells that are right")
plt.plot(both[:, 1], label="agreement: digits of one colour")
plt.axvline(150, color="gray", linestyle=":")
plt.text(110, 0.5, "mutation")
plt.xlabel("step")
plt.ylim(0, 1.02)
plt.legend(loc="lower right")
plt.show()

# %% [markdown]
# Agreement is the stricter measure: one cell that disagrees spoils its whole digit. It comes later than accuracy, and
# it shows what accuracy hides.
#
# ## Why some cells flicker
#
# Cells learn from a *loss*: a number that says how wrong their outputs are. The article ("Self-classifying
# MNIST Digits", Randazzo et al. 2020) tried two.
#
# - **Cross-entropy** is what most classifiers use. It turns the ten outputs *x* into probabilities (the softmax) and
#   asks the right one to be large: -log softmax(x)[label].
# - **L2** asks the outputs to be *equal* to a target: 1 for the right label, 0 for the others:
#   ½ Σₖ (xₖ - targetₖ)².
#
# Train a small automaton with each, on digits of 8x8 pixels. It takes a minute. (Both without noise, so that only the
# loss differs.)

# %%
folder = Path(mkdtemp())
trained = {
    loss: refca.fit("demo", out=folder / loss, loss=loss, noise=0.0, steps=1500, quiet=True) for loss in ("ce", "l2")
}

# %% [markdown]
# Let both run on test digits for 100 steps, five times as long as the 20 steps that they were trained for.

# %%
test = refca.data.load("optdigits").test  # 297 digits of 8x8, which training has not seen
small_image, small_labels = test.images(slice(None)), test.labels
found = {loss: curves(trained[loss], small_image, small_labels, 100)[0] for loss in trained}

figure, axes = plt.subplots(1, 4, figsize=(13, 3))
names = ["accuracy", "agreement", "mean size of an output", "share of cells that switch label"]
for axis, name, column in zip(axes, names, range(4), strict=True):
    for loss, colour in ("ce", "tab:orange"), ("l2", "tab:blue"):
        axis.plot(found[loss][:, column], color=colour, label={"ce": "cross-entropy", "l2": "L2"}[loss])
    axis.set_title(name, fontsize=10)
    axis.set_xlabel("step")
for axis in axes[2:]:
    axis.set_yscale("log")
axes[2].legend()
figure.tight_layout()
plt.show()

# %% [markdown]
# Look at the third picture first. The outputs of the cross-entropy cells grow for as long as the cells run. The
# outputs of the L2 cells stay near the numbers that they were asked for. The last picture: around step 50
# the cells of cross-entropy change their mind several times as often. And the second: far fewer of its digits agree.
#
# Be careful with such a comparison. L2 also learned faster here, and after so short a training neither lasts: both get
# worse in the end. The growth of the outputs is what the article found in its long runs, too.
#
# To see why, ask what each loss wants of a cell. The *push* on an output is minus the derivative of the loss: positive
# means "be larger".
#
# ### Exercise 2.3: the push
#
# `outputs` are the ten outputs of one cell, `label` the right label, `loss` is "l2" or "ce". Return the push on each
# output, (10,). For L2 differentiate the formula above. For cross-entropy the derivative is a classic: the softmax
# minus the one-hot target, so the push is the target minus the softmax.


# %%
def push(outputs, label, loss): ...  # return ten numbers


check("2.3", push)

# %% [markdown]
# Here is the push on the right output of a cell whose other outputs are zero, as this output grows:

# %%
outputs = np.linspace(0, 8, 100)
softmax = np.exp(outputs) / (np.exp(outputs) + 9)
plt.figure(figsize=(5, 3))
plt.axhline(0, color="black", linewidth=1)
plt.plot(outputs, 1 - softmax, color="tab:orange", label="cross-entropy")
plt.plot(outputs, 1 - outputs, color="tab:blue", label="L2")
plt.ylim(-2, 1.2)
plt.xlabel("output for the right label")
plt.ylabel("push")
plt.legend()
plt.show()

# %% [markdown]
# Under L2 there is a place to rest: at 1 the push is zero, and beyond it the push points back. Under cross-entropy the
# push is never zero: larger is always better. A feed-forward network does not mind, since it computes its outputs once.
# But a cell *adds* to its outputs again and again. Cells that were rewarded for adding keep adding, for hundreds of
# steps, to all that they hold, far beyond the numbers that they met in training. There nothing was ever learned, and
# small differences between cells become large ones: they flicker.
#
# So a loss for something that lives on should have a place to rest. That is the article's second experiment: at step
# 200 all cells agree in 85 per cent of its digits with L2, and in 66 per cent with cross-entropy.
#
# **To try:** give `refca.fit` a `noise=0.02`, the article's last ingredient. What does it do to agreement?
