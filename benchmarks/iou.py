"""IoU of predicted label maps with masks, over all pixels together and as a mean over pictures.

    python -m refca.predict runs/nuclei nuclei/test/images --tile 96 --out predicted
    python benchmarks/iou.py nuclei/test/images nuclei/test/masks predicted

A prediction is NAME-labels.npy, as `refca.predict` writes it, for a picture NAME.png with a mask of the same name, in
which 0 is background. Beside it stands Otsu's threshold of each picture: the floor.

Letters: h×w pixels of a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from refca.definition.metrics import count_overlaps

Sums = list[tuple[int, int]]  # the intersection and the union of each picture


def main() -> None:
    """Print both measures of the predictions, and of Otsu's threshold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path, help="folder of pictures")
    parser.add_argument("masks", type=Path, help="folder of masks of the same names")
    parser.add_argument("predicted", type=Path, help="folder that refca.predict wrote")
    parser.add_argument("--each", action="store_true", help="also print a line for each picture")
    flags = parser.parse_args()
    predictions: Sums = []
    thresholds: Sums = []
    for path in sorted(flags.images.iterdir()):
        true = gray(flags.masks / path.name) > 0
        predictions.append(overlap(np.load(flags.predicted / f"{path.stem}-labels.npy") > 0, true))
        pixels = gray(path)
        thresholds.append(overlap(pixels > otsu(pixels), true))
        if flags.each:
            print(f"{path.stem}: predicted {iou(predictions[-1]):.3f}, Otsu {iou(thresholds[-1]):.3f}")
    for name, sums in (("predicted", predictions), ("Otsu's threshold", thresholds)):
        total = np.sum(sums, axis=0)
        mean = np.mean([iou(pair) for pair in sums])
        print(f"{name}: all pixels {total[0] / total[1]:.3f}, mean over {len(sums)} pictures {mean:.3f}")


def gray(path: Path) -> np.ndarray:
    """Return the gray levels of a picture, (h, w) uint8."""
    return np.asarray(Image.open(path).convert("L"))


def overlap(predicted: np.ndarray, true: np.ndarray) -> tuple[int, int]:
    """Return the numbers of pixels in both maps and in either."""
    part, whole = count_overlaps(predicted, true, 2)
    return int(part[1]), int(whole[1])


def iou(pair: tuple[int, int]) -> float:
    """Return intersection over union; 1 where both maps are empty."""
    return pair[0] / pair[1] if pair[1] else 1.0


def otsu(pixels: np.ndarray) -> int:
    """Return the threshold that parts gray levels into the two classes of largest variance between them."""
    share = np.bincount(pixels.ravel(), minlength=256) / pixels.size
    below, moment = np.cumsum(share), np.cumsum(share * np.arange(256))
    between = (moment[-1] * below - moment) ** 2 / np.maximum(below * (1 - below), 1e-12)
    return int(between.argmax())


if __name__ == "__main__":
    main()
