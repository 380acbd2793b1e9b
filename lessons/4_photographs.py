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
# # Lesson 4: photographs
#
# In the lessons before, all cells of a picture had to agree. Now each cell has an answer of its own: does *this* pixel
# show background, an animal, or the border between them? The cell is almost the same. Two things are new: a *gate* by
# which a cell can forget, and *mini-unrolls*, a way to train for hundreds of steps at the price of ten.
#
# It takes about 30 minutes.

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np

import refca
from refca.lessons import check, show, solution

photographs = refca.sample_photographs(48)  # eight that come with refca: (8, 48, 48, 3), from -1 to 1
automaton = refca.load("pets")  # trained on other photographs of cats and dogs
print(automaton)
print(automaton.names)
show((photographs + 1) / 2)

# %% [markdown]
# 18,360 parameters: that is far smaller than what is common for this task.
#
# The cells start from random numbers, not from zero. The pictures below are labels, laid over the photograph in gray.

# %%
times = [0, 1, 5, 10, 20, 40, 100]
pictures = []
for t in times:
    state = automaton.evolve(photographs[:4], t)
    pictures.append(automaton.paint(photographs[:4], state))
rows = [picture for photograph in zip(*pictures, strict=True) for picture in photograph]
show(rows, [f"step {t}" for t in times], columns=len(times))

# %% [markdown]
# After 10 steps the shape is there, and after 40 it is about as good as it gets. (There are mistakes: compare with
# the photographs.) The state has 48 numbers for each pixel. Three of them, as red, green and blue:

# %%
state = automaton.evolve(photographs, 40)
colours = state[..., :3]
low, high = np.percentile(colours, [2, 98], axis=(0, 1, 2))
show(list(np.clip((colours - low) / (high - low), 0, 1)))

# %% [markdown]
# ## A gate to forget by
#
# Cells that only ever *add* to their state have a problem: when the picture changes, the state is full of the old one.
# So each cell has a gate *r*, a number from 0 to 1, which it computes anew in each step from what it sees:
#
# ```text
# state' = r · z + (1 - r) · (state + update)
# ```
#
# where *z* is random (normal). At r = 0 the cell remembers everything; at r = 1 it forgets everything and starts
# again from random numbers. An open gate forgets, a shut gate remembers.
#
# How much does each cell forget? refca's step doesn't return the gate. But you can *measure* it from outside, because
# *z* is an argument of the step. What happens to the new state if you change z from 0 to 1, and nothing else?
#
# ### Exercise 4.1: measure the gate
#
# Return the gate of each cell, (B, H, W). Use two calls of
# `refca.step(automaton.cell, automaton.params, image, state, fire, None, z)`, in which all cells fire: `fire` is a
# boolean array (B, H, W), `z` has the shape of the state.


# %%
def measured_gate(automaton, image, state): ...  # return an array (B, H, W)


check("4.1", measured_gate)


# %% [markdown]
# Here is the gate of each cell at step 40. (The same idea in one line, by a larger z.)


# %%
def gates(automaton, image, state):
    """Return the reset gate of each cell, (B, H, W)."""
    fire = np.ones(state.shape[:3], bool)
    given = automaton.cell, automaton.params, image, state, fire, None
    large, zero = (refca.step(*given, np.full_like(state, z)) for z in (10, 0))
    return (large - zero)[..., 0] / 10


found = gates(automaton, photographs, state)
show(list(found), [f"mean {mean:.2f}" for mean in found.mean(axis=(1, 2))], cmap="viridis", vmin=0, vmax=0.5)
labels = automaton.labels(state)
for label, name in enumerate(automaton.names):
    print(f"{name:12} mean gate {found[labels == label].mean():.3f}")

# %% [markdown]
# ## Mini-unrolls
#
# The cells should be right after 40 steps, and stay right for hundreds. To unroll 40 steps in training (lesson 3) costs
# memory for all 40. The paper's trick: unroll only K = 10 steps, and *keep* most photographs and states from one
# training step to the next. So states grow old, although each gradient goes back only ten steps. Now and then a sample
# gets a new photograph, and keeps its state; or a new state, and keeps its photograph.
#
# How often? Choose the probability *p* of keeping over the T = 40 steps of a whole run, say 0.5. Such a run is
# T/K = 4 mini-unrolls.
#
# ### Exercise 4.2: the chance to keep
#
# With which probability must a sample be kept from one mini-unroll to the next, so that it is kept through all T steps
# with probability p?


# %%
def keep(p, K, T): ...  # return a probability


check("4.2", keep)

# %% [markdown]
# A simulation of 16 samples through 20 mini-unrolls, with 0.841 for both. Each row is a sample. The colour is the age
# of its state under its photograph, in steps; a cross marks a new photograph, a circle a new state. The loss
# counts a sample only once its state is older than a third of T; before that, no one can expect an answer.

