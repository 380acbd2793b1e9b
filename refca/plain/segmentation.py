"""Image segmentation by cells in one file: "Image segmentation via Cellular Automata" (Sandler et al., 2020,
arXiv 2008.04965) in plain NumPy and autograd, in the order of the paper.

    REFCA_DATA=DIR python -m refca.plain.segmentation

trains the smallest 3x3 cell of the paper's Table 1 on the photographs of cats and dogs in DIR, the Oxford-IIIT Pets.
After some ten minutes it prints the IoU of each class on test photographs: after 40 steps, and after 40 more in which
the cells perceive other photographs. So short a training finds objects, IoU about 0.3, and no boundaries.

The file is written to be read from top to bottom. It has no options and is not fast: `refca.train` and
`refca.evaluate` have options and are fast. A test demands the same numbers of them, up to float32 rounding.

Letters: B photographs, a grid of H×W cells, C channels, of them D of the state, P hidden units, L classes, K steps in
a mini-unroll, T steps in which the cells have to find the classes.
"""

import autograd.numpy as np
from autograd import make_vjp, value_and_grad
from autograd.extend import defvjp, primitive
from numpy.random import default_rng

from refca.data import CLASSES, load

D, P, L = 32, 48, len(CLASSES)  # background, object, boundary
K, T, KEEP = 10, 40, 0.5  # KEEP is the probability of keeping a photograph, or a state, over T steps
BATCH, STEPS, LEARNING_RATE, SEED = 4, 300, 1e-3, 0  # the paper: 32, a million, 3e-4

# ------------------------------ 3 Detailed cellular automaton design ------------------------------


@primitive
def neighbourhood(x):
    """Return the 3x3 cells around each cell, row by row, (B, H, W, 9, C). Outside the grid everything is zero."""
    _, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # (B, H+2, W+2, C)
    return np.stack([x[:, i : i + H, j : j + W] for i in range(3) for j in range(3)], -2)


def step(params, image, state, fire_mask, reset_noise):
    """Return the state after one step of all cells, (B, H, W, D).

    image (B, H, W, 3) is colour from -1 to 1, which cells perceive and never change; fire_mask (B, H, W) is true for
    about half of the cells; reset_noise (B, H, W, D), to which cells can reset themselves, is standard normal.
    """
    B, H, W, _ = image.shape
    # neighbourhood: image and state of 3x3 cells
    patches = neighbourhood(np.concatenate([image, state], -1))  # (B, H, W, 9, 3+D)
    patches = np.reshape(patches, (B, H * W, 9 * (3 + D)))  # (B, H·W, 9·(3+D)), a row for each cell
    # hidden layers: a 3x3 convolution and two 1x1 convolutions
    weight = np.reshape(params["perceive.weight"], (-1, P))  # (9·(3+D), P)
    hidden = relu(normalise(patches @ weight))  # (B, H·W, P)
    hidden = relu(normalise(hidden @ params["hidden.0.weight"]))
    hidden = relu(normalise(hidden @ params["hidden.1.weight"]))
    # propose: an update of each state channel
    update = np.reshape(hidden @ params["update.weight"], (B, H, W, D))
    # gate: each cell mixes its new state with noise (section 3.3)
    gate = np.reshape(sigmoid(hidden @ params["gate.weight"]), (B, H, W, 1))
    candidate = gate * reset_noise + (1 - gate) * (state + update)  # (B, H, W, D)
    # fire: cells that fire take the new state, the others stay as they are
    return fire_mask[..., None] * candidate + ~fire_mask[..., None] * state


def normalise(x):
    """Return x (B, H·W, P) with mean 0 and variance 1 over the cells of each photograph (section 3.5)."""
    x = x - np.mean(x, 1, keepdims=True)
    return x / np.sqrt(np.mean(x**2, 1, keepdims=True) + 1e-5)


def relu(x):
    """Return max(x, 0)."""
    return x * (x > 0)


def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    return (np.tanh(x / 2) + 1) / 2


