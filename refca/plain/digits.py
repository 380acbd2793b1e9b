"""Self-classifying digits in one file: "Self-classifying MNIST Digits" (Randazzo et al., Distill 2020,
doi 10.23915/distill.00027.002) in plain NumPy and autograd, in the order of the article.

    python -m refca.plain.digits

trains the article's last model, L2 + noise, on the 8x8 digits that come with scikit-learn. After a few minutes it
prints the article's two measures on test digits: average cell accuracy, about 80 %, and total agreement, about 50 %.

The file is written to be read from top to bottom. It has no options and is not fast: `refca.train` and
`refca.evaluate` have options and are fast. A test demands the same numbers of them, up to float32 rounding.

Letters: B digits, a grid of H×W cells, C channels, of them D of the state, P hidden units, L labels.
"""

import autograd.numpy as np
from autograd import make_vjp, value_and_grad
from autograd.extend import defvjp, primitive
from numpy.random import default_rng

from refca.data import load

D, P, L = 19, 80, 10  # nine state channels are for communication, the last ten for the labels
SIGMA = 0.02  # standard deviation of the noise on updates
BATCH, POOL, UNROLL = 16, 160, 20  # digits in a batch, digits in the pool, steps before the loss
STEPS, LEARNING_RATE, SEED = 1500, 1e-3, 0  # the article trains for 100,000 steps, on MNIST

# ------------------------------ Model -------------------------------------------------------------


@primitive
def neighbourhood(x):
    """Return the 3x3 cells around each cell, row by row, (B, H, W, 9, C). Outside the grid everything is zero."""
    _, H, W, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # (B, H+2, W+2, C)
    return np.stack([x[:, i : i + H, j : j + W] for i in range(3) for j in range(3)], -2)


def step(params, image, state, fire_mask, noise):
    """Return the state after one step of all cells, (B, H, W, D).

    image (B, H, W, 1) is ink from 0 to 1, which cells perceive and never change; fire_mask (B, H, W) is true for
    about half of the cells; noise (B, H, W, D) is standard normal.
    """
    # neighbourhood: image and state of 3x3 cells
    patches = neighbourhood(np.concatenate([image, state], -1))  # (B, H, W, 9, 1+D)
    patches = np.reshape(patches, (-1, 9 * (1 + D)))  # (B·H·W, 9·(1+D)), a row for each cell
    # hidden layers: a 3x3 convolution and a 1x1 convolution
    weight = np.reshape(params["perceive.weight"], (-1, P))  # (9·(1+D), P)
    hidden = relu(patches @ weight + params["perceive.bias"])  # (B·H·W, P)
    hidden = relu(hidden @ params["hidden.0.weight"] + params["hidden.0.bias"])
    # propose: an update of each state channel, and noise
    update = hidden @ params["update.weight"] + params["update.bias"]  # (B·H·W, D)
    update = np.reshape(update, state.shape) + SIGMA * noise  # (B, H, W, D)
    # fire: cells that fire and are alive add their update, the others add 0
    return state + update * (fire_mask & alive(image))[..., None]


def alive(image):
    """Return which cells are alive, (B, H, W). The image decides this, and the state does not."""
    return image[..., 0] > 0.1


def relu(x):
    """Return max(x, 0)."""
    return x * (x > 0)


def init_params():
    """Return Glorot uniform weights and zero biases. The update layer is zero: untrained cells do nothing."""
    rng = generator(WEIGHTS)
    params = {
        "perceive.weight": rng.uniform(-1, 1, (3, 3, 1 + D, P)) * (6 / (9 * (1 + D + P))) ** 0.5,
        "perceive.bias": np.zeros(P),
        "hidden.0.weight": rng.uniform(-1, 1, (P, P)) * (6 / (P + P)) ** 0.5,
        "hidden.0.bias": np.zeros(P),
        "update.weight": np.zeros((P, D)),
        "update.bias": np.zeros(D),
    }
    return {name: x.astype(np.float32) for name, x in params.items()}


# ------------------------------ Random numbers ----------------------------------------------------
# Each is a function of the seed, the training step, the digit, the cell, the channel and the step. So other
# programs, which compute in another order, draw the same.

FIRE, NOISE, FOLD = 0, 1, 4  # purposes of Philox
WEIGHTS, FIRST_POOL, SAMPLE = 0, 1, 2  # purposes of generators


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


def draw(key, t, B, H, W):
    """Return fire_mask (B, H, W) and noise (B, H, W, D) of step t."""
    cell, digit = np.arange(H * W).reshape(1, H, W, 1), np.arange(B).reshape(B, 1, 1, 1)
    word, _, _, _ = philox((cell, digit, t, FIRE << 16), key)
    fire_mask = word[..., 0] < 2**31  # (B, H, W)
    block = (NOISE << 16) + np.arange(5)  # four words make four channels, by Box and Muller
    u0, u1, u2, u3 = (((w >> 8) + 0.5) / 2**24 for w in philox((cell, digit, t, block), key))
    r0, r1 = np.sqrt(-2 * np.log(u0)), np.sqrt(-2 * np.log(u2))  # (B, H, W, 5)
    a0, a1 = 2 * np.pi * u1, 2 * np.pi * u3
    noise = np.stack([r0 * np.cos(a0), r0 * np.sin(a0), r1 * np.cos(a1), r1 * np.sin(a1)], -1)  # (B, H, W, 5, 4)
    return fire_mask, noise.reshape(B, H, W, 20)[..., :D].astype(np.float32)


