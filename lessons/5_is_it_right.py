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
# # Lesson 5: is it right?
#
# You wrote a step in lesson 1, and a check said "right!". How can anyone know? In this lesson you meet ten
# implementations of the step. Each has one mistake, and all ten are mistakes that people make. Find out what is wrong
# with each, then let *laws* find it: tests that state what must be true of any correct step, and try it on random
# cases. In the end your own step, in PyTorch if you have it, stands before the same laws.
#
# You need lesson 1. It takes about 40 minutes.

# %%
from types import SimpleNamespace

import numpy as np
from refca_spec.broken import broken, sentence_of

import refca
from refca.lessons import check, show, solution, suspect

cell = refca.digits_cell()
LETTERS = "ABCDEFGHIJ"

# %% [markdown]
# ## Accuracy does not show it
#
# Does a wrong step not simply give wrong labels? Take suspect H, whose mistake is one of the ten, and the trained
# weights. Let the right step and the suspect look at the same 100 digits.

# %%
digits, trained = refca.sample_digits(), refca.load("digits", "reference")
image, labels = digits.images(slice(None)), digits.labels
for name, backend in ("right", trained.backend), ("suspect H", suspect("H")):
    state = backend.evolve(cell, trained.params, image, refca.init_state(cell, image), refca.Streams(0), 40)
    accuracy = refca.cell_accuracy(trained.readout(state), labels, refca.alive(cell, image))
    print(f"{name:10} accuracy {accuracy:.4f}")

# %% [markdown]
# Not a bit of difference, although suspect H *is* wrong (one of the ten, for free). Digits of MNIST have an empty
# margin, and its mistake shows only at the border. A test by accuracy never sees it, until one day someone draws on
# the border.
#
# ## Ten suspects
#
# So look at the numbers, not at the accuracy. We let each suspect make *one* step, from random parameters, states,
# coins and noise, and compare with the right step. Everything is on two small grids at once (a batch of two samples),
# drawn side by side.


# %%
def problem(seed=0, H=9, W=9):
    """Return random params, image, state and draws of one step, for two samples."""
    rng = np.random.default_rng(seed)
    params = refca.init_params(cell, seed)
    params["update.weight"] = rng.normal(0, 0.1, params["update.weight"].shape).astype(np.float32)
    image = rng.uniform(0.2, 1, (2, H, W, 1)).astype(np.float32)
    image[:, 5:8, 1:4] = 0  # a hole of dead cells
    image[:, 2, 5:8] = np.float32(0.1)  # three cells with ink of exactly 0.1
    state = rng.normal(0, 1, (2, H, W, 19)).astype(np.float32)
    fire, noise = rng.random((1, 2, H, W)) < 0.5, rng.normal(0, 1, (1, 2, H, W, 19)).astype(np.float32)
    return params, image, state, fire, noise


def one_step(backend, params, image, state, fire, noise):
    return backend.evolve(cell, params, image, state, refca.Recorded(fire=fire, noise=noise), 1)


def beside(values):
    """Return the largest magnitude over the channels, the two samples side by side with a gap, for a picture."""
    size = np.abs(values).max(axis=-1)  # (2, H, W)
    return np.log10(np.concatenate([size[0], np.full((len(size[0]), 1), np.nan), size[1]], axis=1) + 1e-7)


params, picture, state, fire, noise = problem()
right = refca.get_backend("reference")
show(
    [np.concatenate([x[0], np.full((9, 1), np.nan), x[1]], axis=1) for x in (picture[..., 0], fire[0] * 1.0)],
    ["ink of the two samples", "who fires"],
    size=3,
)

# %% [markdown]
# The hole at the lower left of each sample is dead, and so are the three cells with ink of exactly 0.1: alive means
# *above* 0.1. Now four experiments with each suspect. Bright: a difference. Black: none.
#
# 1. **as it is**: the difference from the right step
# 2. **no weights**: the same with all parameters zero, so that noise is all that moves a cell
# 3. **all fire, no noise**: the difference from the right step, with all coins showing heads and zero noise
# 4. **a poke**: the suspect is compared with *itself*: all cells fire, and in the second run one cell of the first
# sample (in the middle) has another state. Where does the poke arrive in one step?

# %%
everyone, silent = np.ones_like(fire), np.zeros_like(noise)
nothing = {name: np.zeros_like(x) for name, x in params.items()}
poked = state.copy()
poked[0, 4, 4] += 1


def experiments(backend):
    """Return the four pictures of a suspect."""
    pairs = [
        ((params, picture, state, fire, noise), right),
        ((nothing, picture, state, fire, noise), right),
        ((params, picture, state, everyone, silent), right),
    ]
    rows = [one_step(backend, *given) - one_step(other, *given) for given, other in pairs]
    before, after = (one_step(backend, params, picture, x, everyone, noise) for x in (state, poked))
    return [beside(row) for row in [*rows, after - before]]


columns = [experiments(suspect(letter)) for letter in LETTERS]
for row, name in enumerate(["1 as it is", "2 no weights", "3 all fire, no noise", "4 a poke"]):
    print(name)
    pictures = [column[row] for column in columns]
    show(pictures, list(LETTERS), columns=10, size=1.3, cmap="magma", vmin=-4, vmax=1)

# %% [markdown]
# For comparison, the poke of the right step:

# %%
show([experiments(right)[3]], ["4 a poke, right"], size=2.2, cmap="magma", vmin=-4, vmax=1)