def init_params():
    """Return Glorot uniform weights, but zeros for update and gate: untrained cells do nothing but mix in noise."""
    rng = generator(WEIGHTS)
    params = {
        "perceive.weight": rng.uniform(-1, 1, (3, 3, 3 + D, P)) * (6 / (9 * (3 + D + P))) ** 0.5,
        "hidden.0.weight": rng.uniform(-1, 1, (P, P)) * (6 / (P + P)) ** 0.5,
        "hidden.1.weight": rng.uniform(-1, 1, (P, P)) * (6 / (P + P)) ** 0.5,
        "update.weight": np.zeros((P, D)),
        "gate.weight": np.zeros((P, 1)),
        "readout.weight": rng.uniform(-1, 1, (D, L)) * (6 / (D + L)) ** 0.5,
    }
    return {name: x.astype(np.float32) for name, x in params.items()}


# ------------------------------ Random numbers ----------------------------------------------------
# Each is a function of the seed, the training step, the photograph, the cell, the channel and the step. So other
# programs, which compute in another order, draw the same.

FIRE, RESET, INITIAL, FOLD = 0, 2, 3, 4  # purposes of Philox
WEIGHTS, RESAMPLE = 0, 3  # purposes of generators


def generator(purpose, i=0):
    """Return the generator of training step i. The seed and i are two words each."""
    return default_rng((purpose, SEED, 0, i, 0))


def philox(counter, key):
    """Return four random 32-bit words for four counter words: Philox4x32-10 (Salmon et al. 2011)."""
    c0, c1, c2, c3 = (np.uint64(word) for word in counter)
    k0, k1 = key
    for _ in range(10):
        a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57  # 64 bits
        c0, c1, c2, c3 = (b >> 32) ^ c1 ^ k0, b % 2**32, (a >> 32) ^ c3 ^ k1, a % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return c0, c1, c2, c3


def draw(key, t, sample, H, W):
    """Return fire_mask (B, H, W) and reset_noise (B, H, W, D) of step t; sample (B,) are numbers of samples."""
    cell, sample = np.arange(H * W).reshape(1, H, W), sample.reshape(-1, 1, 1)
    word, _, _, _ = philox((cell, sample, t, FIRE << 16), key)  # (B, H, W)
    return word < 2**31, normal(key, RESET, t, sample, H, W)