# ------------------------------ Experiment 1: self-classify, persist and mutate -------------------


def mutate(state, image):
    """Return states for new digits, (B, H, W, D): kept where the new digit is alive, zero elsewhere."""
    return np.where(alive(image)[..., None], state, 0)


def init_pool(digits):
    """Return random digits and their initial states: image (N, H, W, 1), label (N,), state (N, H, W, D)."""
    chosen = generator(FIRST_POOL).integers(0, len(digits), POOL)
    image = digits.images(chosen)
    return image, digits.labels[chosen], np.zeros((*image.shape[:3], D), np.float32)


def sample(pool, digits, i):
    """Return slots of the pool and their batch, of which a quarter starts anew and a quarter mutates."""
    rng = generator(SAMPLE, i)
    slots, new = rng.permutation(POOL)[:BATCH], rng.integers(0, len(digits), BATCH)
    image, label, state = (x[slots] for x in pool)
    fresh, mutated = slice(0, BATCH // 4), slice(BATCH - BATCH // 4, BATCH)
    for part in fresh, mutated:
        image[part], label[part] = digits.images(new[part]), digits.labels[new[part]]
    state[fresh] = 0
    state[mutated] = mutate(state[mutated], image[mutated])
    return slots, image, label, state


def unroll(params, image, state, key):
    """Return the state after the steps of one batch."""
    for t in range(UNROLL):
        state = step(params, image, state, *draw(key, t, *image.shape[:3]))
    return state


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
    """Update parameters and moments in place. The gradient of each tensor is divided by its norm before."""
    rate = rate * (1 - 0.999 ** (i + 1)) ** 0.5 / (1 - 0.9 ** (i + 1))  # moments start at zero
    for name, grad in grads.items():
        grad = grad / (np.sum(grad**2) ** 0.5 + 1e-8)
        m[name] = 0.9 * m.get(name, 0) + 0.1 * grad
        v[name] = 0.999 * v.get(name, 0) + 0.001 * grad**2
        params[name] = params[name] - rate * m[name] / (v[name] ** 0.5 + 1e-7)


def train(digits, steps):
    """Return the parameters after these training steps, and the loss of each."""
    params, m, v, pool, losses = init_params(), {}, {}, init_pool(digits), []
    for i in range(steps):
        slots, image, label, state = sample(pool, digits, i)
        key = philox((i, 0, 0, FOLD << 16), (SEED, 0))[:2]
        backward, state = make_vjp(unroll)(params, image, state, key)
        loss, state_grad = value_and_grad(l2)(state, image, label)
        rate = LEARNING_RATE / 10 ** ((i >= 0.7 * steps) + (i >= 0.9 * steps))  # the article's long run: 0.3 and 0.7
        adam(params, backward(state_grad), m, v, i, rate)
        for array, new in zip(pool, (image, label, state), strict=True):
            array[slots] = new
        losses.append(float(loss))
        if i % 100 == 99:
            print(f"training step {i + 1}: loss {np.mean(losses[-100:]):.2f}", flush=True)
    return params, losses


# ------------------------------ Experiment 2: stable classification -------------------------------


def l2(state, image, label):
    """Return half the squared error to the one-hot label, summed over live cells, mean over the batch."""
    target = np.eye(L, dtype=np.float32)[label][:, None, None]  # (B, 1, 1, L)
    error = np.sum((state[..., -L:] - target) ** 2, -1) / 2  # (B, H, W)
    return np.mean(np.sum(error * alive(image), (1, 2)))


def measure(state, image, label):
    """Return average cell accuracy, and total agreement: the share of digits whose live cells all agree."""
    predicted, live = np.argmax(state[..., -L:], -1), alive(image)  # (B, H, W)
    accuracy = np.mean((predicted == label[:, None, None])[live])
    agreement = np.mean([len(set(p[on])) == 1 for p, on in zip(predicted, live, strict=True) if on.any()])
    return accuracy, agreement


def evaluate(params, digits, steps):
    """Return both measures after each step, (2·steps, 2); halfway every digit mutates into another."""
    image, label = digits.images(slice(None)), digits.labels
    state, curves = np.zeros((*image.shape[:3], D), np.float32), []
    for t in range(2 * steps):
        if t == steps:
            image, label = (np.roll(x, -(len(digits) // 2), 0) for x in (image, label))
            state = mutate(state, image)
        state = step(params, image, state, *draw((SEED, 0), t, *image.shape[:3]))
        curves.append(measure(state, image, label))
    return np.array(curves)


def main():
    """Train, evaluate and print."""
    dataset = load("optdigits")
    params, _ = train(dataset.train, STEPS)
    curves = evaluate(params, dataset.test, 200)
    for when, (accuracy, agreement) in ("200 steps", curves[199]), ("a mutation and 200 more", curves[399]):
        print(f"after {when}: average cell accuracy {accuracy:.1%}, total agreement {agreement:.1%}")


if __name__ == "__main__":
    main()
