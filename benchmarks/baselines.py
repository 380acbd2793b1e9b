"""Plain networks of about as many parameters as an automaton, trained on the same pictures and as many samples.

    python benchmarks/baselines.py runs/nuclei                    the pictures and the number of samples of a run
    python benchmarks/baselines.py runs/fashion --nets dilated
    python benchmarks/baselines.py pets --data DIR --samples 20000

The networks are a small U-Net and five convolutions with dilations 1, 2, 4, 8 and 1, both with PyTorch's own
initial weights, Adam, and half a cosine wave of the learning rate to 0. They see the training samples of the run,
without those held out for validation, mirrored left to right half of the time if the run mirrors, and are measured on
the test samples: IoU over all pixels and its mean over pictures, or the share of pictures with the right label. Each
tries some learning rates and keeps the one that is best on held-out samples.

Letters: B samples, K image channels, H×W pixels, w width of a network, L labels.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from refca.data import Photographs, Split
from refca.definition.metrics import count_overlaps, ratio
from refca.segmentation.floors import floors
from refca.tasks import task_of
from refca.weights.load import load_weights

DILATIONS = (1, 2, 4, 8)
AT_ONCE = 64  # samples measured at a time
BORDER = -1  # the label of pixels that count for nothing


class Dilated(nn.Module):  # type: ignore[misc]
    """Four 3×3 convolutions with dilations 1, 2, 4 and 8, and one 1×1 convolution."""

    def __init__(self, channels: int, width: int, labels: int) -> None:
        super().__init__()
        sides = [channels] + [width] * len(DILATIONS)
        pairs = zip(sides, sides[1:], DILATIONS, strict=False)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=d, dilation=d) for a, b, d in pairs)
        self.last = nn.Conv2d(width, labels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, L, H, W) of images (B, K, H, W)."""
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.last(x)


class UNet(nn.Module):  # type: ignore[misc]
    """Two convolutions at full size, two at half and two at a quarter, and back up again, with skip connections."""

    def __init__(self, channels: int, width: int, labels: int) -> None:
        super().__init__()
        w = width
        self.down = nn.ModuleList([pair(channels, w), pair(w, 2 * w), pair(2 * w, 2 * w)])
        self.up = nn.ModuleList([pair(4 * w, w), pair(2 * w, w)])
        self.last = nn.Conv2d(w, labels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits (B, L, H, W) of images (B, K, H, W)."""
        seen = []
        for i, layers in enumerate(self.down):
            x = layers(F.max_pool2d(x, 2, ceil_mode=True) if i else x)
            seen.append(x)
        for layers, before in zip(self.up, reversed(seen[:-1]), strict=True):
            x = F.interpolate(x, size=before.shape[2:], mode="nearest")
            x = layers(torch.cat([x, before], 1))
        return self.last(x)


def pair(inputs: int, outputs: int) -> nn.Sequential:
    """Return two 3×3 convolutions with their ReLUs."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU()
    )


NETS: dict[str, Callable[[int, int, int], nn.Module]] = {"unet": UNet, "dilated": Dilated}


def count(net: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in net.parameters())


def as_large_as(make: Callable[[int, int, int], nn.Module], channels: int, labels: int, most: int) -> nn.Module:
    """Return a network whose number of parameters is nearest to `most`."""
    found = min(range(1, 200), key=lambda width: abs(count(make(channels, width, labels)) - most))
    return make(channels, found, labels)