# %% [markdown]
# ### Exercise 5.1: who did what?
#
# The ten mistakes, in alphabetical order:
#
# | name | what it does |
# |---|---|
# | fire masks ignored | every live cell changes in every step |
# | flipped kernel | the neighbours are read in the opposite order: the one below for the one above |
# | live set dilated | a cell is alive if it *or a neighbour* has ink above 0.1 |
# | one fire mask for the batch | all samples use the coins of the first |
# | samples leak | a hundredth of the other sample's state is mixed in |
# | sigma squared | noise is multiplied by 0.02 twice |
# | threshold reached | a cell is alive if its ink is 0.1 *or* above |
# | two steps for one | a step runs twice |
# | updates doubled | each change is added twice |
# | wrap-around border | the neighbour of the first column is the last column |
#
# Start with those whose picture 1 is special: only the border, only the second sample, only three cells ... Those that
# differ in all live cells need the other rows.

# %%
names = {"A": "", "B": "", "C": "", "D": "", "E": "", "F": "", "G": "", "H": "", "I": "", "J": ""}

check("5.1", names)

# %% [markdown]
# ## Laws
#
# You needed a right step to compare with. Often there is none: you write the first one, or the other one may be just as
# wrong. But you know things that must be true of *any* right step. For example: a cell that does not fire keeps its
# state. That needs no second implementation. It is a *property*, and a test that tries a property on many random
# cases is called property-based.
#
# refca's specification has 19 numbered constraints for the step, from (C1) to (C19). Each has a law that tests it. Some
# are about things that this cell does not have, such as gates (C16 to C18). Here are the first ten:

# %%
for number in range(1, 11):
    print(f"(C{number})", sentence_of(f"step C{number}"))

# %% [markdown]
# What does a law look like? In essence (C5) is no more than this:


# %%
def law_c5(backend):
    """Raise AssertionError unless cells at rest keep every bit, in 20 random cases."""
    for seed in range(20):
        params, image, state, fire, noise = problem(seed)
        after = one_step(backend, params, image, state, fire, noise)
        rests = ~(fire[0] & (image[..., 0] > np.float32(0.1)))
        assert (after[rests] == state[rests]).all(), "a cell at rest changed"


for letter in LETTERS:
    try:
        law_c5(suspect(letter))
        print(letter, "keeps (C5)")
    except AssertionError:
        print(letter, "breaks (C5)")

# %% [markdown]
# It catches more than one suspect, and none of the others. No law catches everything, and a law says *where to look*,
# which a plain comparison does not. (C1), "the result equals the formula", is such a plain comparison: any mistake
# breaks it, so it explains nothing.
#
# refca's own laws work like this one, but their random cases are chosen more cleverly: small grids, ink at the
# threshold itself, batches of one and of three; and when a case fails they look for a smaller one that fails too.
# `broken(backend, constraints=[5])` runs them.

# %%
print(broken(suspect("F"), constraints=[5]))

# %% [markdown]
# ### Exercise 5.2: which law catches whom, and why?
#
# Give for each suspect the number of a constraint that it breaks, as telling as possible. For nine of the ten there
# is one besides (C1). Guess first, from the sentences above, and write a word on *why* beside it; then let the laws
# decide.

# %%
constraints = dict.fromkeys(LETTERS)  # write {"A": 1, "B": 2, ...}

check("5.2", constraints)

# %% [markdown]
# One suspect breaks (C1) alone. What law could catch it, without a right step to compare with? (An idea: what happens
# to the change of a cell if the last layer is set to zero except for its bias?)
#
# ## Your own step before the laws
#
# ### Exercise 5.3: a step in PyTorch
#
# Write the step once more, fast this time, with whole arrays instead of loops: in PyTorch if you have it (`conv2d` does
# the first layer; its kernels are (out, in, 3, 3), ours are (3, 3, in, out); and its images are (B, channels, H, W),
# ours are (B, H, W, channels)). Or in NumPy, or JAX: what comes in are NumPy arrays, and what goes out must be one
# too.
#
# - `environment` is the image (B, H, W, 1), `fire` (B, H, W) true and false, `noise` (B, H, W, 19).
# - `cell.noise` may be 0; then `noise` is None. `cell.alive_above` may be None: then all cells are alive.
# - `reset_noise` is None. The result has the dtype of `state`, float32.
#
# The check runs all laws of the step, and tells which constraint is broken.


# %%
def my_step(cell, params, environment, state, fire, noise, reset_noise): ...  # return the new state (B, H, W, 19)


check("5.3", my_step)

# %% [markdown]
# A first look, before the laws, is `refca.compare`: it says where a step differs from refca's. Here with a wrong step:


# %%
def impatient(cell, params, environment, state, fire, noise, reset_noise):
    """Return the state after a step in which all live cells fire."""
    return refca.step(cell, params, environment, state, np.ones_like(fire), noise, reset_noise)


def evolve(cell, params, image, state, randomness, steps):
    for t in range(steps):
        state = impatient(cell, params, image, state, *randomness.at(cell, t, *image.shape[:3]))
    return state


print(refca.compare(evolve, cell))
print(broken(SimpleNamespace(step=impatient, cells=(cell,)), constraints=[2, 5, 6]))

# %% [markdown]
# ## Who tests the tests?
#
# If the laws accept your step, is it right? They could be blind. That is what suspects are for: refca keeps more than a
# hundred wrong implementations, and its own tests demand that each is caught by a law that is named beforehand. When
# someone finds a mistake that no law catches, there are two things to add: the mistake to the collection, and a law.
#
# What holds for this small program holds for any numerical program: write down what must be true of every right answer,
# try it on random cases, and try your tests on wrong programs.
#
# **To try:** save your step in a file `mine.py` as `def step(...)` and run all laws on it, with a report:
# `pytest --pyargs refca_spec --refca-backend mine`. `spec/check_your_own.md` explains everything else.
