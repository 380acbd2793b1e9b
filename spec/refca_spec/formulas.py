"""The index formulas of the chapters as plain loops over Python numbers: slow, and nothing to misread.

The laws compare the array code of `refca/` with these. Indices: b sample, y row, x column, c and d channels,
p hidden unit. Letters and layout: `spec/notation.md`.
"""

from __future__ import annotations

import math

import numpy as np

from refca.definition.cell import Array, Cell, Params

LOW = 2**32


def step(
    cell: Cell,
    params: Params,
    environment: Array,
    state: Array,
    fire_mask: Array,
    noise: Array | None,
    reset_noise: Array | None = None,
) -> Array:
    """`spec/chapters/step.md`: the state (B, H, W, D) after one step."""
    after = np.array(state)
    hidden = hidden_layers(cell, params, environment, state)
    for b, y, x in np.ndindex(*fire_mask.shape):
        if not (fire_mask[b, y, x] and alive(cell, environment[b, y, x])):
            continue
        h = hidden[b, y, x]
        for d in range(cell.state_channels):
            candidate = linear(h, params["update.weight"][:, d], bias(params, "update.bias", d))
            if cell.noise and noise is not None:
                candidate += cell.noise * noise[b, y, x, d]
            if cell.residual:
                candidate += state[b, y, x, d]
            if cell.resettable and reset_noise is not None:
                gate = 1 / (1 + math.exp(-linear(h, params["gate.weight"][:, 0], 0.0)))
                candidate = gate * reset_noise[b, y, x, d] + (1 - gate) * candidate
            after[b, y, x, d] = candidate
    return after


def hidden_layers(cell: Cell, params: Params, environment: Array, state: Array) -> Array:
    """The hidden values (B, H, W, P) of every cell."""
    sums = np.zeros((*state.shape[:3], cell.hidden_width))
    for b, y, x, p in np.ndindex(*sums.shape):
        sums[b, y, x, p] = bias(params, "perceive.bias", p) + perceive(cell, params, environment[b], state[b], y, x, p)
    hidden = rectified(cell, sums)
    for i in range(cell.hidden_layers):
        weight = params[f"hidden.{i}.weight"]
        for b, y, x, p in np.ndindex(*sums.shape):
            offset = bias(params, f"hidden.{i}.bias", p)
            sums[b, y, x, p] = linear(hidden[b, y, x], weight[:, p], offset)
        hidden = rectified(cell, sums)
    return hidden


def perceive(cell: Cell, params: Params, environment: Array, state: Array, y: int, x: int, p: int) -> float:
    """The first layer's sum for hidden unit p of the cell at row y, column x, without its bias."""
    H, W, E = environment.shape
    total = 0.0
    for dy in range(3):
        for dx in range(3):
            row, column = y + dy - 1, x + dx - 1
            if not (0 <= row < H and 0 <= column < W):
                continue
            for c in range(E + cell.state_channels):
                value = environment[row, column, c] if c < E else state[row, column, c - E]
                if cell.depthwise:
                    total += value * params["perceive.mix"][c, p] * params["perceive.depthwise"][dy, dx, p]
                else:
                    total += value * params["perceive.weight"][dy, dx, c, p]
    return float(total)


def rectified(cell: Cell, sums: Array) -> Array:
    """A layer's sums (B, H, W, P), each normalised among those that count with it, then relu."""
    after = np.zeros_like(sums)
    B, H, W, P = map(range, sums.shape)
    for b, y, x, p in np.ndindex(*sums.shape):
        s = float(sums[b, y, x, p])
        if cell.norm == "instance":
            s = normalised(s, [float(sums[b, j, i, p]) for j in H for i in W])
        elif cell.norm == "batch":
            s = normalised(s, [float(sums[k, j, i, p]) for k in B for j in H for i in W])
        elif cell.norm == "channel":
            s = normalised(s, [float(sums[b, y, x, q]) for q in P])
        after[b, y, x, p] = max(s, 0.0)
    return after


def normalised(s: float, group: list[float]) -> float:
    """One of a group of sums, less their mean, over the root of their variance and 10⁻⁵."""
    mean = sum(group) / len(group)
    variance = sum((other - mean) ** 2 for other in group) / len(group)
    return (s - mean) / math.sqrt(variance + 1e-5)