def batch_of(samples: Any, numbers: np.ndarray, flipped: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images (B, K, H, W) and labels (B,) or (B, H, W) of samples."""
    if isinstance(samples, Photographs):
        images, labels = samples.images(numbers, flipped), samples.labels(numbers, flipped)
    else:
        images, labels = samples.images(numbers), samples.labels[numbers]
        images = np.where(flipped[:, None, None, None], images[:, :, ::-1], images)
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))), torch.from_numpy(labels)


def loss_of(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of pixels, or of pictures by the mean of the logits of their pixels."""
    if labels.ndim == 1:
        logits = logits.mean((2, 3))
    return F.cross_entropy(logits, labels, ignore_index=BORDER)


def train(net: nn.Module, samples: Any, experiment: Any, seen: int, rate: float, seed: int) -> None:
    """Train on `seen` samples, in batches as large as the run's."""
    optimiser = torch.optim.Adam(net.parameters(), rate)
    steps = max(1, seen // experiment.batch)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: (1 + math.cos(math.pi * i / steps)) / 2)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        numbers = rng.integers(0, len(samples), experiment.batch)
        flipped = (rng.random(experiment.batch) < 0.5) & experiment.flips
        optimiser.zero_grad()
        images, labels = batch_of(samples, numbers, flipped)
        loss_of(net(images), labels).backward()
        optimiser.step()
        schedule.step()


def overlaps(net: nn.Module, samples: Photographs, labels: int) -> dict[str, np.ndarray]:
    """Return intersections and unions of each class (2, L), by the name of the picture; tiles of one are added up."""
    counts: dict[str, np.ndarray] = {}
    for numbers, logits, target in passed(net, samples):
        for i, predicted, true in zip(numbers, logits.argmax(1).numpy(), target.numpy(), strict=True):
            found = np.array(count_overlaps(predicted[true >= 0], true[true >= 0], labels))
            name = samples.names[i].partition("#")[0]
            counts[name] = counts.get(name, 0) + found
    return counts


def passed(net: nn.Module, samples: Any) -> Iterator[tuple[np.ndarray, torch.Tensor, torch.Tensor]]:
    """Yield numbers of samples, some at a time, with their logits (B, L, H, W) and their labels."""
    for first in range(0, len(samples), AT_ONCE):
        numbers = np.arange(first, min(first + AT_ONCE, len(samples)))
        images, target = batch_of(samples, numbers, np.zeros(len(numbers), bool))
        with torch.no_grad():
            yield numbers, net(images), target


def measure(net: nn.Module, samples: Any, labels: int) -> tuple[np.ndarray, str]:
    """Return the IoU of each class (L,), or the share of pictures with the right label (1,), and both in words."""
    if isinstance(samples, Split):
        right = sum(int((logits.mean((2, 3)).argmax(1) == target).sum()) for _, logits, target in passed(net, samples))
        return np.array([right / len(samples)]), f"{right / len(samples):.3f}"
    counts = np.array(list(overlaps(net, samples, labels).values()))  # (pictures, 2, L)
    pooled = ratio(*counts.sum(0))
    mean = np.nanmean([ratio(*of_picture) for of_picture in counts], axis=0)
    return pooled, f"{words(pooled)}; mean over pictures {words(mean)}"


def words(values: np.ndarray) -> str:
    """Return numbers with three digits."""
    return ", ".join(f"{value:.3f}" for value in values)


def print_floors(train: Photographs, test: Photographs, labels: int) -> None:
    """Print the IoU of the commonest label everywhere, and of the commonest label at each pixel."""
    for name, ious in floors(train, test, labels).items():
        print(f"the commonest label, {name}: test {words(ious)}", flush=True)


def main() -> None:
    """Train and measure each network, and print a row of a table for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run directory, weights, or a name of shipped weights")
    parser.add_argument("--nets", default="unet,dilated", help="networks: unet, dilated; default: both")
    parser.add_argument("--rates", default="0.001,0.003,0.01", help="learning rates to choose from")
    parser.add_argument("--samples", type=int, help="number of samples to see; default: steps * batch of the run")
    parser.add_argument("--test-samples", type=int, help="number of test samples to measure; default: all")
    parser.add_argument("--size", type=int, help="side of the test pictures; default: as in training")
    parser.add_argument("--data", help="folder with the data files")
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    weights = load_weights(flags.run)
    experiment: Any = weights.experiment
    if not (experiment.validation or experiment.validate_every):
        experiment = experiment.with_(validation=200)
    task: Any = task_of(experiment)
    samples, held_out = (part.load_samples(experiment, flags.data) for part in (task.training, task.validation))
    test = experiment.with_(size=flags.size or experiment.size).load_data(flags.data, ("test",)).test
    test = test.part(0, flags.test_samples or len(test))
    most = sum(x.size for x in weights.params.values())
    seen = flags.samples or (weights.done or experiment.steps) * experiment.batch
    print(
        f"{experiment.dataset}: {len(samples):,} training samples, {seen:,} seen; the automaton has {most:,} parameters"
    )
    if isinstance(samples, Photographs) and samples.trimaps.shape[1:] == test.trimaps.shape[1:]:
        print_floors(samples, test, experiment.labels)
    for name in flags.nets.split(","):
        found = []
        for rate in map(float, flags.rates.split(",")):
            torch.manual_seed(flags.seed)
            net = as_large_as(NETS[name], experiment.channels, experiment.labels, most)
            begun = time.perf_counter()
            train(net, samples, experiment, seen, rate, flags.seed)
            seconds = time.perf_counter() - begun
            found.append((float(measure(net, held_out, experiment.labels)[0].mean()), rate, net, seconds))
        score, rate, net, seconds = max(found, key=lambda item: item[0])
        print(
            f"{name}: {count(net):,} parameters, learning rate {rate:g}: test "
            f"{measure(net, test, experiment.labels)[1]} (held out {score:.3f}; {seconds:.0f} s of training)",
            flush=True,
        )


if __name__ == "__main__":
    main()