def normal(key, purpose, t, sample, H, W):
    """Return standard normal numbers, (B, H, W, D). Four words make four channels, by Box and Muller."""
    cell, sample = np.arange(H * W).reshape(1, H, W, 1), sample.reshape(-1, 1, 1, 1)
    block = (purpose << 16) + np.arange(D // 4)
    u0, u1, u2, u3 = (((w >> 8) + 0.5) / 2**24 for w in philox((cell, sample, t, block), key))
    r0, r1 = np.sqrt(-2 * np.log(u0)), np.sqrt(-2 * np.log(u2))  # (B, H, W, D/4)
    a0, a1 = 2 * np.pi * u1, 2 * np.pi * u3
    z = np.stack([r0 * np.cos(a0), r0 * np.sin(a0), r1 * np.cos(a1), r1 * np.sin(a1)], -1)  # (B, H, W, D/4, 4)
    return z.reshape(-1, H, W, D).astype(np.float32)


# ------------------------------ 3.1 Objective and training ----------------------------------------


def unroll(params, image, state, key):
    """Return the states after each step of a mini-unroll, (K, B, H, W, D)."""
    (B, H, W, _), states = image.shape, []
    for t in range(K):
        state = step(params, image, state, *draw(key, t, np.arange(B), H, W))
        states.append(state)
    return np.stack(states)


def cross_entropy(weight, states, target, counted):
    """Return the mean cross-entropy over the pixels of the states that count; counted is (K, B)."""
    logits = states @ weight  # (K, B, H, W, L)
    logits = logits - np.max(logits, -1, keepdims=True)
    log_softmax = logits - np.log(np.sum(np.exp(logits), -1, keepdims=True))
    loss = -np.sum(log_softmax * np.eye(L, dtype=np.float32)[target], -1)  # (K, B, H, W)
    return np.mean(np.mean(loss, (2, 3))[counted])


def neighbourhood_vjp(ans, x):
    """Return the vector-Jacobian product of `neighbourhood`. Autograd would derive it from the slices, but slowly."""

    def backward(grad):  # (B, H, W, 9, C)
        B, H, W, _, C = grad.shape
        total = np.zeros((B, H + 2, W + 2, C), grad.dtype)
        for i in range(3):
            for j in range(3):
                total[:, i : i + H, j : j + W] += grad[..., 3 * i + j, :]
        return total[:, 1:-1, 1:-1]

    return backward


defvjp(neighbourhood, neighbourhood_vjp)


def adam(params, grads, m, v, i, rate):
    """Update parameters and moments in place; i counts updates."""
    rate = rate * (1 - 0.999 ** (i + 1)) ** 0.5 / (1 - 0.9 ** (i + 1))  # moments start at zero
    for name, grad in grads.items():
        m[name] = 0.9 * m.get(name, 0) + 0.1 * grad
        v[name] = 0.999 * v.get(name, 0) + 0.001 * grad**2
        params[name] = params[name] - rate * m[name] / (v[name] ** 0.5 + 1e-7)


# ------------------------------ 3.2 Mini-unrolls --------------------------------------------------


def resample(photo, state, age, count, key, i):
    """Return the batch of training step i, in which some photographs and, independently, some states are new.

    photo (B,) are indices of `count` photographs; age (B,) are the steps since photograph or state were last new.
    """
    rng, (B, H, W, _) = generator(RESAMPLE, i), state.shape
    new_photo, new_state = (rng.random((2, B)) >= KEEP ** (K / T)) | (i == 0)  # (B,)
    photo = np.where(new_photo, rng.integers(0, count, B), photo)
    initial = normal(key, INITIAL, 0, np.arange(B), H, W)
    state = np.where(new_state[:, None, None, None], initial, state)
    return photo, state, np.where(new_photo | new_state, 0, age)


def train(photographs, steps):
    """Return the parameters after these training steps, and the loss of each, NaN if no state counts in it."""
    params, m, v, updates, losses = init_params(), {}, {}, 0, []
    photo, age = np.zeros((2, BATCH), int)
    state = np.zeros((*photographs.labels(photo).shape, D), np.float32)
    for i in range(steps):
        key = philox((i, 0, 0, FOLD << 16), (SEED, 0))[:2]
        photo, state, age = resample(photo, state, age, len(photographs), key, i)
        image, target = photographs.images(photo), photographs.labels(photo)
        counted = age + np.arange(1, K + 1)[:, None] > T / 3  # (K, B), as in section 3.1
        backward, states = make_vjp(unroll)(params, image, state, key)
        losses.append(np.nan)
        if counted.any():
            gradient = value_and_grad(cross_entropy, (0, 1))
            losses[i], (weight_grad, states_grad) = gradient(params["readout.weight"], states, target, counted)
            grads = backward(states_grad) | {"readout.weight": weight_grad}
            adam(params, grads, m, v, updates, LEARNING_RATE)
            updates += 1
        state, age = states[-1], age + K
        if i % 10 == 9:
            print(f"training step {i + 1}: loss {np.nanmean(losses[-10:]):.3f}", flush=True)
    return params, losses


# ------------------------------ 5 Experiments -----------------------------------------------------


def evaluate(params, photographs, count, steps, every=40):
    """Return the IoU of each class after each step, (steps, L), accumulated over `count` photographs.

    Other photographs replace them after each `every` steps, and the cells go on from their states (section 5.2).
    """
    intersection, union = np.zeros((2, steps, L), int)
    for first in range(0, count, 32):
        sample = np.arange(first, min(first + 32, count))
        _, H, W = photographs.labels(sample).shape
        state = normal((SEED, 0), INITIAL, 0, sample, H, W)
        for t in range(steps):
            photo = (sample + 1009 * (t // every)) % len(photographs)
            state = step(params, photographs.images(photo), state, *draw((SEED, 0), t, sample, H, W))
            predicted = np.argmax(state @ params["readout.weight"], -1)  # (B, H, W)
            p, q = (x[..., None] == np.arange(L) for x in (predicted, photographs.labels(photo)))
            intersection[t] += np.sum(p & q, (0, 1, 2))
            union[t] += np.sum(p | q, (0, 1, 2))
    return intersection / union


def main():
    """Train, evaluate and print."""
    try:
        dataset = load("pets")
    except ValueError as missing:
        raise SystemExit(f"segmentation: {missing}") from None
    params, _ = train(dataset.train, STEPS)
    curves = evaluate(params, dataset.test, 64, 80)
    for when, ious in ("40 steps", curves[39]), ("40 more on other photographs", curves[79]):
        named = ", ".join(f"{name} {iou:.2f}" for name, iou in zip(CLASSES, ious, strict=True))
        print(f"IoU after {when}: {named}")


if __name__ == "__main__":
    main()
