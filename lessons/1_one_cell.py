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
# # Lesson 1: one cell
#
# A handwritten digit is a crowd of pixels. In this lesson each pixel becomes a small machine, a *cell*, that sees its
# eight neighbours and nothing else. No cell knows where it is. All cells run the same program, and this program is
# 22,499 numbers long. Together they find out which digit they form.
#
# By the end you will have written this program yourself, for one step on a small grid, and it will give the same
# numbers as refca.
#
# You need to know: Python, arrays of NumPy, and what a matrix product is. It takes about 30 minutes.

# %%
import matplotlib.pyplot as plt
import numpy as np

import refca
from refca.lessons import check, show, solution

# %% [markdown]
# ## What it looks like
#
# Run the next cell of this notebook. Each row shows one digit, and each picture is a few steps later than the one
# before it. Black or grey: the cell has no opinion yet. A colour: the label that the cell believes in. There are ten
# colours. (The first time, refca compiles its program. This can take a minute or two; later runs take seconds.)

# %%
digits = refca.sample_digits()  # 100 digits that come with refca: images and labels
automaton = refca.load("digits")  # a trained automaton that comes with refca

image = digits.images([13, 5, 8])  # three of them: (3, 28, 28, 1), numbers from 0 (paper) to 1 (ink)

row, believes = np.zeros((1, 3, 10, 1), np.float32), np.zeros((1, 3, 10, 19), np.float32)
row[:, 1], believes[:, 1, :, 9:] = 1, np.eye(10)  # ten cells of ink; the first believes in 0, the second in 1, ...
colours = automaton.paint(row, believes)[0, 1:2]  # (1, 10, 3)
show([colours[:, [label]] for label in range(10)], list("0123456789"), columns=10, size=0.6)

# %%
times = [0, 3, 6, 10, 15, 20, 30, 60]
pictures, titles, state = [[], [], []], [], None
for earlier, now in zip([0, *times], times, strict=False):
    state = automaton.evolve(image, now - earlier, state, first_step=earlier)
    for row, picture in zip(pictures, automaton.paint(image, state), strict=True):
        row.append(picture)
    titles.append(f"step {now}")
show([picture for row in pictures for picture in row], titles)

# %% [markdown]
# At first different parts of a digit believe different things. Then one belief spreads. After a few dozen steps
# the whole digit has one colour.
#
# How can it work? Information travels one cell per step. The end of a stroke learns about the other end only because
# all cells between them pass something on. What they pass on was not designed by anyone; it was learned.

# %% [markdown]
# ## A picture is numbers, and some cells are dead
#
# Here is a corner of the 3, with its numbers. A cell is *alive* if its ink is above 0.1. The other cells are *dead*:
# they never change.

# %%
piece = image[0, 4:9, 8:13]  # (5, 5, 1)
living = piece[..., 0] > 0.1

figure, axes = plt.subplots(1, 3, figsize=(9, 3))
axes[0].imshow(image[0, ..., 0], cmap="gray_r")
axes[0].add_patch(plt.Rectangle((7.5, 3.5), 5, 5, fill=False, color="tab:orange", linewidth=2))
axes[0].set_title("a digit, and a 5x5 piece of it")
axes[1].imshow(piece[..., 0], cmap="gray_r", vmin=0, vmax=1)
for (y, x), ink in np.ndenumerate(piece[..., 0]):
    axes[1].text(x, y, f"{ink:.2f}", ha="center", va="center", color="white" if ink > 0.5 else "black")
axes[1].set_title("the ink of the piece")
axes[2].imshow(living, cmap="Greens", vmin=0, vmax=1.5)
axes[2].set_title("its live cells")
for axis in axes:
    axis.axis("off")
plt.show()

# %% [markdown]
# ## What a cell remembers
#
# Each cell has 19 numbers of its own, its *state*. They start at zero. Nine of them have no fixed meaning: cells use
# them to talk to each other. The last ten are its opinion, one number for each label. The largest one wins.
#
# Here are the 19 numbers of one live cell in the middle of the 3, during the first 60 steps. (`evolve` draws its random
# numbers itself, always the same ones for a step of the same number; `first_step` says which number comes first.)