# %%
rng = np.random.default_rng(0)
samples, unrolls, K, T = 16, 20, 10, 40
age = np.zeros((samples, unrolls), int)
new_photograph, new_state = rng.random((2, samples, unrolls)) > 0.841
for i in range(1, unrolls):
    age[:, i] = np.where(new_photograph[:, i] | new_state[:, i], 0, age[:, i - 1] + K)
plt.figure(figsize=(9, 4))
plt.imshow(age, cmap="YlGn", aspect="auto")
plt.colorbar(label="age in steps")
plt.plot(*np.nonzero(new_photograph.T), "x", color="tab:red", label="new photograph")
plt.plot(*np.nonzero(new_state.T), "o", color="tab:blue", fillstyle="none", label="new state")
plt.xticks(range(0, unrolls, 5))
plt.xlabel("mini-unroll, of 10 steps")
plt.ylabel("sample")
plt.legend(loc="upper center", bbox_to_anchor=(0.5, 1.15), ncols=2)
plt.show()

# %% [markdown]
# The two events teach different things. A new state teaches to find the shape from nothing. A new photograph under an
# old state teaches to *change one's mind*, as mutation did in lesson 3.
#
# ## A colony that lives on
#
# So the same cells can watch a film: photograph after photograph, without a restart.
#
# ### Exercise 4.3: the colony
#
# `photographs` is (N, H, W, 3). Show the cells one photograph after another, each for `steps` steps; only the first one
# starts from the initial state (`state=None`). Return the labels at the end of each, (N, H, W). `automaton.evolve`
# wants a batch, so give it `photograph[None]`; and tell it where it is in time, by `first_step`, so that the coins of
# the second photograph are not those of the first.


# %%
def colony(automaton, photographs, steps): ...  # return an array of labels (N, H, W)


check("4.3", colony)

# %% [markdown]
# Here is such a colony: the eight photographs follow each other, 40 steps each. Its labels are compared with those of
# cells that start anew under each photograph. The measure is the one that the paper uses, *intersection over union*
# (IoU): of all pixels that one *or* the other calls animal, the share that both do. 1 is perfect.
#
# And the same with the gate shut: the parameters of the gate are set so low that no cell ever forgets.


# %%
def film(automaton, steps=40, rounds=3):
    """Return the IoU with a fresh start after each photograph, the mean gate in the first 200 steps, and pictures."""
    state, overlaps, gate, pictures = None, [], [], []
    for i in range(rounds * len(photographs)):
        which = [i % len(photographs)]
        for t in range(i * steps, (i + 1) * steps, 4):
            state = automaton.evolve(photographs[which], 4, state, first_step=t)
            if t < 200:
                gate.append((t + 4, gates(automaton, photographs[which], state).mean()))
        overlaps.append(refca.iou(automaton.labels(state), fresh_labels[which], 3)[1])
        pictures.append(automaton.paint(photographs[which], state)[0])
    return np.array(overlaps), np.array(gate), pictures[-len(photographs) :]


fresh = automaton.evolve(photographs, 40)  # a fresh start under each photograph
fresh_labels = automaton.labels(fresh)
shut = replace(automaton, params={**automaton.params, "gate.weight": np.full_like(automaton.params["gate.weight"], -9)})
runs = {"trained": film(automaton), "gate shut": film(shut)}

figure, axes = plt.subplots(1, 2, figsize=(12, 3))
for name, (overlaps, gate, _) in runs.items():
    axes[0].plot(overlaps, marker="o", label=name)
    axes[1].plot(*gate.T, label=name)
axes[0].set(
    xlabel="photograph", ylabel="IoU of the animal", ylim=(0, 1), title="the same labels as from a fresh start?"
)
axes[1].set(xlabel="step", ylabel="mean gate", title="the gate, during the first five photographs")
for change in range(40, 200, 40):
    axes[1].axvline(change, color="gray", linestyle=":", linewidth=1)
axes[0].legend()
plt.show()

# %%
show(list(automaton.paint(photographs, fresh)), ["a fresh start"])
show(runs["trained"][2], ["colony, third round"])
show(runs["gate shut"][2], ["gate shut, third round"])

# %% [markdown]
# The trained colony (blue) finds nearly what a fresh start finds, in every round. (Where it dips, under the white dog,
# look at the pictures: it is the fresh start that has not settled after 40 steps.) The cells that cannot forget
# (orange) still show an animal that left long ago.
#
# ## The regime of the gate
#
# The paper reports something odd: in the middle of training, at a moment that no one can foretell, the mean of the gate
# jumps, and from then on the colony is stable for as long as anyone watches. Before the jump a colony that lives on
# gets worse and worse; afterwards it does not.
#
# You just did the experiment backwards: you took the gate away from a colony that had learned to use it. A gate
# of 0.2 forgets little in one step, but after ten updates only a tenth is left (0.8¹⁰ = 0.11) of anything that the
# cell does not refresh.
#
# **To try:** shut the gate only a little, by adding -0.1, -0.2, ... to `gate.weight`. Where does the colony break? And
# `refca.fit("pets-48-small", out="runs/pets", resettable=False)` trains one that never had a gate; that takes half
# an hour on two cores, and refca downloads the photographs first (800 MB).