def linear(values: Array, weights: Array, offset: float) -> float:
    return offset + sum(float(v) * float(w) for v, w in zip(values, weights, strict=True))


def bias(params: Params, name: str, p: int) -> float:
    """This bias, or 0 where there is none."""
    return float(params[name][p]) if name in params else 0.0


def encode(cell: Cell, params: Params, image: Array) -> Array:
    """`spec/chapters/encode.md`: the environment (B, H, W, E)."""
    for name in ("encode.weight", "encode.1.weight", "encode.2.weight"):
        if name in params:
            image = conv_stride2(image, params[name])
    return image


def conv_stride2(x: Array, weight: Array) -> Array:
    """A 3×3 convolution with stride 2, whose window begins at the pixel itself."""
    B, rows, columns, _ = x.shape
    after = np.zeros((B, rows // 2, columns // 2, weight.shape[3]))
    for b, y, c, n in np.ndindex(*after.shape):
        for i in range(min(3, rows - 2 * y)):
            for j in range(min(3, columns - 2 * c)):
                after[b, y, c, n] += linear(x[b, 2 * y + i, 2 * c + j], weight[i, j, :, n], 0.0)
    return after


def readout(cell: Cell, params: Params, state: Array) -> Array:
    """`spec/chapters/readout.md`: one number for each label, (B, sH, sW, L)."""
    if cell.stride > 1:
        for name in ("decode.weight", "decode.1.weight", "decode.2.weight"):
            if name in params:
                state = conv_transpose_stride2(state, params[name])
        return state
    logits = np.zeros((*state.shape[:3], cell.labels))
    for b, y, x, k in np.ndindex(*logits.shape):
        if cell.linear_readout:
            logits[b, y, x, k] = linear(state[b, y, x], params["readout.weight"][:, k], 0.0)
        else:
            logits[b, y, x, k] = state[b, y, x, cell.state_channels - cell.labels + k]
    return logits


def conv_transpose_stride2(x: Array, weight: Array) -> Array:
    """`spec/chapters/decode.md`: every cell adds to the 3×3 pixels that begin at its own, where there are any."""
    B, H, W, _ = x.shape
    after = np.zeros((B, 2 * H, 2 * W, weight.shape[2]))
    for b, y, c in np.ndindex(B, H, W):
        for i in range(min(3, 2 * H - 2 * y)):
            for j in range(min(3, 2 * W - 2 * c)):
                for n in range(weight.shape[2]):
                    after[b, 2 * y + i, 2 * c + j, n] += linear(x[b, y, c], weight[i, j, n], 0.0)
    return after


def alive(cell: Cell, pixel: Array) -> bool:
    """Return whether a cell with this pixel (K,), or environment (E,), is alive."""
    return cell.alive_above is None or float(pixel[0]) > float(np.float32(cell.alive_above))


def l2(readout: Array, target: Array, live: Array) -> list[float]:
    """`spec/chapters/l2.md`: the loss of each sample."""
    return reduce_cells(half_squares, readout, target, live)


def cross_entropy(readout: Array, target: Array, live: Array) -> list[float]:
    """`spec/chapters/cross_entropy.md`: the loss of each sample."""
    return reduce_cells(surprise, readout, target, live)


def half_squares(logits: Array, label: int) -> float:
    return sum((logits[k] - (k == label)) ** 2 for k in range(len(logits))) / 2


def surprise(logits: Array, label: int) -> float:
    return math.log(sum(math.exp(value) for value in logits)) - logits[label]


def reduce_cells(loss: object, readout: Array, target: Array, live: Array) -> list[float]:
    """The sum over live cells for labels (B,); the mean over all pixels for a label map (B, H, W)."""
    assert callable(loss)
    B, H, W, _ = readout.shape
    losses = []
    for b in range(B):
        total = 0.0
        for y in range(H):
            for x in range(W):
                if target.ndim == 3:
                    total += loss(readout[b, y, x], int(target[b, y, x])) / (H * W)
                elif live[b, y, x]:
                    total += loss(readout[b, y, x], int(target[b]))
        losses.append(float(total))
    return losses


def label(logits: Array) -> int:
    """The lowest of the labels with the highest value."""
    best = 0
    for k in range(len(logits)):
        if logits[k] > logits[best]:
            best = k
    return best


def cell_accuracy(readout: Array, labels: Array, live: Array) -> float:
    """`spec/chapters/cell_accuracy.md`."""
    pairs = [(label(readout[tuple(at)]), int(labels[at[0]])) for at in np.argwhere(live)]
    return sum(a == b for a, b in pairs) / len(pairs) if pairs else math.nan


def total_agreement(readout: Array, live: Array) -> float:
    """`spec/chapters/total_agreement.md`."""
    predicted = [{label(r[tuple(at)]) for at in np.argwhere(v)} for r, v in zip(readout, live, strict=True)]
    counted = [labels for labels in predicted if labels]
    return sum(len(labels) == 1 for labels in counted) / len(counted) if counted else math.nan


def iou(predicted: Array, target: Array, labels: int) -> list[float]:
    """`spec/chapters/iou.md`: one number for each class, NaN where it has no pixel."""
    pairs = [(int(p), int(t)) for p, t in zip(predicted.ravel(), target.ravel(), strict=True)]
    ratios = []
    for k in range(labels):
        both, either = (sum(rule([p == k, t == k]) for p, t in pairs) for rule in (all, any))
        ratios.append(both / either if either else math.nan)
    return ratios


def mutate(cell: Cell, state: Array, image: Array) -> Array:
    """`spec/chapters/mutate.md`."""
    after = np.zeros_like(state)
    for b, y, x in np.ndindex(*state.shape[:3]):
        if alive(cell, image[b, y, x]):
            after[b, y, x] = state[b, y, x]
    return after


def philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """`spec/chapters/philox.md`: ten rounds in Python integers."""
    (c0, c1, c2, c3), (k0, k1) = counter, key
    for _ in range(10):
        a, b = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1, c2, c3 = (b // LOW) ^ c1 ^ k0, b % LOW, (a // LOW) ^ c3 ^ k1, a % LOW
        k0, k1 = (k0 + 0x9E3779B9) % LOW, (k1 + 0xBB67AE85) % LOW
    return c0, c1, c2, c3


def word(seed: int, sample: int, t: int, W: int, y: int, x: int, purpose: int, block: int) -> tuple[int, int, int, int]:
    """`spec/chapters/streams.md`: the four words of one cell."""
    return philox((y * W + x, sample % LOW, t, purpose * 2**16 + block), (seed % LOW, seed // LOW))


def normal(words: tuple[int, int, int, int], channel: int) -> float:
    """`spec/chapters/streams.md`: the normal number of a channel, from the words of its block."""
    first, second = words[:2] if channel % 4 < 2 else words[2:]
    radius = math.sqrt(-2 * math.log((first // 256 + 0.5) / 2**24))
    angle = 2 * math.pi * (second // 256 + 0.5) / 2**24
    return radius * (math.sin(angle) if channel % 2 else math.cos(angle))


def adam(param: float, grads: list[float], rate: float) -> float:
    """`spec/chapters/adam.md`: one number after a step for each of its gradients, at a constant rate."""
    m = v = 0.0
    for i, g in enumerate(grads, 1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        param -= rate * math.sqrt(1 - 0.999**i) / (1 - 0.9**i) * m / (math.sqrt(v) + 1e-7)
    return param


def moving_average(history: list[Array], decay: float) -> Array:
    """`spec/chapters/ema.md`: the average of arrays; each weighs `decay` times as much as the next."""
    weights = decay ** np.arange(len(history))[::-1]
    return np.tensordot(weights / weights.sum(), np.array(history), 1)


def updated_as_matrix(shape: tuple[int, ...]) -> bool:
    """`spec/chapters/muon.md`: whether a parameter of this shape has more than one row and more than one column."""
    return math.prod(shape[:-1]) > 1 and shape[-1] > 1


def orthogonal(u: Array) -> Array:
    """`spec/chapters/muon.md`: each singular value of u (R, C) by itself."""
    left, values, right = np.linalg.svd(u, full_matrices=False)
    values = values / (math.sqrt((values**2).sum()) + 1e-7)
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    return left * values @ right