# %%
cell_at = 13, 15
history, state = [np.zeros(19)], None
for t in range(60):
    state = automaton.evolve(image, 1, state, first_step=t)
    history.append(state[0, *cell_at])
history = np.array(history)  # (61, 19)

figure, axes = plt.subplots(1, 2, figsize=(10, 3), sharex=True)
axes[0].plot(history[:, :9], color="gray", linewidth=1)
axes[0].set_title("nine numbers to talk with")
lines = axes[1].plot(history[:, 9:], color="lightgray", linewidth=1)
best = history[-1, 9:].argmax()
lines[best].set(color="tab:red", linewidth=2, zorder=3)
axes[1].set_title(f"ten numbers for the labels; red is label {best}")
for axis in axes:
    axis.set_xlabel("step")
plt.show()

# %% [markdown]
# Do you see the flat parts? In each step a cell flips a coin. Heads: it *fires* and may change. Tails: it waits. So the
# cells do not march in lockstep; neither do the cells of a body.
#
# ## What a cell sees
#
# A cell reads its own numbers and those of its eight neighbours: the ink and the 19 numbers of the state, so
# 9 · 20 = 180 numbers. Outside the picture everything is zero. What it does with them is a small neural network
# of three layers. *relu* replaces negative numbers by zero; a *bias* is a number that is added:

# %%
figure, axis = plt.subplots(figsize=(9, 2.2))
boxes = [("180\nnumbers seen\n(3x3 cells, 20 each)", 0), ("80\nhidden", 1), ("80\nhidden", 2), ("19\nchanges", 3)]
for words, x in boxes:
    axis.text(x, 0, words, ha="center", va="center", bbox={"boxstyle": "round,pad=0.5", "facecolor": "whitesmoke"})
for x, words in enumerate(["matrix + bias,\nrelu", "matrix + bias,\nrelu", "matrix + bias"]):
    axis.annotate("", (x + 0.76, 0), (x + 0.38, 0), arrowprops={"arrowstyle": "->"})
    axis.text(x + 0.57, 0.35, words, ha="center", fontsize=8)
axis.set(xlim=(-0.5, 3.4), ylim=(-0.6, 0.8))
axis.axis("off")
plt.show()

# %% [markdown]
# In formulas, with *s* for the 180 numbers seen and relu(x) = max(x, 0):
#
# ```text
# h₁ = relu(s W₁ + b₁)     h₂ = relu(h₁ W₂ + b₂)     u = h₂ W₃ + b₃
# ```
#
# The matrices *W* and the vectors *b* (the *biases*: one number for each output of a layer) are the parameters. They
# are the same for all cells. They have names in refca
# (`hidden.0` is the first, and here the only, layer between the first and the last):

# %%
for name, values in automaton.params.items():
    print(f"{name:18} {values.shape}")

# %% [markdown]
# The shape (3, 3, 20, 80) is the matrix of 180 rows and 80 columns: its rows are ordered by row and column of the
# neighbour, then by channel, with the ink first.
#
# ### Exercise 1.1: where do 22,499 numbers come from?
#
# Write the number of parameters of a cell with `state_channels` numbers of state (above: 19) and `hidden_width` hidden
# numbers in both hidden layers (above: 80). The ink is one more channel that is seen.


# %%
def count(state_channels, hidden_width): ...  # your formula; return it


check("1.1", count)

# %% [markdown]
# Stuck? `solution("1.1")` prints an answer, and the same holds for every exercise. Try first.
#
# ## One cell, by hand
#
# Now compute for one cell what it does. We take a state that is not zero: the one after ten steps.

# %%
state = automaton.evolve(image, 10)
x = np.concatenate([image[0], state[0]], axis=-1)  # (28, 28, 20): ink first, then the state
row, column = cell_at
seen = x[row - 1 : row + 2, column - 1 : column + 2].reshape(-1)  # (180,)

params = automaton.params
hidden = np.maximum(seen @ params["perceive.weight"].reshape(180, 80) + params["perceive.bias"], 0)
hidden = np.maximum(hidden @ params["hidden.0.weight"] + params["hidden.0.bias"], 0)
update = hidden @ params["update.weight"] + params["update.bias"]
print("opinion before:", np.round(state[0, row, column, 9:], 2))
print("its change:    ", np.round(update[9:], 2))

# %% [markdown]
# That worked because this cell is not at the border. Your turn to make it work everywhere.
#
# ### Exercise 1.2: what a cell sees
#
# `x` is (rows, columns, channels). Return the numbers of the 3x3 cells around (row, column), row by row, as one long
# vector. Cells outside the grid count as zeros. A loop is fine; so is `np.pad`.


# %%
def neighbours(x, row, column): ...  # return a vector of 9 * channels numbers


check("1.2", neighbours)

# %% [markdown]
# ## One step, by hand
#
# Three things are missing from a whole step:
#
# - **noise**: to each change a little random number is added, 0.02 times a normal random number. Why? Because it makes
#   cells robust: in training they learn not to depend on the last decimal place.
# - **fire**: only cells whose coin shows heads change.
# - **alive**: only cells whose ink is above 0.1 change.
#
# Everything else keeps its state, bit for bit. The coins and the noise are *arguments* of the step, not drawn inside
# it. So a step is a plain function: the same arguments always give the same result. That is what makes it possible to
# compare your step with any other.

# %%
rng = np.random.default_rng(0)
grid = np.s_[4:9, 8:13]  # the 5x5 piece from above
small_image, small_state = image[0][grid], state[0][grid]
fire, noise = rng.random((5, 5)) < 0.5, rng.standard_normal((5, 5, 19))

show(
    [small_image, fire, small_image[..., 0] > 0.1, fire & (small_image[..., 0] > 0.1)],
    ["ink", "fires", "is alive", "will change"],
    size=1.8,
    vmin=0,
    vmax=1,
)

# %% [markdown]
# ### Exercise 1.3: one step
#
# Write one step for a grid of any size: image (H, W, 1), state (H, W, 19), fire (H, W) with true and false, noise
# (H, W, 19). Return the new state (H, W, 19). A double loop over the cells is fine. One trap: all cells move at the
# same time, so all of them must read the *old* state.


# %%
def step(params, image, state, fire, noise): ...  # return the new state


check("1.3", step)

# %% [markdown]
# refca's own step does this for a batch of digits at once. Here it is on the 5x5 piece; the pictures show the opinion
# for label 3 before and after, and the difference: red is more, blue is less. Only the cells that "will change" above
# did, some of them by very little. Outside of the piece everything is zero now, so the cells at its edge see
# something else than before.

# %%
cell = automaton.cell
batch = [a[None] for a in (small_image, small_state, fire, noise)]  # one sample: a first axis of length 1
after = refca.step(cell, params, *batch, None)[0]  # None: this cell has no reset gate (lesson 4)
three = 9 + 3
change = after[..., three] - small_state[..., three]
show(
    [small_state[..., three], after[..., three], change],
    ["before", "after", "change"],
    size=2,
    cmap="RdBu_r",
    vmin=-1,
    vmax=1,
)

# %% [markdown]
# ## What you have now
#
# A cell is 22,499 numbers; a step is what you wrote; a digit is this step, repeated. The step in refca is hardly
# longer than yours: print it with `import inspect; print(inspect.getsource(refca.step))`.
#
# Two questions to take along:
#
# 1. In an untrained cell the last layer is zero. What does an untrained cell do? (In the formulas u = 0. Does it
#    stand still? Remember the noise.)
# 2. How far can a cell look in 20 steps? In a digit of 28x28, is that enough?
#
# Lesson 2 watches information travel.
